from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.tasks.forecasts import fetch


class Command(Base):
    help = (
        "Fetch the forecasts and measurements that rules need. "
        "do_something_awesome does it by itself when something is due."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--force", action="store_true", help="also fetch what is not due, or failed lately"
        )
        parser.add_argument("--json", action="store_true", help="print the counts as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        fetched = fetch.fetch_forecasts(force=options["force"])
        if options["json"]:
            self.write_json(fetched.as_json())
        else:
            self.stdout.write(fetched.in_words())
        if failed := [f"  {name}: {why}" for name, why in fetched.failed]:
            raise CommandError("\n".join(["Not fetched:", *failed]))
