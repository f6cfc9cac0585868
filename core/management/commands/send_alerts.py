from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.tasks import send_alerts


class Command(Base):
    help = (
        "Look for what is wrong, and send alerts to ALERTS. Each scheduled run does so at its end; "
        "run it by itself too, every few minutes, so that runs that do not happen are noticed."
    )
    is_scheduled = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        summary = send_alerts.send_alerts()
        if options["json"]:
            self.write_json(summary.as_json())
        else:
            self.stdout.write(summary.in_words())
        if given_up := summary.delivery.given_up:
            raise CommandError(f"{counted(given_up, 'message')} could not be sent: see doctor.")
