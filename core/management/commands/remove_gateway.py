from argparse import ArgumentParser
from typing import Any

from core.formatting import counted
from core.management.arguments import add_yes
from core.management.command import Command as Base
from core.models import Gateway
from core.tasks import gateways, listing


class Command(Base):
    help = "Remove a gateway with its devices and their history, and erase its credential."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "gateway", type=int, metavar="GATEWAY", help="its number, as list_gateways shows it"
        )
        add_yes(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        gateway = Gateway.objects.present().get(pk=options["gateway"])
        serves = counted(listing.devices(gateway.pk).count(), "device")
        self.confirm(f"Remove {gateway} with {serves} and their history?", yes=options["yes"])
        gateways.remove(gateway.pk)
        self.stdout.write(f"{gateway} was removed. To add it again: python manage.py add_gateway")
