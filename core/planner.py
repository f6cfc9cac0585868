"""The cleanest or cheapest time to run: pure functions over slots. No clock, no database.

A *job* is so many minutes of running before a deadline; a *plan* is the windows in which it runs and what that is expected
to cost. The cost is the integral of the slots' values over the windows, times the power: grams of CO2 where slots are in
gCO2/kWh, money where they are in money per kWh. The unit is always told with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.feeds import Slot


@dataclass(frozen=True, slots=True)
class Window:
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. `minutes` of running in all between `opens_at` and `deadline`, `delivered` of them done already.

    `min_on`, `min_off`: no run, and no pause between two runs, is shorter (a remainder shorter than `min_on` is rounded up
    to it where it must stand alone). `contiguous`: in one run. `latest`: among equals the latest, else the earliest.
    `watts` is what the device draws while it runs.
    """

    opens_at: datetime
    deadline: datetime
    minutes: float
    delivered: float = 0
    watts: float = 1000
    contiguous: bool = False
    latest: bool = False
    min_on: timedelta = timedelta()
    min_off: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class Plan:
    """Windows in order of time, apart from each other, all after `now` of the call; what they cost in `unit` (gCO2, GBP).

    `short_minutes` is how much of the job fits nowhere any more: before the deadline, or in what the slots cover.
    """

    job: Job
    windows: tuple[Window, ...]
    cost: float
    unit: str
    short_minutes: float = 0

    def is_on(self, at: datetime) -> bool:
        return any(window.starts_at <= at < window.ends_at for window in self.windows)


def plan(
    job: Job, slots: Sequence[Slot], now: datetime, on_since: datetime | None = None, off_since: datetime | None = None
) -> Plan:
    """The best windows for what is left of a job. `on_since`: it runs now, since then (a run may go on without a new start,
    and must until `min_on` is over); `off_since`: it has been off since then (`min_off` holds it off)."""
    raise NotImplementedError


def cost(windows: Sequence[Window], slots: Sequence[Slot], watts: float) -> float | None:
    """What running in these windows costs; None where the slots do not cover them."""
    raise NotImplementedError


def at_once(job: Job, slots: Sequence[Slot]) -> Plan:
    """What a person without a planner does: switch on when the job opens, for as long as it takes."""
    raise NotImplementedError


def kept(previous: Plan, fresh: Plan, slots: Sequence[Slot], now: datetime, gain: float = 0.05, at_least: float = 0) -> Plan:
    """The previous plan, with its cost by today's slots, unless the fresh one is better by more than the share `gain` of it
    (and by `at_least` in its unit), or the previous one no longer delivers the job. Plans that churn help nobody."""
    raise NotImplementedError
