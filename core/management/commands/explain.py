from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.models import Receipt
from core.tasks import explain


class Command(Base):
    help = (
        "Explain a decision: what it was made from, what else was possible, "
        "and whether the rule decides the same again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "receipt",
            type=int,
            metavar="ID",
            help="of the decision, as do_something_awesome and the page of the device show it",
        )
        parser.add_argument("--json", action="store_true", help="print the explanation as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        pk = options["receipt"]
        try:
            explanation = explain.explain(pk)
        except Receipt.DoesNotExist as error:
            raise CommandError(
                f"There is no decision {pk}, or it is older than KEEP_DAYS."
            ) from error
        if options["json"]:
            self.write_json(explanation.as_json())
        else:
            self.stdout.write(explanation.in_words())
