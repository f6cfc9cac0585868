from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from core.management.command import Command as Base
from core.management.commands.prune import positive
from core.models import Device
from core.tasks import scorecard


class Command(Base):
    help = "Was it worth it? What each device saved against switching on at once, and whether its guard was right."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--device", type=int, metavar="PK", help="this device only")
        parser.add_argument(
            "--days", type=positive, default=30, metavar="N", help="back from now (30)"
        )
        parser.add_argument("--json", action="store_true", help="for a program")

    def handle(self, *args: Any, **options: Any) -> None:
        devices = list(Device.objects.present())
        if options["device"] is not None:
            devices = [device for device in devices if device.pk == options["device"]]
            if not devices:
                raise CommandError(
                    f"There is no device {options['device']}. See: python manage.py status"
                )
        found = scorecard.scores(devices, timezone.now(), options["days"])
        if options["json"]:
            self.write_json([one.as_json() for one in found])
        else:
            self.stdout.write(
                "\n".join(one.in_words() for one in found) or f"{NOTHING} {options['days']} days."
            )


NOTHING = "No device with a guard, and no job whose deadline was over in the last"
