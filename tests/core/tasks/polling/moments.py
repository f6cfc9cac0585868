"""Whether calls kept apart, told in a way that holds on a busy machine too.

A call may be late, so when it arrived says nothing. When its moment was to be is known from when it
was reserved, to within the time that took.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from core.tasks.polling.rate_limit import Pace

CLOCKS_DIFFER = 0.01
"""Seconds. SQLite's clock counts milliseconds."""


@dataclass(frozen=True)
class Moment:
    """A moment that was reserved, on the monotonic clock, which processes share: in seconds."""

    earliest: float
    latest: float

    def may_be_apart_from(self, other: "Moment", seconds: float) -> bool:
        most = max(self.latest - other.earliest, other.latest - self.earliest)
        return most > seconds - CLOCKS_DIFFER


def reserving(note: Callable[[Moment], None]) -> Callable[[Pace], tuple[bool, float]]:
    """A `Pace._reserve` that notes each moment it reserves."""
    reserve = Pace._reserve

    def reserve_and_note(pace: Pace) -> tuple[bool, float]:
        before = time.monotonic()
        is_ours, wait = reserve(pace)
        if is_ours:
            note(Moment(before + wait, time.monotonic() + wait))
        return is_ours, wait

    return reserve_and_note


def assert_apart(moments: list[Moment], seconds: float) -> None:
    for one, other in combinations(moments, 2):
        assert one.may_be_apart_from(other, seconds), (one, other)
