"""How each device did: its plans as they were settled, its guard as it warned. For the command and for pages."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Q

from core import formatting, rules
from core.feeds import UNITS, Signal, Slot
from core.models import Device, Plan, Receipt
from core.planning import Window, score
from core.planning.precedence import Source
from core.planning.score import Costs, WarningScore
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import region_for

Json = dict[str, Any]


@dataclass(frozen=True)
class Jobs:
    """Of the plans whose deadline is over. `costs` and `predicted` are sums over the `settled` ones, known in full;
    `changes` how often a plan was made anew."""

    jobs: int
    settled: int
    asked_minutes: float
    delivered_minutes: float
    predicted: float | None
    costs: Costs
    changes: int

    @property
    def delivered(self) -> float:
        """The share of what was asked for that was done; minutes beyond what a job asked for do not count."""
        return self.delivered_minutes / self.asked_minutes if self.asked_minutes else 1.0

    def as_json(self) -> Json:
        return {
            "jobs": self.jobs,
            "settled": self.settled,
            "delivered": round(self.delivered, 4),
            "unit": self.costs.unit,
            "predicted": self.predicted,
            **costs_json(self.costs),
            "changes_of_plan": self.changes,
        }

    def in_words(self) -> list[str]:
        changes = f"{counted(self.changes, 'change')} of plan"
        done = (
            f"{counted(self.jobs, 'job')}, {self.delivered:.0%} of the minutes delivered, {changes}"
        )
        waiting = (
            f"; {self.jobs - self.settled} of them cannot be compared (yet)"
            if self.settled < self.jobs
            else ""
        )
        return [done + waiting, *costs_words(self.costs, self.predicted)]


@dataclass(frozen=True)
class Guarded:
    """What a guard warned of, against what was measured. `warned` None: nothing was measured."""

    rule: str
    signal: Signal | None = None
    threshold: float = 0
    warned: WarningScore | None = None

    def as_json(self) -> Json:
        event = {"signal": self.signal, "threshold": self.threshold} if self.signal else {}
        return {"rule": self.rule, **event, **(warned_json(self.warned) if self.warned else {})}

    def in_words(self) -> list[str]:
        if self.warned is None or self.signal is None:
            return [f"{self.rule}: nothing was measured that would show whether it was right"]
        event = (
            f"{self.signal.replace('_', ' ')} of {self.threshold:g} {UNITS[self.signal]} or more"
        )
        return [f"{self.rule}, for {event}: {warned_words(self.warned)}"]


@dataclass(frozen=True)
class Score:
    device: Device
    jobs: Jobs | None = None
    guards: list[Guarded] = field(default_factory=list)

    def as_json(self) -> Json:
        jobs = {"jobs": self.jobs.as_json()} if self.jobs else {}
        return {
            "device": self.device.pk,
            "name": str(self.device),
            **jobs,
            "guards": [one.as_json() for one in self.guards],
        }

    def in_words(self) -> str:
        parts = [
            *(self.jobs.in_words() if self.jobs else []),
            *(line for one in self.guards for line in one.in_words()),
        ]
        return "\n".join([f"{self.device} ({self.device.pk})", *(f"    {part}" for part in parts)])


def scores(devices: Collection[Device], now: datetime, days: int = 30) -> list[Score]:
    """Of those devices that had plans in these days, or have a guard. One query for all plans, one for all warnings, and one
    for what was measured of each signal and region."""
    since = now - timedelta(days=days)
    rows = Plan.objects.filter(device__in=devices, deadline__gt=since, deadline__lte=now)
    by_device: dict[int, list[Plan]] = {}
    for row in rows:
        by_device.setdefault(row.device_id, []).append(row)
    guards = _guards(devices, since, now)
    made = [
        Score(one, jobs_of(by_device.get(one.pk, [])), guards.get(one.pk, [])) for one in devices
    ]
    return [one for one in made if one.jobs or one.guards]


def jobs_of(rows: Sequence[Plan]) -> Jobs | None:
    """Newest first. In the unit of the newest that is settled in full."""
    if not rows:
        return None
    known = [(row, Costs(row.unit, row.actual, row.at_once, row.ideal)) for row in rows]
    complete = [(row, costs) for row, costs in known if costs.is_complete]
    costs = score.total(costs for _, costs in complete)
    same = [row for row, _ in complete if row.unit in ("", costs.unit)]
    predictions = [row.predicted for row in same if row.predicted is not None]
    return Jobs(
        jobs=len(rows),
        settled=len(same),
        asked_minutes=sum(row.job["minutes"] for row in rows),
        delivered_minutes=sum(min(row.delivered, row.job["minutes"]) for row in rows),
        predicted=sum(predictions) if same and len(predictions) == len(same) else None,
        costs=costs,
        changes=sum(row.changes for row in rows),
    )


def _guards(
    devices: Collection[Device], since: datetime, now: datetime
) -> dict[int, list[Guarded]]:
    found = {device.pk: list(_guarding(device)) for device in devices}
    guarded = [device for device in devices if found[device.pk]]
    if not guarded:
        return {}
    pks = [device.pk for device in guarded]
    known, warnings = AsOf(now), _warnings(pks, since, now)
    began = {
        name: _began(pks, name)
        for name in {rule.name for rules_of in found.values() for rule, _ in rules_of}
    }
    return {
        device.pk: [
            _judged(
                device,
                rule,
                options,
                warnings.get(device.pk, []),
                known,
                max(since, began[rule.name].get(device.pk, now)),
            )
            for rule, options in found[device.pk]
        ]
        for device in guarded
    }


def _began(pks: Sequence[int], name: str) -> dict[int, datetime]:
    """Since when a guard has been asked for each device: what happened before is not held against it."""
    asked = Q(inputs__asked__guard__rule=name) | Q(inputs__asked__rule__rule=name)
    receipts = Receipt.objects.filter(asked, device__in=pks).order_by()
    return dict(receipts.values_list("device").annotate(Min("decided_at")))


def _guarding(device: Device) -> Iterator[tuple[rules.Rule, Any]]:
    for name, written in ((device.guard, device.guard_options), (device.rule, device.options)):
        try:
            rule = rules.load(name) if name else None
            if rule and rule.is_guard:
                yield rule, rule.read(written)
        except (
            LookupError,
            ValueError,
        ):  # a file that is gone, options it no longer takes: told where it decides
            continue


def _warnings(pks: Sequence[int], since: datetime, now: datetime) -> dict[int, list[Window]]:
    """When a guard held each device off."""
    lasting = Q(ended_at=None) | Q(ended_at__gt=since)
    rows = Receipt.objects.filter(
        lasting, device__in=pks, voice=Source.GUARD, value=False, decided_at__lt=now
    )
    found: dict[int, list[Window]] = {}
    for pk, start, end in rows.values_list("device_id", "decided_at", "ended_at"):
        found.setdefault(pk, []).append(Window(start, min(end or now, now)))
    return found


def _judged(
    device: Device,
    rule: rules.Rule,
    options: Any,
    warnings: Sequence[Window],
    known: AsOf,
    since: datetime,
) -> Guarded:
    for signal in rule.signals(options):
        measured = _measured(device, signal, known, since)
        least = threshold(options, signal)
        if measured and least is not None:
            return Guarded(rule.name, signal, least, judged(warnings, measured, least))
    return Guarded(rule.name)


def threshold(options: Any, signal: Signal) -> float | None:
    """From which value on a signal is an event to a guard: its options have a method `limit`. None if they have not."""
    return float(options.limit(signal)) if hasattr(options, "limit") else None


def _measured(device: Device, signal: Signal, known: AsOf, since: datetime) -> list[Slot]:
    try:
        region = region_for(device, signal)
    except LookupError:
        return []
    return known.measurements(region, signal, since, known.at) if region else []


def judged(warnings: Sequence[Window], measured: Sequence[Slot], threshold: float) -> WarningScore:
    """Warnings of times that were not measured in full are left out, unless an event was: nobody knows."""
    happened = score.events(measured, threshold)
    spans = score.joined(Window(slot.starts_at, slot.ends_at) for slot in measured)
    warned = [
        one
        for one in score.joined(warnings)
        if any(span.starts_at <= one.starts_at and one.ends_at <= span.ends_at for span in spans)
        or any(score.overlap(one, event) for event in happened)
    ]
    return score.score_warnings(warned, happened)


def costs_json(costs: Costs) -> Json:
    return {
        "actual": costs.actual,
        "at_once": costs.at_once,
        "ideal": costs.ideal,
        "saving": costs.saving,
        "share_of_ideal": costs.share,
    }


def costs_words(costs: Costs, predicted: float | None = None) -> list[str]:
    if costs.actual is None or costs.at_once is None or costs.ideal is None or costs.saving is None:
        return []
    unit = costs.unit
    told = "" if predicted is None else f" ({cost_text(predicted, unit)} were predicted)"
    compared = f"{cost_text(costs.at_once, unit)} switched on at once, {cost_text(costs.ideal, unit)} with hindsight"
    verb = "saved" if costs.saving >= 0 else "lost"
    share = "" if costs.share is None else f", {costs.share:.0%} of what hindsight would have saved"
    return [
        f"{cost_text(costs.actual, unit)}{told}; {compared}",
        f"{verb} {cost_text(abs(costs.saving), unit)}{share}",
    ]


def cost_text(cost: float, unit: str) -> str:
    """1.42 kgCO2, 310 gCO2, 4.12 GBP."""
    if unit == "gCO2" and abs(cost) >= 1000:
        return f"{formatting.number_text(cost / 1000)} kgCO2"
    return f"{formatting.number_text(cost)} {unit}" if unit == "gCO2" else f"{cost:,.2f} {unit}"


def warned_json(warned: WarningScore) -> Json:
    return {
        "hits": warned.hits,
        "misses": warned.misses,
        "of_them_late": warned.late,
        "false_alarms": warned.false_alarms,
        "pod": warned.pod,
        "far": warned.far,
        "csi": warned.csi,
        "lead_minutes": warned.lead.total_seconds() / 60 if warned.lead is not None else None,
    }


def warned_words(warned: WarningScore) -> str:
    late = f" ({warned.late} warned of late)" if warned.late else ""
    table = f"{counted(warned.hits, 'hit')}, {counted(warned.misses, 'miss', 'misses')}{late}, "
    ratios = {"POD": warned.pod, "FAR": warned.far, "CSI": warned.csi}
    told = ", ".join(
        f"{name} {'–' if ratio is None else f'{ratio:.2f}'}" for name, ratio in ratios.items()
    )
    lead = (
        ""
        if warned.lead is None
        else f"; {warned.lead.total_seconds() / 60:.0f} min ahead on average"
    )
    return f"{table}{counted(warned.false_alarms, 'false alarm')}; {told}{lead}"


def counted(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
