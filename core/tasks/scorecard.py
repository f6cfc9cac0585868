"""Score each device: its plans as they were settled, its guard as it warned.

For the command and for pages.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min, Q

from core import feeds, formatting, rules
from core.feeds import Signal, Slot
from core.models import Device, Plan, Receipt, Site
from core.planning import Window, score
from core.planning.forecast import REPLAYED
from core.planning.score import Costs, WarningScore
from core.readings import Source
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

Json = dict[str, Any]


@dataclass(frozen=True)
class Jobs:
    """Sums over the plans whose deadline is over.

    `costs` and `predicted` are of the `settled` ones, which were measured in full; `changes` is how
    often a plan was made anew.
    """

    jobs: int
    settled: int
    asked_minutes: float
    delivered_minutes: float
    predicted: float | None
    costs: Costs
    changes: int
    is_replayed: bool = False

    @property
    def delivered(self) -> float:
        """The share of the minutes asked for that were delivered; minutes beyond do not count."""
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
            "is_replayed": self.is_replayed,
        }

    def in_words(self) -> list[str]:
        changes = f"{counted(self.changes, 'change')} of plan"
        jobs = counted(self.jobs, "job")
        line = f"{jobs}, {self.delivered:.0%} of the minutes delivered, {changes}"
        if self.settled < self.jobs:
            line += f"; {self.jobs - self.settled} of them cannot be compared (yet)"
        if self.is_replayed:
            line += f" ({REPLAYED})"
        return [line, *costs_words(self.costs, self.predicted)]


@dataclass(frozen=True)
class Guarded:
    """What a guard warned of, compared with what was measured.

    `warned` None: nothing was measured.
    """

    rule: str
    signal: Signal | None = None
    threshold: float = 0
    warned: WarningScore | None = None
    is_replayed: bool = False

    def as_json(self) -> Json:
        event: Json = {}
        if self.signal:
            event = {"signal": self.signal, "threshold": self.threshold}
            event["is_replayed"] = self.is_replayed
        return {"rule": self.rule, **event, **(warned_json(self.warned) if self.warned else {})}

    def in_words(self) -> list[str]:
        if self.warned is None or self.signal is None:
            return [f"{self.rule}: nothing was measured that would show whether it was right"]
        signal, unit = self.signal.replace("_", " "), self.signal.unit
        event = f"{signal} of {self.threshold:g} {unit} or more"
        if self.is_replayed:
            event += f" ({REPLAYED})"
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
        lines = [f"{self.device} ({self.device.pk})"]
        for part in [self.jobs, *self.guards]:
            if part:
                lines += [f"    {line}" for line in part.in_words()]
        return "\n".join(lines)


def scores(devices: Collection[Device], now: datetime, days: int = 30) -> list[Score]:
    """Score those devices that had plans in these days, or have a guard.

    One query for all plans, one for all warnings, and one for what was measured of each signal and
    region.
    """
    since = now - timedelta(days=days)
    jobs, guards = jobs_between(devices, since, now), _guards(devices, since, now)
    made = [Score(one, jobs.get(one.pk), guards.get(one.pk, [])) for one in devices]
    return [one for one in made if one.jobs or one.guards]


def jobs_between(devices: Collection[Device], since: datetime, until: datetime) -> dict[int, Jobs]:
    """Sum up the plans of devices whose deadlines were in this time; in one query."""
    rows = Plan.objects.filter(device__in=devices, deadline__gt=since, deadline__lte=until)
    by_device: dict[int, list[Plan]] = {}
    for row in rows:
        by_device.setdefault(row.device_id, []).append(row)
    return {pk: jobs for pk, found in by_device.items() if (jobs := jobs_of(found))}


def jobs_of(rows: Sequence[Plan]) -> Jobs | None:
    """Sum up plans, newest first, in the unit of the newest that is settled in full."""
    if not rows:
        return None
    settled = [(row, Costs(row.unit, row.actual, row.at_once, row.ideal)) for row in rows]
    complete = [(row, costs) for row, costs in settled if costs.is_complete]
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
        is_replayed=any(row.is_replayed for row in rows),
    )


def _guards(
    devices: Collection[Device], since: datetime, now: datetime
) -> dict[int, list[Guarded]]:
    found = {device.pk: list(_guarding(device)) for device in devices}
    guarded = [device for device in devices if found[device.pk]]
    if not guarded:
        return {}
    pks = [device.pk for device in guarded]
    measurements, warnings = AsOf(now), _warnings(pks, since, now)
    site = Site.home()
    names = {rule.name for of_device in found.values() for rule, _ in of_device}
    began = {name: _began(pks, name) for name in names}
    scored: dict[int, list[Guarded]] = {}
    for device in guarded:
        warned = warnings.get(device.pk, [])
        for rule, options in found[device.pk]:
            start = max(since, began[rule.name].get(device.pk, now))
            guard = _guarded(device, site, rule, options, warned, measurements, start)
            scored.setdefault(device.pk, []).append(guard)
    return scored


def _began(pks: Sequence[int], name: str) -> dict[int, datetime]:
    """Since when a guard has been asked for each device: what came before does not count."""
    asked = Q(inputs__asked__guard__rule=name) | Q(inputs__asked__rule__rule=name)
    receipts = Receipt.objects.filter(asked, device__in=pks).order_by()
    return dict(receipts.values_list("device").annotate(Min("decided_at")))


def _guarding(device: Device) -> Iterator[tuple[rules.Rule, Any]]:
    for name, written in ((device.guard, device.guard_options), (device.rule, device.options)):
        try:
            rule = rules.load(name) if name else None
            if rule and rule.is_guard:
                yield rule, rule.read(written)
        except (LookupError, ValueError):
            # A file that is gone, or options it no longer takes: its decisions say so.
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


def _guarded(
    device: Device,
    site: Site,
    rule: rules.Rule,
    options: Any,
    warnings: Sequence[Window],
    measurements: AsOf,
    since: datetime,
) -> Guarded:
    for signal in rule.signals(options):
        region = _region(device, site, signal)
        least = threshold(options, signal)
        if region is None or least is None:
            continue
        measured = measurements.measurements(region, signal, since, measurements.at)
        if measured:
            warned = score_guard(warnings, measured, least)
            return Guarded(rule.name, signal, least, warned, feeds.is_replayed(region.feed))
    return Guarded(rule.name)


def threshold(options: Any, signal: Signal) -> float | None:
    """From which value on a signal is an event to a guard: the method `limit` of its options.

    None if they do not have it.
    """
    return float(options.limit(signal)) if hasattr(options, "limit") else None


def _region(device: Device, site: Site, signal: Signal) -> Region | None:
    try:
        return region_for(device, signal, site)
    except LookupError:
        return None


def score_guard(
    warnings: Sequence[Window], measured: Sequence[Slot], threshold: float
) -> WarningScore:
    """Compare warnings with measurements.

    A warning of a time that was not measured in full is left out, unless an event was measured.
    """
    events = score.events(measured, threshold)
    spans = score.joined(Window(slot.starts_at, slot.ends_at) for slot in measured)
    counting = []
    for warning in score.joined(warnings):
        was_measured = any(
            span.starts_at <= warning.starts_at and warning.ends_at <= span.ends_at
            for span in spans
        )
        if was_measured or any(score.overlap(warning, event) for event in events):
            counting.append(warning)
    return score.score_warnings(counting, events)


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
    actual = cost_text(costs.actual, unit)
    if predicted is not None:
        actual += f" ({cost_text(predicted, unit)} were predicted)"
    at_once, ideal = cost_text(costs.at_once, unit), cost_text(costs.ideal, unit)
    verb = "saved" if costs.saving >= 0 else "lost"
    share = "" if costs.share is None else f", {costs.share:.0%} of what hindsight would have saved"
    return [
        f"{actual}; {at_once} switched on at once, {ideal} with hindsight",
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
    shown = [f"{name} {_ratio_text(ratio)}" for name, ratio in ratios.items()]
    line = f"{table}{counted(warned.false_alarms, 'false alarm')}; {', '.join(shown)}"
    if warned.lead is None:
        return line
    return f"{line}; {warned.lead.total_seconds() / 60:.0f} min ahead on average"


def _ratio_text(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def counted(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
