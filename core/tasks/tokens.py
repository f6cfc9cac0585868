"""Issue, find, rotate and revoke tokens. The text of a token exists only while it is shown."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.formatting import counted
from core.models import Device, Gateway, Membership, Right, Token, User, access_of
from core.models.access import learn_access
from core.models.token import LONGEST_OVERLAP, PATTERN, digest_of, is_well_formed, new_text
from core.serializers import utc_text

# Each request with a token begins with it. Django takes a millisecond to write a query of three
# tables, and as long again for the membership alone; the database answers in a fiftieth of that.
FIND = """
SELECT token.*, person.username, person.is_active, person.is_superuser,
    membership.id AS membership, membership.role, membership.everywhere
FROM core_token AS token JOIN core_user AS person ON person.id = token.user_id
LEFT JOIN core_membership AS membership ON membership.user_id = person.id
WHERE token.digest = %s
"""
LOGS_IN = ("valid", "rotated")

MOST_TOKENS = 1_000
"""Valid ones a person may have."""


class NotIssued(ValueError):
    """A token cannot be made as it is wanted. The message says why."""


class Issued(NamedTuple):
    """A new token and its text, which is stored nowhere."""

    token: Token
    text: str


def issue(
    user: User,
    name: str,
    rights: Collection[Right],
    *,
    gateways: Collection[Gateway] | None = None,
    devices: Collection[Device] | None = None,
    lasts: timedelta | None = None,
    alone: bool = False,
    plan: str = "",
) -> Issued:
    """Make a token. Without `gateways` or `devices` it is for all that its person may see.

    `lasts` None: it does not expire. `alone` revokes all others of the person: one session at a
    time. `plan` is one of API_PLANS. Raises NotIssued.
    """
    if plan and plan not in settings.API_PLANS:
        plans = ", ".join(settings.API_PLANS) or "none"
        raise NotIssued(f"There is no plan {plan}. API_PLANS has: {plans}.")
    if not rights:
        raise NotIssued("A token without a right is of no use: give it read, control or ingest.")
    lacking = [right for right in Right if right in rights and right not in access_of(user).rights]
    if lacking:
        raise NotIssued(f"{user} may not {lacking[0]}, so no token of {user} may.")
    now = timezone.now()
    with transaction.atomic():
        # Locked: of two at once that are to be alone, the later one is.
        User.objects.select_for_update().get(pk=user.pk)
        if alone:
            revoke_all(user)
        if Token.objects.of(user).valid(now).count() >= MOST_TOKENS:
            raise NotIssued(f"{user} has {MOST_TOKENS} tokens. Revoke some of them.")
        return _make(
            now,
            user=user,
            name=name,
            rights=[right.value for right in Right if right in rights],
            gateways=gateways,
            devices=devices,
            expires_at=now + lasts if lasts else None,
            plan=plan,
        )


def _make(
    now: datetime,
    gateways: Collection[Gateway] | None,
    devices: Collection[Device] | None,
    **fields: Any,
) -> Issued:
    text = new_text()
    token = Token.objects.create(
        digest=digest_of(text),
        ending=text[-4:],
        created_at=now,
        all_gateways=gateways is None,
        all_devices=devices is None,
        **fields,
    )
    token.gateways.set(gateways or ())
    token.devices.set(devices or ())
    return Issued(token, text)


def find(text: str) -> Token | None:
    """Return the token that logs in with this text, with its person, or None.

    What is no token by its checksum costs no query. The day of its last use is written once a day.
    """
    if not is_well_formed(text):
        return None
    now, token = timezone.now(), _read(digest_of(text))
    if token is None or not token.user.is_active or token.state(now) not in LOGS_IN:
        return None
    if token.last_used_on != now.date():
        Token.objects.filter(pk=token.pk).update(last_used_on=now.date())
    return token


def _read(digest: str) -> Token | None:
    """Read a token with its person, and what that person may do."""
    found: Any = next(iter(Token.objects.raw(FIND, [digest])), None)
    if found is None:
        return None
    # In the order of the model's fields; all others are read when somebody asks for them.
    person = {
        "id": found.user_id,
        "is_superuser": bool(found.is_superuser),
        "username": found.username,
        "is_active": bool(found.is_active),
    }
    user = User.from_db(found._state.db, list(person), list(person.values()))
    membership = None
    if found.role:
        membership = Membership(found.membership, found.user_id, found.role, bool(found.everywhere))
    learn_access(user, membership)
    token: Token = found
    token.user = user
    return token


def rotate(token: Token, overlap: timedelta) -> Issued:
    """Make a token that may the same, and let the old one log in for `overlap` more.

    Raises NotIssued.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise NotIssued(f"Both may work for at most {LONGEST_OVERLAP.days} days.")
    now = timezone.now()
    with transaction.atomic():
        old = Token.objects.select_for_update().get(pk=token.pk)
        if old.state(now) != "valid":
            raise NotIssued(f"{old} is {old.state(now)}: issue a new token.")
        lasts = old.expires_at - old.created_at if old.expires_at else None
        issued = _make(
            now,
            user=old.user,
            name=old.name,
            rights=old.rights,
            gateways=None if old.all_gateways else list(old.gateways.all()),
            devices=None if old.all_devices else list(old.devices.all()),
            expires_at=now + lasts if lasts else None,
            plan=old.plan,
            lineage=old.first,
        )
        ends = now + overlap
        old.expires_at = min(ends, old.expires_at) if old.expires_at else ends
        old.replaced_by = issued.token
        old.save(update_fields=["expires_at", "replaced_by"])
    return issued


def revoke(tokens: Iterable[int]) -> int:
    """End tokens at once. Return how many were still valid or rotated."""
    return Token.objects.filter(pk__in=tokens, revoked_at=None).update(revoked_at=timezone.now())


def tokens_in(lines: Iterable[str]) -> list[Token]:
    """Return the tokens whose text stands in these lines, such as those of a leaked file."""
    texts = {text for line in lines for text in PATTERN.findall(line)}
    digests = [digest_of(text) for text in texts if is_well_formed(text)]
    with_people = Token.objects.select_related("user")
    return sorted(with_people.in_bulk(digests, field_name="digest").values(), key=attrgetter("pk"))


def revoke_all(user: User) -> int:
    return Token.objects.of(user).filter(revoked_at=None).update(revoked_at=timezone.now())


def tokens_json(user: User | None = None) -> list[dict[str, Any]]:
    """Show tokens, newest first, of one person or of all. Never their text."""
    now = timezone.now()
    tokens = Token.objects.select_related("user").prefetch_related("gateways", "devices")
    return [token_json(token, now) for token in (tokens.of(user) if user else tokens)]


def token_json(token: Token, now: datetime) -> dict[str, Any]:
    gateways = None if token.all_gateways else [gateway.pk for gateway in token.gateways.all()]
    devices = None if token.all_devices else [device.pk for device in token.devices.all()]
    return {
        "id": token.pk,
        "name": token.name,
        "ending": token.ending,
        "user": token.user.get_username(),
        "state": token.state(now),
        "rights": token.rights,
        "gateways": gateways,
        "devices": devices,
        "created_at": utc_text(token.created_at),
        "expires_at": utc_text(token.expires_at),
        "last_used_on": token.last_used_on.isoformat() if token.last_used_on else None,
        "replaced_by": token.replaced_by_id,
        "plan": token.plan or None,
    }


def in_words(tokens: list[dict[str, Any]]) -> str:
    """Say it in lines for people."""
    if not tokens:
        return "No tokens. Make one with: python manage.py issue_token USER NAME --right read"
    return "\n".join(map(_line, tokens))


def _line(token: dict[str, Any]) -> str:
    where = "everywhere"
    limits = [
        counted(len(token[what]), what.removesuffix("s"))
        for what in ("gateways", "devices")
        if token[what] is not None
    ]
    if limits:
        where = "for " + " and ".join(limits)
    ends = f"until {token['expires_at'][:16]}Z" if token["expires_at"] else "does not expire"
    used = f"last used {token['last_used_on']}" if token["last_used_on"] else "never used"
    return (
        f"{token['id']:>4}  {token['state']:<8} {token['name']} (...{token['ending']}) of "
        f"{token['user']}: {', '.join(token['rights'])} {where}, {ends}, {used}"
    )
