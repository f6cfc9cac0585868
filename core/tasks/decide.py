"""Decide for each device that has a rule, commit what it wants, send it, see that it took effect."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import feeds, rules, schedule, wire, words
from core.arbiter import Source
from core.errors import ApiError, ApiRefused
from core.feeds import Signal
from core.models import Attribute, Device, DeviceCommand, Freshness
from core.models.device import main_switch
from core.models.device_command import FINAL, State
from core.outlook import Outlook, Rung
from core.readings import Kind, Unacceptable, clean_value
from core.rules import Decision, Situation
from core.tasks import send
from core.tasks.runs import Holding, running

FEED = "replay"
LOOK_AHEAD = timedelta(hours=48)
MOST_DEVICES = 20_000

logger = logging.getLogger(__name__)


@dataclass
class Verdict:
    """What was decided for a device. `sentence` says it for people; `problem` that no decision could be made or carried
    out; `command` what was ordered, None if the device is as it should be."""

    device: Device
    sentence: str
    problem: bool = False
    command: DeviceCommand | None = None
    wanted: tuple[Attribute, Decision] | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "device": self.device.pk,
            "name": str(self.device),
            "rule": self.device.rule,
            "sentence": self.sentence,
            "problem": self.problem,
            "command": wire.device_command(self.command) if self.command else None,
        }


def decide(device_pk: int | None = None, *, dry_run: bool = False) -> list[Verdict]:
    """Decide for every device with a rule, as the one scheduled run; or for one device at once.

    `dry_run` decides and says so, and neither stores nor sends. Raises AlreadyRunning, LeaseLost, Device.DoesNotExist.
    """
    if dry_run or device_pk is not None:
        return _decide(_ruled(device_pk), dry_run, None)
    with running(schedule.DECIDE) as holding:
        send.carry_on(holding)
        verdicts = _decide(_ruled(None), False, holding)
        holding.run.counts = {
            "devices": len(verdicts),
            "ordered": sum(verdict.command is not None for verdict in verdicts),
            "problems": sum(verdict.problem for verdict in verdicts),
        }
        holding.run.error = "\n".join(f"{verdict.device}: {verdict.sentence}" for verdict in verdicts if verdict.problem)[:10_000]
    return verdicts


def _ruled(device_pk: int | None) -> list[Device]:
    devices = Device.objects.active().select_related("gateway").prefetch_related("attributes").order_by("name", "pk")
    if device_pk is None:
        return list(devices.exclude(rule="")[:MOST_DEVICES])
    device = devices.get(pk=device_pk)
    if not device.rule:
        raise LookupError(f"{device} has no rule. Give it one: python manage.py set_rule {device.pk} awesome")
    return [device]


def _decide(devices: Sequence[Device], dry_run: bool, holding: Holding | None) -> list[Verdict]:
    now = timezone.now()
    outside = _Outside(now)
    verdicts = [_one(device, outside, now) for device in devices]
    if not dry_run:
        _commit(verdicts, now, holding)
        _send([verdict for verdict in verdicts if verdict.command], holding)
    return verdicts


class _Outside:
    """The forecast, fetched when the first rule needs it, once a run."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    @cached_property
    def outlooks(self) -> dict[Signal, Outlook]:
        slots = tuple(feeds.load(FEED)().fetch("", self.now, self.now + LOOK_AHEAD))
        return {Signal.CARBON_INTENSITY: Outlook(Signal.CARBON_INTENSITY, slots, Rung.LIVE, self.now)}


def _one(device: Device, outside: _Outside, now: datetime) -> Verdict:
    """A verdict for one device. Whatever its rule does, the others get theirs."""
    try:
        return _verdict(device, outside, now)
    except (ApiError, ApiRefused, rules.UnknownRule, Unacceptable) as error:
        return Verdict(device, f"no decision: {error}", problem=True)
    except Exception as error:  # a rule is a newcomer's code: its fault is told, and is its own device's alone
        logger.exception("The rule %s failed for %s", device.rule, device)
        return Verdict(device, f"no decision: the rule {device.rule} failed: {type(error).__name__}: {error}", problem=True)


def _verdict(device: Device, outside: _Outside, now: datetime) -> Verdict:
    rule = rules.load(device.rule)
    attributes = list(device.attributes.all())
    switch = main_switch(attributes)
    fresh = {attribute.name: attribute.value for attribute in attributes if _is_usable(attribute, device, now)}
    if switch is None or switch.name not in fresh:
        heard = f"last heard {device.heard_at:%Y-%m-%d %H:%M} UTC" if device.heard_at else "never heard"
        return Verdict(
            device, f"no decision: {'no fresh reading, ' + heard if switch else 'it has nothing to switch'}", problem=True
        )
    values = {name: value for name, value in fresh.items() if value is not None}
    decision = rule.decide(Situation(now, str(device), values, switch.name, outside.outlooks, rule.options()))
    if decision is None:
        return Verdict(device, f"left alone by the rule {rule.name}")
    attribute = next((one for one in attributes if one.name == (decision.attribute or switch.name)), None)
    if attribute is None:
        raise Unacceptable(f"the rule {rule.name} wants {decision.attribute!r}, which {device} does not have")
    return _compared(device, attribute, decision, attribute.name in fresh)


def _is_usable(attribute: Attribute, device: Device, now: datetime) -> bool:
    attribute.device = device
    return attribute.freshness(now) is Freshness.FRESH


def _compared(device: Device, attribute: Attribute, decision: Decision, is_fresh: bool) -> Verdict:
    """Whether there is anything to do for it."""
    wanted = clean_value(
        decision.value, Kind(attribute.kind), minimum=attribute.minimum, maximum=attribute.maximum, choices=attribute.choices
    )
    number, text = (wanted, None) if isinstance(wanted, float) else (None, wanted)
    order = DeviceCommand(attribute=attribute, number=number, text=text)
    said = words.value_text(order.value, attribute.unit)
    what = said if attribute.name == "on" else f"{words.label(attribute)} {said}"
    if is_fresh and order.matches(attribute.number, attribute.text):
        return Verdict(device, f"{what} already, because {decision.reason}")
    return Verdict(device, f"{what}, because {decision.reason}", wanted=(attribute, decision))


def _commit(verdicts: Sequence[Verdict], now: datetime, holding: Holding | None) -> None:
    """Keep each decision's sentence, and commit an order where something is to be done and is not under way already."""
    for start in range(0, len(verdicts), 500):
        with transaction.atomic():
            if holding:
                holding.renew()
            for verdict in verdicts[start : start + 500]:
                verdict.device.decision, verdict.device.decided_at = verdict.sentence[:500], now
                _order(verdict)
            Device.objects.bulk_update([verdict.device for verdict in verdicts[start : start + 500]], ["decision", "decided_at"])


def _order(verdict: Verdict) -> None:
    if verdict.wanted is None:
        return
    attribute, decision = verdict.wanted
    under_way = DeviceCommand.objects.open().filter(attribute=attribute).order_by("pk").last()
    if under_way and under_way.value == decision.value:
        verdict.command = under_way
        return
    try:
        with transaction.atomic():
            verdict.command = send.order(attribute.pk, decision.value, source=Source.RULE, reason=decision.reason)
    except Unacceptable as error:
        verdict.sentence, verdict.problem = f"{verdict.sentence}: refused, {error}", True


def _send(verdicts: Collection[Verdict], holding: Holding | None) -> None:
    """Send what was ordered; say in each sentence what became of it."""
    commands = {verdict.command.pk: verdict for verdict in verdicts if verdict.command}
    for command in send.send(list(commands), holding) if commands else []:
        verdict = commands[command.pk]
        verdict.command = command
        verdict.sentence += f": {command.state}" + (f". {command.error}" if command.error else "")
        verdict.problem = command.state in FINAL and command.state not in (State.CONFIRMED, State.SUPERSEDED)
