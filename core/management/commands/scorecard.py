from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core.formatting import counted
from core.management.arguments import days
from core.management.command import Command as Base
from core.models import Device
from core.tasks import scorecard

NOTHING = "No device with a guard, and no job whose deadline was over in the last"


class Command(Base):
    help = (
        "Show what each device saved against switching on at once, "
        "and how often its guard was right."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--device", type=int, metavar="PK", help="this device only")
        parser.add_argument(
            "--days", type=days, default=30, metavar="N", help="back from now (default: 30)"
        )
        parser.add_argument("--json", action="store_true", help="print the scores as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        present, pk = Device.objects.present(), options["device"]
        devices = list(present) if pk is None else [present.get(pk=pk)]
        scores = scorecard.scores(devices, timezone.now(), options["days"])
        if options["json"]:
            self.write_json([score.as_json() for score in scores])
            return
        nothing = f"{NOTHING} {counted(options['days'], 'day')}."
        self.stdout.write("\n".join(score.in_words() for score in scores) or nothing)
