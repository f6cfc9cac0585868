from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.tasks import poll, send_alerts
from core.tasks.runs import AlreadyRunning, LeaseLost


class Command(Base):
    help = "Read all devices through their gateways, and store it. Meant to run every ten minutes."
    is_scheduled = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--gateway", type=int, metavar="PK", help="ask this gateway only, at once"
        )
        parser.add_argument(
            "--force", action="store_true", help="also ask gateways that failed and are not due yet"
        )
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with self.progress("gateway") as progress:
                summary = poll.poll_devices(
                    options["gateway"], force=options["force"], progress=progress
                )
        except AlreadyRunning as nothing_to_do:
            self.stdout.write(str(nothing_to_do))
            return
        except LeaseLost as error:
            raise CommandError(str(error)) from error
        finally:
            if options["gateway"] is None:
                send_alerts.after_a_run()
        if options["json"]:
            self.write_json(summary.as_json())
        else:
            self.stdout.write(summary.in_words())
        if failed := [f"  {name}: {why}" for name, why in summary.asked.failed]:
            gateways = counted(len(failed), "gateway")
            raise CommandError("\n".join([f"{gateways} did not answer:", *failed]))
