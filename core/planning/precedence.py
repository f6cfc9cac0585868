"""Decide who wins when several want something of a device: human hold > guard > fail-safe > plan.

Also when a rule has to wait, and how a device goes back by itself. Pure functions; every cell of
their tables is in tests/core/planning/test_precedence.py.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.readings import Source

HOUR = timedelta(hours=1)
# A guard averts harm by what it sees. The fail-safe knows only that somebody else cannot see, so it
# must never switch on in a thunderstorm that the guard warns of.
ORDER = (Source.HUMAN, Source.GUARD, Source.FAIL_SAFE, Source.RULE)


def winner(*, held: bool, guard: bool, fail_safe: bool, rule: bool) -> Source | None:
    """Return who decides, of those that want something. None: the device is left alone.

    `held`: a person's hold; `guard`: a guard sees harm and averts it; `fail_safe`: it is due;
    `rule`: a rule decided.
    """
    wants = {
        Source.HUMAN: held,
        Source.GUARD: guard,
        Source.FAIL_SAFE: fail_safe,
        Source.RULE: rule,
    }
    return next((source for source in ORDER if wants[source]), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a rule may switch. 0 of `most_switches_an_hour` is no limit."""

    min_on: timedelta = timedelta()
    min_off: timedelta = timedelta()
    most_switches_an_hour: int = 0


def waits(
    limits: Limits,
    source: Source,
    is_on: bool,
    wanted: bool,
    changed_at: datetime | None,
    switches: int,
    now: datetime,
) -> str:
    """Say why a switch has to wait, for the end of a sentence; "" if it need not.

    `switches` is how often a rule switched in the last hour. Only a rule waits: for a guard or a
    fail-safe, switching often is the smaller evil.
    """
    if source is not Source.RULE or is_on == wanted:
        return ""
    least = limits.min_on if is_on else limits.min_off
    # A change ahead of now, by a wrong clock, never makes a rule wait.
    if changed_at is not None and timedelta() <= now - changed_at < least:
        state = "on" if is_on else "off"
        lasted = _minutes(now - changed_at)
        return f"it has been {state} for {lasted} of at least {_minutes(least)} min"
    if limits.most_switches_an_hour and switches >= limits.most_switches_an_hour:
        return f"it was switched {switches} times in the last hour, and no more is allowed"
    return ""


def way_back(
    value: object, fail_safe: str, until: datetime | None, now: datetime, every: timedelta
) -> timedelta | None:
    """After how long a device with a timer is to go back by itself to its fail-safe state.

    `until` is how long the decision is expected to hold, `every` how often it is made anew: the
    timer runs two rounds longer, so that it never runs out while decisions are made. None: it is
    set to its fail-safe state, or has none.
    """
    if not isinstance(value, bool) or fail_safe not in ("on", "off"):
        return None
    if value == (fail_safe == "on"):
        return None
    # An end that is unknown or past says nothing: an hour is assumed.
    lasts = until - now if until and until > now else HOUR
    return lasts + 2 * every


def is_renewed(
    reverts_at: datetime | None, lasts: timedelta, now: datetime, every: timedelta
) -> bool:
    """Whether a running timer has to be set anew.

    So if it would run out within two rounds, and the decision lasts longer.
    """
    # A timer that would gain less than half a round is not set again.
    soon = now + 2 * every
    return reverts_at is None or reverts_at < soon and now + lasts > reverts_at + every / 2


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f}"
