"""Who wins when several want something of a device, when a rule has to wait, and how the device finds its own way back.

A person's hold goes before the fail-safe, that before a guard, that before a rule's plan. Pure functions: the tables are in
tests/core/test_arbiter.py, every cell of them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

HOUR = timedelta(hours=1)


class Source(StrEnum):
    """Whose word an order is. The first in this list that has a word wins."""

    HUMAN = "human"
    FAIL_SAFE = "fail-safe"
    GUARD = "guard"
    RULE = "rule"


def winner(*, held: bool, fail_safe: bool, guard: bool, rule: bool) -> Source | None:
    """Of those that have a word (a hold, a fail-safe that is due, a guard that averts harm, a rule that decided), the one that
    is heard. None: nobody has, and the device is left alone."""
    words = {
        Source.HUMAN: held,
        Source.FAIL_SAFE: fail_safe,
        Source.GUARD: guard,
        Source.RULE: rule,
    }
    return next((source for source in Source if words[source]), None)


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
    """Why a switch has to wait, for the end of a sentence; "" if it need not. `switches` are those of the last hour.

    Only a rule waits: for a guard or a fail-safe, switching often is the smaller evil.
    """
    if source is not Source.RULE or is_on == wanted:
        return ""
    least = limits.min_on if is_on else limits.min_off
    if changed_at is not None and timedelta() <= now - changed_at < least:
        state = "on" if is_on else "off"
        return f"it has been {state} for {_minutes(now - changed_at)} of at least {_minutes(least)} min"
    if limits.most_switches_an_hour and switches >= limits.most_switches_an_hour:
        return f"it was switched {switches} times in the last hour, and no more is allowed"
    return ""


def way_back(
    value: object, fail_safe: str, until: datetime | None, now: datetime, every: timedelta
) -> timedelta | None:
    """After how long the device is to go back by itself, if it has a timer: only from what is not its fail-safe state.

    `until` is how long the decision is expected to hold, `every` how often it is made anew: the timer runs two rounds longer,
    so that it never runs out while somebody is there to decide. None: it needs no way back.
    """
    if (
        not isinstance(value, bool)
        or fail_safe not in ("on", "off")
        or value == (fail_safe == "on")
    ):
        return None
    lasts = until - now if until and until > now else HOUR
    return lasts + 2 * every


def is_renewed(
    reverts_at: datetime | None, lasts: timedelta, now: datetime, every: timedelta
) -> bool:
    """Whether a running timer has to be set anew: it would run out within two rounds, and the decision lasts longer."""
    soon = now + 2 * every
    return reverts_at is None or reverts_at < soon and now + lasts > reverts_at + every / 2


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f}"
