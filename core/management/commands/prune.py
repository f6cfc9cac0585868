from argparse import ArgumentParser
from typing import Any

from core.management.arguments import days
from core.management.command import Command as Base
from core.tasks import prune


class Command(Base):
    help = (
        "Delete history older than KEEP_DAYS, and what is left of removed devices, all at once. "
        "Every poll_devices deletes a little of it, so this needs no schedule."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=days, metavar="N", help="keep N days instead of KEEP_DAYS, this once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with self.progress("row") as progress:
            pruned = prune.prune(options["days"], progress)
        self.stdout.write(prune.in_words(pruned))
