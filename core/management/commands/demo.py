import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from core.management.arguments import port
from core.management.command import Command as Base
from core.management.command import stopping_on_signals
from core.tasks import demo


class Command(Base):
    help = (
        "Run a home of simulated devices, with a database of its own: poll, decide, and serve "
        "the page, until Ctrl-C."
    )
    needs_whole_site = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="poll and decide once, show the devices, end"
        )
        parser.add_argument("--port", type=port, default=8000, help="of the page (default: 8000)")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.DEMO:
            self._run(None if options["once"] else options["port"])
            return
        arguments = ["--once"] if options["once"] else ["--port", str(options["port"])]
        with demo.apart(arguments) as process, stopping_on_signals(process.terminate):
            process.wait()
        if process.returncode:
            sys.exit(process.returncode)

    def _run(self, port: int | None) -> None:
        try:
            demo.run(self.stdout.write, port)
        except demo.CannotStart as error:
            raise CommandError(str(error)) from error
