"""Was it worth it? Pure functions, from what was measured afterwards: what a job cost, and whether warnings were right.

A job is compared with two others over the same measurements: "switch on at once", what a person without a planner does, and
the ideal, the best plan with hindsight. Like with like: all three run as many minutes as the device did, so that a job which
was not done saves nothing by it.

Warnings are counted in a contingency table, as weather services do it: I. T. Jolliffe, D. B. Stephenson, Forecast
Verification, 2nd edition, 2012, chapter 3; https://www.cawcr.gov.au/projects/verification/ (WMO, joint working group on
forecast verification research). FAR is the false alarm ratio there, of the warnings, not the false alarm rate.
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
    """In `unit` (gCO2, GBP), by measurements. None where no measurement says."""

    unit: str = ""
    actual: float | None = None
    at_once: float | None = None
    ideal: float | None = None

    @property
    def is_complete(self) -> bool:
        return None not in (self.actual, self.at_once, self.ideal)

    @property
    def saving(self) -> float | None:
        """Against switching on at once; below zero, waiting was a mistake."""
        return None if self.actual is None or self.at_once is None else self.at_once - self.actual

    @property
    def share(self) -> float | None:
        """Of the saving that hindsight would have made. None where nothing was to be saved."""
        if (
            self.saving is None
            or self.at_once is None
            or self.ideal is None
            or self.at_once - self.ideal <= 1e-9
        ):
            return None
        return self.saving / (self.at_once - self.ideal)


def total(costs: Iterable[Costs]) -> Costs:
    """The sum of those that are known in full, and in the unit of the first."""
    known = [one for one in costs if one.is_complete]
    unit = next((one.unit for one in known if one.unit), "")
    same = [
        one for one in known if one.unit in ("", unit)
    ]  # what did not run may have no unit, and cost nothing
    if not same:
        return Costs()
    sums = (sum(getattr(one, name) for one in same) for name in ("actual", "at_once", "ideal"))
    return Costs(unit, *sums)


@dataclass(frozen=True, slots=True)
class PlanScore:
    """A job after its deadline. `minutes` of it were done; the device ran `beyond` minutes longer than was asked, which cost
    `beyond_cost` more, not counted in `costs`. `missing` says which of the costs no measurement tells."""

    costs: Costs
    minutes: float
    beyond: float = 0
    beyond_cost: float | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        names = {"actual": "what it cost", "at_once": "switching on at once", "ideal": "the ideal"}
        return tuple(words for name, words in names.items() if getattr(self.costs, name) is None)


def score_plan(job: Job, ran: Iterable[Window], measured: Sequence[Slot]) -> PlanScore:
    """`ran` is when the device was seen running, in order of time; `measured` slots in order, without overlap, perhaps with
    gaps. The first `job.minutes` that ran are the job."""
    done, beyond = _divided(list(within(ran, job.opens_at, job.deadline)), job.minutes)
    minutes = minutes_of(done)
    if not minutes:
        return PlanScore(Costs(_unit(measured), 0, 0, 0), 0)
    same = replace(job, minutes=minutes, delivered=0, min_on=min(job.min_on, minutes * MINUTE))
    costs = Costs(
        _unit(measured),
        planning.cost(done, measured, job.watts),
        _at_once(same, measured),
        _ideal(same, measured),
    )
    return PlanScore(costs, minutes, minutes_of(beyond), planning.cost(beyond, measured, job.watts))


def _at_once(job: Job, measured: Sequence[Slot]) -> float | None:
    known = covers(measured, job.opens_at, job.opens_at + job.minutes * MINUTE)
    return planning.at_once(job, measured).cost if known else None


def _ideal(job: Job, measured: Sequence[Slot]) -> float | None:
    """With a gap nobody knows whether the best time was in it."""
    known = covers(measured, job.opens_at, job.deadline)
    return planning.plan(job, measured, job.opens_at).cost if known else None


def _unit(slots: Sequence[Slot]) -> str:
    return slots[0].unit.removesuffix("/kWh") if slots else ""


def covers(slots: Iterable[Slot], since: datetime, until: datetime) -> bool:
    """Whether slots in order of time leave no gap between these times."""
    for slot in slots:
        if slot.starts_at > since or since >= until:
            break
        since = max(since, slot.ends_at)
    return since >= until


def within(windows: Iterable[Window], since: datetime, until: datetime) -> Iterable[Window]:
    """What lies between these times of windows in order."""
    for window in windows:
        starts_at, ends_at = max(window.starts_at, since), min(window.ends_at, until)
        if starts_at < ends_at:
            yield Window(starts_at, ends_at)


def minutes_of(windows: Iterable[Window]) -> float:
    return sum((window.ends_at - window.starts_at) / MINUTE for window in windows)


def _divided(windows: Sequence[Window], minutes: float) -> tuple[list[Window], list[Window]]:
    """The first so many minutes of the windows, and the rest."""
    first: list[Window] = []
    rest: list[Window] = []
    left = minutes * MINUTE
    for window in windows:
        middle = min(window.ends_at, window.starts_at + left)
        left -= middle - window.starts_at
        first += [Window(window.starts_at, middle)] if window.starts_at < middle else []
        rest += [Window(middle, window.ends_at)] if middle < window.ends_at else []
    return first, rest


@dataclass(frozen=True, slots=True)
class WarningScore:
    """The contingency table of warnings. `late` are the misses of which a warning told while the event went on.

    `lead` is the mean time from the start of the warning to the start of the event, over the hits. A ratio is None where
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


def score_warnings(
    warnings: Iterable[Window], events: Iterable[Window], early: timedelta = timedelta()
) -> WarningScore:
    """Episodes of warnings and events, in any order; those that touch or overlap are one.

    - An event is a hit if a warning was in force at its start, or began at most `early` before it. The default holds a guard
      to its word: a device that was let go again before the lightning came was not guarded. Else it is a miss.
    - A warning is a false alarm if it is of no event: none began within `early` of its start, none went on while it was in
      force. So a late warning is no false alarm; its event is a miss, and told as `late`.
    - Events are counted, not warnings: one warning of three events is three hits, three warnings of one event are one hit,
      whose lead is that of the first that counts.
    """
    warned, happened = joined(warnings), joined(events)
    told = [[one for one in warned if _is_of(one, event, early)] for event in happened]
    leads = [
        event.starts_at - first[0].starts_at
        for event, first in zip(happened, told, strict=True)
        if first
    ]
    missed = [event for event, first in zip(happened, told, strict=True) if not first]
    return WarningScore(
        hits=len(leads),
        misses=len(missed),
        false_alarms=sum(
            not any(_is_of(one, event, early) or overlap(one, event) for event in happened)
            for one in warned
        ),
        late=sum(any(overlap(one, event) for one in warned) for event in missed),
        lead=sum(leads, timedelta()) / len(leads) if leads else None,
    )


def _is_of(warning: Window, event: Window, early: timedelta) -> bool:
    begun = warning.starts_at <= event.starts_at
    return begun and (
        event.starts_at < warning.ends_at or event.starts_at - warning.starts_at <= early
    )


def overlap(one: Window, other: Window) -> bool:
    return one.starts_at < other.ends_at and other.starts_at < one.ends_at


def joined(windows: Iterable[Window], apart: timedelta = timedelta()) -> list[Window]:
    """In order of time; those no more than `apart` from each other made one."""
    done: list[Window] = []
    for window in sorted(windows, key=lambda one: one.starts_at):
        if done and window.starts_at - done[-1].ends_at <= apart:
            window = Window(done[-1].starts_at, max(done.pop().ends_at, window.ends_at))
        done.append(window)
    return done


def events(measured: Iterable[Slot], threshold: float) -> list[Window]:
    """When the measured value was at or above a threshold: episodes in order of time."""
    return joined(
        Window(slot.starts_at, slot.ends_at) for slot in measured if slot.value >= threshold
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
