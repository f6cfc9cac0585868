"""Back off from a gateway that fails: what is stored of it, and how long it is left alone."""

from datetime import datetime, timedelta
from typing import NamedTuple

from core.models import SecretUnreadable
from core.net.errors import ApiError, ApiRefused, Unreachable
from core.readings import printable
from core.vendors import UnknownVendor

# A rest is the time for which a gateway is not asked.
FIRST_REST = timedelta(minutes=10)
LONGEST_REST = timedelta(hours=6)
REFUSED_REST = timedelta(hours=1)
LONGEST_REFUSED_REST = timedelta(days=1)

OURS = (ApiError, ApiRefused, SecretUnreadable, TimeoutError, UnknownVendor)
"""Errors whose messages are sentences for people."""


class GatewayHealth(NamedTuple):
    """How a gateway did, as its row keeps it. `answered_at` None: it did not answer this time."""

    asked_at: datetime
    answered_at: datetime | None
    failures: int
    error: str
    refused: bool
    retry_at: datetime | None


class Sleep(NamedTuple):
    """How often a gateway on battery wakes, and when it last answered."""

    wakes_every: timedelta
    answered_at: datetime | None

    def next_wake_up(self, now: datetime) -> datetime:
        """Return when it wakes next, at most one period from now whatever the clocks did."""
        since = (now - (self.answered_at or now)) % self.wakes_every
        return now + self.wakes_every - since


def is_asleep(error: Exception, wakes_every: timedelta | None) -> bool:
    """Return whether a gateway only sleeps: one on battery of which nobody answered.

    One that answers nonsense is awake, and has failed.
    """
    return bool(wakes_every) and isinstance(error, Unreachable | TimeoutError)


def health_after(
    asked_at: datetime, error: Exception | None, failures: int, sleep: Sleep | None = None
) -> GatewayHealth:
    """Return how a gateway did that was asked.

    `error` is what came of it, None for an answer; `failures` are those in a row before it. One
    that sleeps is asked again when it wakes, however often it failed.
    """
    if error is None:
        return GatewayHealth(asked_at, asked_at, 0, "", refused=False, retry_at=None)
    failures += 1
    # A fault in a client counts as a refusal: only a person can mend it.
    refused = not isinstance(error, ApiError | TimeoutError)
    rest = rest_after(failures, refused, getattr(error, "retry_after", None))
    retry_at = asked_at + rest if rest else None
    if retry_at and sleep and is_asleep(error, sleep.wakes_every):
        retry_at = min(retry_at, sleep.next_wake_up(asked_at))
    return GatewayHealth(asked_at, None, failures, complaint(error), refused, retry_at)


def rest_after(failures: int, refused: bool, retry_after: float | None) -> timedelta:
    """Return how long a gateway is left alone after it failed so many times in a row.

    The first failure costs nothing; then the rest doubles. A refusal rests longer from the start:
    asking again with a bad password gets accounts locked. `retry_after`, seconds that the vendor
    asked for, is honoured up to a day.
    """
    # The exponent is bounded because timedelta overflows long before a float does.
    if refused:
        rest = min(REFUSED_REST * 2.0 ** min(failures - 1, 10), LONGEST_REFUSED_REST)
    else:
        rest = min(FIRST_REST * (2.0 ** min(failures - 1, 10) - 1), LONGEST_REST)
    asked_for = min(timedelta(seconds=retry_after or 0), LONGEST_REFUSED_REST)
    return max(rest, asked_for)


def complaint(error: Exception) -> str:
    """Return an error as text for people: ours are sentences, of others the type is named too."""
    text = str(error)
    if not text or not isinstance(error, OURS):
        text = f"{type(error).__name__}: {error} (a fault in the vendor's client)"
    return printable(text)[:500]
