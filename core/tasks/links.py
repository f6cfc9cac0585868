"""Links that log somebody in, brought by mails.

A link is signed (django-sesame), works once, and ends by itself. It stands behind a # in the
address: browsers do not send that part, so it is in no log and no referrer, and a mail scanner that
opens the page has not used it.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Thread

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from sesame.tokens import create_token, parse_token

from core.models import User
from core.models.connections import release_connection
from core.net.limits import Rate
from core.tasks.mail import MailAway, Mailer

INVITATION, LOG_IN = "invitation", "log-in"
INVITATION_LASTS = timedelta(days=7)
LINK_LASTS = timedelta(minutes=10)
LASTS = {INVITATION: INVITATION_LASTS, LOG_IN: LINK_LASTS}
MOST_ACCOUNTS = 5
"""With one mail address: each gets a mail of its own, which names the account."""
links_of_address = Rate(10, 3600)
links_of_account = Rate(3, 3600)

logger = logging.getLogger(__name__)


def link_to(user: User, scope: str, site_url: str) -> str:
    return f"{site_url.rstrip('/')}/link/#{scope}.{create_token(user, scope)}"


def ask_for_link(email: str, address: str, site_url: str) -> None:
    """Send a link to log in to each account with this mail address, in any letter case.

    It looks the same from outside whether there is one: a thread looks and sends. Raises MailAway
    if mail is not set up at all.
    """
    if not settings.SENDS_MAIL:
        raise MailAway("This site sends no mail. An administrator can help.")
    if not links_of_address.take(address).wait_seconds:
        Thread(target=_send_links, args=(email, site_url), daemon=True).start()


def _send_links(email: str, site_url: str) -> None:
    try:
        found = User.objects.filter(email__iexact=email, is_active=True).order_by("pk")
        # The mail goes to the address that is stored: what was typed may only look like it.
        people = [user for user in found[:MOST_ACCOUNTS] if _may_have_one(user)]
        release_connection()
        if people:
            with Mailer() as mailer:
                for user in people:
                    if refusal := mailer.send(_mail(user, site_url)):
                        logger.warning("The mail with a link was refused: %s", refusal.why)
    except MailAway as error:
        logger.warning("A link could not be sent: %s", error)
    finally:
        release_connection()


def _may_have_one(user: User) -> bool:
    # By account, not by what was typed: that can be written in many ways, or push others out.
    return not links_of_account.take(str(user.pk)).wait_seconds


def _mail(user: User, site_url: str) -> EmailMessage:
    text = (
        f"Log in at {site_url} as {user}\n\n{link_to(user, LOG_IN, site_url)}\n\n"
        f"The link works once, for {LINK_LASTS.seconds // 60} minutes. Then you can set a new "
        "password. If you did not ask for it, leave it alone."
    )
    return EmailMessage("Your link to log in", text, to=[user.email])


def use_link(code: str, log_in: Callable[[User], None]) -> bool:
    """Log the person of a link in, unless it was used, is over or wrong.

    Of many at once one is let in: the account is locked while the link is looked at, and the log-in
    makes it void.
    """
    scope, _, token = code.strip().partition(".")
    if scope not in LASTS:
        return False
    with transaction.atomic():
        found = _person_of(token, scope)
        if found is None:
            return False
        User.objects.select_for_update().get(pk=found.pk)
        person = _person_of(token, scope)
        if person is None:
            return False
        log_in(person)
    return True


def _person_of(token: str, scope: str) -> User | None:
    def active(pk: int) -> User | None:
        return User.objects.filter(pk=pk, is_active=True).first()

    found: User | None = parse_token(token, active, scope, int(LASTS[scope].total_seconds()))
    return found
