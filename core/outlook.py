"""What is expected of an outside signal, from the best source there is: the ladder of forecasts. Pure functions.

The rungs: a live forecast; the last one, as far as it reaches; a typical day, from what was measured at the same time of day
in the weeks before; none, and then a rule can only meet its deadline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from core.feeds import Signal, Slot


class Rung(StrEnum):
    LIVE = "live forecast"
    LAST = "last forecast"
    TYPICAL = "typical day"
    NONE = "no forecast"


@dataclass(frozen=True, slots=True)
class Outlook:
    """`slots` in order of time, without overlap, from the one that holds `now` on. `rung` is that of the slot that holds now
    (or the first one); from `typical_from` on they are of a typical day. `issued_at` is of the forecast, None without one."""

    signal: Signal
    slots: tuple[Slot, ...] = ()
    rung: Rung = Rung.NONE
    issued_at: datetime | None = None
    typical_from: datetime | None = None

    def at(self, time: datetime) -> Slot | None:
        """The slot that holds a time."""
        return next((slot for slot in self.slots if slot.starts_at <= time < slot.ends_at), None)

    def source(self, now: datetime) -> str:
        """Where it comes from, for the end of a sentence: "" for a live forecast, else such as
        "by the last forecast, 5 h old", "by a typical day", "by the forecast, and a typical day after 14:00 UTC"."""
        raise NotImplementedError


def outlook(
    signal: Signal,
    now: datetime,
    until: datetime,
    forecast: Sequence[Slot],
    measurements: Sequence[Slot],
    every: timedelta,
) -> Outlook:
    """`forecast` is the newest issue known at `now`; `measurements` those of the weeks before, as known at `now`."""
    raise NotImplementedError


Outlooks = Mapping[Signal, Outlook]
