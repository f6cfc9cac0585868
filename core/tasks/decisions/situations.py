"""What is known of devices at a time, as their rules see it; and the same written down, so that it can be seen again.

Live, it is what the rows say now. As of an earlier time, values come from observations, plans from receipts, and forecasts
from those that had been fetched by then; limits and holds are today's.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, F, OuterRef, Q, Subquery

from core import planning, rules
from core.feeds import Signal
from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Freshness,
    Observation,
    Plan,
    Receipt,
    Silence,
)
from core.models.attribute import main_switch
from core.models.device_command import State
from core.planning.forecast import Outlook
from core.planning.precedence import Limits, Source
from core.readings import Value
from core.rules import Rule, Situation
from core.tasks.decisions import plans
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

LOOK_AHEAD = timedelta(hours=48)
HOUR = timedelta(hours=1)

Json = dict[str, Any]


@dataclass
class View:
    """One device at a time, with what its rules may know of it."""

    device: Device
    attributes: list[Attribute]
    switch: Attribute | None
    fresh: dict[str, Attribute] = field(default_factory=dict)
    plan_row: Plan | None = None
    plan: planning.WindowPlan | None = None
    delivered: float = 0.0
    held_off_since: datetime | None = None
    held_off_until: datetime | None = None
    switches: int = 0
    """Switches by a rule in the last hour."""
    timer: DeviceCommand | None = None
    """The order whose timer runs in the device."""

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.device.zone or settings.TIME_ZONE)

    @property
    def limits(self) -> Limits:
        device = self.device
        on, off = (
            timedelta(minutes=device.min_on_minutes),
            timedelta(minutes=device.min_off_minutes),
        )
        return Limits(on, off, device.most_switches_an_hour)

    @property
    def values(self) -> dict[str, Value]:
        return {name: one.value for name, one in self.fresh.items() if one.value is not None}


class Scene:
    """Devices with all that is known of them and of the world at a time; a few queries for any number of devices."""

    def __init__(self, devices: Collection[Device], at: datetime, *, is_live: bool = True) -> None:
        self.at = at
        self.known = AsOf(at)
        self.used: dict[int, dict[Signal, Region]] = {}
        """Where the signals came from that each device's rules looked at."""
        self.views = [_view(device) for device in devices]
        if not is_live:
            _go_back(self.views, at)
        for view in self.views:
            view.fresh = {
                one.name: one for one in view.attributes if one.freshness(at) is Freshness.FRESH
            }
        by_device = {view.device.pk: view for view in self.views}
        _load_guards(by_device, at)
        _load_commands(self.views, at)
        if is_live:
            _load_plans(by_device, at)
        else:
            _load_earlier_plans(by_device, at)

    def situation(self, view: View, rule: Rule, options: Any) -> Situation:
        """Raises LookupError if it is not clear where a feed is to look."""
        return Situation(
            now=self.at,
            device=str(view.device),
            values=view.values,
            switch=view.switch.name if view.switch else "",
            outlooks=self.outlooks(view.device, rule.signals(options)),
            options=options,
            zone=view.zone,
            changed_at=view.switch.changed_at if view.switch else None,
            plan=view.plan,
            delivered=view.delivered,
            held_off_since=view.held_off_since,
            held_off_until=view.held_off_until,
            limits=view.limits,
        )

    def outlooks(self, device: Device, signals: Iterable[Signal]) -> dict[Signal, Outlook]:
        regions = {signal: region for signal in signals if (region := region_for(device, signal))}
        self.used.setdefault(device.pk, {}).update(regions)
        return {
            signal: self.known.outlook(region, signal, self.at + LOOK_AHEAD)
            for signal, region in regions.items()
        }


def _view(device: Device) -> View:
    attributes = list(device.attributes.all())
    for attribute in attributes:
        attribute.device = device
    return View(device, attributes, main_switch(attributes))


def _load_plans(views: Mapping[int, View], at: datetime) -> None:
    rows = {
        row.device_id: row
        for row in Plan.objects.filter(device__in=views, deadline__gt=at).order_by("-deadline")
    }
    switches = {pk: view.switch for pk, view in views.items() if view.switch}
    plans.count(rows.values(), switches, at)
    for pk, row in rows.items():
        views[pk].plan_row, views[pk].plan, views[pk].delivered = (
            row,
            plans.of_row(row),
            row.delivered,
        )


def _load_earlier_plans(views: Mapping[int, View], at: datetime) -> None:
    """The plan that the last receipt before the time followed, and what was delivered of it by then."""
    followed = Receipt.objects.filter(
        device=OuterRef("pk"), decided_at__lte=at, choice__isnull=False
    ).order_by("-decided_at")
    latest = Device.objects.filter(pk__in=views).annotate(
        receipt=Subquery(followed.values("pk")[:1])
    )
    receipts = Receipt.objects.in_bulk(
        [pk for pk in latest.values_list("receipt", flat=True) if pk]
    )
    for receipt in receipts.values():
        view, plan = views[receipt.device_id], plans.unpack(receipt.choice or {})
        if view.switch and plan.job.opens_at < at < plan.job.deadline:
            opens_at = plan.job.opens_at
            row = Plan(
                device=view.device,
                opens_at=opens_at,
                deadline=plan.job.deadline,
                counted_until=opens_at,
            )
            plans.count([row], {view.device.pk: view.switch}, at)
            view.plan, view.delivered = plan, row.delivered


def _load_guards(views: Mapping[int, View], at: datetime) -> None:
    """Since when a guard has been holding each device off."""
    in_force = Receipt.objects.filter(Q(ended_at=None) | Q(ended_at__gt=at), decided_at__lte=at)
    held_off = in_force.filter(device__in=views, voice=Source.GUARD, value=False)
    for pk, since, until in held_off.values_list("device_id", "decided_at", "until"):
        views[pk].held_off_since, views[pk].held_off_until = since, until


def _load_commands(views: Collection[View], at: datetime) -> None:
    by_switch = {view.switch.pk: view for view in views if view.switch}
    sent = DeviceCommand.objects.filter(attribute__in=by_switch, sent_at__lte=at).order_by("pk")
    switched = sent.filter(~Q(number=F("before_number")), source=Source.RULE, sent_at__gt=at - HOUR)
    for pk, count in switched.order_by().values_list("attribute").annotate(Count("pk")):
        by_switch[pk].switches = count
    for command in sent.filter(reverts_at__gt=at, state__in=[State.ACCEPTED, State.CONFIRMED]):
        by_switch[command.attribute_id].timer = command


def _go_back(views: Collection[View], at: datetime) -> None:
    """Give attributes the values they had, in memory."""
    attributes = {one.pk: one for view in views for one in view.attributes}
    newest = Observation.objects.filter(attribute=OuterRef("pk"), observed_at__lte=at).order_by(
        "-observed_at"
    )
    silent = Silence.objects.filter(attribute=OuterRef("pk"), starts_at__lt=at, ends_at__gt=at)
    then = Attribute.objects.filter(pk__in=attributes).annotate(
        then=Subquery(newest.values("pk")[:1]),
        silent_since=Subquery(silent.values("starts_at")[:1]),
    )
    rows = {
        pk: (observation, since)
        for pk, observation, since in then.values_list("pk", "then", "silent_since")
    }
    told = Observation.objects.in_bulk(
        [observation for observation, _ in rows.values() if observation]
    )
    for pk, attribute in attributes.items():
        observation, since = rows.get(pk, (None, None))
        _set_back(attribute, told.get(observation), since, at)
    for view in views:
        if view.switch:
            view.switch.changed_at = _changed_at(view.switch, at)
        view.device.gateway.failures = 0  # of today, not of then


def _set_back(
    attribute: Attribute, told: Observation | None, silent_since: datetime | None, at: datetime
) -> None:
    heard_at = min(attribute.heard_at, at) if attribute.heard_at else None
    attribute.heard_at = (silent_since or heard_at) if told else None
    attribute.available = True
    attribute.number, attribute.text = (told.number, told.text) if told else (None, None)
    attribute.observed_at = told.observed_at if told else None


def _changed_at(switch: Attribute, at: datetime) -> datetime | None:
    """When the value that it had then was first seen, as far as a day back."""
    recent = Observation.objects.filter(
        attribute=switch, observed_at__lte=at, observed_at__gt=at - 24 * HOUR
    )
    other = (
        recent.exclude(number=switch.number)
        .order_by("-observed_at")
        .values_list("observed_at", flat=True)
        .first()
    )
    same = recent.filter(observed_at__gt=other) if other else recent
    return same.order_by("observed_at").values_list("observed_at", flat=True).first()


# Written down, and read again


def written(view: View, scene: Scene, ruled: Mapping[str, tuple[str, Any]]) -> Json:
    """All that a decision was made from. `ruled` holds (rule, options as written) of those asked: "rule", "guard"."""
    return {
        "values": {name: [one.value, _time(one.observed_at)] for name, one in view.fresh.items()},
        "switch": view.switch.name if view.switch else "",
        "changed_at": _time(view.switch.changed_at) if view.switch else None,
        "zone": str(view.zone),
        "delivered": view.delivered,
        "plan": plans.pack(view.plan) if view.plan else None,
        "held_off": [_time(view.held_off_since), _time(view.held_off_until)],
        "limits": [
            view.limits.min_on.total_seconds(),
            view.limits.min_off.total_seconds(),
            view.limits.most_switches_an_hour,
        ],
        "asked": {
            part: {"rule": name, "options": options} for part, (name, options) in ruled.items()
        },
        "regions": {
            signal.value: list(region)
            for signal, region in scene.used.get(view.device.pk, {}).items()
        },
    }


def read_again(inputs: Json, device: str, at: datetime, part: str) -> tuple[Rule, Situation]:
    """The rule that was asked and the situation it saw, with the forecasts that were known at that time.

    Raises LookupError if the rule is gone, ValueError if it no longer takes those options.
    """
    asked, known = inputs["asked"][part], AsOf(at)
    rule = rules.load(asked["rule"])
    options = rule.read(asked["options"])
    min_on, min_off, most = inputs["limits"]
    regions = {Signal(signal): Region(*region) for signal, region in inputs["regions"].items()}
    wanted = [signal for signal in rule.signals(options) if signal in regions]
    return rule, Situation(
        now=at,
        device=device,
        values={name: value for name, (value, _) in inputs["values"].items() if value is not None},
        switch=inputs["switch"],
        outlooks={
            signal: known.outlook(regions[signal], signal, at + LOOK_AHEAD) for signal in wanted
        },
        options=options,
        zone=ZoneInfo(inputs["zone"]),
        changed_at=_read_time(inputs["changed_at"]),
        plan=plans.unpack(inputs["plan"]) if inputs["plan"] else None,
        delivered=inputs["delivered"],
        held_off_since=_read_time(inputs["held_off"][0]),
        held_off_until=_read_time(inputs["held_off"][1]),
        limits=Limits(timedelta(seconds=min_on), timedelta(seconds=min_off), most),
    )


def _time(time: datetime | None) -> str | None:
    return time.astimezone(UTC).isoformat() if time else None


def _read_time(told: str | None) -> datetime | None:
    return datetime.fromisoformat(told) if told else None
