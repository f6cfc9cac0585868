"""A rule over the past: the code that decides today, at each tick of a clock that never sees ahead, with a device that obeys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core import planning
from core.feeds import Signal
from core.models import Device, Plan
from core.planning import Job, Window, score
from core.planning.score import Costs, PlanScore, WarningScore
from core.tasks import scorecard
from core.tasks.backtesting import past
from core.tasks.backtesting.device import Replayed, Terms
from core.tasks.backtesting.past import Past
from core.tasks.decisions import plans
from core.tasks.forecasts.regions import Region, region_for
from core.tasks.scorecard import (
    Json,
    cost_text,
    costs_json,
    costs_words,
    counted,
    warned_json,
    warned_words,
)

Progress = Callable[[int, int], None]
PROGRESS_EVERY = 500


@dataclass(frozen=True)
class PastJob:
    """A job that opened and ended in the range. What could not be measured in full has no complete costs."""

    job: Job
    settled: PlanScore
    predicted: float | None
    changes: int

    @property
    def is_delivered(self) -> bool:
        return self.settled.minutes >= self.job.minutes - 1


@dataclass
class Result:
    """`on` is when the device ran, `held` when the rule held it off as a guard. `spread` is what its minutes would have cost
    at the mean of all that was measured: for rules without a deadline, which have nothing else to be compared with."""

    terms: Terms
    ticks: int = 0
    undecided: int = 0
    switches: int = 0
    waited: int = 0
    """Ticks at which a switch had to wait for the device's limits."""
    on: list[Window] = field(default_factory=list)
    held: list[Window] = field(default_factory=list)
    jobs: list[PastJob] = field(default_factory=list)
    unit: str = ""
    cost: float | None = None
    spread: float | None = None
    warned: WarningScore | None = None

    @property
    def settled(self) -> list[PastJob]:
        return [one for one in self.jobs if one.settled.costs.is_complete]

    @property
    def costs(self) -> Costs:
        return score.total(one.settled.costs for one in self.jobs)

    @property
    def undelivered(self) -> int:
        return sum(not one.is_delivered for one in self.jobs)

    @property
    def predicted(self) -> float | None:
        """The sum over what was settled; None if a plan was made without any forecast."""
        known = [one.predicted for one in self.settled if one.predicted is not None]
        return sum(known) if len(known) == len(self.settled) else None

    @property
    def changes(self) -> int:
        return sum(one.changes for one in self.jobs)

    def as_json(self) -> Json:
        guard = {"guard": warned_json(self.warned)} if self.warned else {}
        return {
            "rule": self.terms.rule.name,
            "version": self.terms.rule.version,
            "from": self.terms.since.isoformat(),
            "to": self.terms.until.isoformat(),
            "decisions": self.ticks,
            "undecided": self.undecided,
            "switches": self.switches,
            "waited": self.waited,
            "minutes_on": score.minutes_of(self.on),
            "unit": self.unit,
            "cost": self.cost,
            "cost_at_the_mean": self.spread,
            **(
                {"sum": self._sums(), "jobs": [_job_json(one) for one in self.jobs]}
                if self.jobs
                else {}
            ),
            **guard,
        }

    def in_words(self) -> str:
        terms = self.terms
        zone = terms.zone
        lines = [
            f"{terms.rule.name}, {terms.since.astimezone(zone):%Y-%m-%d %H:%M} to {terms.until.astimezone(zone):%Y-%m-%d %H:%M}: "
            f"{counted(self.ticks, 'decision')}, {counted(self.switches, 'switch', 'switches')}, "
            f"on for {score.minutes_of(self.on) / 60:,.0f} h"
        ]
        lines += (
            [f"no decision was possible at {counted(self.undecided, 'tick')}"]
            if self.undecided
            else []
        )
        lines += [f"a switch had to wait at {counted(self.waited, 'tick')}"] if self.waited else []
        lines += self._jobs_words() if self.jobs else self._mean_words()
        lines += [warned_words(self.warned)] if self.warned else []
        return "\n".join(lines)

    def _sums(self) -> Json:
        return {
            "jobs": len(self.jobs),
            "settled": len(self.settled),
            "not_delivered": self.undelivered,
            "changes_of_plan": self.changes,
            "predicted": self.predicted,
            **costs_json(self.costs),
        }

    def _jobs_words(self) -> list[str]:
        left_out = len(self.jobs) - len(self.settled)
        told = f"; {left_out} not compared, because measurements are missing" if left_out else ""
        return [
            f"{counted(len(self.jobs), 'job')}, {self.undelivered} of them not delivered in full, "
            f"{counted(self.changes, 'change')} of plan{told}",
            *costs_words(self.costs, self.predicted),
        ]

    def _mean_words(self) -> list[str]:
        if self.cost is None or self.spread is None:
            return []
        return [
            f"{cost_text(self.cost, self.unit)}; as many minutes at the mean of all times: {cost_text(self.spread, self.unit)}"
        ]


def backtest(
    terms: Terms, pasts: Mapping[Signal, Past], progress: Progress | None = None
) -> Result:
    """Raises ValueError if the rule sets something else than a switch, and whatever the rule raises."""
    device, ticks = Replayed(terms, pasts), (terms.until - terms.since) // terms.every
    for tick in range(ticks):
        device.tick(terms.since + tick * terms.every)
        if progress and tick % PROGRESS_EVERY == 0:
            progress(tick, ticks)
    switches = len(device.switched)
    device.stop(terms.until)
    first = next(iter(pasts.values()))
    made = Result(terms, ticks, device.undecided, switches, device.waited, device.on, device.held)
    made.jobs = [_settled(row, device.on, first) for row in device.rows if _is_within(row, terms)]
    made.unit, made.cost, made.spread = _at_the_mean(device.on, first, terms)
    made.warned = _warned(device.held, pasts, terms)
    return made


def _is_within(row: Plan, terms: Terms) -> bool:
    return terms.since <= row.opens_at and row.deadline <= terms.until


def _settled(row: Plan, on: list[Window], measured: Past) -> PastJob:
    job = plans.unpack_job(row.job, row.opens_at, row.deadline)
    settled = score.score_plan(job, on, measured.between(job.opens_at, job.deadline))
    return PastJob(job, settled, row.predicted, row.changes)


def _at_the_mean(
    on: list[Window], measured: Past, terms: Terms
) -> tuple[str, float | None, float | None]:
    """Of the minutes that were measured: what they cost, and what they would have at the mean of the range."""
    slots = measured.between(terms.since, terms.until)
    spans = score.joined(Window(slot.starts_at, slot.ends_at) for slot in slots)
    ran = [window for span in spans for window in score.within(on, span.starts_at, span.ends_at)]
    if not slots or not ran:
        return "", None, None
    weights = [(slot.ends_at - slot.starts_at) / score.MINUTE for slot in slots]
    mean = sum(slot.value * weight for slot, weight in zip(slots, weights, strict=True)) / sum(
        weights
    )
    spread = mean * score.minutes_of(ran) / 60 * terms.watts / 1000
    return slots[0].unit.removesuffix("/kWh"), planning.cost(ran, slots, terms.watts), spread


def _warned(held: list[Window], pasts: Mapping[Signal, Past], terms: Terms) -> WarningScore | None:
    for signal, measured in pasts.items():
        threshold = scorecard.threshold(terms.options, signal)
        slots = measured.between(terms.since, terms.until)
        if terms.rule.is_guard and slots and threshold is not None:
            return scorecard.score_guard(held, slots, threshold)
    return None


def _job_json(one: PastJob) -> Json:
    return {
        "opens_at": one.job.opens_at.isoformat(),
        "deadline": one.job.deadline.isoformat(),
        "minutes": one.settled.minutes,
        "delivered": one.is_delivered,
        "changes_of_plan": one.changes,
        "predicted": one.predicted,
        **costs_json(one.settled.costs),
    }


def pasts_of(terms: Terms, file: Path | None = None, region: str = "") -> dict[Signal, Past]:
    """From a file, of the first signal that the rule looks at; or of each that is stored, of the region "feed:region" or else
    where FEEDS says. Raises LookupError, ValueError, OSError with what is wrong."""
    signals = terms.rule.signals(terms.options)
    if file:
        return {signals[0]: past.from_file(file, signals[0])}
    feed, _, place = region.partition(":")
    found: dict[Signal, Past] = {}
    problems = [f"No feed in FEEDS offers {' or '.join(signals)}. Take a file: --file history.csv"]
    for signal in signals:
        try:
            if (
                where := Region(feed, place)
                if region
                else region_for(Device(name="this backtest"), signal)
            ):
                found[signal] = past.from_database(where, signal, terms.since, terms.until)
        except LookupError as error:
            problems.append(str(error))
    if not found:
        raise LookupError(problems[-1])
    return found
