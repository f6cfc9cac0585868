"""The log-in behind a socket: looked up when it opens, checked again while it is open."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.models import Session
from django.db.models import CharField, Value
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.utils import timezone

from core.models import Right, Token, User, access_of
from core.models.access import limits_of
from core.models.site_import import whole


@dataclass(frozen=True, slots=True)
class LogIn:
    """A log-in as it was when the socket opened; all empty: nobody in particular."""

    session: str = ""
    user_pk: int | None = None
    password: str = ""
    """As it is stored: with another one the log-in is over."""
    gateways: frozenset[int] | None = None
    """Those that the person may see, None for all: with others the log-in is over."""
    token: int | None = None
    """In place of session and password: the token that a program logged in with."""
    devices: frozenset[int] | None = None
    """The same as `gateways` of devices, for a token."""


class NotAdmitted(Exception):
    """The log-in is over or there never was one, and the pages are not public.

    Or only a part of another site is stored here.
    """


def admit(session_key: str) -> LogIn:
    """Return the log-in of a session's key, "" without a cookie. Raises NotAdmitted.

    A session that is over is refused even where pages are public: the page that opened the socket
    is then older than the log-out.
    """
    if whole.refusal():
        raise NotAdmitted
    if not session_key:
        return _anybody()
    if "\0" in session_key:  # PostgreSQL takes none
        raise NotAdmitted
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if request.session.session_key is None:  # there is no such session, or it is over
        raise NotAdmitted
    if not isinstance(user, User):
        return _anybody()
    return LogIn(session_key, user.pk, user.password, access_of(user).gateways)


def _anybody() -> LogIn:
    if not settings.PUBLIC_STATUS:
        raise NotAdmitted
    return LogIn()


def still_there(log_ins: Collection[LogIn]) -> set[LogIn]:
    """Return those that are still valid, in two queries, and a few for each token.

    Valid is: the session has not expired, the user is active, the password is the same, and the
    person may see the same gateways.
    """
    tokens = {log_in for log_in in log_ins if log_in.token is not None}
    named = [one for one in log_ins if one.user_pk is not None and one not in tokens]
    sessions = Session.objects.filter(
        session_key__in={log_in.session for log_in in named}, expire_date__gt=timezone.now()
    )
    users = User.objects.filter(pk__in={log_in.user_pk for log_in in named}, is_active=True)
    rows = set(
        sessions.values_list("session_key", Value("session")).union(
            users.values_list(Cast("pk", CharField(max_length=40)), "password"), all=True
        )
    )
    limits = limits_of({log_in.user_pk for log_in in named if log_in.user_pk})
    valid = with_token(log_in.token for log_in in tokens if log_in.token)
    return {
        log_in
        for log_in in log_ins
        if log_in.user_pk is None
        or log_in in valid
        or (
            {(log_in.session, "session"), (str(log_in.user_pk), log_in.password)} <= rows
            and log_in.gateways == limits.get(log_in.user_pk)
        )
    }


def with_token(pks: Iterable[int]) -> set[LogIn]:
    """Return the log-ins of those of these tokens that are valid, and may read."""
    found = set()
    for token in Token.objects.valid(timezone.now()).filter(pk__in=list(pks)):
        access = token.access
        if access.may(Right.READ):
            log_in = LogIn(
                user_pk=token.user_id,
                gateways=access.gateways,
                token=token.pk,
                devices=access.devices,
            )
            found.add(log_in)
    return found
