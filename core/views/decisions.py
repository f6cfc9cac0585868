"""Decisions on the device page: rule, guard and limits, plan, receipts, results."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from core import formatting, rules, vendors
from core.models import Access, Attribute, Device, Plan, Receipt, Right, Site
from core.models.attribute import main_switch
from core.models.device import FailSafe, public_sentence
from core.planning.score import Costs
from core.tasks import scorecard
from core.tasks.polling.clock import AHEAD
from core.views import plans
from core.views.holds import lengths

PLANS_SHOWN = 8
RECEIPTS_SHOWN = 10


@dataclass(frozen=True)
class Option:
    label: str
    text: str
    is_given: bool
    help: str


@dataclass(frozen=True)
class Decider:
    """A rule or a guard of a device. `complaint`: why it cannot decide any more."""

    label: str
    options: list[Option]
    complaint: str = ""

    @property
    def public_complaint(self) -> str:
        return public_sentence(self.complaint)


@dataclass(frozen=True)
class Saved:
    """A finished plan with its costs. `share`: of the best possible saving, in percent."""

    plan: Plan
    costs: Costs

    @property
    def share(self) -> float | None:
        return None if self.costs.share is None else 100 * self.costs.share


def decided(
    device: Device, attributes: Sequence[Attribute], now: datetime, access: Access
) -> dict[str, Any]:
    """Return the template context. A device without a rule still shows its stored history."""
    # What was made by a clock that ran ahead would stand before all else for as long.
    made = Plan.objects.filter(device=device, made_at__lte=now + AHEAD)
    rows = list(made.order_by("-deadline")[:PLANS_SHOWN])
    going_on = (row for row in rows if now < row.deadline and row.rule == device.rule)
    current = max(going_on, key=lambda row: row.made_at, default=None)
    receipts = Receipt.objects.filter(device=device, decided_at__lte=now + AHEAD)
    is_ruled = device.has_decider
    found = deciders(device, access)
    can_decide = found and not any(decider.complaint for _, decider in found)
    planned, complaint = _planned(device, current, attributes, now) if can_decide else (None, "")
    return {
        "is_ruled": is_ruled,
        "has_switch": main_switch(attributes) is not None,
        "deciders": found,
        "limits": limits(device),
        "clock": Site.home().clock_of(device) if is_ruled else None,
        "lengths": lengths(),
        "planned": planned,
        "no_plan": complaint,
        "public_no_plan": public_sentence(complaint),
        "saved": saved(rows),
        "score": _score(device, now) if rows or is_ruled else [],
        "receipts": receipts.order_by("-decided_at")[:RECEIPTS_SHOWN],
    }


def saved(rows: Sequence[Plan]) -> list[Saved]:
    return [
        Saved(row, Costs(row.unit, row.actual, row.at_once, row.ideal))
        for row in rows
        if row.settled_at
    ]


def _score(device: Device, now: datetime) -> list[str]:
    """Return lines about the last 30 days: results of its plans, accuracy of its guard."""
    jobs: list[str] = []
    guards: list[str] = []
    for score in scorecard.scores([device], now):
        if score.jobs:
            jobs.extend(score.jobs.in_words())
        for guard in score.guards:
            guards.extend(line.replace("_", " ") for line in guard.in_words())
    return [*jobs, *guards]


def _planned(
    device: Device, plan: Plan | None, attributes: Sequence[Attribute], now: datetime
) -> tuple[plans.Planned | None, str]:
    try:
        return plans.planned(device, plan, attributes, now), ""
    except (LookupError, ValueError) as error:
        return None, str(error)


def deciders(device: Device, access: Access) -> list[tuple[str, Decider]]:
    """Return its guard and rule, in order of precedence."""
    asked = (("Guard", device.guard, device.guard_options), ("Rule", device.rule, device.options))
    return [(role, _decider(name, options, access)) for role, name, options in asked if name]


def _decider(name: str, given: Mapping[str, object], access: Access) -> Decider:
    label = name.replace("_", " ")
    try:
        rule = rules.load(name)
        options = rule.read(given)
    except (rules.UnknownRule, ValueError) as error:
        return Decider(label, [], str(error))
    except Exception as error:
        # A rule's file is a plug-in and may fail in any way: the page shows the error.
        return Decider(label, [], f"{type(error).__name__}: {error}")
    shown = []
    for option in fields(rule.options):
        value = getattr(options, option.name)
        shown.append(_option(option, value, access, is_given=option.name in given))
    return Decider(label, shown)


def _option(option: Any, value: object, access: Access, is_given: bool) -> Option:
    metadata = option.metadata
    shown = formatting.option_text(value, metadata.get("unit", ""))
    if metadata.get("device"):
        shown = _device_text(value, metadata["nobody"], access)
    return Option(
        formatting.option_label(option.name),
        shown,
        is_given,
        metadata.get("help", ""),
    )


def _device_text(pk: Any, nobody: str, access: Access) -> str:
    if not pk:
        return nobody
    named = Device.objects.present().filter(pk=pk).first()
    if named and not access.may(Right.READ, device=named):
        return f"device {pk}, which you may not see"
    return str(named) if named else f"device {pk}, which is not there any more"


def limits(device: Device) -> list[str]:
    """Return one sentence for each limit."""
    return [*_switching(device), _fail_safe(device), _hold(device), way_back(device)]


def _switching(device: Device) -> Iterator[str]:
    for state, minutes in (("on", device.min_on_minutes), ("off", device.min_off_minutes)):
        if minutes:
            least = formatting.span_text(minutes)
            yield f"Once {state}, a rule keeps it {state} for at least {least}."
    if not (device.min_on_minutes or device.min_off_minutes):
        yield "A rule may switch it on and off at any time."
    most = device.most_switches_an_hour
    yield f"At most {most} switches an hour." if most else "No limit on switches an hour."


def _fail_safe(device: Device) -> str:
    if device.fail_safe == FailSafe.KEEP:
        return "When no decision is possible it stays as it is."
    wait = formatting.span_text(device.fail_safe_minutes)
    return f"When no decision was possible for {wait}, it goes {device.fail_safe}."


def _hold(device: Device) -> str:
    if not device.hold_minutes:
        return "A change by hand does not hold it."
    length = formatting.span_text(device.hold_minutes)
    return f"A change by a person, here or at the device, holds it for {length}."


def way_back(device: Device) -> str:
    """Say what happens to the device if this server stops."""
    if device.fail_safe == FailSafe.KEEP:
        return "If this server dies it stays as it is: its fail-safe says so."
    if vendors.load_or_default(device.gateway.vendor).has_timer:
        return f"Its own timer brings it back to {device.fail_safe} if this server dies."
    return "No timer: if this server dies it stays as it is."
