from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from core.management.command import Command as Base
from core.models import Device
from core.tasks.orders import holds


class Command(Base):
    help = "Keep rules away from a device: it stays as it is, until the time is over or release_device."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("device", type=int, metavar="DEVICE", help="its number in `status`")
        parser.add_argument(
            "--for",
            type=int,
            dest="minutes",
            metavar="MINUTES",
            help="how long; until it is released without it",
        )
        parser.add_argument(
            "--reason", default="held on the command line", help="what pages say about it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["minutes"]
        if minutes is not None and not 0 < minutes <= 525_600:
            raise CommandError("--for takes minutes, from 1 to a year of them.")
        until = timezone.now() + timedelta(minutes=minutes) if minutes else None
        try:
            device = holds.hold(options["device"], until, options["reason"])
        except Device.DoesNotExist as error:
            raise CommandError(
                f"There is no device {options['device']}. See: python manage.py status"
            ) from error
        lasts = (
            f"until {until:%Y-%m-%d %H:%M} UTC"
            if until
            else f"until: python manage.py release_device {device.pk}"
        )
        self.stdout.write(f"{device}: no rule touches it {lasts}")
