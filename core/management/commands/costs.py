from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core import formatting
from core.management.arguments import days
from core.management.command import Command as Base
from core.models import Device
from core.planning.forecast import REPLAYED
from core.tasks import costs

MONTHS = range(1, costs.MOST_MONTHS + 1)
NOTHING = "No device has told its energy or its power yet."


class Command(Base):
    help = "Show what each device used, in kWh, grams of CO2 and money, by the day or the month."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--device", type=int, metavar="PK", help="this device only")
        most = f"so many, today included (default: 7, at most {costs.MOST_DAYS})"
        most_months = f"so many months, this one included (at most {costs.MOST_MONTHS})"
        add("--days", type=days, default=7, metavar="N", help=most)
        add("--months", type=int, metavar="N", choices=MONTHS, help=most_months)
        add("--json", action="store_true", help="print them as JSON, by the day or month")

    def handle(self, *args: Any, **options: Any) -> None:
        present, pk = Device.objects.present(), options["device"]
        if pk is not None:
            present = present.filter(pk=present.get(pk=pk).pk)
        devices = list(costs.measured_devices(present))
        period = costs.Period.of_days(options["days"])
        if options["months"]:
            period = costs.Period.of_months(options["months"])
        found = costs.costs(devices, timezone.now(), period)
        if options["json"]:
            self.write_json([one.as_json() for one in found])
            return
        rows = [(str(one.device), *costs.words(one.total), one.saved) for one in found]
        rows.append(("Total", *costs.words(costs.total(one.total for one in found)), ""))
        lines = formatting.table([("Device", "Energy", "CO2", "Cost", "Saved by plans"), *rows])
        if any(one.is_replayed for one in found):
            lines.append(f"CO2 and cost are by {REPLAYED} of another time, not live.")
        self.stdout.write("\n".join(lines) if found else NOTHING)
