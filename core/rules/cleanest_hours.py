"""Run so many minutes before a time of day, when the grid is cleanest (or electricity cheapest)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core import feeds, planning
from core.feeds import Signal, Slot
from core.planning import Job, Window, WindowPlan
from core.planning.forecast import smoothed
from core.rules import Decision, Situation, option
from core.schedule import first_moment, time_of_day

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MARGIN = 20 * MINUTE
"""Without a forecast it is done so much before the deadline: switching may take a round or two."""
LAG = 15
"""Minutes that a running device may have run and that are not counted yet.

A reading is as old as the last poll.
"""


@dataclass(frozen=True)
class Options:
    minutes: float = option(180, "How long it has to run every day", "min")
    before: str = option("07:00", "When that has to be done, by the clock at the device")
    after: str = option(
        "", "Not before this time of day; empty: at any time since it last had to be done"
    )
    watts: float = option(1000, "What it draws while it runs", "W")
    contiguous: bool = option(False, "In one run, without a pause")
    signal: str = option(
        str(Signal.CARBON_INTENSITY),
        "What is to be least: CO2 of the average kilowatt-hour, CO2 of one more, or money",
        choices=[str(signal) for signal in feeds.signals() if signal.is_cost],
    )
    ties: str = option("earliest", "Which of equally good times", choices=["earliest", "latest"])
    gain: float = option(5, "What a new plan has to save before the old one is dropped", "%")
    smooth: float = option(
        90, "How far around each moment a forecast (of no price) is smoothed for its noise", "min"
    )

    def __post_init__(self) -> None:
        room = (
            _clock("before", self.before) - _clock("after", self.after or self.before)
        ) % DAY or DAY
        if not 1 <= self.minutes <= room / MINUTE:
            raise ValueError(
                f"minutes: {self.minutes:g} is not between 1 "
                f"and the {room / MINUTE:.0f} that there are a day."
            )
        if not 0 < self.watts < 1e9:
            raise ValueError(f"watts: {self.watts:g} is not the power of anything.")
        if not 0 <= self.gain <= 100:
            raise ValueError(f"gain: {self.gain:g} is not between 0 and 100 %.")
        if not 0 <= self.smooth <= 720:
            raise ValueError(f"smooth: {self.smooth:g} is not between 0 and 720 min.")

    @property
    def superlative(self) -> str:
        return "cheapest" if self.signal == Signal.PRICE else "cleanest"


def decide(situation: Situation) -> Decision:
    job = _job(situation)
    by = situation.clock(job.deadline)
    if job.minutes - job.delivered <= min(2, job.minutes / 20):  # so little is not worth a switch
        said = f"done: {min(job.delivered, job.minutes):.0f} of {job.minutes:g} minutes before {by}"
        return Decision(False, said, until=job.deadline, plan=situation.plan)
    slots = _within_job(situation, job, situation.forecast)
    if not slots:
        return _without_forecast(situation, job)
    filled = _filled(slots, max(situation.now, job.opens_at), job.deadline)
    plan = _planned(situation, job)
    plan = replace(plan, cost=planning.cost(plan.windows, filled, job.watts) or 0)
    said = _praise(situation, plan, filled) + _assumed(job, slots, situation.now)
    said += _missing(plan) + _shorter(situation, plan)
    source = situation.outlook.source(situation.now, situation.clock) if situation.outlook else ""
    return _follow(situation, plan, f"{said}, {source}" if source else said)


def _clock(name: str, written: str) -> timedelta:
    try:
        return time_of_day(written)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


# The job


def _job(situation: Situation) -> Job:
    """Today's: from the deadline before, or a time of day, until the next deadline."""
    now, zone, options = situation.now, situation.zone, situation.options
    today = now.astimezone(zone).date()
    # Of yesterday to tomorrow, so that there is one on either side of now.
    deadlines = [
        first_moment(today + days * DAY, time_of_day(options.before), zone) for days in (-1, 0, 1)
    ]
    deadline = min(at for at in deadlines if at > now)
    opens_at = max(at for at in deadlines if at <= now)
    if options.after:
        afters = [
            first_moment(today + days * DAY, time_of_day(options.after), zone)
            for days in (-1, 0, 1)
        ]
        opens_at = max([opens_at, *(at for at in afters if at < deadline)])
    job = Job(
        opens_at,
        deadline,
        options.minutes,
        watts=options.watts,
        contiguous=options.contiguous,
        latest=options.ties == "latest",
        min_on=situation.limits.min_on,
        min_off=situation.limits.min_off,
    )
    return replace(job, delivered=_delivered(situation, job))


def _delivered(situation: Situation, job: Job) -> float:
    """Minutes counted since the job opened.

    A few minutes that a running device seems to be behind its plan are not counted yet: they are
    not planned a second time.
    """
    if situation.plan is None or situation.plan.job.deadline != job.deadline:
        return 0
    previous = _previous(situation, job)
    if previous and situation.is_on:
        behind = job.minutes - situation.delivered - _left(previous.windows, situation.now)
        if 0 < behind <= LAG:
            return situation.delivered + behind
    return situation.delivered


def _previous(situation: Situation, job: Job) -> WindowPlan | None:
    """The plan that was made before, if it is for this job on the same terms."""
    plan = situation.plan
    return plan if plan and replace(plan.job, delivered=job.delivered) == job else None


# The plan


def _planned(situation: Situation, job: Job) -> WindowPlan:
    """Plan within the forecast, if the job fits; else as if its mean went on until the deadline.

    Then the job is done in time whatever comes, and slots better than the mean are used. The cost
    of this plan is by the smoothed forecast.
    """
    now, previous = situation.now, _previous(situation, job)
    slots = _within_job(situation, job, _smooth(situation))
    filled = _filled(slots, max(now, job.opens_at), job.deadline)
    since = _changed_at(situation)
    on_since, off_since = (since, None) if situation.is_on else (None, since)
    plan = planning.plan(job, slots, now, on_since, off_since)
    # It does not fit where something is forecast, so the rest of the time counts too.
    if plan.short_minutes:
        plan = planning.plan(job, filled, now, on_since, off_since)
    if previous is None:
        return plan
    gain = situation.options.gain / 100
    return planning.stable_plan(previous, plan, filled, now, gain, on_since, off_since)


def _changed_at(situation: Situation) -> datetime:
    """When it was last switched; long ago if not known, or if ahead of now by a wrong clock."""
    at = situation.changed_at
    return at if at and at <= situation.now else situation.now - DAY


def _smooth(situation: Situation) -> Sequence[Slot]:
    """Smooth a forecast of intensity; a price is exact.

    A single low half-hour of an intensity is mostly noise: over 2023 in Great Britain, plans by the
    smoothed forecast saved more of what was possible, with fewer switches (bench/README.md).
    """
    options = situation.options
    is_calibrated = situation.outlook is not None and situation.outlook.calibrated_days > 0
    if is_calibrated or feeds.signal(options.signal).is_exact or not options.smooth:
        return situation.forecast
    return smoothed(tuple(situation.forecast), options.smooth * MINUTE)


def _within_job(situation: Situation, job: Job, slots: Sequence[Slot]) -> Sequence[Slot]:
    since = max(situation.now, job.opens_at)
    return [slot for slot in slots if slot.ends_at > since and slot.starts_at < job.deadline]


def _filled(slots: Sequence[Slot], since: datetime, until: datetime) -> list[Slot]:
    """The slots, and their mean wherever there is none."""
    lengths = [(slot.ends_at - slot.starts_at) / MINUTE for slot in slots]
    total = sum(slot.value * length for slot, length in zip(slots, lengths, strict=True))
    mean = total / sum(lengths)
    filled, at = [], since
    for slot in [*slots, replace(slots[-1], starts_at=until, ends_at=until)]:
        if slot.starts_at > at:
            filled.append(replace(slot, starts_at=at, ends_at=slot.starts_at, value=mean))
        # All but the last, which has no length and only brings the mean up to the end.
        if slot.ends_at > slot.starts_at:
            filled.append(slot)
        at = max(at, slot.ends_at)
    return filled


def _without_forecast(situation: Situation, job: Job) -> Decision:
    """Meet the deadline: by the plan made before, if it does, else in the last minutes.

    The cost is 0, without a unit.
    """
    plan, left = _previous(situation, job), job.minutes - job.delivered
    if plan is None or _left(plan.windows, situation.now) < left:
        window = _last_minutes(situation, job)
        short_minutes = max(0, left - (window.ends_at - window.starts_at) / MINUTE)
        plan = WindowPlan(job, (window,), 0, "", short_minutes)
    times, by = _times(situation, _runs(situation, plan)), situation.clock(job.deadline)
    said = f"no forecast: on {times}, to be done by {by}"
    said += _missing(plan) + _shorter(situation, plan)
    return _follow(situation, plan, said)


def _last_minutes(situation: Situation, job: Job) -> Window:
    """One run as late as it may start: as long as what is left, and as the least time on."""
    earliest, lasts = max(situation.now, job.opens_at), (job.minutes - job.delivered) * MINUTE
    # If it runs already, its least time on has begun when it was switched on.
    goes_on = situation.is_on and earliest == situation.now >= job.deadline - lasts - MARGIN
    if not goes_on:
        lasts = max(lasts, job.min_on)
    else:
        lasts = max(lasts, _changed_at(situation) + job.min_on - situation.now)
    start = max(earliest, job.deadline - lasts - MARGIN)
    return Window(start, min(start + lasts, job.deadline))


# The words


def _follow(situation: Situation, plan: WindowPlan, reason: str) -> Decision:
    runs = _runs(situation, plan)
    if not runs:
        by, job = situation.clock(plan.job.deadline), plan.job
        said = (
            f"no time is left before {by}{' after its least time off' if job.min_off else ''}: "
            f"{job.delivered:.0f} of {job.minutes:g} minutes are done"
        )
        return Decision(False, said, until=job.deadline, plan=plan)
    if runs[0].starts_at <= situation.now:
        return Decision(True, reason, until=runs[0].ends_at, plan=plan)
    return Decision(
        False,
        f"it waits for {situation.clock(runs[0].starts_at)}: {reason}",
        until=runs[0].starts_at,
        plan=plan,
    )


def _praise(situation: Situation, plan: WindowPlan, slots: Sequence[Slot]) -> str:
    """Say when it runs from now on, and what that is worth by the forecast, not smoothed.

    Such as: the cleanest 3 h before 07:00 are 01:30 to 04:30: 92 gCO2/kWh instead of 181 at once
    """
    job, runs, start = plan.job, _runs(situation, plan), max(situation.now, plan.job.opens_at)
    same = Job(start, job.deadline, _left(runs, start), contiguous=job.contiguous)
    value = _mean(runs, slots)
    best = _mean(planning.plan(same, slots, start).windows, slots)
    at_once = _mean(planning.at_once(same, slots).windows, slots)
    # The smoothing, the least times, or that a plan is kept may have chosen another than the best.
    is_best = value - best <= max(1, abs(best)) / 10**9
    said = f"{_which(situation, job, runs, is_best)}: {_number(value)} {slots[0].unit}"
    if _number(best) != _number(value):
        said += f" (at best {_number(best)})"
    if value < at_once and _number(value) != _number(at_once):
        said += f" instead of {_number(at_once)} at once"
    return said


def _which(situation: Situation, job: Job, runs: Sequence[Window], is_best: bool) -> str:
    """Say which times these are; of a job that has begun, only what is still to run."""
    by, times = situation.clock(job.deadline), _times(situation, runs)
    what = _span(sum(map(_minutes_by_the_clock, runs))) + (" in one run" if job.contiguous else "")
    is_begun = job.delivered >= 1
    if is_best:
        rest = " for the rest" if is_begun else ""
        return f"the {situation.options.superlative} {what} before {by}{rest} are {times}"
    return f"{'the remaining ' if is_begun else ''}{what} before {by} are planned for {times}"


def _assumed(job: Job, slots: Sequence[Slot], now: datetime) -> str:
    is_known = planning.cost([Window(max(now, job.opens_at), job.deadline)], slots, 1) is not None
    return "" if is_known else "; the mean is assumed where nothing is forecast"


def _shorter(situation: Situation, plan: WindowPlan) -> str:
    """Say so if a run is shorter than the device's least time on."""
    job, now = plan.job, situation.now
    for run in _runs(situation, plan):
        goes_on = situation.is_on and run.starts_at <= now
        since = _changed_at(situation) if goes_on else run.starts_at
        # A plan that is kept may begin some seconds late.
        if run.ends_at - since <= job.min_on - MINUTE:
            by, least = situation.clock(job.deadline), _span(job.min_on / MINUTE)
            return f"; its least time on, {least}, does not fit before {by}"
    return ""


def _missing(plan: WindowPlan) -> str:
    return f"; {_span(plan.short_minutes)} more do not fit" if plan.short_minutes >= 1 else ""


def _times(situation: Situation, runs: Sequence[Window]) -> str:
    if len(runs) > 4:
        first, last = situation.clock(runs[0].starts_at), situation.clock(runs[-1].ends_at)
        return f"in {len(runs)} runs from {first} to {last}"
    said = [f"{situation.clock(run.starts_at)} to {situation.clock(run.ends_at)}" for run in runs]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _runs(situation: Situation, plan: WindowPlan) -> list[Window]:
    """Windows that are not over, from now on: what has passed may have been run or not."""
    now = situation.now
    return [
        replace(run, starts_at=max(run.starts_at, now)) for run in plan.windows if run.ends_at > now
    ]


def _left(windows: Sequence[Window], now: datetime) -> float:
    """Minutes still to run."""
    return sum(
        (window.ends_at - max(window.starts_at, now)) / MINUTE
        for window in windows
        if window.ends_at > now
    )


def _minutes_by_the_clock(run: Window) -> int:
    """As shown: without seconds."""
    start, end = (at.replace(second=0, microsecond=0) for at in (run.starts_at, run.ends_at))
    return (end - start) // MINUTE


def _mean(windows: Sequence[Window], slots: Sequence[Slot]) -> float:
    hours = sum((window.ends_at - window.starts_at) / (60 * MINUTE) for window in windows)
    return (planning.cost(windows, slots, 1000) or 0) / hours if hours else 0


def _span(minutes: float) -> str:
    hours, rest = divmod(round(minutes), 60)
    return " ".join([f"{hours} h"] * bool(hours) + [f"{rest} min"] * bool(rest or not hours))


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.3g}"
