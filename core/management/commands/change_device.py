from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from core.management.arguments import add_device, add_enabled, add_whereabouts, given, name
from core.management.command import Command as Base
from core.tasks import gateways

FIELDS = ("name", "place", "zone", "latitude", "longitude", "enabled")


class Command(Base):
    help = "Change a device's name, place or clock, or disable it. The rest stays."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)
        parser.add_argument("--name", type=name)
        parser.add_argument("--place", type=name, help="such as kitchen")
        add_whereabouts(parser)
        add_enabled(parser, "polled and switched by its rule")

    def handle(self, *args: Any, **options: Any) -> None:
        changes = given(options, *FIELDS)
        if not changes:
            raise CommandError("Say what to change, such as --name. See --help.")
        try:
            device = gateways.change_device(options["device"], **changes)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"Device {device.pk} is changed: {device}.")
