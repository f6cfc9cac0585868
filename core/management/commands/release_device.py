from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.models import Device
from core.tasks.orders import holds


class Command(Base):
    help = "End a hold: rules decide for the device again, from the next do_something_awesome on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("device", type=int, metavar="DEVICE", help="its number in `status`")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            device = holds.release(options["device"])
        except Device.DoesNotExist as error:
            raise CommandError(
                f"There is no device {options['device']}. See: python manage.py status"
            ) from error
        self.stdout.write(
            f"{device}: {'its rule decides again' if device.has_decider else 'released; it has no rule'}."
        )
