import sys
from argparse import ArgumentParser
from io import TextIOWrapper
from typing import Any

from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.models import Token, User
from core.tasks import tokens


class Command(Base):
    help = "End a token at once, all tokens of a person, or those found in a text."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add = parser.add_argument
        add("token", type=int, nargs="?", metavar="TOKEN", help="as list_tokens shows it")
        add("--user", help="all tokens of this person")
        # From the standard input: arguments are in process lists and in the shell's history.
        add("--found", action="store_true", help="all that stand in the text on standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        ways = (options["token"] is not None, options["user"] is not None, options["found"])
        if sum(ways) != 1:
            raise CommandError("Name a token by its number, a person with --user, or use --found.")
        if options["found"]:
            self._revoke_found()
        elif options["user"] is not None:
            self._revoke_all_of(options["user"])
        else:
            token = Token.objects.get(pk=options["token"])
            was_revoked = not tokens.revoke([token.pk])
            self.stdout.write(f"{token} {'was revoked before' if was_revoked else 'is revoked'}.")

    def _revoke_all_of(self, name: str) -> None:
        user = User.objects.filter(username=name).first()
        if user is None:
            raise CommandError(f"There is no user {name}.")
        self.stdout.write(f"Revoked {counted(tokens.revoke_all(user), 'token')} of {user}.")

    def _revoke_found(self) -> None:
        found = tokens.tokens_in(TextIOWrapper(sys.stdin.buffer, "utf-8", errors="replace"))
        revoked = tokens.revoke([token.pk for token in found])
        for token in found:
            self.stdout.write(f"{token} of {token.user}")
        self.stdout.write(f"Found {counted(len(found), 'token')} of ours, revoked {revoked}.")
