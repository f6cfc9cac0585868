"""Run a rule over the past: the code that decides today, which sees only what was there then."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any

from core import planning
from core.feeds import Signal
from core.models import Device, Plan, Site
from core.planning import Job, Window, score
from core.planning.score import Costs, PlanScore, WarningScore
from core.rules import Rule
from core.tasks import scorecard
from core.tasks.backtesting import past
from core.tasks.backtesting.device import BacktestSettings, ReplayedDevice
from core.tasks.backtesting.others import OtherDevices, others_named
from core.tasks.backtesting.past import ForecastKind, SignalHistory
from core.tasks.decisions import plans
from core.tasks.device_options import Options, with_numbers
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
class BacktestJob:
    """A job that opened and ended in the range.

    Its score has complete costs only if it was measured in full. `is_informed`: something was known
    then that it could be planned by.
    """

    job: Job
    score: PlanScore
    predicted: float | None
    changes: int
    is_informed: bool = True

    @property
    def is_delivered(self) -> bool:
        return self.score.minutes >= self.job.minutes - 1


@dataclass
class BacktestResult:
    """What a rule did, and what it cost.

    `on` is when the device ran, `held` when the rule held it off as a guard. `spread` is what its
    minutes would have cost at the mean of all that was measured: for rules without a deadline,
    which have nothing else to be compared with.
    """

    settings: BacktestSettings
    ticks: int = 0
    undecided: int = 0
    switches: int = 0
    waited: int = 0
    """Ticks at which a switch had to wait for the device's limits."""
    on: list[Window] = field(default_factory=list)
    held: list[Window] = field(default_factory=list)
    jobs: list[BacktestJob] = field(default_factory=list)
    unit: str = ""
    cost: float | None = None
    spread: float | None = None
    warned: WarningScore | None = None
    forecasts: ForecastKind = ForecastKind.NONE
    origin: str = ""
    looked_at: Sequence[str] = ()
    """The names of the other devices."""
    bought: float | None = None
    """In kWh: of what the device used, by a meter that it looks at. None: it looks at none."""

    @property
    def compared(self) -> list[BacktestJob]:
        """The jobs that were measured in full, and of which something was known beforehand."""
        return [job for job in self.jobs if job.score.costs.is_complete and job.is_informed]

    @property
    def blind(self) -> int:
        return sum(not job.is_informed for job in self.jobs)

    @property
    def costs(self) -> Costs:
        return score.total(job.score.costs for job in self.compared)

    @property
    def undelivered(self) -> int:
        return sum(not job.is_delivered for job in self.jobs)

    @property
    def predicted(self) -> float | None:
        """The sum over the compared jobs; None if a plan was made without any forecast."""
        predictions = [job.predicted for job in self.compared if job.predicted is not None]
        return sum(predictions) if len(predictions) == len(self.compared) else None

    @property
    def changes(self) -> int:
        return sum(job.changes for job in self.jobs)

    def as_json(self) -> Json:
        result: Json = {
            "rule": self.settings.rule.name,
            "version": self.settings.rule.version,
            "from": self.settings.since.isoformat(),
            "to": self.settings.until.isoformat(),
            "decisions": self.ticks,
            "undecided": self.undecided,
            "switches": self.switches,
            "waited": self.waited,
            "minutes_on": score.minutes_of(self.on),
            "forecasts": self.forecasts.name.lower(),
            "is_replayed": bool(self.origin),
            "unit": self.unit,
            "cost": self.cost,
            "cost_at_the_mean": self.spread,
        }
        if self.bought is not None:
            result |= {"kwh_used": self.used, "kwh_bought": self.bought}
        if self.jobs:
            result |= {"sum": self._sums(), "jobs": [_job_json(job) for job in self.jobs]}
        if self.warned:
            result["guard"] = warned_json(self.warned)
        return result

    @property
    def used(self) -> float:
        """In kWh, at the watts of its options."""
        return score.minutes_of(self.on) / 60 * self.settings.watts / 1000

    def in_words(self) -> str:
        settings = self.settings
        zone = settings.zone
        since, until = settings.since.astimezone(zone), settings.until.astimezone(zone)
        lines = [
            f"{settings.rule.name}, {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} {zone}: "
            f"{counted(self.ticks, 'decision')}, {counted(self.switches, 'switch', 'switches')}, "
            f"on for {score.minutes_of(self.on) / 60:,.0f} h"
        ]
        if self.undecided:
            lines.append(f"no decision was possible at {counted(self.undecided, 'tick')}")
        if self.waited:
            lines.append(f"a switch had to wait at {counted(self.waited, 'tick')}")
        if self.looked_at:
            lines.append(f"by what is stored of {', '.join(self.looked_at)}")
        if settings.rule.signals(settings.options) and not self.is_without_forecasts:
            lines.append(f"{self.forecasts} ({self.origin})" if self.origin else self.forecasts)
        lines += self._jobs_words() if self.jobs else self._mean_words()
        if self.bought is not None:
            own = self.used - self.bought
            share = own / self.used if self.used else 0
            lines.append(f"{self.used:,.1f} kWh, {own:,.1f} of them ({share:.0%}) left over")
        if self.warned:
            lines.append(warned_words(self.warned))
        return "\n".join(lines)

    @property
    def is_without_forecasts(self) -> bool:
        """Whether it went by other devices alone."""
        return bool(self.looked_at) and self.forecasts is ForecastKind.NONE

    def _sums(self) -> Json:
        return {
            "jobs": len(self.jobs),
            "settled": len(self.compared),
            "not_delivered": self.undelivered,
            "planned_without_data": self.blind,
            "changes_of_plan": self.changes,
            "changes_a_job": round(self.changes / len(self.jobs), 2),
            "predicted": self.predicted,
            **costs_json(self.costs),
        }

    def _jobs_words(self) -> list[str]:
        unmeasured = len(self.jobs) - len(self.compared) - self.blind
        changes = counted(self.changes, "change")
        line = (
            f"{counted(len(self.jobs), 'job')}, {self.undelivered} of them not delivered in full, "
            f"{changes} of plan ({self.changes / len(self.jobs):.1f} a job)"
        )
        if unmeasured:
            line += f"; {unmeasured} not compared, because measurements are missing"
        if self.blind:
            line += f"; {self.blind} not compared, because nothing was known to plan by"
        return [
            line,
            *costs_words(self.costs, self.predicted),
        ]

    def _mean_words(self) -> list[str]:
        if self.cost is None or self.spread is None:
            return []
        cost, spread = cost_text(self.cost, self.unit), cost_text(self.spread, self.unit)
        return [f"{cost}; as many minutes at the mean of all times: {spread}"]


def backtest(
    settings: BacktestSettings,
    histories: Mapping[Signal, SignalHistory],
    progress: Progress | None = None,
    others: OtherDevices | None = None,
) -> BacktestResult:
    """Replay a rule and score what it did, by the first of the histories, if there is one.

    Raises ValueError if the rule sets something else than a switch, and whatever the rule raises.
    """
    device = ReplayedDevice(settings, histories, others)
    ticks = (settings.until - settings.since) // settings.every
    for tick in range(ticks):
        device.tick(settings.since + tick * settings.every)
        if progress and tick % PROGRESS_EVERY == 0:
            progress(tick, ticks)
    switches = len(device.switched)
    device.stop(settings.until)
    result = BacktestResult(
        settings, ticks, device.undecided, switches, device.waited, device.on, device.held
    )
    if others is not None:
        result.looked_at = others.names
        result.bought = device.bought if settings.rule.metered else None
    first = next(iter(histories.values()), None)
    if first is None:
        return result
    result.forecasts, result.origin = first.kind, first.origin
    rows = [row for row in device.rows if _is_within(row, settings)]
    for row in rows:
        scored = _scored(row, device.on, first)
        result.jobs.append(replace(scored, is_informed=row.deadline in device.informed))
    result.unit, result.cost, result.spread = _at_the_mean(device.on, first, settings)
    result.warned = _warned(device.held, histories, settings)
    return result


def _is_within(row: Plan, settings: BacktestSettings) -> bool:
    return settings.since <= row.opens_at and row.deadline <= settings.until


def _scored(row: Plan, on: list[Window], measured: SignalHistory) -> BacktestJob:
    job = plans.unpack_job(row.job, row.opens_at, row.deadline)
    scored = score.score_plan(job, on, measured.between(job.opens_at, job.deadline))
    return BacktestJob(job, scored, row.predicted, row.changes)


def _at_the_mean(
    on: list[Window], measured: SignalHistory, settings: BacktestSettings
) -> tuple[str, float | None, float | None]:
    """Return unit, cost of the minutes that were measured, and their cost at the range's mean."""
    slots = measured.between(settings.since, settings.until)
    spans = score.joined(Window(slot.starts_at, slot.ends_at) for slot in slots)
    ran = [window for span in spans for window in score.within(on, span.starts_at, span.ends_at)]
    if not slots or not ran or not measured.signal.is_cost:
        return "", None, None
    weights = [(slot.ends_at - slot.starts_at) / score.MINUTE for slot in slots]
    weighted = [slot.value * weight for slot, weight in zip(slots, weights, strict=True)]
    mean = sum(weighted) / sum(weights)
    spread = mean * score.minutes_of(ran) / 60 * settings.watts / 1000
    return slots[0].unit.removesuffix("/kWh"), planning.cost(ran, slots, settings.watts), spread


def _warned(
    held: list[Window], histories: Mapping[Signal, SignalHistory], settings: BacktestSettings
) -> WarningScore | None:
    for signal, measured in histories.items():
        threshold = scorecard.threshold(settings.options, signal)
        slots = measured.between(settings.since, settings.until)
        if settings.rule.is_guard and slots and threshold is not None:
            return scorecard.score_guard(held, slots, threshold)
    return None


def _job_json(row: BacktestJob) -> Json:
    return {
        "opens_at": row.job.opens_at.isoformat(),
        "deadline": row.job.deadline.isoformat(),
        "minutes": row.score.minutes,
        "delivered": row.is_delivered,
        "planned_without_data": not row.is_informed,
        "changes_of_plan": row.changes,
        "predicted": row.predicted,
        **costs_json(row.score.costs),
    }


def load(
    settings: BacktestSettings,
    written: Mapping[str, object],
    file: Path | None,
    region: str,
    currency: str,
) -> tuple[dict[Signal, SignalHistory], OtherDevices | None]:
    """Return what a rule's signals were, and the devices that its options, as written, name.

    Raises LookupError, ValueError, OSError with what is wrong.
    """
    others = others_named(settings.rule, written, settings.since, settings.until)
    return load_histories(settings, file, region, currency, others is not None), others


def load_histories(
    settings: BacktestSettings,
    file: Path | None = None,
    region: str = "",
    currency: str = "",
    is_optional: bool = False,
) -> dict[Signal, SignalHistory]:
    """Return what a rule's signals were; where they are optional, it may be none.

    From a file, of the first signal that the rule looks at; or of each that is stored, of the
    region "feed:region" or else where FEEDS says. Raises LookupError, ValueError, OSError with what
    is wrong.
    """
    signals = settings.rule.signals(settings.options)
    if file and not signals:
        raise ValueError(f"{settings.rule.name} looks at no price and no forecast: take no file.")
    if file:
        unit = signals[0].unit
        if unit.startswith("/"):
            unit = f"{currency}{unit}"
            if not signals[0].has_unit(unit):
                raise ValueError(f"{file} holds money: say which, such as --currency GBP")
        history = past.from_file(file, signals[0], unit)
        if not history.between(settings.since, settings.until):
            days = f"{settings.since:%Y-%m-%d %H:%M} to {settings.until:%Y-%m-%d %H:%M} UTC"
            raise ValueError(f"{file} has no measurement (actual) from {days}.")
        return {signals[0]: history}
    feed, _, place = region.partition(":")
    found: dict[Signal, SignalHistory] = {}
    problems = [f"No feed in FEEDS offers {' or '.join(signals)}. Take a file: --file history.csv"]
    for signal in signals:
        try:
            if region:
                source: Region | None = Region(feed, place)
            else:
                source = region_for(Device(name="this backtest"), signal, Site.home())
            if source:
                found[signal] = past.from_database(source, signal, settings.since, settings.until)
        except LookupError as error:
            problems.append(str(error))
    if not found and not is_optional:
        raise LookupError(problems[-1])
    return found


def read_options(rule: Rule, written: Mapping[str, object]) -> tuple[Any, Options]:
    """Read options as `Rule.read()`; return them, and what was written with the numbers of devices.

    Raises ValueError with a sentence, also where a backtest has nothing to go by.
    """
    numbered = with_numbers(rule, written, Device.objects.present())
    options = rule.read(numbered)
    if rule.signals(options) or rule.named(numbered):
        return options, numbered
    if rule.device_options:
        raise ValueError(
            f"{rule.device_options[0]}: a backtest's own device is a switch and nothing else. Name "
            f"one whose history is stored: {rule.device_options[0]}=NAME"
        )
    raise ValueError(
        f"{rule.name} looks at no price and no forecast, so that a backtest has nothing to "
        "measure it by."
    )


def settings_of(
    rule: Rule,
    options: Any,
    first_day: date,
    last_day: date,
    every: timedelta,
    zone: tzinfo | None = None,
) -> BacktestSettings:
    """Make terms of whole days, midnight to midnight in the zone of the device, or of the home.

    Raises ValueError if the last day is before the first.
    """
    if last_day < first_day:
        raise ValueError(f"--to {last_day} is before --from {first_day}: swap them.")
    zone = zone or Site.home().clock
    since = datetime.combine(first_day, time(), zone).astimezone(UTC)
    until = datetime.combine(last_day + timedelta(days=1), time(), zone).astimezone(UTC)
    return BacktestSettings(rule, options, since, until, every, zone)
