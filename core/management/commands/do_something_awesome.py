from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.timezone import is_naive, make_aware

from core.formatting import counted
from core.management.arguments import moment
from core.management.command import Command as Base
from core.models import Site
from core.tasks import decide, send_alerts
from core.tasks.runs import AlreadyRunning, LeaseLost

NO_RULES = "No device has a rule. Choose one: python manage.py set_rule DEVICE awesome"
MOST_NAMES = 20


class Command(Base):
    help = (
        "Decide for each device that has a rule, send what is to change, and read it back. "
        "Meant to run every ten minutes."
    )
    is_scheduled = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("--device", type=int, metavar="PK", help="decide for this device only, at once")
        add("--dry-run", action="store_true", help="show what would be decided; send nothing")
        add(
            "--as-of",
            type=moment,
            metavar="TIME",
            help="show what would have been decided then: 2026-11-21T02:00, by the home's clock",
        )
        add("--json", action="store_true", help="print the decisions as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run, as_of = options["dry_run"], options["as_of"]
        if as_of and is_naive(as_of):
            as_of = make_aware(as_of, Site.home().clock)
        try:
            verdicts = decide.decide(options["device"], dry_run=dry_run, as_of=as_of)
        except AlreadyRunning as nothing_to_do:
            self.stdout.write(str(nothing_to_do))
            return
        except (LeaseLost, LookupError) as error:
            raise CommandError(str(error)) from error
        finally:
            if not (dry_run or as_of or options["device"]):
                send_alerts.after_a_run()
        if options["json"]:
            self.write_json([verdict.as_json() for verdict in verdicts])
        else:
            lines = [f"{made.device}: {made.sentence}{made.receipt_words}" for made in verdicts]
            self.stdout.write("\n".join(lines) or NO_RULES)
        problems = [str(verdict.device) for verdict in verdicts if verdict.problem]
        if problems:
            names = ", ".join(problems[:MOST_NAMES])
            devices = counted(len(verdicts), "device")
            raise CommandError(f"{len(problems)} of {devices} had a problem: {names}")
