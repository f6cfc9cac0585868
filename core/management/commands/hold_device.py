from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core.management.arguments import YEAR_MINUTES, add_device, minutes
from core.management.command import Command as Base
from core.models import Site
from core.tasks.orders import holds


class Command(Base):
    help = "Hold a device: it stays as it is, and no rule changes it, until the hold ends."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_device(parser)
        parser.add_argument(
            "--for",
            type=minutes(YEAR_MINUTES),
            dest="span",
            metavar="MINUTES",
            help="how long (default: until release_device)",
        )
        parser.add_argument(
            "--reason", default="held on the command line", help="shown on the page of the device"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        until = timezone.now() + options["span"] if options["span"] else None
        device = holds.hold(options["device"], until, options["reason"])
        end = f"it is released: python manage.py release_device {device.pk}"
        if until:
            zone = Site.home().clock_of(device)
            end = f"{until.astimezone(zone):%Y-%m-%d %H:%M}, {zone}"
        self.stdout.write(f"{device}: held until {end}")
