from argparse import ArgumentParser
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from core.management.arguments import DAY_MINUTES, minutes
from core.management.command import Command as Base
from core.models import Site
from core.net.errors import ApiRefused
from core.tasks.do_some_science import do_some_science
from core.tasks.forecasts.regions import Region

EVERY = minutes(DAY_MINUTES)


class Command(Base):
    help = "Try a model on past days, each time with what was known then, and show its errors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        day = date.fromisoformat
        add("model", metavar="MODEL", help="such as usual_day, or usual_day:carbon_intensity_gb")
        add("--from", dest="since", type=day, required=True, metavar="DAY", help="2026-03-01")
        add("--to", dest="until", type=day, required=True, metavar="DAY", help="last day")
        add("--every", type=EVERY, default="60", metavar="MINUTES", help="between forecasts (60)")
        add("--json", action="store_true", help="print the scores as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        name, _, place = options["model"].partition(":")
        clock = Site.home().clock
        since, until = (
            datetime.combine(day, time(), clock).astimezone(UTC)
            for day in (options["since"], options["until"] + timedelta(days=1))
        )
        try:
            with self.progress("forecast") as progress:
                trial = do_some_science(
                    Region(name, place), since, until, timezone.now(), options["every"], progress
                )
        except (LookupError, ValueError, ApiRefused) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(trial.as_json())
        else:
            self.stdout.write(trial.in_words())
