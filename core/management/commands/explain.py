from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.models import Receipt
from core.tasks import explain


class Command(Base):
    help = "Say why something was decided: from what, what else could have been done, and whether it comes out the same again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "receipt",
            type=int,
            metavar="ID",
            help="its number in `do_something_awesome` and on the device's page",
        )
        parser.add_argument("--json", action="store_true", help="for a program")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            explanation = explain.explain(options["receipt"])
        except Receipt.DoesNotExist as error:
            raise CommandError(
                f"There is no decision {options['receipt']}, or it is older than KEEP_DAYS."
            ) from error
        if options["json"]:
            self.write_json(explanation.as_json())
        else:
            self.stdout.write(explanation.in_words())
