"""Score by measurements: what a job cost, and whether warnings were right. Pure functions.

A job is compared with two others over the same measurements: "switch on at once", what a person
without a planner does, and the ideal, the best plan with hindsight. All three run as many minutes
as the device did, so that a job which was not done saves nothing by it.

Warnings are counted in a contingency table, as weather services do it: I. T. Jolliffe,
D. B. Stephenson, Forecast Verification, 2nd edition, 2012, chapter 3;
https://www.cawcr.gov.au/projects/verification/ (WMO, joint working group on forecast verification
research). FAR is the false alarm ratio there, of the warnings, not the false alarm rate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core import planning
from core.feeds import Slot
from core.planning import Job, Window

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a job cost by measurements, in `unit` (gCO2, GBP); None where they are missing."""

    unit: str = ""
    actual: float | None = None
    at_once: float | None = None
    ideal: float | None = None

    @property
    def is_complete(self) -> bool:
        return None not in (self.actual, self.at_once, self.ideal)

    @property
    def saving(self) -> float | None:
        """What was saved against switching on at once; below zero, waiting was a mistake."""
        return None if self.actual is None or self.at_once is None else self.at_once - self.actual

    @property
    def share(self) -> float | None:
        """The share of what hindsight would have saved. None where nothing was to be saved."""
        if self.saving is None or self.at_once is None or self.ideal is None:
            return None
        # Smaller than 1e-9 is an error of rounding, and a share of it would mean nothing.
        possible = self.at_once - self.ideal
        return self.saving / possible if possible > 1e-9 else None


def total(costs: Iterable[Costs]) -> Costs:
    """Return the sum of the complete costs that are in the unit of the first."""
    complete = [each for each in costs if each.is_complete]
    unit = next((each.unit for each in complete if each.unit), "")
    # What did not run may have no unit, and cost nothing.
    same = [each for each in complete if each.unit in ("", unit)]
    if not same:
        return Costs()
    sums = [sum(getattr(each, name) for each in same) for name in ("actual", "at_once", "ideal")]
    return Costs(unit, *sums)


@dataclass(frozen=True, slots=True)
class PlanScore:
    """A job after its deadline: `minutes` of it were done.

    The device ran `beyond` minutes longer than was asked, which cost `beyond_cost` more, not
    counted in `costs`. `missing` names the costs for which measurements are missing.
    """

    costs: Costs
    minutes: float
    beyond: float = 0
    beyond_cost: float | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        names = {"actual": "what it cost", "at_once": "switching on at once", "ideal": "the ideal"}
        return tuple(text for name, text in names.items() if getattr(self.costs, name) is None)


def score_plan(job: Job, ran: Iterable[Window], measured: Sequence[Slot]) -> PlanScore:
    """Score a job by what was measured.

    `ran` is when the device was seen running, in order of time; `measured` are clean slots, perhaps
    with gaps. The first `job.minutes` that ran are the job.
    """
    done, beyond = _split_after(list(within(ran, job.opens_at, job.deadline)), job.minutes)
    minutes = minutes_of(done)
    if not minutes:
        return PlanScore(Costs(_unit(measured), 0, 0, 0), 0)
    # If the device ran for less than `min_on`, the two others may do so too.
    same = replace(job, minutes=minutes, delivered=0, min_on=min(job.min_on, minutes * MINUTE))
    costs = Costs(
        _unit(measured),
        planning.cost(done, measured, job.watts),
        _at_once(same, measured),
        _ideal(same, measured),
    )
    return PlanScore(costs, minutes, minutes_of(beyond), planning.cost(beyond, measured, job.watts))


def _at_once(job: Job, measured: Sequence[Slot]) -> float | None:
    # at_once() leaves out the cost of a gap, and would look too cheap.
    if not covers(measured, job.opens_at, job.opens_at + job.minutes * MINUTE):
        return None
    return planning.at_once(job, measured).cost


def _ideal(job: Job, measured: Sequence[Slot]) -> float | None:
    """None if there is a gap: the best time may have been in it."""
    if not covers(measured, job.opens_at, job.deadline):
        return None
    return planning.plan(job, measured, job.opens_at).cost


def _unit(slots: Sequence[Slot]) -> str:
    # A rate is by kWh, a cost is not.
    return slots[0].unit.removesuffix("/kWh") if slots else ""


def covers(slots: Iterable[Slot], since: datetime, until: datetime) -> bool:
    """Say whether slots in order of time leave no gap between these times."""
    for slot in slots:
        # `since` is how far the slots reach: one that begins later leaves a gap.
        if slot.starts_at > since or since >= until:
            break
        since = max(since, slot.ends_at)
    return since >= until


def within(windows: Iterable[Window], since: datetime, until: datetime) -> Iterable[Window]:
    """Yield the parts of windows, in order of time, that lie between these times."""
    for window in windows:
        starts_at, ends_at = max(window.starts_at, since), min(window.ends_at, until)
        if starts_at < ends_at:
            yield Window(starts_at, ends_at)


def minutes_of(windows: Iterable[Window]) -> float:
    return sum((window.ends_at - window.starts_at) / MINUTE for window in windows)


def _split_after(windows: Sequence[Window], minutes: float) -> tuple[list[Window], list[Window]]:
    """Return the first so many minutes of the windows, and the rest."""
    first: list[Window] = []
    rest: list[Window] = []
    left = minutes * MINUTE
    for window in windows:
        # With nothing left it is the start: the whole window is in the rest.
        middle = min(window.ends_at, window.starts_at + left)
        left -= middle - window.starts_at
        if window.starts_at < middle:
            first.append(Window(window.starts_at, middle))
        if middle < window.ends_at:
            rest.append(Window(middle, window.ends_at))
    return first, rest


@dataclass(frozen=True, slots=True)
class WarningScore:
    """The contingency table of warnings.

    `late` are the misses for which a warning came while the event went on. `lead` is the mean time
    from the start of the warning to the start of the event, over the hits. A ratio is None where
    its denominator is zero. Perfect: POD 1, FAR 0, CSI 1.
    """

    hits: int = 0
    misses: int = 0
    false_alarms: int = 0
    late: int = 0
    lead: timedelta | None = None

    @property
    def pod(self) -> float | None:
        """Probability of detection: of the events, how many were warned of."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def far(self) -> float | None:
        """False alarm ratio."""
        return _ratio(self.false_alarms, self.hits + self.false_alarms)

    @property
    def csi(self) -> float | None:
        """Critical success index, also called the threat score."""
        return _ratio(self.hits, self.hits + self.misses + self.false_alarms)


def score_warnings(warnings: Iterable[Window], events: Iterable[Window]) -> WarningScore:
    """Count warnings against events, both in any order; those that touch or overlap are one.

    - An event is a hit if a warning was in force at its start, else a miss. A warning that ended
      before does not count: a device that was let go before the lightning came was not guarded.
    - A warning is a false alarm if no event began, and none went on, while it was in force. So a
      late warning is no false alarm; its event is a miss, and counted as `late`.
    - Events are counted, not warnings: one warning of three events is three hits, three warnings of
      one event are one hit.
    """
    warned, occurred = joined(warnings), joined(events)
    leads: list[timedelta] = []
    late = 0
    for event in occurred:
        first = next((warning for warning in warned if _warns_of(warning, event)), None)
        if first:
            leads.append(event.starts_at - first.starts_at)
        # This is a miss all the same: `late` is a part of the misses.
        elif any(overlap(warning, event) for warning in warned):
            late += 1
    false_alarms = 0
    for warning in warned:
        # An event of no length at the start of a warning overlaps nothing, so both are asked.
        relevant = (_warns_of(warning, event) or overlap(warning, event) for event in occurred)
        false_alarms += not any(relevant)
    return WarningScore(
        hits=len(leads),
        misses=len(occurred) - len(leads),
        false_alarms=false_alarms,
        late=late,
        lead=sum(leads, timedelta()) / len(leads) if leads else None,
    )


def _warns_of(warning: Window, event: Window) -> bool:
    """Say whether a warning was in force at an event's start. Either may be of no length."""
    if warning.starts_at == event.starts_at:
        return True
    return warning.starts_at < event.starts_at < warning.ends_at


def overlap(one: Window, other: Window) -> bool:
    return one.starts_at < other.ends_at and other.starts_at < one.ends_at


def joined(windows: Iterable[Window], apart: timedelta = timedelta()) -> list[Window]:
    """Return windows in order of time; those no more than `apart` from each other become one."""
    done: list[Window] = []
    for window in sorted(windows, key=lambda window: window.starts_at):
        if done and window.starts_at - done[-1].ends_at <= apart:
            # From left to right: the start is read before pop() takes the window away.
            window = Window(done[-1].starts_at, max(done.pop().ends_at, window.ends_at))
        done.append(window)
    return done


def events(measured: Iterable[Slot], threshold: float) -> list[Window]:
    """Return when the measured value was at or above a threshold: episodes in order of time."""
    above = (slot for slot in measured if slot.value >= threshold)
    return joined(Window(slot.starts_at, slot.ends_at) for slot in above)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
