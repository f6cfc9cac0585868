"""Log-ins: how often a password may be guessed, and how many are hashed at once.

All is counted in this process, before the database is asked or anything hashed: with two web
processes somebody has twice as many guesses. django-axes counts a guess only after its hashing, so
that any number at once pass, and has no limit of what is hashed at once.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from threading import BoundedSemaphore, Lock
from time import monotonic
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from core.models import Device, Gateway, User, access_of
from core.models.access import right_for
from core.models.connections import release_connection
from core.net.addresses import client_address
from core.net.limits import Recent

MOST_GUESSES = 10
"""Wrong ones from one address, and on one account."""
SPAN_SECONDS = 15 * 60
HASHED_AT_ONCE = 2
LONGEST_WAIT_SECONDS = 5.0
OF_ALL = {"core.add_gateway", "core.change_site", "core.change_membership"}
"""Permissions for what is of all gateways: not for who is limited to some."""


class LogInRefused(Exception):
    """No password was looked at. The message says when to try again."""


class Guesses:
    """When guesses began, by address and by account. One that turns out right is given back."""

    def __init__(self) -> None:
        self._began: Recent[deque[float]] = Recent(deque)
        self._lock = Lock()

    def begin(self, keys: Sequence[str]) -> None:
        """Count a guess. Raises LogInRefused, and counts nothing, where there were too many."""
        with self._lock:
            now = monotonic()
            counted = [self._within_the_span(key, now) for key in keys]
            waits = [SPAN_SECONDS - (now - times[0]) for times in counted if _is_full(times)]
            if waits:
                minutes = ceil(max(waits) / 60)
                raise LogInRefused(
                    f"Too many wrong passwords. Try again in {minutes} min; until then the right "
                    "one is refused too."
                )
            for times in counted:
                times.append(now)

    def give_back(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                if times := self._began[key]:
                    times.pop()

    def forget(self) -> None:
        self._began.clear()

    def _within_the_span(self, key: str, now: float) -> deque[float]:
        times = self._began[key]
        while times and now - times[0] >= SPAN_SECONDS:
            times.popleft()
        return times


def _is_full(times: deque[float]) -> bool:
    return len(times) >= MOST_GUESSES


guesses = Guesses()
_slots = BoundedSemaphore(HASHED_AT_ONCE)


class Backend(ModelBackend):
    """Compare passwords as Django does, within the limits, and without a database connection."""

    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **credentials: Any,
    ) -> User | None:
        """Return the user if the password is right. Raises LogInRefused."""
        if username is None or password is None:
            return None
        keys = [f"account {username}"]
        if request is not None:
            keys.append(f"address {address_of(request)}")
        guesses.begin(keys)
        try:
            with _hashing():
                user = self._compare(username, password)
        except LogInRefused:
            guesses.give_back(keys)
            raise
        if user is not None:
            guesses.give_back(keys)
        return user

    async def aauthenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **credentials: Any,
    ) -> User | None:
        """Do the same in a thread: ModelBackend's own would go past the limits."""
        within = sync_to_async(self.authenticate)
        return await within(request, username=username, password=password, **credentials)

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        """Answer by the person's role, also for Django's own pages: perms in templates, the admin.

        With a gateway or device as `obj`, the role must reach it.
        """
        access, right = access_of(user_obj), right_for(perm)
        if isinstance(obj, Device):
            return access.may(right, device=obj)
        if isinstance(obj, Gateway):
            return access.may(right, gateway=obj)
        return access.may_everywhere(right) if perm in OF_ALL else access.may(right)

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """Return none: roles answer, without a list."""
        return set()

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        return bool(access_of(user_obj).rights)

    def _compare(self, username: str, password: str) -> User | None:
        user = User.objects.filter(username=username).first()
        release_connection()
        if user is None:
            User().set_password(password)  # it takes as long as for an account that is there
            return None
        is_right = user.check_password(password)
        return user if is_right and self.user_can_authenticate(user) else None


@contextmanager
def _hashing() -> Iterator[None]:
    if not _slots.acquire(timeout=LONGEST_WAIT_SECONDS):
        raise LogInRefused("Too many people log in at this moment. Try again in a minute.")
    try:
        yield
    finally:
        _slots.release()


def address_of(request: HttpRequest) -> str:
    """Return where a request comes from: what counts as one client."""
    forwarded = request.headers.get("X-Forwarded-For")
    is_trusted = settings.SECURE_PROXY_SSL_HEADER is not None
    peer = str(request.META.get("REMOTE_ADDR", ""))
    return client_address(peer, forwarded if is_trusted else None)
