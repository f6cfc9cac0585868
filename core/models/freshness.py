"""How fresh the values of a device or an attribute are: the same answer in Python and in SQL."""

from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, Value, When
from django.utils import timezone


class Freshness(StrEnum):
    """How far the latest value can be trusted. Worst first: pages list them in this order."""

    UNREACHABLE = "unreachable"
    """The gateway failed when asked, or says that it cannot reach the device."""
    STALE = "stale"
    """The sensor is dead: the gateway answers, but with a measurement older than a day; or a device
    that pushes has missed two of its own intervals."""
    LATE = "late"
    """Nobody asked for more than two intervals: the scheduler, not the device."""
    NEVER = "never"
    """Not heard yet."""
    FRESH = "fresh"
    PAUSED = "paused"
    """A person disabled the device or its gateway: nobody asks, and nothing is wrong."""


FRESHNESS_RANKS = tuple(Freshness)

STALE_AFTER = timedelta(days=1)


def late_after() -> timedelta:
    """Say after how long without an answer a value is late: two missed polls, as one is no news."""
    after: timedelta = settings.SCHEDULE["poll_devices"].late_after(timezone.now())
    return after


def freshness(
    heard_at: datetime | None,
    measured_at: datetime | None,
    available: bool,
    failures: int,
    now: datetime,
    due_at: datetime | None = None,
) -> Freshness:
    """Say how fresh a value is. `failures` are those of the gateway, in a row.

    `due_at` is None for what is asked. Of a device that pushes, it is when it is silent too long.
    """
    if heard_at is None:
        return Freshness.UNREACHABLE if failures else Freshness.NEVER
    if not available:
        return Freshness.UNREACHABLE
    if due_at is not None and now > due_at:
        return Freshness.STALE
    # What pushes is not asked: late polls say nothing of it.
    if due_at is None and now - heard_at > late_after():
        return Freshness.UNREACHABLE if failures else Freshness.LATE
    if measured_at is not None and now - measured_at > STALE_AFTER:
        return Freshness.STALE
    return Freshness.FRESH


def freshness_rank(now: datetime) -> Case:
    """Make the expression that gives each device its index in FRESHNESS_RANKS.

    It must agree with freshness(); a test compares the two.
    """
    is_late = Q(heard_at__lt=now - late_after(), due_at=None)
    is_failing = Q(gateway__failures__gt=0)
    # The first condition that holds counts.
    rows = (
        (Q(enabled=False) | Q(gateway__enabled=False), Freshness.PAUSED),
        (Q(heard_at=None) & is_failing, Freshness.UNREACHABLE),
        (Q(heard_at=None), Freshness.NEVER),
        (Q(available=False), Freshness.UNREACHABLE),
        (is_late & is_failing, Freshness.UNREACHABLE),
        (is_late, Freshness.LATE),
        (Q(due_at__lt=now), Freshness.STALE),
        (Q(measured_at__lt=now - STALE_AFTER), Freshness.STALE),
    )
    ranks = [When(condition, then=Value(FRESHNESS_RANKS.index(state))) for condition, state in rows]
    return Case(
        *ranks,
        default=Value(FRESHNESS_RANKS.index(Freshness.FRESH)),
        output_field=models.SmallIntegerField(),
    )
