"""Decide for each device that has a rule, commit what it wants, send it, see that it took effect."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.utils import timezone

from core.models import Device, DeviceCommand
from core.models.device_command import FINAL, State
from core.readings import Unacceptable
from core.tasks import runs
from core.tasks.decisions import receipts, settle
from core.tasks.decisions.situations import Scene
from core.tasks.decisions.verdicts import Verdict, verdict
from core.tasks.events.outbox import publishing
from core.tasks.forecasts import fetch
from core.tasks.forecasts.regions import regions_for
from core.tasks.orders import send
from core.tasks.runs import HeldLease, running

MOST_DEVICES = 20_000
AT_ONCE = 500


def decide(
    device_pk: int | None = None, *, dry_run: bool = False, as_of: datetime | None = None
) -> list[Verdict]:
    """Decide for every device that has a rule or a guard, as the one scheduled run; or for one device at once.

    `dry_run` decides and says so, and neither orders nor sends. `as_of` does the same with what was known at that time.
    Raises AlreadyRunning, LeaseLost, LookupError (the device has no rule), Device.DoesNotExist.
    """
    devices = _ruled(device_pk)
    if as_of is not None:
        scene = Scene(devices, as_of, is_live=False)
        return [verdict(view, scene) for view in scene.views]
    if dry_run or device_pk is not None:
        return _decide(devices, dry_run, None)
    with running(runs.DECIDE) as holding:
        send.carry_on(holding)
        verdicts = _decide(_ruled(None), False, holding)
        settle.settle_plans(timezone.now())
        _tell(verdicts, holding)
    return verdicts


def _tell(verdicts: Sequence[Verdict], holding: HeldLease) -> None:
    holding.run.counts = {
        "devices": len(verdicts),
        "ordered": sum(one.command is not None for one in verdicts),
        "problems": sum(one.problem for one in verdicts),
    }
    holding.run.error = "\n".join(
        f"{one.device}: {one.sentence}" for one in verdicts if one.problem
    )[:10_000]


def _ruled(device_pk: int | None) -> list[Device]:
    devices = (
        Device.objects.active()
        .select_related("gateway")
        .prefetch_related("attributes")
        .order_by("name", "pk")
    )
    if device_pk is None:
        return list(devices.exclude(rule="", guard="")[:MOST_DEVICES])
    device = devices.get(pk=device_pk)
    if not device.has_decider:
        raise LookupError(
            f"{device} has no rule. Give it one: python manage.py set_rule {device.pk} awesome"
        )
    return [device]


def _decide(devices: Sequence[Device], dry_run: bool, holding: HeldLease | None) -> list[Verdict]:
    fetch.fetch_regions(regions_for(devices)[0])
    if holding:
        holding.renew()
    scene = Scene(devices, timezone.now())
    verdicts = [verdict(view, scene) for view in scene.views]
    if not dry_run:
        for start in range(0, len(verdicts), AT_ONCE):
            _commit(verdicts[start : start + AT_ONCE], scene.at, holding)
        _send([one for one in verdicts if one.command], holding)
    return verdicts


def _commit(verdicts: Sequence[Verdict], now: datetime, holding: HeldLease | None) -> None:
    """Keep each decision with what it was made from, and commit an order where something is to be done."""
    with publishing() as outbox:
        if holding:
            holding.renew()
        pks = sorted(one.device.pk for one in verdicts)
        locked = {
            one.pk: one
            for one in Device.objects.select_for_update(no_key=True)
            .filter(pk__in=pks)
            .order_by("pk")
        }
        kept = [one for one in verdicts if one.device.pk in locked]
        for one in kept:
            _order(one, locked[one.device.pk], now)
            said = locked[one.device.pk].decision
            outbox.changed_pks(Device, [one.device.pk] if one.sentence[:500] != said else [])
            since = one.device.undecided_since or now
            one.device.decision, one.device.decided_at = one.sentence[:500], now
            one.device.undecided_since = since if one.is_undecided else None
        receipts.write(kept, now, outbox)
        Device.objects.bulk_update(
            [one.device for one in kept], ["decision", "decided_at", "undecided_since"]
        )


def _order(one: Verdict, device: Device, now: datetime) -> None:
    """A person may have taken the device in hand since it was decided about: then nothing is ordered."""
    if not one.wanted or one.attribute is None or one.decision is None:
        return
    if device.is_held(now):
        one.sentence, one.wanted = f"held since a moment ago: {device.hold_reason}", False
        return
    under_way = DeviceCommand.objects.open().filter(attribute=one.attribute).order_by("pk").last()
    if under_way and under_way.value == one.decision.value:
        one.command = under_way
        return
    reason = one.decision.reason
    try:
        with publishing():
            one.command = send.order(
                one.attribute.pk,
                one.decision.value,
                source=one.source,
                reason=reason,
                revert_after=one.revert_after,
            )
    except Unacceptable as error:
        one.sentence, one.problem = f"{one.sentence}: refused, {error}", True


def _send(verdicts: Collection[Verdict], holding: HeldLease | None) -> None:
    """Send what was ordered; say in each sentence what became of it."""
    commands = {one.command.pk: one for one in verdicts if one.command}
    for command in send.send(list(commands), holding) if commands else []:
        one = commands[command.pk]
        one.command = command
        one.sentence += f": {command.state}" + (f". {command.error}" if command.error else "")
        one.problem = one.problem or (
            command.state in FINAL and command.state not in (State.CONFIRMED, State.SUPERSEDED)
        )
