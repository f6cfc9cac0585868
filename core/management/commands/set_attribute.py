from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core import serializers
from core.management.arguments import DAY_MINUTES, add_device, minutes
from core.management.command import Command as Base
from core.models import Attribute, Device
from core.models.device_command import State
from core.readings import Kind, Source, Unacceptable, typed_value
from core.tasks.orders import send

REASON = "ordered on the command line"


class Command(Base):
    help = "Set an attribute of a device by hand, and say whether it took effect."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)
        parser.add_argument("attribute", metavar="ATTRIBUTE", help="such as on")
        parser.add_argument("value", metavar="VALUE", help="such as off, 21.5 or heat")
        parser.add_argument(
            "--for",
            type=minutes(DAY_MINUTES, whole=False),
            dest="revert_after",
            metavar="MINUTES",
            help="the device then goes back by itself, if it has a timer",
        )
        parser.add_argument("--json", action="store_true", help="print the command as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        attribute = find(options["device"], options["attribute"])
        try:
            value = typed_value(options["value"], Kind(attribute.kind))
            after = options["revert_after"]
            ordered = send.order(
                attribute.pk, value, source=Source.HUMAN, reason=REASON, revert_after=after
            )
        except Unacceptable as error:
            raise CommandError(f"{error}.") from error
        [command] = send.send([ordered.pk])
        if options["json"]:
            self.write_json(serializers.command_json(command))
        result = f"{attribute.device}: {attribute} set to {options['value']}: {command.state}."
        if command.state != State.CONFIRMED:
            raise CommandError(f"{result} {command.error}".strip())
        if not options["json"]:
            self.stdout.write(result)


def find(device_pk: int, name: str) -> Attribute:
    device = Device.objects.present().get(pk=device_pk)
    attributes = list(device.attributes.select_related("device__gateway"))
    for attribute in attributes:
        if attribute.name == name:
            return attribute
    names = ", ".join(attribute.name for attribute in attributes)
    raise CommandError(f"Device {device_pk} has no attribute {name}. It has: {names or 'none'}.")
