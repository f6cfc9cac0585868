from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.tasks.forecasts import fetch


class Command(Base):
    help = "Fetch what rules look at. do_something_awesome does it by itself; this is to see it happen, or for another clock."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--force", action="store_true", help="also ask what is not due, or rests after failures"
        )
        parser.add_argument("--json", action="store_true", help="print the counts for a program")

    def handle(self, *args: Any, **options: Any) -> None:
        fetched = fetch.fetch_forecasts(force=options["force"])
        if options["json"]:
            self.write_json(fetched.as_json())
        else:
            self.stdout.write(fetched.in_words())
        if fetched.failed:
            raise CommandError(
                "\n".join(["Not fetched:", *(f"  {name}: {why}" for name, why in fetched.failed)])
            )
