"""Mails sent one by one over one connection."""

import smtplib
from typing import NamedTuple

from django.conf import settings
from django.core import mail
from django.core.mail import EmailMessage, get_connection

MOST_TRIES = 3
"""Of a mail server that is away, before the rest waits for the next time."""
CLOSING = 421
"""What a server answers that goes away, whatever it was asked."""


class MailAway(Exception):
    """Mail cannot be sent now. The message says why and what to do."""


class Refusal(NamedTuple):
    """Why the server does not take a mail. `for_good`: it would be the same next time."""

    why: str
    for_good: bool


class Mailer:
    """One connection to the mail server for many mails, opened again if it is lost."""

    def __enter__(self) -> "Mailer":
        if not settings.SENDS_MAIL:
            raise MailAway(
                "Mail is not set up: set EMAIL_URL, such as smtp://user:password@host:587"
            )
        # Django 6.1 has mailers in its place.
        self._connection = mail.mailers.default if hasattr(mail, "mailers") else get_connection()
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def send(self, message: EmailMessage) -> Refusal | None:
        """Return why the server refuses this mail, or None: it took it. Raises MailAway."""
        lost: Exception | None = None
        for _ in range(MOST_TRIES):
            try:
                return self._try(message)
            except (smtplib.SMTPException, OSError) as error:
                self._connection.close()
                lost = error
        why = f"{type(lost).__name__}: {lost}"
        raise MailAway(f"The mail server does not take mails ({why}).") from lost

    def _try(self, message: EmailMessage) -> Refusal | None:
        self._connection.open()
        try:
            self._connection.send_messages([message])
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            code = _code(error)
            if code == CLOSING:
                raise
            return _refusal(error, for_good=code >= 500)
        except ValueError as error:
            # An address that Django takes for valid and that no header can hold.
            return _refusal(error, for_good=True)
        return None


def _code(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> int:
    if isinstance(error, smtplib.SMTPDataError):
        return error.smtp_code
    [(code, _)] = error.recipients.values()  # each mail has one recipient
    return int(code)


def _refusal(error: Exception, for_good: bool) -> Refusal:
    return Refusal(f"{error}"[:300] or "refused", for_good)
