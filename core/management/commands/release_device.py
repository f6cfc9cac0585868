from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.arguments import add_device
from core.management.command import Command as Base
from core.models import Device
from core.tasks.orders import holds


class Command(Base):
    help = "End the hold of a device: its rule decides again at the next do_something_awesome."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            device = holds.release(options["device"])
        except Device.DoesNotExist as error:
            raise CommandError(
                f"There is no device {options['device']}. See: python manage.py status"
            ) from error
        decides = "its rule decides again" if device.has_decider else "it has no rule"
        self.stdout.write(f"{device}: released; {decides}.")
