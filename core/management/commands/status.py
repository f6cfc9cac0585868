from argparse import ArgumentParser
from typing import Any

from core.management.command import Command as Base
from core.tasks import status


class Command(Base):
    help = "Show every device, its latest values and how fresh they are, and whether polling works."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the devices as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        overview = status.overview()
        if options["json"]:
            self.write_json(overview.as_json())
        else:
            self.stdout.write(overview.in_words())
