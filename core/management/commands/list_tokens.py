from argparse import ArgumentParser
from typing import Any

from core.management.command import Command as Base
from core.tasks import tokens


class Command(Base):
    help = "List the tokens: whose they are, what they may, when they were used. Not their text."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the tokens as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        listed = tokens.tokens_json()
        if options["json"]:
            self.write_json(listed)
        else:
            self.stdout.write(tokens.in_words(listed))
