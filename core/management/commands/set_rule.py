from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from core import rules
from core.management.command import Command as Base
from core.models import Device
from core.tasks import gateways


class Command(Base):
    help = "Let a rule decide for a device from now on; with the rule `none`, nobody does."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("device", type=int, metavar="DEVICE", help="its number in `status`")
        parser.add_argument("rule", choices=[*rules.names(), "none"])

    def handle(self, *args: Any, **options: Any) -> None:
        rule = "" if options["rule"] == "none" else options["rule"]
        try:
            device = gateways.change_device(options["device"], rule=rule)
        except (Device.DoesNotExist, ValidationError) as error:
            raise CommandError(f"Device {options['device']}: {error}") from error
        self.stdout.write(f"{device}: {f'the rule {rule} decides' if rule else 'nobody decides'} from now on.")
