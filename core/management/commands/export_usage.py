import csv
from argparse import ArgumentParser
from typing import Any

from core.management import arguments
from core.management.command import Command as Base
from core.tasks import usage

COLUMNS = ("user", "token", "name", "plan", "route", "requests")


class Command(Base):
    help = "Print what the tokens used in a month, as CSV: a row for each token and address."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("month", type=arguments.month, metavar="MONTH", help="2026-11")

    def handle(self, *args: Any, **options: Any) -> None:
        writer = csv.DictWriter(self.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(usage.of_month(options["month"]))
