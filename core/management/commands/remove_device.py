from argparse import ArgumentParser
from typing import Any

from core.management.arguments import add_device, add_yes
from core.management.command import Command as Base
from core.models import Device
from core.tasks import gateways

RESTORE = "python manage.py discover_devices --restore --gateway"


class Command(Base):
    help = "Remove a device and its history. Discovery leaves it out until it is restored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)
        add_yes(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        device = Device.objects.present().get(pk=options["device"])
        self.confirm(f"Remove {device} and its history?", yes=options["yes"])
        gateways.remove_device(device.pk)
        self.stdout.write(f"{device} was removed. To restore it: {RESTORE} {device.gateway_id}")
