from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from core.management.command import Command as Base
from core.tasks import prune


class Command(Base):
    help = "Delete what is older than KEEP_DAYS and what is left of removed devices. Every poll does a little of it; this, all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=positive, metavar="N", help="keep only so many days, this once"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        done = 0
        with self.progress("row") as show:

            def progress(count: int) -> None:
                nonlocal done
                done += count
                if show:
                    show(done, done)

            pruned = prune.prune(options["days"], progress)
        said = ", ".join(f"{count:,} {what}" for what, count in pruned.items())
        self.stdout.write(f"Deleted {said or 'nothing: all is younger'}.")


def positive(word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise ArgumentTypeError(f"{word!r} is not a number of days, 1 or more")
    return int(word)
