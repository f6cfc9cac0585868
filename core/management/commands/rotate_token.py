from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from core.management.command import Command as Base
from core.models import Token
from core.tasks import tokens


class Command(Base):
    help = "Make a new token in place of one; for some hours both work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("token", type=int, metavar="TOKEN", help="its number, as list_tokens shows it")
        add("--hours", type=float, default=24, help="how long both work (default: 24)")

    def handle(self, *args: Any, **options: Any) -> None:
        token = Token.objects.get(pk=options["token"])
        try:
            issued = tokens.rotate(token, timedelta(hours=options["hours"]))
        except tokens.NotIssued as error:
            raise CommandError(str(error)) from error
        token.refresh_from_db()
        self.stderr.write(
            f"Token {issued.token.pk} takes the place of {token.pk}, which works until "
            f"{token.expires_at:%Y-%m-%d %H:%M} UTC. It is not shown again:"
        )
        self.stdout.write(issued.text)
