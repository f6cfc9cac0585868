"""Repair what was stored while the clock ran ahead, once it is right again.

A small board without a clock of its own may start at any time, until the network gives it the time.
What it stored with times in the future would outrank the present for years.
"""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Gateway, Lease
from core.models.device_command import CommandEvent
from core.tasks.events.outbox import publishing
from core.tasks.runs import HeldLease

AHEAD = timedelta(minutes=5)
"""A time further ahead than this is from a clock that was wrong."""
LONGEST_WAIT = timedelta(days=1, hours=1)
"""No back-off, claim or lease is longer than this."""


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
        Device.objects.filter(held_at__gt=ahead).update(held_at=now)
        Device.objects.filter(Q(heard_at__gt=ahead) | Q(measured_at__gt=ahead)).update(
            heard_at=None, measured_at=None
        )
        Device.objects.filter(undecided_since__gt=ahead).update(undecided_since=None)
        gateways = Gateway.objects.filter(
            Q(retry_at__gt=now + LONGEST_WAIT) | Q(answered_at__gt=ahead)
        )
        outbox.changed_pks(Gateway, gateways.values_list("pk", flat=True))
        # `claimed_until` and leases are on the database's clock, the other times on ours.
        Gateway.objects.filter(retry_at__gt=now + LONGEST_WAIT).update(retry_at=None)
        Gateway.objects.filter(claimed_until__gt=Now() + LONGEST_WAIT).update(claimed_until=None)
        Gateway.objects.filter(answered_at__gt=ahead).update(answered_at=None)
        Lease.objects.filter(expires_at__gt=Now() + LONGEST_WAIT).update(expires_at=Now())
        commands = DeviceCommand.objects.open().filter(requested_at__gt=ahead)
        for command in commands.select_for_update():
            command.move(CommandEvent.EXPIRE, now, "The clock was set back since it was ordered.")
            command.save(update_fields=["state", "error", "finished_at", "steps"])
