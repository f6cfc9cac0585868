from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from core.management.command import Command as Base
from core.models import Device
from core.tasks import decide
from core.tasks.runs import AlreadyRunning, LeaseLost


class Command(Base):
    help = "Decide for each device that has a rule, send, see that it took effect. Meant to run every ten minutes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--device", type=int, metavar="PK", help="decide for this device only, at once"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="say what would be decided; order and send nothing",
        )
        parser.add_argument(
            "--as-of",
            type=moment,
            metavar="TIME",
            help="say what would have been decided then, such as 2026-11-21T02:00",
        )
        parser.add_argument("--json", action="store_true", help="print the decisions for a program")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            verdicts = decide.decide(
                options["device"], dry_run=options["dry_run"], as_of=options["as_of"]
            )
        except AlreadyRunning as nothing_to_do:
            self.stdout.write(str(nothing_to_do))
            return
        except (LeaseLost, LookupError, Device.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json([verdict.as_json() for verdict in verdicts])
        else:
            lines = [
                f"{verdict.device}: {verdict.sentence}{verdict.receipt_words}"
                for verdict in verdicts
            ]
            self.stdout.write(
                "\n".join(
                    lines
                    or ["No device has a rule. Give one: python manage.py set_rule DEVICE awesome"]
                )
            )
        problems = [verdict for verdict in verdicts if verdict.problem]
        if problems:
            raise CommandError(
                f"{len(problems)} of {len(verdicts)} devices need a look: {', '.join(str(v.device) for v in problems[:20])}"
            )


def moment(written: str) -> datetime:
    """A time as it is typed; without a zone it is of TIME_ZONE."""
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        raise ArgumentTypeError(
            f"{written!r} is no time. Example: 2026-11-21T02:00, or 2026-11-21T02:00+01:00"
        ) from None
    return timezone.make_aware(time) if timezone.is_naive(time) else time
