"""Decide for each device that has a rule, commit the commands, send them, and confirm them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils import timezone

from core.models import Device, DeviceCommand
from core.models.device import DeviceQuerySet
from core.models.device_command import FINAL, State
from core.readings import Unacceptable
from core.tasks import runs
from core.tasks.decisions import receipts, settle
from core.tasks.decisions.situations import Round
from core.tasks.decisions.verdicts import Verdict, verdict
from core.tasks.events.outbox import publishing
from core.tasks.forecasts import fetch
from core.tasks.forecasts.frames import configured_models
from core.tasks.forecasts.regions import regions_for
from core.tasks.orders import send
from core.tasks.runs import HeldLease, Ticket, running

MOST_DEVICES = 20_000
DECIDED_FIELDS = ("decision", "decided_at", "undecided_since", "undecided_seconds")
MOST_AT_ONCE = 500
"""Devices in one transaction."""


def decide(
    device_pk: int | None = None,
    *,
    dry_run: bool = False,
    as_of: datetime | None = None,
    ticket: Ticket | None = None,
) -> list[Verdict]:
    """Decide for every device with a rule or a guard, as the scheduled run; or for one at once.

    `dry_run` decides, and neither orders nor sends. `as_of` does the same with what was known at
    that time. `ticket` is that of a worker. Raises AlreadyRunning, LeaseLost, LookupError (the
    device has no rule), Device.DoesNotExist.
    """
    devices = _ruled(device_pk)
    if as_of is not None:
        return _verdicts(Round(devices, as_of, is_live=False))
    if dry_run or device_pk is not None:
        return _decide(devices, dry_run, None)
    with running(runs.DECIDE, ticket) as lease:
        # First what an earlier run left open, so that the round sees it done or failed.
        send.carry_on(lease)
        verdicts = _decide(_ruled(None), False, lease)
        settle.settle_plans(timezone.now())
        _report(verdicts, lease)
    return verdicts


def decide_again(device_pks: Collection[int], least_pause: timedelta) -> list[Verdict]:
    """Decide for these devices, because of what they told, unless that was done just now."""
    devices = list(_decidable().filter(pk__in=device_pks).exclude(rule="", guard=""))
    return _decide(devices, False, None, least_pause) if devices else []


def _verdicts(this_round: Round) -> list[Verdict]:
    return [verdict(state, this_round) for state in this_round.states]


def _report(verdicts: Sequence[Verdict], lease: HeldLease) -> None:
    problems = [verdict for verdict in verdicts if verdict.problem]
    lease.run.counts = {
        "devices": len(verdicts),
        "ordered": sum(verdict.command is not None for verdict in verdicts),
        "problems": len(problems),
    }
    lines = [f"{verdict.device}: {verdict.sentence}" for verdict in problems]
    lease.run.error = "\n".join(lines)[:10_000]


def _decidable() -> DeviceQuerySet:
    devices = Device.objects.active().select_related("gateway").prefetch_related("attributes")
    return devices.order_by("name", "pk")


def _ruled(device_pk: int | None) -> list[Device]:
    devices = _decidable()
    if device_pk is None:
        return list(devices.exclude(rule="", guard="")[:MOST_DEVICES])
    device = devices.get(pk=device_pk)
    if not device.has_decider:
        raise LookupError(
            f"{device} has no rule. Give it one: python manage.py set_rule {device.pk} awesome"
        )
    return [device]


def _decide(
    devices: Sequence[Device],
    dry_run: bool,
    lease: HeldLease | None,
    least_pause: timedelta = timedelta(),
) -> list[Verdict]:
    # Before the round takes its time: it knows only what was fetched by then.
    fetch.fetch_regions([*regions_for(devices)[0], *configured_models()])
    if lease:
        lease.renew()
    this_round = Round(devices, timezone.now())
    verdicts = _verdicts(this_round)
    if dry_run:
        return verdicts
    committed: list[Verdict] = []
    for start in range(0, len(verdicts), MOST_AT_ONCE):
        part = verdicts[start : start + MOST_AT_ONCE]
        committed += _commit(part, this_round.at, lease, least_pause)
    return _send(committed, lease)


def _commit(
    verdicts: Sequence[Verdict], now: datetime, lease: HeldLease | None, least_pause: timedelta
) -> list[Verdict]:
    """Store each decision with what it was made from, and commit an order where one is needed.

    What was decided meanwhile by somebody else, who knew more, stays; within `least_pause` too.
    """
    with publishing() as outbox:
        if lease:
            lease.renew()
        locked = _lock([verdict.device.pk for verdict in verdicts])
        kept: list[Verdict] = []
        for verdict in verdicts:
            row = locked.get(verdict.device.pk)
            # A device that was deleted since has nothing to be stored for.
            if row is not None and not _was_decided(row, now - least_pause):
                kept.append(_order(verdict, row, now))
        for verdict in kept:
            device, sentence = verdict.device, verdict.sentence[:500]
            # The same decision again is no news to pages.
            if sentence != locked[device.pk].decision:
                outbox.changed_pks(Device, [device.pk])
            _count_undecided(device, verdict.is_undecided, now)
            device.decision, device.decided_at = sentence, now
        kept = receipts.write(kept, now, outbox)
        Device.objects.bulk_update([verdict.device for verdict in kept], DECIDED_FIELDS)
    written = {verdict.device.pk: verdict for verdict in kept}
    return [written.get(verdict.device.pk, verdict) for verdict in verdicts]


def _was_decided(device: Device, since: datetime) -> bool:
    """Whether it was decided about after that time. A time of the future is of a wrong clock."""
    return device.decided_at is not None and since < device.decided_at <= timezone.now()


def _count_undecided(device: Device, is_undecided: bool, now: datetime) -> None:
    device.undecided_seconds = device.undecided_for(now).total_seconds() if is_undecided else 0
    device.undecided_since = (device.undecided_since or now) if is_undecided else None


def _lock(pks: Collection[int]) -> dict[int, Device]:
    # In order of their keys, so that two processes never wait for each other.
    rows = Device.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
    return {device.pk: device for device in rows}


def _order(verdict: Verdict, device: Device, now: datetime) -> Verdict:
    """Order what is wanted. `device` is its locked row: a person may hold it since a moment ago."""
    if not verdict.wanted or verdict.attribute is None or verdict.decision is None:
        return verdict
    if device.is_held(now):
        sentence = f"held since a moment ago: {device.hold_reason}"
        return replace(verdict, sentence=sentence, wanted=False)
    open_commands = DeviceCommand.objects.open().filter(attribute=verdict.attribute)
    latest = open_commands.order_by("pk").last()
    # An order of the same value is on its way: it is not given twice.
    if latest and latest.value == verdict.decision.value:
        return replace(verdict, command=latest)
    # A savepoint: what is refused takes nothing of the other devices with it.
    try:
        with publishing():
            command = send.order(
                verdict.attribute.pk,
                verdict.decision.value,
                source=verdict.source,
                reason=verdict.decision.reason,
                revert_after=verdict.revert_after,
            )
    except Unacceptable as error:
        return replace(verdict, sentence=f"{verdict.sentence}: refused, {error}", problem=True)
    return replace(verdict, command=command)


def _send(verdicts: Sequence[Verdict], lease: HeldLease | None) -> list[Verdict]:
    """Send what was ordered; say in each sentence what became of it."""
    ordered = [verdict.command.pk for verdict in verdicts if verdict.command]
    sent = {command.pk: command for command in send.send(ordered, lease)} if ordered else {}
    return [
        _sent(verdict, sent[verdict.command.pk])
        if verdict.command and verdict.command.pk in sent
        else verdict
        for verdict in verdicts
    ]


def _sent(verdict: Verdict, command: DeviceCommand) -> Verdict:
    sentence = f"{verdict.sentence}: {command.state}"
    if command.error:
        sentence += f". {command.error}"
    is_over = command.state in FINAL
    has_failed = is_over and command.state not in (State.CONFIRMED, State.SUPERSEDED)
    problem = verdict.problem or has_failed
    return replace(verdict, command=command, sentence=sentence, problem=problem)
