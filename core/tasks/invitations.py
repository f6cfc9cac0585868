"""Invitations: accounts for those who have none, and a mail to each with a link that opens it.

Several processes may send at once: each claims some invitations, then some more, on the database's
clock. What a killed process had claimed is free again once its claim is over.
"""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Lower, Now
from django.utils import timezone

from core.models import Gateway, Invitation, Membership, Role, User
from core.models.connections import release_connection
from core.models.invitation import CLAIM, PUT_OFF, InvitationQuerySet
from core.tasks.links import INVITATION, INVITATION_LASTS, link_to
from core.tasks.mail import Mailer, Refusal

STORED_AT_ONCE = 500
LONGEST_ADDRESS = 150
"""Letters: it is the name of the account too."""
CLAIMED_AT_ONCE = 20
BEGIN_WITHIN_SECONDS = 10
"""After a claim the last of its mails is begun: three tries of 20 s each end before the claim."""
LOOK_AGAIN_SECONDS = 0.5

Progress = Callable[[int, int], None]


class NotInvited(ValueError):
    """Somebody cannot be invited as it is wanted. The message says why."""


@dataclass(frozen=True)
class Invited:
    """Somebody to invite. `gateways` None: all."""

    email: str
    role: Role = Role.VIEWER
    gateways: tuple[Gateway, ...] | None = None


class Sent(NamedTuple):
    """What became of invitations: mails sent, refused by the server for good, put off by it, and
    accounts there before."""

    sent: int
    refused: int
    put_off: int
    known: int = 0


# Whom to invite


def parse_invitations(lines: Iterable[str]) -> list[Invited]:
    """Read lines such as `anna@example.org,operator,3;4`: an address, a role (default: viewer) and
    the numbers of gateways (default: all). Raises NotInvited, which names the line."""
    return _parse(_rows(lines), _invited, "anna@example.org,operator,3;4")


def parse_addresses(
    lines: Iterable[str], role: Role, gateways: Sequence[Gateway] | None
) -> list[Invited]:
    """Read a mail address a line. Raises NotInvited, which names the line."""
    where = None if gateways is None else tuple(gateways)

    def read(email: str) -> Invited:
        return Invited(_address(email), role, where)

    return _parse(([line] for line in lines), read, "anna@example.org")


def _rows(lines: Iterable[str]) -> Iterator[list[str]]:
    reader = csv.reader(lines)
    try:
        yield from reader
    except csv.Error as error:
        raise NotInvited(f"Line {reader.line_num}: {error}.") from None


def _parse(rows: Iterable[list[str]], read: Callable[..., Invited], example: str) -> list[Invited]:
    invited: dict[str, Invited] = {}
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            one = read(*cells)
        except (NotInvited, TypeError) as error:
            why = "more than three columns" if isinstance(error, TypeError) else error
            raise NotInvited(f"Line {number}: {why}. Example: {example}") from None
        invited[one.email] = one
    return list(invited.values())


def _invited(email: str, role: str = "", gateways: str = "") -> Invited:
    address = _address(email)
    if role and role not in Role.values:
        raise NotInvited(f"{role!r:.40} is no role: {', '.join(Role.values)}")
    return Invited(address, Role(role or Role.VIEWER), _gateways(gateways))


def _address(email: str) -> str:
    try:
        validate_email(email)
    except ValidationError:
        raise NotInvited(f"{email!r:.80} is no mail address") from None
    if len(email) > LONGEST_ADDRESS:
        raise NotInvited(f"{email!r:.80} is longer than {LONGEST_ADDRESS} letters")
    return email.lower()


def _gateways(numbers: str) -> tuple[Gateway, ...] | None:
    if not numbers:
        return None
    wanted = [number.strip() for number in numbers.split(";")]
    pks = [int(number) for number in wanted if number.isdecimal() and len(number) < 19]
    found = {str(pk): gateway for pk, gateway in Gateway.objects.present().in_bulk(pks).items()}
    if missing := [number for number in wanted if number not in found]:
        raise NotInvited(f"there is no gateway {missing[0]:.40}")
    return tuple(found[number] for number in wanted)


# Accounts


def invite(
    invited: Sequence[Invited], by: str, site_url: str, progress: Progress | None = None
) -> Sent:
    """Make accounts for those that have none, and send all invitations that wait.

    An account is there if its mail address or its name is the invited one, in any letter case; it
    stays as it is, however many have the address. Its invitation is sent again only if it was never
    taken by the mail server.

    Call it again after it was interrupted: it goes on where it ended. Only the one mail that was on
    its way may go out twice, with the same Message-ID. Raises MailAway.
    """
    known, _ = _store_all(invited, by)
    return send_invitations(site_url, progress)._replace(known=known)


def invite_now(invited: Sequence[Invited], by: str, site_url: str) -> Sent:
    """Do the same for these people alone, and wait for nobody: what another process is about to
    send is left to it. Raises MailAway."""
    known, pks = _store_all(invited, by)
    theirs = Invitation.objects.filter(pk__among=pks)
    return _send(theirs, site_url, waits=False)._replace(known=known)


def _store_all(invited: Sequence[Invited], by: str) -> tuple[int, list[int]]:
    known: int = 0
    pks: list[int] = []
    for start in range(0, len(invited), STORED_AT_ONCE):
        step = invited[start : start + STORED_AT_ONCE]
        try:
            known_now, found = _store(step, by)
        except IntegrityError:
            # Another process made one of these accounts since this one looked. Now it is seen.
            known_now, found = _store(step, by)
        known += known_now
        pks += found
    return known, pks


def _store(invited: Sequence[Invited], by: str) -> tuple[int, list[int]]:
    """Make the accounts of those that have none. Return how many had one, and the invitations of
    all that are not sent."""
    with transaction.atomic():
        present = _accounts([one.email for one in invited])
        new = [one for one in invited if one.email not in present]
        people = [User(username=one.email, email=one.email) for one in new]
        for user in people:
            user.set_unusable_password()
        User.objects.bulk_create(people)
        Membership.objects.bulk_create(
            Membership(user=user, role=one.role, everywhere=one.gateways is None)
            for user, one in zip(people, new, strict=True)
        )
        for user, one in zip(people, new, strict=True):
            if one.gateways is not None:
                user.membership.gateways.set(one.gateways)
        Invitation.objects.bulk_create(Invitation(user=user, invited_by=by) for user in people)
        before = {pk for pks in present.values() for pk in pks}
        unsent = Invitation.objects.filter(sent_at=None)
        # Those that the mail server refused or put off are tried again.
        unsent.filter(user__in=before).exclude(error="").update(error="", retry_at=None)
        everybody = before | {user.pk for user in people}
        pks = list(unsent.filter(user__in=everybody).values_list("pk", flat=True))
    return len(invited) - len(new), pks


def _accounts(emails: Collection[str]) -> dict[str, set[int]]:
    """Return the accounts that have these as mail address or name, in any letter case."""
    found: dict[str, set[int]] = {}
    people = User.objects.annotate(address=Lower("email"), name=Lower("username"))
    some = people.filter(Q(address__among=emails) | Q(name__among=emails))
    for pk, *names in some.values_list("pk", "address", "name"):
        for name in names:
            found.setdefault(name, set()).add(pk)
    return found


# Mails


def send_invitations(site_url: str, progress: Progress | None = None) -> Sent:
    """Send all mails that wait, over one connection. Raises MailAway.

    One that another process is about to send is waited for: it may have been killed.
    """
    return _send(Invitation.objects.all(), site_url, waits=True, progress=progress)


def _send(
    rows: InvitationQuerySet, site_url: str, *, waits: bool, progress: Progress | None = None
) -> Sent:
    total, done = rows.waiting().count(), Counter[str]()
    with Mailer() as mailer:
        for claimed in _claims(rows, waits):
            claimed_at = monotonic()
            try:
                for invitation in claimed:
                    release_connection()
                    refusal = mailer.send(_mail(invitation, site_url))
                    done[_record(invitation, refusal)] += 1
                    if progress:
                        progress(done.total(), total)
                    if monotonic() - claimed_at > BEGIN_WITHIN_SECONDS:
                        break
            finally:
                _give_back(claimed)
    return Sent(done["sent"], done["refused"], done["put off"])


def _claims(rows: InvitationQuerySet, waits: bool) -> Iterator[list[Invitation]]:
    """Claim those that wait, some when the ones before are done."""
    while True:
        while claimed := _claim(rows):
            yield claimed
        if not waits or not rows.waiting().exists():
            return
        release_connection()
        sleep(LOOK_AGAIN_SECONDS)


def _claim(rows: InvitationQuerySet) -> list[Invitation]:
    with transaction.atomic():
        free = rows.free().select_related("user").annotate(claimed_at=Now()).order_by("pk")
        # Without SKIP LOCKED (SQLite) there is one writer at a time, so no row is locked.
        if connection.features.has_select_for_update_skip_locked:
            free = free.select_for_update(skip_locked=True, of=("self",))
        claimed: list[Any] = list(free[:CLAIMED_AT_ONCE])
        if claimed:
            until = claimed[0].claimed_at + CLAIM
            for invitation in claimed:
                invitation.claimed_until = until
            pks = [invitation.pk for invitation in claimed]
            Invitation.objects.filter(pk__in=pks).update(claimed_until=until)
    return claimed


def _give_back(claimed: list[Invitation]) -> None:
    """Let others send what is left of a claim, and is no claim of theirs already."""
    pks = [invitation.pk for invitation in claimed]
    left = Invitation.objects.filter(pk__in=pks, claimed_until=claimed[0].claimed_until)
    left.update(claimed_until=None)


def _record(invitation: Invitation, refusal: Refusal | None) -> str:
    """Keep what became of a mail, and return it in a word or two."""
    # Of a person deleted meanwhile there is no row: that stops nobody else.
    row = Invitation.objects.filter(pk=invitation.pk)
    if refusal is None:
        row.update(sent_at=timezone.now(), error="", retry_at=None, claimed_until=None)
        return "sent"
    if refusal.for_good:
        row.update(error=refusal.why, retry_at=None, claimed_until=None)
        return "refused"
    row.update(error=refusal.why, retry_at=Now() + PUT_OFF, claimed_until=None)
    return "put off"


def _mail(invitation: Invitation, site_url: str) -> EmailMessage:
    user = invitation.user
    by = f" by {invitation.invited_by}" if invitation.invited_by else ""
    text = (
        f"You are invited{by} to the devices at {site_url}\n\n"
        f"Open your account:\n{link_to(user, INVITATION, site_url)}\n\n"
        f"The link works once, for {INVITATION_LASTS.days} days."
    )
    host = site_url.partition("://")[2].partition("/")[0].partition(":")[0]
    # Always the same: a mail program shows one that came twice once.
    message_id = f"<invitation-{invitation.pk}-{invitation.invited_at:%Y%m%d%H%M%S%f}@{host}>"
    return EmailMessage(
        "Your invitation", text, to=[user.email], headers={"Message-ID": message_id}
    )
