from argparse import ArgumentParser
from typing import Any

from core.management.command import Command as Base
from core.tasks import listing


class Command(Base):
    help = "List the gateways: their numbers, addresses, and whether they answer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the gateways as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["json"]:
            self.write_json(listing.gateways_json())
        else:
            self.stdout.write(listing.gateways_in_words())
