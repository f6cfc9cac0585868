"""Hold devices for people: no rule touches them.

A hold is given on a page or the command line, or noticed by a change at the device itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core import formatting
from core.models import Attribute, Device, DeviceCommand
from core.models.attribute import as_value
from core.models.device_command import CommandEvent, DeviceCommandQuerySet, State, is_same
from core.readings import Cause, Source
from core.tasks.events.outbox import publishing

MOST_AT_ONCE = 500
TIMER_SLACK = timedelta(seconds=30)
"""A device's timer began when it heard the order, and its clock is not ours."""
HOLD_FIELDS = ["held_at", "held_until", "hold_reason"]
EXPECTED_FIELDS = ["expected_number", "expected_text", "expected_at", "expected_after"]


def hold(device_pk: int, until: datetime | None, reason: str) -> Device:
    """Keep rules away from a device until a time; None: until it is released.

    Raises Device.DoesNotExist.
    """
    now = timezone.now()
    with publishing():
        device = (
            Device.objects.present().select_for_update(of=("self",), no_key=True).get(pk=device_pk)
        )
        _hold(device, until, reason, now)
        # What a rule ordered and nobody has sent yet is taken back.
        waiting = (
            DeviceCommand.objects.waiting()
            .filter(attribute__device=device)
            .exclude(source=Source.HUMAN)
        )
        supersede(waiting, now)
    return device


def release(device_pk: int) -> Device:
    """Let rules decide again. Raises Device.DoesNotExist."""
    with publishing():
        device = (
            Device.objects.present().select_for_update(of=("self",), no_key=True).get(pk=device_pk)
        )
        device.held_at = device.held_until = None
        device.hold_reason = ""
        device.save(update_fields=HOLD_FIELDS)
    return device


def hold_for_a_person(device: Device, reason: str, now: datetime) -> None:
    """Hold a device that has a rule or a guard, because a person changed it.

    Its row is locked by the caller. A longer hold stays as it is.
    """
    until = now + timedelta(minutes=device.hold_minutes)
    stays = device.is_held(now) and (device.held_until is None or device.held_until > until)
    if device.hold_minutes and not stays:
        _hold(device, until, reason, now)


def _hold(device: Device, until: datetime | None, reason: str, now: datetime) -> None:
    device.held_at, device.held_until, device.hold_reason = now, until, reason[:200]
    device.save(update_fields=HOLD_FIELDS)


def notice() -> list[str]:
    """Hold devices that changed without an order of ours. Return a sentence for each new hold.

    A change counts as a person's unless our order took effect, our own timer went back, or the
    device reports a timer or a restart as the cause. Attributes with an open order wait for its
    outcome.
    """
    sentences: list[str] = []
    while changed := list(_changed()[:MOST_AT_ONCE]):
        with publishing():
            sentences += _notice(changed)
    return sentences


def _changed() -> QuerySet[Attribute]:
    """Attributes of devices that something decides for, which are not as our orders left them."""
    other_number = (
        Q(expected_number=None)
        | Q(number__lt=F("expected_number"))
        | Q(number__gt=F("expected_number"))
    )
    other_text = Q(expected_text=None) | ~Q(text=F("expected_text"))
    under_way = DeviceCommand.objects.open().values("attribute")
    devices = Device.objects.ruled()
    return (
        Attribute.objects.filter(writable=True, available=True, device__in=devices)
        .filter(Q(number__isnull=False) & other_number | Q(text__isnull=False) & other_text)
        .exclude(pk__in=under_way)
        .order_by("pk")
    )


def _notice(changed: Sequence[Attribute]) -> list[str]:
    now = timezone.now()
    pks = {attribute.device_id for attribute in changed}
    # Devices are locked before their attributes, as record() does.
    locked = Device.objects.select_for_update(no_key=True).filter(pk__in=pks).order_by("pk")
    devices = {device.pk: device for device in locked}
    sent = _sent([attribute.pk for attribute in changed])
    sentences = []
    attributes = Attribute.objects.select_for_update().filter(
        pk__in=[attribute.pk for attribute in changed]
    )
    for attribute in attributes.order_by("pk"):
        device = devices[attribute.device_id]
        orders = sent.get(attribute.pk, [])
        if _is_a_persons(attribute, orders):
            reason = f"changed at the device itself: {_change(attribute)}"
            before = device.held_at
            hold_for_a_person(device, reason, now)
            if device.held_at != before:
                sentences.append(f"{device}: {reason}")
        attribute.expected_number, attribute.expected_text = attribute.number, attribute.text
        attribute.expected_at = attribute.heard_at
        if orders:
            attribute.expected_after = orders[-1].pk
        attribute.save(update_fields=EXPECTED_FIELDS)
    return sentences


def _sent(attribute_pks: Sequence[int]) -> dict[int, list[DeviceCommand]]:
    """Return the orders of each attribute that may have set it last; the newest is the last.

    They are the newest order that was confirmed, and all that were sent after it: each of those may
    be the last that arrived.
    """
    sent: dict[int, list[DeviceCommand]] = {}
    of_these = DeviceCommand.objects.filter(attribute__in=attribute_pks, attempts__gt=0)
    for command in of_these.select_related("attribute").order_by("pk"):
        if command.state == State.CONFIRMED:
            sent[command.attribute_id] = []
        sent.setdefault(command.attribute_id, []).append(command)
    return sent


def _is_a_persons(attribute: Attribute, sent: Sequence[DeviceCommand]) -> bool:
    value = (attribute.number, attribute.text)
    expected = (attribute.expected_number, attribute.expected_text)
    if expected == (None, None) or is_same(expected, value):
        return False
    if attribute.cause in (Cause.TIMER, Cause.RESTART):
        return False
    if any(_shows(attribute, command) for command in sent):
        return False
    return not sent or not _is_way_back(attribute, sent[-1])


def _shows(attribute: Attribute, command: DeviceCommand) -> bool:
    """Whether it is as ordered, by an order that is newer than what was expected so far.

    By their numbers: times do not compare after the clock was set back.
    """
    is_newer = command.pk > (attribute.expected_after or 0)
    return is_newer and command.matches(attribute.number, attribute.text)


def _is_way_back(attribute: Attribute, command: DeviceCommand) -> bool:
    """Whether the timer that went with the order brought the value back.

    An order of unknown outcome may have set it too.
    """
    if command.revert_after is None or command.sent_at is None or attribute.changed_at is None:
        return False
    is_back = command.number is not None and attribute.number == 1.0 - command.number
    due_at = command.sent_at + command.revert_after - TIMER_SLACK
    return (
        is_back
        and attribute.changed_at >= due_at
        and (attribute.expected_at is None or attribute.expected_at < due_at)
    )


def _change(attribute: Attribute) -> str:
    before = as_value(attribute.kind, attribute.expected_number, attribute.expected_text)
    old = formatting.value_text(before, attribute.unit)
    new = formatting.value_text(attribute.value, attribute.unit)
    change = f"{old} to {new}"
    return change if attribute.name == "on" else f"{formatting.label(attribute)} {change}"


def supersede(older: DeviceCommandQuerySet, now: datetime) -> None:
    """Take back open commands. To be called inside a transaction.

    What is being sent stays: its outcome is not clear yet.
    """
    for command in older.select_for_update(of=("self",)).order_by("pk"):
        if command.move(CommandEvent.SUPERSEDE, now):
            command.save(update_fields=["state", "finished_at", "steps"])
