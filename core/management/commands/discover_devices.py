from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.tasks import discovery


class Command(Base):
    help = "Look for new devices behind the gateways. Run it after you bought some, or once a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gateway", type=int, metavar="PK", help="this gateway only")
        parser.add_argument(
            "--restore", action="store_true", help="bring back devices that were removed"
        )
        parser.add_argument("--json", action="store_true", help="print the devices as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with self.progress("gateway") as progress:
                found, failed = discovery.discover_devices(
                    options["gateway"], restore=options["restore"], progress=progress
                )
        except LookupError as error:
            raise CommandError(
                f"{error} Add one: python manage.py add_gateway VENDOR URL"
            ) from error
        if options["json"]:
            self.write_json([gateway.as_json() for gateway in found])
        elif found:
            self.stdout.write("\n".join(gateway.in_words() for gateway in found))
        if failed:
            raise CommandError("\n".join(failed))
