"""The cleanest or cheapest time to run: pure functions over slots. No clock, no database.

A *job* is so many minutes of running before a deadline; a *plan* is the windows in which it runs and what that is expected
to cost. The cost is the integral of the slots' values over the windows, times the power: grams of CO2 where slots are in
gCO2/kWh, money where they are in money per kWh. The unit is always told with it.

Exact: to the microsecond, and with `min_on` or `min_off` to the minute (see `limited.py`). Values are told apart to a
billionth. It never runs where no slot tells the value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from core.feeds import Slot
from core.planning.cheapest import split
from core.planning.contiguous import single
from core.planning.curve import Curve, Span, length, merged
from core.planning.minimum_times import Limits, limited
from core.planning.resize import refitted

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
BILLION = 10**9


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
class WindowPlan:
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
    job: Job,
    slots: Sequence[Slot],
    now: datetime,
    on_since: datetime | None = None,
    off_since: datetime | None = None,
) -> WindowPlan:
    """The best windows for what is left of a job. `on_since`: it runs now, since then (a run may go on without a new start,
    and must until `min_on` is over); `off_since`: it has been off since then (`min_off` holds it off)."""
    amount = round((job.minutes - job.delivered) * MINUTE / TICK)
    if amount <= 0:
        return _plan(job, slots, Curve([]), [], 0)
    start = max(_ticks(now), _ticks(job.opens_at))
    forced = None if on_since is None else max(_ticks(on_since + job.min_on) - start, 0)
    if on_since is not None and not forced and now < job.opens_at:
        forced, off_since = None, max(now, on_since + job.min_on)
    if forced is None and off_since is not None:
        start = max(start, _ticks(off_since + job.min_off))
    curve = _curve(slots, start, _ticks(job.deadline))
    if forced is not None and not curve.covers((start, start + 1)):
        curve, forced = curve.cut(start + forced + job.min_off // TICK), None
    return _plan(job, slots, curve, _spans(job, curve, amount, forced), amount)


def _spans(job: Job, curve: Curve, amount: int, forced: int | None) -> list[Span]:
    """`forced`: it runs as the curve begins, and must go on for so long; None if it does not run."""
    limits = _limits(job, forced)
    if job.contiguous:
        return _one(job, curve, amount, limits)
    spans = split(curve, amount, job.latest, forced is not None)
    allowed = not spans or limits.allow(spans, curve.pieces[0][0])
    return spans if allowed else limited(curve, amount, limits, job.latest)


def _one(job: Job, curve: Curve, amount: int, limits: Limits) -> list[Span]:
    """A run that has begun to deliver is not broken."""
    if limits.forced is None:
        return single(curve, max(amount, limits.min_on), job.latest)
    first, last = curve.stretches[0]
    going_on = [(first, min(last, first + max(amount, limits.forced)))]
    later = single(curve.cut(first + limits.min_off), max(amount, limits.min_on), job.latest)
    if limits.forced or job.delivered or length(later) < length(going_on):
        return going_on
    return min(going_on, later, key=lambda spans: curve.integral(spans[0]))


def cost(windows: Sequence[Window], slots: Sequence[Slot], watts: float) -> float | None:
    """What running in these windows costs; None where the slots do not cover them."""
    spans = _ticked(windows)
    if not spans:
        return 0
    curve = _curve(slots, spans[0][0], spans[-1][1])
    return _priced(curve, spans, watts) if all(map(curve.covers, spans)) else None


def at_once(job: Job, slots: Sequence[Slot]) -> WindowPlan:
    """What a person without a planner does: switch on when the job opens, for as long as it takes. What no slot covers is
    not in its cost, and counts as short."""
    start, end = _ticks(job.opens_at), _ticks(job.deadline)
    amount = round(job.minutes * MINUTE / TICK)
    spans = merged(
        [(start, min(end, start + max(amount, job.min_on // TICK)))] if amount > 0 else []
    )
    curve = _curve(slots, start, spans[-1][1] if spans else start)
    made = _plan(job, slots, curve, spans, amount)
    return replace(made, short_minutes=max(0, amount - length(curve.stretches)) * TICK / MINUTE)


def kept(
    previous: WindowPlan,
    fresh: WindowPlan,
    slots: Sequence[Slot],
    now: datetime,
    gain: float = 0.05,
    at_least: float = 0,
) -> WindowPlan:
    """The previous plan, with its cost by today's slots, unless the fresh one is better by more than the share `gain` of it
    (and by `at_least` in its unit), or the previous one no longer delivers the job. Plans that churn help nobody."""
    spans = _still_to_come(previous, fresh, now) if fresh.windows else []
    curve = _curve(slots, spans[0][0], spans[-1][1]) if spans else Curve([])
    if not spans or not all(map(curve.covers, spans)):
        return fresh
    made = _plan(fresh.job, slots, curve, spans, 0)
    # Not a share of the cost: it may be near 0 where values above and below it add up, and any trifle would be a gain.
    moved = _priced(
        Curve((start, end, abs(rate)) for start, end, rate in curve.pieces), spans, fresh.job.watts
    )
    if made.cost - fresh.cost > max(gain * moved, at_least):
        return fresh
    return replace(made, short_minutes=fresh.short_minutes)


def _still_to_come(previous: WindowPlan, fresh: WindowPlan, now: datetime) -> list[Span]:
    alike, job = attrgetter("minutes", "contiguous", "latest", "min_on", "min_off"), fresh.job
    if alike(previous.job) != alike(job):
        return []
    bounds = (max(_ticks(now), _ticks(job.opens_at)), _ticks(job.deadline))
    return refitted(
        _ticked(previous.windows), length(_ticked(fresh.windows)), _ticks(now), bounds, _limits(job)
    )


def _limits(job: Job, forced: int | None = None) -> Limits:
    return Limits(job.min_on // TICK, job.min_off // TICK, forced)


def _plan(
    job: Job, slots: Sequence[Slot], curve: Curve, spans: Sequence[Span], amount: int
) -> WindowPlan:
    windows = tuple(Window(EPOCH + start * TICK, EPOCH + end * TICK) for start, end in spans)
    unit = slots[0].unit.removesuffix("/kWh") if slots else ""
    return WindowPlan(
        job,
        windows,
        _priced(curve, spans, job.watts),
        unit,
        max(0, amount - length(spans)) * TICK / MINUTE,
    )


def _priced(curve: Curve, spans: Iterable[Span], watts: float) -> float:
    return sum(map(curve.integral, spans)) / BILLION * (TICK / timedelta(hours=1)) * watts / 1000


def _curve(slots: Sequence[Slot], since: int, until: int) -> Curve:
    """What the slots tell of a time, first come first served where they overlap."""
    pieces, last = [], since
    for slot in sorted(slots, key=attrgetter("starts_at")):
        end = min(_ticks(slot.ends_at), until)
        if end > last and (start := max(_ticks(slot.starts_at), last)) < end:
            pieces.append((start, end, round(slot.value * BILLION)))
            last = end
    return Curve(pieces)


def _ticked(windows: Iterable[Window]) -> list[Span]:
    return [(_ticks(window.starts_at), _ticks(window.ends_at)) for window in windows]


def _ticks(time: datetime) -> int:
    return (time - EPOCH) // TICK
