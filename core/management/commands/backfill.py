from argparse import ArgumentParser
from datetime import UTC
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from core.management.arguments import moment
from core.management.command import Command as Base
from core.tasks.backfill import backfill
from core.tasks.runs import AlreadyRunning, LeaseLost


class Command(Base):
    help = (
        "Fill gaps from the history that vendors keep. After an outage, polls do it by themselves."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--gateway", type=int, metavar="PK", help="of this gateway only")
        parser.add_argument(
            "--since",
            type=moment,
            metavar="TIME",
            help="gaps after it, and the time before the first value (without a zone: UTC; "
            "default: gaps of the last ten days)",
        )
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        since = options["since"]
        if since is not None and since.tzinfo is None:
            since = since.replace(tzinfo=UTC)
        if since is not None and since > timezone.now():
            raise CommandError("--since is a time in the past.")
        try:
            with self.progress("span") as progress:
                done = backfill(since, options["gateway"], progress=progress)
        except AlreadyRunning as nothing_to_do:
            self.stdout.write(str(nothing_to_do))
            return
        except LeaseLost as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(done.as_json())
        else:
            self.stdout.write(done.in_words())
        if done.failed:
            lines = [f"  {name}: {why}" for name, why in done.failed.items()]
            raise CommandError("\n".join(["Not answered:", *lines]))
