from argparse import ArgumentParser
from typing import Any

from core.management.command import Command as Base
from core.tasks import listing


class Command(Base):
    help = "List the devices: their numbers, gateways and rules. `status` shows their values."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gateway", type=int, metavar="PK", help="of this gateway only")
        parser.add_argument(
            "--removed", action="store_true", help="those that were removed, which discovery skips"
        )
        parser.add_argument("--json", action="store_true", help="print the devices as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        devices = listing.devices(options["gateway"], removed=options["removed"])
        if options["json"]:
            self.write_json(listing.devices_json(devices))
        else:
            self.stdout.write(listing.devices_in_words(devices))
