from importlib import import_module
from typing import Any

from django.core.management.base import CommandError

from core.management import command
from core.management.command import Command as Base

MISSING = "Listening needs packages that are an extra. Run: pip install -r requirements-listen.txt"


class Command(Base):
    help = (
        "Hold a connection to each gateway that tells by itself what changes, until Ctrl-C. Not "
        "for a schedule: a process of its own, beside polls. Of several one listens, and the "
        "others wait."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            import_module("core.net.websocket")  # its packages are an extra
        except ModuleNotFoundError as error:
            raise CommandError(MISSING) from error
        from core.tasks.listen import Listener

        listener = Listener()
        with command.stopping_on_signals(listener.stop):
            listener.run()
