import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from core.formatting import counted
from core.management.command import Command as Base
from core.tasks import invitations
from core.tasks.mail import MailAway


class Command(Base):
    help = "Invite people by mail. Run it again after an interruption: it goes on where it ended."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = "a line each: anna@example.org,operator,3;4 (role and gateways may be left out)"
        parser.add_argument("file", metavar="FILE", help=f"{what}; - reads what is piped in")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SITE_URL:
            raise CommandError(
                "Set SITE_URL, which links lead to, such as https://home.example.org"
            )
        try:
            invited = invitations.parse_invitations(_read(options["file"]).splitlines())
            with self.progress("mail") as progress:
                done = invitations.invite(invited, "", settings.SITE_URL, progress)
        except FileNotFoundError:
            raise CommandError(f"There is no file {options['file']}.") from None
        except UnicodeDecodeError:
            raise CommandError(f"{options['file']} is no text in UTF-8.") from None
        except (invitations.NotInvited, MailAway) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Sent {counted(done.sent, 'invitation')}; {done.known} had an account before, "
            f"{done.refused} refused by the mail server, {done.put_off} put off."
        )
        if done.refused:
            raise CommandError("Some mails were refused: see the page People.")
        if done.put_off:
            raise CommandError("Some mails were put off: run it again in some minutes.")


def _read(file: str) -> str:
    return sys.stdin.read() if file == "-" else Path(file).read_text()
