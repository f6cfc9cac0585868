from typing import Any

from core.formatting import counted
from core.management.command import Command as Base
from core.tasks.roll_up import RolledUp, roll_up


class Command(Base):
    help = (
        "Sum up numbers by the hour, all that is over, at once. "
        "Every poll_devices does a little of it, so this needs no schedule."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with self.progress("hour") as progress:

            def tell(done: RolledUp) -> None:
                if progress:
                    progress(done.written, done.written)

            done = roll_up(progress=tell)
        self.stdout.write(f"Summed up: {counted(done.written, 'hour')} written.")
