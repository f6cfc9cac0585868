from argparse import ArgumentParser
from typing import Any

from core.management.arguments import add_device
from core.management.command import Command as Base
from core.tasks.orders import holds


class Command(Base):
    help = "End the hold of a device: its rule decides again at the next do_something_awesome."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        device = holds.release(options["device"])
        decides = "its rule decides again" if device.has_decider else "it has no rule"
        self.stdout.write(f"{device}: released; {decides}.")
