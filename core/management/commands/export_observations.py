from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from core.management.arguments import DAY_MINUTES, minutes, moment
from core.management.command import Command as Base
from core.models import Site
from core.tasks import export_observations as task
from core.tasks.export_observations import Form, Wanted


class Command(Base):
    help = "Write observations as a table, for programs: CSV, NDJSON or Parquet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--output", "-o", type=Path, metavar="FILE", help="default: standard output")
        add("--format", type=Form, choices=list(Form), help="default: as FILE ends, else csv")
        add("--device", type=int, action="append", default=[], metavar="PK", help="repeatable")
        add("--attribute", action="append", default=[], metavar="NAME", help="repeatable")
        add("--from", dest="since", type=moment, metavar="TIME", help="by the home's clock")
        add("--to", dest="until", type=moment, metavar="TIME", help="up to this time")
        add("--every", type=minutes(7 * DAY_MINUTES), metavar="MINUTES", help="sum up by spans")
        add("--wide", action="store_true", help="a column for each attribute")
        add("--gaps", action="store_true", help="the times in which nothing was heard")
        add("--local", action="store_true", help="times by each device's clock, with its offset")

    def handle(self, *args: Any, **options: Any) -> None:
        path, clock = options["output"], Site.home().clock
        names = {form.value for form in Form}
        suffix = path.suffix.removeprefix(".") if path else ""
        times = {name: _aware(options[name], clock) for name in ("since", "until") if options[name]}
        try:
            wanted = Wanted(
                task.attributes_of(options["device"], options["attribute"]),
                form=options["format"] or Form(suffix if suffix in names else "csv"),
                every=options["every"],
                is_wide=options["wide"],
                is_gaps=options["gaps"],
                is_local=options["local"],
                **times,
            )
            with self.progress("attribute") as progress:
                task.export_observations(wanted, path, self.stdout, progress)
        except (LookupError, ValueError) as error:
            raise CommandError(str(error)) from error


def _aware(time: datetime, clock: Any) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=clock)
