"""Orders to devices: committed before they are sent, read back before they are believed.

order() commits; send() claims, writes and reads back; carry_on() finishes what a dead process left
half done. Which state follows which is the table in models/device_command.py; only confirm.py
decides what became of an order.
"""

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from core import vendors
from core.models import Attribute, Device, DeviceCommand, SecretUnreadable, User
from core.models.connections import release_connection
from core.models.device_command import CONFIRM_WITHIN, CommandEvent, State, after, with_step
from core.net import logs
from core.net.errors import ApiRefused
from core.net.threads import in_threads
from core.readings import Source, Unacceptable
from core.tasks.events.outbox import publishing
from core.tasks.orders.confirm import MOST_AT_ONCE, confirm_commands, is_heard, with_device
from core.tasks.orders.holds import hold_for_a_person, supersede
from core.tasks.polling.ask import ask
from core.tasks.polling.backoff import complaint
from core.tasks.polling.clients import client_for
from core.tasks.runs import HeldLease

logger = logging.getLogger(__name__)

WRITE_DEADLINE = timedelta(seconds=5)
WRITE_LASTS = 2 * WRITE_DEADLINE
"""With the wait for the vendor's rate limit: after this its thread is written off."""
CLAIM = 3 * WRITE_DEADLINE
"""After this nobody believes that the process which claimed a command still writes it."""
LONGEST_SETTLE_WAIT = timedelta(seconds=3)
"""A vendor that settles sooner is read back at once; a slower one by the next poll."""
READS_AT_ONCE = 2
SECOND_READ_SECONDS = 1.0
EXPIRES_AFTER = dict.fromkeys(Source, timedelta(minutes=10)) | {Source.HUMAN: timedelta(minutes=2)}
"""A person who pressed and saw nothing happen has walked on; a rule decides anew."""


def order(
    attribute_pk: int,
    value: object,
    *,
    source: Source,
    reason: str,
    user: User | None = None,
    expires_in: timedelta | None = None,
    revert_after: timedelta | None = None,
) -> DeviceCommand:
    """Commit an order, in place of any open one for the attribute that can still be taken back.

    `revert_after`: the device itself goes back after so long. A person's order keeps the device's
    rules away for a while. Raises Unacceptable with a sentence for people (not writable, out of
    range, device removed, no timer, a rule that unlocks), Device.DoesNotExist.
    """
    now = timezone.now()
    with publishing():
        # Devices are locked before their attributes, as record() does.
        device = Device.objects.select_for_update(no_key=True).get(attributes=attribute_pk)
        attribute = (
            Attribute.objects.select_for_update(of=("self",))
            .select_related("device__gateway")
            .get(pk=attribute_pk)
        )
        cleaned = _acceptable(attribute, value, source)
        if revert_after is not None and not _vendor(attribute).has_timer:
            raise Unacceptable(f"{device} has no timer of its own: it cannot go back by itself")
        if source is Source.HUMAN and device.has_decider:
            hold_for_a_person(device, reason, now)
        supersede(DeviceCommand.objects.open().filter(attribute=attribute), now)
        number, text = (cleaned, None) if isinstance(cleaned, float) else (None, cleaned)
        return DeviceCommand.objects.create(
            attribute=attribute,
            number=number,
            text=text,
            source=source,
            user=user,
            reason=reason[:500],
            requested_at=now,
            revert_after=revert_after,
            steps=with_step([], now, State.REQUESTED),
            expires_at=now + (expires_in or EXPIRES_AFTER[source]),
        )


def _acceptable(attribute: Attribute, value: object, source: Source) -> float | str:
    device = attribute.device
    if device.removed_at or device.gateway.removed_at:
        raise Unacceptable(f"{device} was removed")
    if not device.enabled or not device.gateway.enabled:
        raise Unacceptable(f"{device} is switched off here: enable it first")
    if not attribute.writable:
        raise Unacceptable(f"{attribute} of {device} can only be read")
    if source is not Source.HUMAN and attribute.name == "locked" and value is False:
        raise Unacceptable("a rule never unlocks")
    return attribute.ordered_value(value)


def send(
    pks: Collection[int] | None = None, holding: HeldLease | None = None
) -> list[DeviceCommand]:
    """Write the commands that wait (all, or these), and read back what settles soon.

    Returns them as they are then. What ends it early, such as SIGTERM, gives its claims back.
    """
    _expire()
    sent: list[int] = []
    while claimed := _claim(pks):
        try:
            _write(claimed, holding)
        except BaseException:
            _release(claimed)
            raise
        sent += [command.pk for command in claimed]
    _read_back(sent, holding)
    return list(with_device(DeviceCommand.objects.filter(pk__in=sent if pks is None else pks)))


def carry_on(holding: HeldLease | None = None) -> None:
    """Finish what is open: confirm by what was read since, read the rest, send what still waits."""
    confirm_commands()
    # Mostly nothing is: one short query instead of the five below.
    if not DeviceCommand.objects.open().exists():
        return
    now = timezone.now()
    unheard = [
        command
        for command in with_device(DeviceCommand.objects.unclear(now))
        if not is_heard(command, now)
    ]
    _read(unheard, holding)
    send(holding=holding)


# Writing


def _expire() -> None:
    """End commands that wait and are too old to be sent.

    One that was sent before, and was seen not to have arrived, has failed.
    """
    now = timezone.now()
    with publishing():
        for command in (
            DeviceCommand.objects.waiting()
            .select_for_update()
            .filter(expires_at__lte=now)
            .order_by("pk")[:MOST_AT_ONCE]
        ):
            command.move(CommandEvent.REFUSE if command.attempts else CommandEvent.EXPIRE, now)
            command.save(update_fields=["state", "finished_at", "steps"])


def _claim(pks: Collection[int] | None) -> list[DeviceCommand]:
    """Take waiting commands for this process: one a gateway, no more than can start at once.

    The database decides: of two processes, one gets each.
    """
    now = timezone.now()
    ready = DeviceCommand.objects.waiting().filter(
        Q(retry_at=None) | Q(retry_at__lte=now), expires_at__gt=now
    )
    claimed: dict[int, DeviceCommand] = {}
    for command in with_device(ready if pks is None else ready.filter(pk__in=pks)):
        gateway = command.attribute.device.gateway
        if gateway.pk in claimed or len(claimed) >= settings.POLL_WORKERS:
            continue
        if _take(command, now):
            claimed[gateway.pk] = command
    return list(claimed.values())


def _take(command: DeviceCommand, now: datetime) -> bool:
    try:
        with publishing() as outbox:
            taken = DeviceCommand.objects.filter(pk=command.pk, state=State.REQUESTED).update(
                state=after(State.REQUESTED, CommandEvent.CLAIM),
                attempts=F("attempts") + 1,
                sent_at=now,
                claimed_until=Now() + CLAIM,
                settles_at=now + WRITE_LASTS + _settle(command),
                before_number=command.attribute.number,
                before_text=command.attribute.text,
                steps=with_step(command.steps, now, State.SENDING),
            )
            outbox.changed_pks(DeviceCommand, [command.pk] * taken)
            if taken:
                # One that was being sent when this was ordered may have been accepted since.
                of_attribute = DeviceCommand.objects.open().filter(attribute=command.attribute_id)
                supersede(of_attribute.filter(pk__lt=command.pk), now)
    except IntegrityError:
        # An older order for the attribute is being sent (a partial unique constraint): this waits.
        return False
    command.state, command.attempts = State.SENDING, command.attempts + 1
    command.steps, command.sent_at = with_step(command.steps, now, State.SENDING), now
    return bool(taken)


def _settle(command: DeviceCommand) -> timedelta:
    return _vendor(command.attribute).settle


def _vendor(attribute: Attribute) -> type[vendors.Vendor]:
    return vendors.load_or_default(attribute.device.gateway.vendor)


def _write(commands: list[DeviceCommand], holding: HeldLease | None) -> None:
    """Write claimed commands to their vendors, in threads, and note each outcome as it comes."""
    if holding is None:
        release_connection()  # before the first tick too
    for command, result in in_threads(
        _write_one,
        commands,
        workers=len(commands),
        deadline_seconds=WRITE_LASTS.total_seconds(),
        tick=holding.renew_if_due if holding else release_connection,
    ):
        with logs.about({"command": command.pk}):
            _note(command, result)


class TooLate(Exception):
    """This process slept so long after claiming an order that others may have sent it again.

    It writes nothing.
    """


def _write_one(command: DeviceCommand) -> None:
    with logs.about({"command": command.pk}):
        _write_now(command)


def _write_now(command: DeviceCommand) -> None:
    device = command.attribute.device
    now = timezone.now()
    if command.sent_at is None or now > command.sent_at + WRITE_DEADLINE:
        raise TooLate
    if now >= command.expires_at:
        raise ApiRefused("It took too long, and was never sent.")
    if command.value is None:
        raise ApiRefused("The order holds no value.")
    client = client_for(device.gateway, WRITE_DEADLINE.total_seconds(), is_command=True)
    client.write(device.vendor_id, command.attribute.name, command.value, command.revert_after)


def _note(command: DeviceCommand, error: Exception | None) -> None:
    """Store what the vendor answered.

    Only a clear no is a failure: after anything else the outcome is unknown until the next read.
    """
    if isinstance(error, TooLate):
        return
    now = timezone.now()
    settles_at = now + _settle(command)
    fields: dict[str, Any] = {
        "claimed_until": None,
        "settles_at": settles_at,
        "error": complaint(error) if error else "",
    }
    if error is None:
        command.move(CommandEvent.ACCEPT, now)
        reverts_at = now + command.revert_after if command.revert_after else None
        fields |= {
            "accepted_at": now,
            "confirm_by": settles_at + CONFIRM_WITHIN,
            "reverts_at": reverts_at,
        }
    elif isinstance(error, ApiRefused | SecretUnreadable | vendors.UnknownVendor):
        command.move(CommandEvent.REFUSE, now, fields["error"])
    else:
        command.steps = with_step(command.steps, now, "unknown", fields["error"])
    logger.info("The order was sent (attempt %d): %s", command.attempts, command.state)
    fields |= {"state": command.state, "finished_at": command.finished_at, "steps": command.steps}
    # Only while it is still ours: if this process slept past its claim, others have confirmed it
    # or sent it again.
    with publishing() as outbox:
        ours = DeviceCommand.objects.filter(
            pk=command.pk, state=State.SENDING, attempts=command.attempts
        )
        outbox.changed_pks(DeviceCommand, [command.pk] * ours.update(**fields))


def _release(claimed: Collection[DeviceCommand]) -> None:
    """Give back the claims of commands that were being written: the next run reads what became of
    them."""
    now = timezone.now()
    with publishing() as outbox:
        for command in claimed:
            ours = DeviceCommand.objects.filter(
                pk=command.pk, state=State.SENDING, attempts=command.attempts
            ).exclude(claimed_until=None)
            steps = with_step(command.steps, now, "unknown", "Its process was told to end.")
            outbox.changed_pks(
                DeviceCommand, [command.pk] * ours.update(claimed_until=None, steps=steps)
            )


# Reading back


def _read_back(pks: list[int], holding: HeldLease | None) -> None:
    """Read what was just written once its vendor has settled; again if it was not there yet."""
    for attempt in range(READS_AT_ONCE):
        soon = timezone.now() + LONGEST_SETTLE_WAIT
        written = list(with_device(DeviceCommand.objects.unclear(soon).filter(pk__in=pks)))
        if not written:
            return
        settled = max(command.settles_at for command in written if command.settles_at)
        if holding is None:
            release_connection()
        wait_seconds = (settled - timezone.now()).total_seconds()
        time.sleep(max(wait_seconds, SECOND_READ_SECONDS * attempt, 0))
        _read(written, holding)


def _read(commands: Collection[DeviceCommand], holding: HeldLease | None) -> None:
    """Ask the gateways about the devices of these commands, store it, and confirm by it."""
    if commands:
        gateways = {
            command.attribute.device.gateway_id: command.attribute.device.gateway
            for command in commands
        }
        ask(
            list(gateways.values()),
            device_pks={command.attribute.device_id for command in commands},
            holding=holding,
        )
        confirm_commands()
