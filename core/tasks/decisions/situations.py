"""Build the situations that rules decide from.

Live, a situation is what the database says now. For an earlier time, values come from observations,
plans and guards' holds from receipts, and only forecasts that had been fetched by then count.
Limits and people's holds are not kept by time, so today's are used.

To give rules a new thing to know: add a field with a default to `core.rules.Situation`, and fill it
in `Round._state`. Receipts write and read it by its type: core/tasks/decisions/inputs.py.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, F, OuterRef, Q, Subquery

from core import rules
from core.feeds import Signal
from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Freshness,
    Observation,
    Plan,
    Receipt,
    Right,
    Silence,
    Site,
)
from core.models.attribute import main_switch
from core.models.device_command import State
from core.models.limited import limited_accesses
from core.planning import WindowPlan
from core.planning.forecast import Outlook
from core.planning.precedence import Limits
from core.readings import Source, Value
from core.rules import Other, Rule, Situation
from core.rules._past import Past
from core.tasks.decisions import plans
from core.tasks.decisions.recent_past import Wanted, recent_past
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

LOOK_AHEAD = timedelta(hours=48)
HOUR = timedelta(hours=1)

Pasts = Mapping[str, Past]


@dataclass(frozen=True)
class DeviceState:
    """One device at one moment. Its `situation` has no outlooks and options yet: these depend on
    the rule, and `Round.situation` adds them."""

    device: Device
    attributes: Sequence[Attribute]
    switch: Attribute | None
    fresh: Mapping[str, Attribute]
    situation: Situation
    plan_row: Plan | None = None
    switches: int = 0
    """How often rules switched it in the last hour."""
    timer: DeviceCommand | None = None
    """The command whose timer runs in the device."""
    looked_at: Mapping[int, Mapping[str, Attribute]] = field(default_factory=dict)
    """The fresh attributes of the devices that its rule or its guard names; where options name
    attributes too, of those."""
    is_told_apart: bool = False
    """Somebody sees it, and not all that its rule or its guard looks at."""


class _Followed(NamedTuple):
    """A plan, the minutes delivered of it, and its row if it is the current one."""

    plan: WindowPlan | None = None
    delivered: float = 0.0
    row: Plan | None = None


class _HeldOff(NamedTuple):
    """Since when a guard has kept a device switched off, and the `until` of its decision."""

    since: datetime | None = None
    until: datetime | None = None


class Round:
    """Load the states of devices as of the time `at`. The number of queries does not grow with the
    number of devices."""

    def __init__(self, devices: Collection[Device], at: datetime, *, is_live: bool = True) -> None:
        self.at, self.site = at, Site.home()
        self.forecasts = AsOf(at)
        self.used: dict[int, dict[Signal, Region]] = {}
        """By device: the signals that its rules looked at, and the region of each."""
        self._attributes = {device.pk: _attributes(device) for device in devices}
        self._named = {device.pk: _named(device) for device in devices}
        self._others = _others(self._named.values())
        self._other_attributes = {pk: _attributes(other) for pk, other in self._others.items()}
        # A sentence can tell of another device only where a rule looks at one.
        self._limited = limited_accesses(at) if self._others and is_live else []
        self._switches = {
            pk: switch for pk, rows in self._attributes.items() if (switch := main_switch(rows))
        }
        # Before all that reads values or freshness.
        if not is_live:
            everybody = [*devices, *self._others.values()]
            # A device may be both: each has attributes of its own in memory, and all go back.
            rows = [*self._attributes.values(), *self._other_attributes.values()]
            _go_back(everybody, rows, self._switches, at)
        self._memories = {device.pk: _memory(device) for device in devices}
        self._past = recent_past(self._wanted(), at)
        load_plans = _plans if is_live else _earlier_plans
        self._held_off = _held_off(self._attributes, at)
        self._counts, self._timers = _commands(self._switches, at)
        self._plans = load_plans(self._attributes, self._switches, at)
        self.states = [self._state(device) for device in devices]

    def _is_told_apart(self, device: Device, looked_at: Collection[int]) -> bool:
        return any(
            access.may(Right.READ, device=device)
            and not access.may(Right.READ, device=self._others[pk])
            for access in self._limited
            for pk in looked_at
        )

    def _wanted(self) -> Iterator[Wanted]:
        """Yield the attributes whose past is looked at."""
        for pk, (lasts, names_of) in self._memories.items():
            for other, names in names_of.items() if lasts else ():
                rows = self._other_attributes.get(other, ()) if other else self._attributes[pk]
                for row in _fresh(_only(rows, names), self.at).values():
                    yield Wanted(row, lasts)

    def _past_of(self, device: Device, number: int, fresh: Mapping[str, Attribute]) -> Pasts:
        """Return the past of its own attributes, for 0, or of those of another device."""
        lasts, names_of = self._memories[device.pk]
        if not lasts or number not in names_of:
            return {}
        rows = _only(fresh.values(), names_of[number])
        return {row.name: self._past[row.pk, lasts] for row in rows}

    def _state(self, device: Device) -> DeviceState:
        attributes, switch = self._attributes[device.pk], self._switches.get(device.pk)
        fresh = _fresh(attributes, self.at)
        looked_at = {
            pk: _fresh(_only(self._other_attributes[pk], names), self.at)
            for pk, names in sorted(self._named[device.pk].items())
            if pk in self._others
        }
        followed = self._plans.get(device.pk, _Followed())
        held_off = self._held_off.get(device.pk, _HeldOff())
        situation = Situation(
            now=self.at,
            device=str(device),
            values=_values(fresh),
            switch=switch.name if switch else "",
            zone=self.site.clock_of(device),
            changed_at=switch.changed_at if switch else None,
            plan=followed.plan,
            delivered=followed.delivered,
            held_off_since=held_off.since,
            held_off_until=held_off.until,
            limits=_limits(device),
            others={
                pk: Other(str(self._others[pk]), _values(rows), self._past_of(device, pk, rows))
                for pk, rows in looked_at.items()
            },
            past=self._past_of(device, 0, fresh),
        )
        return DeviceState(
            device=device,
            attributes=attributes,
            switch=switch,
            fresh=fresh,
            situation=situation,
            looked_at=looked_at,
            is_told_apart=self._is_told_apart(device, looked_at),
            plan_row=followed.row,
            switches=self._counts.get(switch.pk, 0) if switch else 0,
            timer=self._timers.get(switch.pk) if switch else None,
        )

    def situation(self, state: DeviceState, rule: Rule, options: Any) -> Situation:
        """Complete a device's situation for one rule.

        Raises LookupError if it is not clear where a feed is to look.
        """
        outlooks = self.outlooks(state.device, rule.signals(options))
        return replace(state.situation, outlooks=outlooks, options=options)

    def outlooks(self, device: Device, signals: Iterable[Signal]) -> dict[Signal, Outlook]:
        regions = {
            signal: region
            for signal in signals
            if (region := region_for(device, signal, self.site))
        }
        # The rule and the guard may look at different signals: the receipt stores both.
        self.used.setdefault(device.pk, {}).update(regions)
        return outlooks_as_of(self.forecasts, regions)


def outlooks_as_of(forecasts: AsOf, regions: Mapping[Signal, Region]) -> dict[Signal, Outlook]:
    until = forecasts.at + LOOK_AHEAD
    return {signal: forecasts.outlook(region, signal, until) for signal, region in regions.items()}


def _attributes(device: Device) -> list[Attribute]:
    attributes = list(device.attributes.all())
    for attribute in attributes:
        attribute.device = device
    return attributes


def _fresh(attributes: Iterable[Attribute], at: datetime) -> dict[str, Attribute]:
    return {row.name: row for row in attributes if row.freshness(at) is Freshness.FRESH}


def _values(rows: Mapping[str, Attribute]) -> dict[str, Value]:
    return {name: row.value for name, row in rows.items() if row.value is not None}


def _named(device: Device) -> dict[int, frozenset[str]]:
    """Return what the options of its rule and its guard name, as `Rule.named()` does."""
    named: dict[int, frozenset[str]] = {}
    for name, options in ((device.rule, device.options), (device.guard, device.guard_options)):
        # A broken plug-in names nothing here; its problem is told when it is asked.
        if name and not rules.problem_of(name):
            for pk, names in rules.load(name).named(options).items():
                named[pk] = rules.both(named.get(pk), names)
    return named


def _memory(device: Device) -> tuple[timedelta, dict[int, frozenset[str]]]:
    """Return how far its rule and its guard look back, and at what, as `Rule.remembered()` does."""
    lasts, remembered = timedelta(), dict[int, frozenset[str]]()
    for name, options in ((device.rule, device.options), (device.guard, device.guard_options)):
        if name and not rules.problem_of(name):
            rule = rules.load(name)
            back = rule.looks_back(options)
            for pk, names in rule.remembered(options).items() if back else ():
                remembered[pk] = rules.both(remembered.get(pk), names)
            lasts = max(lasts, back)
    return lasts, remembered


def _only(attributes: Iterable[Attribute], names: frozenset[str]) -> list[Attribute]:
    return [row for row in attributes if not names or row.name in names]


def _others(named_by_each: Iterable[Collection[int]]) -> dict[int, Device]:
    """Load the devices that are looked at: two queries where there are any, else none."""
    named = set().union(*named_by_each)
    if not named:
        return {}
    present = Device.objects.present().filter(pk__in=named)
    return {row.pk: row for row in present.select_related("gateway").prefetch_related("attributes")}


def _limits(device: Device) -> Limits:
    return Limits(
        min_on=timedelta(minutes=device.min_on_minutes),
        min_off=timedelta(minutes=device.min_off_minutes),
        most_switches_an_hour=device.most_switches_an_hour,
    )


def _plans(
    devices: Collection[int], switches: Mapping[int, Attribute], at: datetime
) -> dict[int, _Followed]:
    # A later row replaces an earlier one in the dict, so the nearest deadline must come last.
    open_plans = Plan.objects.filter(device__in=devices, deadline__gt=at).order_by("-deadline")
    rows = {row.device_id: row for row in open_plans}
    plans.count(rows.values(), switches, at)
    return {pk: _Followed(plans.of_row(row), row.delivered, row) for pk, row in rows.items()}


def _earlier_plans(
    devices: Collection[int], switches: Mapping[int, Attribute], at: datetime
) -> dict[int, _Followed]:
    """The plan that the last receipt before the time followed, and what was delivered by then."""
    # A plan's row is changed in place. Receipts have what was followed at the time.
    choices = Receipt.objects.filter(
        device=OuterRef("pk"), decided_at__lte=at, choice__isnull=False
    ).order_by("-decided_at")
    latest = Device.objects.filter(pk__in=devices).annotate(
        receipt=Subquery(choices.values("pk")[:1])
    )
    receipts = Receipt.objects.in_bulk(
        [pk for pk in latest.values_list("receipt", flat=True) if pk]
    )
    followed = {}
    for receipt in receipts.values():
        pk, plan = receipt.device_id, plans.unpack(receipt.choice or {})
        opens_at, deadline = plan.job.opens_at, plan.job.deadline
        if pk in switches and opens_at < at < deadline:
            row = Plan(device_id=pk, opens_at=opens_at, deadline=deadline, counted_until=opens_at)
            plans.count([row], {pk: switches[pk]}, at)
            followed[pk] = _Followed(plan, row.delivered)
    return followed


def _held_off(devices: Collection[int], at: datetime) -> dict[int, _HeldOff]:
    in_force = Receipt.objects.filter(Q(ended_at=None) | Q(ended_at__gt=at), decided_at__lte=at)
    # A decision that is repeated keeps its receipt, so `decided_at` is when it began.
    held_off = in_force.filter(device__in=devices, voice=Source.GUARD, value=False)
    rows = held_off.values_list("device_id", "decided_at", "until")
    return {pk: _HeldOff(since, until) for pk, since, until in rows}


def _commands(
    switches: Mapping[int, Attribute], at: datetime
) -> tuple[dict[int, int], dict[int, DeviceCommand]]:
    """Return two dicts by the switch's pk: how often rules changed it in the last hour, and the
    command whose timer is running in the device."""
    pks = [switch.pk for switch in switches.values()]
    sent = DeviceCommand.objects.filter(attribute__in=pks, sent_at__lte=at).order_by("pk")
    # A command that did not change the value does not count as switching.
    switched = sent.filter(~Q(number=F("before_number")), source=Source.RULE, sent_at__gt=at - HOUR)
    # order_by(): sorted by pk, each command would be a group of its own.
    counts = dict(switched.order_by().values_list("attribute").annotate(Count("pk")))
    running = sent.filter(reverts_at__gt=at, state__in=[State.ACCEPTED, State.CONFIRMED])
    return counts, {command.attribute_id: command for command in running}


def _go_back(
    devices: Iterable[Device],
    of_devices: Iterable[Sequence[Attribute]],
    switches: Mapping[int, Attribute],
    at: datetime,
) -> None:
    """Set attributes to the values they had at the time `at`, in memory only."""
    attributes: dict[int, list[Attribute]] = {}
    for rows in of_devices:
        for row in rows:
            attributes.setdefault(row.pk, []).append(row)
    # One query finds the newest row of each attribute and another loads them, however many.
    newest = Observation.objects.filter(attribute=OuterRef("pk"), observed_at__lte=at).order_by(
        "-observed_at"
    )
    silent = Silence.objects.filter(attribute=OuterRef("pk"), starts_at__lt=at, ends_at__gt=at)
    then = Attribute.objects.filter(pk__in=attributes).annotate(
        then=Subquery(newest.values("pk")[:1]),
        silent_since=Subquery(silent.values("starts_at")[:1]),
    )
    found: dict[int, tuple[int | None, datetime | None]] = dict.fromkeys(attributes, (None, None))
    for pk, newest_pk, since in then.values_list("pk", "then", "silent_since"):
        found[pk] = newest_pk, since
    observations = Observation.objects.in_bulk([pk for pk, _ in found.values() if pk])
    for pk, (newest_pk, since) in found.items():
        observation = observations.get(newest_pk) if newest_pk else None
        for row in attributes[pk]:
            _set_back(row, observation, since, at)
    for switch in switches.values():
        switch.changed_at = _changed_at(switch, at)
    for device in devices:
        device.gateway.failures = 0  # the stored number is today's: ignore it


def _set_back(
    attribute: Attribute,
    observation: Observation | None,
    silent_since: datetime | None,
    at: datetime,
) -> None:
    heard_at = min(attribute.heard_at, at) if attribute.heard_at else None
    # Only whether it is available today is stored.
    attribute.available = True
    if observation is None:
        attribute.heard_at = attribute.observed_at = attribute.number = attribute.text = None
        return
    # Within a silence it was last heard when that began.
    attribute.heard_at = silent_since or heard_at
    attribute.number, attribute.text = observation.number, observation.text
    attribute.observed_at = observation.observed_at


def _changed_at(switch: Attribute, at: datetime) -> datetime | None:
    """Since when the switch had the value that it had at `at`; looks back 24 hours at most."""
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
