from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.arguments import port
from core.management.command import Command as Base
from core.tasks import demo


class Command(Base):
    help = "Run a home of simulated devices: poll, decide, and serve the page, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="poll and decide once, show the devices, end"
        )
        parser.add_argument("--port", type=port, default=8000, help="of the page (default: 8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            demo.run(self.stdout.write, port=None if options["once"] else options["port"])
        except demo.CannotStart as error:
            raise CommandError(str(error)) from error
