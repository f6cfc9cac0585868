"""When a gateway fails: what is kept of it, and how long the gateway is left alone."""

from datetime import datetime, timedelta
from typing import NamedTuple

from core.models import SecretUnreadable
from core.net.errors import ApiError, ApiRefused
from core.vendors import UnknownVendor

FIRST_REST = timedelta(minutes=10)
LONGEST_REST = timedelta(hours=6)
REFUSED_REST = timedelta(hours=1)
LONGEST_REFUSED_REST = timedelta(days=1)


class GatewayHealth(NamedTuple):
    """What a gateway's row says of how it did. `answered_at` None: as it was."""

    asked_at: datetime
    answered_at: datetime | None
    failures: int
    error: str
    refused: bool
    retry_at: datetime | None


def health_after(asked_at: datetime, error: Exception | None, failures: int) -> GatewayHealth:
    """How a gateway did that was asked, with what error, after so many failures in a row."""
    if error is None:
        return GatewayHealth(asked_at, asked_at, 0, "", refused=False, retry_at=None)
    failures += 1
    refused = not isinstance(error, ApiError | TimeoutError)
    rest = rest_after(failures, refused, getattr(error, "retry_after", None))
    return GatewayHealth(
        asked_at, None, failures, complaint(error), refused, asked_at + rest if rest else None
    )


def rest_after(failures: int, refused: bool, retry_after: float | None) -> timedelta:
    """How long a gateway is left alone after it failed so many times in a row.

    The first failure costs nothing; then the rest doubles. A refusal rests longer from the start: asking again with a bad
    password gets accounts locked. What the vendor asks for is honoured, up to a day.
    """
    if refused:
        rest = min(REFUSED_REST * 2.0 ** min(failures - 1, 10), LONGEST_REFUSED_REST)
    else:
        rest = min(FIRST_REST * (2.0 ** min(failures - 1, 10) - 1), LONGEST_REST)
    asked_for = min(timedelta(seconds=retry_after or 0), LONGEST_REFUSED_REST)
    return max(rest, asked_for)


def complaint(error: Exception) -> str:
    """An error as a person should read it: ours are sentences, others name what broke."""
    ours = isinstance(
        error, ApiError | ApiRefused | SecretUnreadable | TimeoutError | UnknownVendor
    )
    text = (
        str(error)
        if ours and str(error)
        else f"{type(error).__name__}: {error} (a fault in the vendor's client)"
    )
    return text.replace("\x00", "")[:500]
