"""Repair what was stored while the clock ran ahead, once it is right again.

A small board without a clock of its own may start at any time, until the network gives it the time.
What it stored with times in the future would outrank the present for years.
"""

from datetime import datetime, timedelta

from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Gateway, Observation, Silence
from core.models.attribute import ROLL_UP_EVERY
from core.models.device_command import CommandEvent
from core.models.freshness import late_after
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.silences import roll_up_again
from core.tasks.polling.statements import LATE
from core.tasks.runs import HeldLease

AHEAD = timedelta(minutes=5)
"""A time further ahead than this is from a clock that was wrong."""
LONGEST_WAIT = timedelta(days=1, hours=1)
"""No back-off is longer than this."""
LONGEST_CLAIM = timedelta(hours=1)
"""Nor a claim than this."""
LONGEST_TURN = 2 * ROLL_UP_EVERY
"""Each attribute is summed up more often."""


def forget_the_future(holding: HeldLease) -> None:
    """Clear latest values, back-offs and claims from the future. Observations stay: they were
    measured, if at another time."""
    now = timezone.now()
    ahead = now + AHEAD
    with publishing() as outbox:
        holding.renew()
        _forget_values(ahead, outbox)
        _forget_times_of_devices(now, ahead, outbox)
        _forget_times_of_gateways(now, ahead, outbox)
        _cut_silences(now, ahead)
        _sum_up_again(now)
        # Sent in the future, it would be settled only then, and keep newer orders waiting.
        written = Q(requested_at__gt=ahead) | Q(sent_at__gt=ahead)
        for command in DeviceCommand.objects.open().filter(written).select_for_update():
            command.move(CommandEvent.EXPIRE, now, "The clock was set back since it was ordered.")
            command.save(update_fields=["state", "error", "finished_at", "steps"])


def _sum_up_again(now: datetime) -> None:
    """Let hours of the future be summed up anew, and what waits for a turn in the future have it
    now."""
    attributes = Attribute.objects.all()
    attributes.filter(rolled_until__gt=now - LATE).update(rolled_until=now - 2 * LATE)
    attributes.filter(roll_up_at__gt=now + LONGEST_TURN).update(roll_up_at=now)


# Each reads first, and the table once: nearly always there is nothing to mend.


def _forget_values(ahead: datetime, outbox: Outbox) -> None:
    attributes = Attribute.objects.filter(Q(observed_at__gt=ahead) | Q(heard_at__gt=ahead))
    if not (devices := set(attributes.values_list("device", flat=True))):
        return
    outbox.changed_pks(Device, devices)
    attributes.update(
        observed_at=None,
        heard_at=None,
        number=None,
        text=None,
        changed_at=None,
        expected_at=None,
    )


def _forget_times_of_devices(now: datetime, ahead: datetime, outbox: Outbox) -> None:
    measured = Q(heard_at__gt=ahead) | Q(measured_at__gt=ahead) | Q(pushed_at__gt=ahead)
    devices = Device.objects.filter(measured | Q(held_at__gt=ahead))
    if not (pks := set(devices.values_list("pk", flat=True))):
        return
    outbox.changed_pks(Device, pks)
    # A hold stays, as if it had begun now: a person wanted it.
    for device in Device.objects.filter(held_at__gt=ahead).select_for_update(no_key=True):
        if device.held_at and device.held_until:
            device.held_until = now + max(device.held_until - device.held_at, timedelta())
        device.held_at = now
        device.save(update_fields=["held_at", "held_until"])
    forgotten = {"heard_at": None, "measured_at": None, "pushed_at": None, "due_at": None}
    Device.objects.filter(measured).update(**forgotten)


def _forget_times_of_gateways(now: datetime, ahead: datetime, outbox: Outbox) -> None:
    # A gateway that was asked in the future rests by that clock too.
    rests = Q(retry_at__gt=now + LONGEST_WAIT) | Q(asked_at__gt=ahead)
    # On the database's clock, the other times on ours.
    claimed = Q(claimed_until__gt=Now() + LONGEST_CLAIM)
    gateways = Gateway.objects.filter(rests | claimed | Q(answered_at__gt=ahead))
    if not (pks := set(gateways.values_list("pk", flat=True))):
        return
    outbox.changed_pks(Gateway, pks)
    Gateway.objects.filter(rests).update(retry_at=None)
    Gateway.objects.filter(answered_at__gt=ahead).update(answered_at=None)
    Gateway.objects.filter(asked_at__gt=ahead).update(asked_at=None)
    Gateway.objects.filter(claimed).update(claimed_until=None)


def _cut_silences(now: datetime, ahead: datetime) -> None:
    """End silences now that reach into the future, and drop those that are none then.

    They would hide what is heard from now on.
    """
    reaching = Silence.objects.filter(ends_at__gt=ahead)
    pks = list(reaching.values_list("pk", flat=True))
    if not pks:
        return
    # In the order of their keys, as whoever stores readings locks them.
    locked = Device.objects.select_for_update(no_key=True).order_by("pk")
    devices = set(reaching.values_list("attribute__device", flat=True))
    changed = [device.pk for device in locked.filter(pk__among=devices)]
    Device.objects.filter(pk__among=changed).update(history_version=F("history_version") + 1)
    roll_up_again(reaching)
    reaching.filter(starts_at__gt=now - late_after()).delete()
    # Something may have been heard since the clock is right, before this poll.
    heard = Observation.objects.filter(
        attribute=OuterRef("attribute"), observed_at__gt=OuterRef("starts_at"), observed_at__lte=now
    )
    first = heard.order_by("observed_at").values("observed_at")[:1]
    silences = Silence.objects.filter(pk__among=pks)
    silences.update(ends_at=Coalesce(Subquery(first), now))
    silences.filter(ends_at__lte=F("starts_at") + late_after()).delete()
