from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.tasks.doctor.examine import examine
from core.tasks.doctor.line import Level


class Command(Base):
    help = "Look at all that the site needs, and say what is wrong and what to do. Run it at will."
    needs_whole_site = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--quick", action="store_true", help="ask no gateway: judge by the last answers"
        )
        parser.add_argument("--json", action="store_true", help="print the lines as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        report = examine(asks_gateways=not options["quick"])
        if options["json"]:
            self.write_json(report.as_json())
        else:
            self.stdout.write(report.in_words())
        if errors := report.count(Level.ERROR):
            raise CommandError(f"{counted(errors, 'error')}: see above.")
