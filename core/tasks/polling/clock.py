"""Repair what was stored while the clock ran ahead, once it is right again.

A small board without a clock of its own may start at any time, until the network gives it the time.
What it stored with times in the future would outrank the present for years.
"""

from datetime import datetime, timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Gateway, Silence
from core.models.device_command import CommandEvent
from core.models.freshness import late_after
from core.tasks.events.outbox import publishing
from core.tasks.runs import HeldLease

AHEAD = timedelta(minutes=5)
"""A time further ahead than this is from a clock that was wrong."""
LONGEST_WAIT = timedelta(days=1, hours=1)
"""No back-off is longer than this."""
LONGEST_CLAIM = timedelta(hours=1)
"""Nor a claim than this."""


def forget_the_future(holding: HeldLease) -> None:
    """Clear latest values, back-offs and claims from the future. Observations stay: they were
    measured, if at another time."""
    now = timezone.now()
    ahead = now + AHEAD
    with publishing() as outbox:
        holding.renew()
        attributes = Attribute.objects.filter(Q(observed_at__gt=ahead) | Q(heard_at__gt=ahead))
        # Keys are read first: after the update the same filter finds nothing.
        outbox.changed_pks(Device, attributes.values_list("device", flat=True))
        attributes.update(
            observed_at=None,
            heard_at=None,
            number=None,
            text=None,
            changed_at=None,
            expected_at=None,
        )
        devices = Device.objects.filter(
            Q(heard_at__gt=ahead) | Q(measured_at__gt=ahead) | Q(held_at__gt=ahead)
        )
        outbox.changed_pks(Device, devices.values_list("pk", flat=True))
        # A hold stays, as if it had begun now: a person wanted it.
        for device in Device.objects.filter(held_at__gt=ahead).select_for_update(no_key=True):
            if device.held_at and device.held_until:
                device.held_until = now + max(device.held_until - device.held_at, timedelta())
            device.held_at = now
            device.save(update_fields=["held_at", "held_until"])
        Device.objects.filter(Q(heard_at__gt=ahead) | Q(measured_at__gt=ahead)).update(
            heard_at=None, measured_at=None
        )
        gateways = Gateway.objects.filter(
            Q(retry_at__gt=now + LONGEST_WAIT) | Q(answered_at__gt=ahead) | Q(asked_at__gt=ahead)
        )
        outbox.changed_pks(Gateway, gateways.values_list("pk", flat=True))
        # A gateway that was asked in the future rests by that clock too.
        Gateway.objects.filter(Q(retry_at__gt=now + LONGEST_WAIT) | Q(asked_at__gt=ahead)).update(
            retry_at=None
        )
        Gateway.objects.filter(answered_at__gt=ahead).update(answered_at=None)
        Gateway.objects.filter(asked_at__gt=ahead).update(asked_at=None)
        # On the database's clock, the other times on ours.
        Gateway.objects.filter(claimed_until__gt=Now() + LONGEST_CLAIM).update(claimed_until=None)
        _cut_silences(now)
        # Sent in the future, it would be settled only then, and keep newer orders waiting.
        written = Q(requested_at__gt=ahead) | Q(sent_at__gt=ahead)
        for command in DeviceCommand.objects.open().filter(written).select_for_update():
            command.move(CommandEvent.EXPIRE, now, "The clock was set back since it was ordered.")
            command.save(update_fields=["state", "error", "finished_at", "steps"])


def _cut_silences(now: datetime) -> None:
    """End silences now that reach into the future, and drop those that are none then.

    They would hide what is heard from now on.
    """
    ahead = Silence.objects.filter(ends_at__gt=now + AHEAD)
    ahead.filter(starts_at__gt=now - late_after()).delete()
    ahead.update(ends_at=now)
