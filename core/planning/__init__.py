"""Find the cleanest or cheapest time to run: pure functions over slots. No clock, no database.

A *job* is so many minutes of running before a deadline; a *plan* is the windows in which it runs
and what that is expected to cost. The cost is the integral of the slots' values over the windows,
times the power: grams of CO2 where slots are in gCO2/kWh, money where they are in money per kWh.

Slots come as `core.feeds.clean_slots` returns them: in order of time, apart, finite. Plans are
exact to the microsecond, and with `min_on` or `min_off` to the minute (see `minimum_times.py`).
Values are compared to a billionth. Nothing runs at a time that no slot covers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from core.feeds import Slot
from core.planning.cheapest import cheapest_runs
from core.planning.contiguous import contiguous_run
from core.planning.curve import Curve, Span, length, merged
from core.planning.minimum_times import MinimumTimes, runs_with_minimum_times
from core.planning.resize import resized_runs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
BILLION = 10**9


class MixedUnits(ValueError):
    """Values in two units, such as prices in two currencies, cannot be compared or added up."""


@dataclass(frozen=True, slots=True)
class Window:
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done: `minutes` of running in all between `opens_at` and `deadline`.

    `delivered`: how many of these minutes are done already. `min_on`, `min_off`: no run, and no
    pause between two runs, is shorter; a remainder shorter than `min_on` is rounded up to it where
    it must stand alone. Only where no run of `min_on` fits any more is it one shorter run, the
    longest that fits. `contiguous`: in one run. `latest`: among equally cheap plans take the
    latest, else the earliest. `watts` is what the device draws while it runs.
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
class WindowPlan:
    """When a job runs: windows in order of time, apart, all after `now` of the call.

    `cost` is in `unit` (gCO2, GBP). `short_minutes` is how much of the job fits nowhere any more:
    before the deadline, or in what the slots cover.
    """

    job: Job
    windows: tuple[Window, ...]
    cost: float
    unit: str
    short_minutes: float = 0

    def is_on(self, at: datetime) -> bool:
        return any(window.starts_at <= at < window.ends_at for window in self.windows)


def plan(
    job: Job,
    slots: Sequence[Slot],
    now: datetime,
    on_since: datetime | None = None,
    off_since: datetime | None = None,
) -> WindowPlan:
    """Return the best windows for what is left of a job.

    `on_since`: the device has been running since then. The run may go on without a new start, and
    must go on until `min_on` is over. `off_since`: it has been off since then, and stays off until
    `min_off` is over.
    """
    amount = round((job.minutes - job.delivered) * MINUTE / TICK)
    if amount <= 0:
        return _window_plan(job, slots, Curve([]), [], 0)
    start = max(_ticks(now), _ticks(job.opens_at))
    forced = None if on_since is None else max(_ticks(on_since + job.min_on) - start, 0)
    if on_since is not None and not forced and now < job.opens_at:
        # It runs before the job opens, and need not: as if it stopped as soon as it may.
        forced, off_since = None, max(now, on_since + job.min_on)
    if forced is None and off_since is not None:
        start = max(start, _ticks(off_since + job.min_off))
    curve = _curve(slots, start, _ticks(job.deadline))
    return _window_plan(job, slots, curve, _runs(job, curve, start, amount, forced), amount)


def _runs(job: Job, curve: Curve, start: int, amount: int, forced: int | None) -> list[Span]:
    """`forced`: it runs at the start, and must go on for so long; None if it is off."""
    begun: list[Span] = []
    if forced is not None and not curve.covers((start, start + max(forced, 1))):
        # It must go on where no slot covers, or beyond the deadline: as much of that as is covered
        # is planned, and the next run waits for the end of a pause.
        if curve.covers((start, start + 1)):
            begun = curve.stretches[:1]
        curve, forced = curve.cut(start + forced + job.min_off // TICK), None
    left = amount - length(begun)
    if left <= 0 or not curve.pieces:
        return begun
    limits = _minimum_times(job, forced)
    runs = begun + (_contiguous if job.contiguous else _split)(job, curve, left, limits)
    # Where no run of the least time on fits any more, a shorter one is better than none.
    return runs or contiguous_run(curve, max(left, limits.min_on), job.latest)


def _split(job: Job, curve: Curve, amount: int, limits: MinimumTimes) -> list[Span]:
    runs = cheapest_runs(curve, amount, job.latest, limits.forced is not None)
    # The cheapest runs of all are the answer if they keep the minimum times anyway. They cost one
    # sort; the search over minutes, which is much slower, is made only if they do not.
    if limits.allow(runs, curve.pieces[0][0]):
        return runs
    return runs_with_minimum_times(curve, amount, limits, job.latest)


def _contiguous(job: Job, curve: Curve, amount: int, limits: MinimumTimes) -> list[Span]:
    """Return one run. A run that has begun to deliver is broken only if a gap would cut it short.

    Then what it still must run comes first, and the rest in one run after a pause.
    """
    if limits.forced is None:
        return _long_enough_run(job, curve, amount, limits)
    first, last = curve.stretches[0]
    must = merged([(first, first + limits.forced)])
    going_on = [(first, min(last, first + max(amount, limits.forced)))]
    after_pause = curve.cut(first + limits.forced + limits.min_off)
    later = _long_enough_run(job, after_pause, amount - length(must), limits)
    if length(going_on) < amount:
        return max(going_on, merged([*must, *later]), key=length)
    if must or job.delivered or length(later) < length(going_on):
        return going_on
    return min(going_on, later, key=lambda runs: curve.integral(runs[0]))


def _long_enough_run(job: Job, curve: Curve, amount: int, limits: MinimumTimes) -> list[Span]:
    """Return one run, or the longest that fits; empty if that is shorter than the least time on."""
    runs = contiguous_run(curve, max(amount, limits.min_on), job.latest)
    return runs if length(runs) >= limits.min_on else []


def cost(windows: Sequence[Window], slots: Sequence[Slot], watts: float) -> float | None:
    """Return what running in these windows costs; None where the slots do not cover them."""
    spans = _spans(windows)
    if not spans:
        return 0
    curve = _curve(slots, spans[0][0], spans[-1][1])
    if not all(map(curve.covers, spans)):
        return None
    return _cost(curve, spans, watts)


def at_once(job: Job, slots: Sequence[Slot]) -> WindowPlan:
    """Return the plan without a planner: on when the job opens, for as long as it takes.

    What no slot covers is not in its cost, and counts as short.
    """
    start, end = _ticks(job.opens_at), _ticks(job.deadline)
    amount = round(job.minutes * MINUTE / TICK)
    spans: list[Span] = []
    if amount > 0:
        spans = merged([(start, min(end, start + max(amount, job.min_on // TICK)))])
    curve = _curve(slots, start, spans[-1][1] if spans else start)
    made = _window_plan(job, slots, curve, spans, amount)
    return replace(made, short_minutes=max(0, amount - length(curve.stretches)) * TICK / MINUTE)


def stable_plan(
    previous: WindowPlan,
    fresh: WindowPlan,
    slots: Sequence[Slot],
    now: datetime,
    gain: float = 0.05,
    on_since: datetime | None = None,
    off_since: datetime | None = None,
) -> WindowPlan:
    """Return the previous plan, priced by today's slots, unless the fresh one is worth a change.

    The fresh plan is returned if it is better by more than the share `gain`, or if the previous
    one no longer delivers the job, or would now pause for less than the least time off. Otherwise
    each forecast would move the plan by a trifle. `on_since` and `off_since` are as for `plan`.
    """
    spans = _still_to_come(previous, fresh, now) if fresh.windows else []
    if spans and _breaks_a_pause(fresh.job, spans[0][0], now, on_since, off_since):
        return fresh
    curve = _curve(slots, spans[0][0], spans[-1][1]) if spans else Curve([])
    if not spans or not all(map(curve.covers, spans)):
        return fresh
    made = _window_plan(fresh.job, slots, curve, spans, 0)
    # Not a share of the cost: it may be near 0 where values above and below 0 add up, and then any
    # trifle would be a gain.
    sizes = Curve((start, end, abs(rate)) for start, end, rate in curve.pieces)
    if made.cost - fresh.cost > gain * _cost(sizes, spans, fresh.job.watts):
        return fresh
    return replace(made, short_minutes=fresh.short_minutes)


def _still_to_come(previous: WindowPlan, fresh: WindowPlan, now: datetime) -> list[Span]:
    """The previous plan's runs, resized to what is left; empty if it was for another job."""
    terms = attrgetter("minutes", "contiguous", "latest", "min_on", "min_off")
    job = fresh.job
    if terms(previous.job) != terms(job):
        return []
    wanted = length(_spans(fresh.windows))
    bounds = (max(_ticks(now), _ticks(job.opens_at)), _ticks(job.deadline))
    return resized_runs(_spans(previous.windows), wanted, _ticks(now), bounds, _minimum_times(job))


def _breaks_a_pause(
    job: Job, start: int, now: datetime, on_since: datetime | None, off_since: datetime | None
) -> bool:
    """Whether the next run starts before a pause of the least time off is over."""
    if on_since is not None:
        off_since = max(now, on_since + job.min_on)
        if start <= _ticks(now):
            return False
    return off_since is not None and start < _ticks(off_since + job.min_off)


def _minimum_times(job: Job, forced: int | None = None) -> MinimumTimes:
    return MinimumTimes(job.min_on // TICK, job.min_off // TICK, forced)


def _window_plan(
    job: Job, slots: Sequence[Slot], curve: Curve, spans: Sequence[Span], amount: int
) -> WindowPlan:
    windows = tuple(Window(EPOCH + start * TICK, EPOCH + end * TICK) for start, end in spans)
    unit = slots[0].unit.removesuffix("/kWh") if slots else ""
    short_minutes = max(0, amount - length(spans)) * TICK / MINUTE
    return WindowPlan(job, windows, _cost(curve, spans, job.watts), unit, short_minutes)


def _cost(curve: Curve, spans: Iterable[Span], watts: float) -> float:
    return sum(map(curve.integral, spans)) / BILLION * (TICK / timedelta(hours=1)) * watts / 1000


def _curve(slots: Sequence[Slot], since: int, until: int) -> Curve:
    """The values of clean slots in a time, as whole billionths over whole microseconds.

    Raises MixedUnits.
    """
    pieces = []
    for slot in slots:
        if slot.unit != slots[0].unit:
            raise MixedUnits(f"values in {slots[0].unit} and in {slot.unit} cannot be compared")
        start, end = max(_ticks(slot.starts_at), since), min(_ticks(slot.ends_at), until)
        if start < end:
            pieces.append((start, end, round(slot.value * BILLION)))
    return Curve(pieces)


def _spans(windows: Iterable[Window]) -> list[Span]:
    return [(_ticks(window.starts_at), _ticks(window.ends_at)) for window in windows]


# The same slots are priced several times for each plan.
@lru_cache(maxsize=4096)
def _ticks(time: datetime) -> int:
    return (time - EPOCH) // TICK
