"""After a clock that ran ahead was set right: what was stored with its times must not outrank the present for years.

A machine without a clock of its own, such as a small board after a power cut, starts at any time until the network tells it.
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
LONGEST_WAIT = timedelta(days=1, hours=1)
"""Nothing is put off, rests or is claimed for longer than this."""


def forget_the_future(holding: HeldLease) -> None:
    """Make latest values, waits and claims from the future void. Observations stay: what was measured then was measured."""
    now = timezone.now()
    ahead = now + AHEAD
    with publishing() as outbox:
        holding.renew()
        attributes = Attribute.objects.filter(Q(observed_at__gt=ahead) | Q(heard_at__gt=ahead))
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
        Device.objects.filter(held_at__gt=ahead).update(held_at=now)
        Device.objects.filter(Q(heard_at__gt=ahead) | Q(measured_at__gt=ahead)).update(
            heard_at=None, measured_at=None
        )
        Device.objects.filter(undecided_since__gt=ahead).update(undecided_since=None)
        gateways = Gateway.objects.filter(
            Q(retry_at__gt=now + LONGEST_WAIT) | Q(answered_at__gt=ahead)
        )
        outbox.changed_pks(Gateway, gateways.values_list("pk", flat=True))
        Gateway.objects.filter(retry_at__gt=now + LONGEST_WAIT).update(retry_at=None)
        Gateway.objects.filter(claimed_until__gt=Now() + LONGEST_WAIT).update(claimed_until=None)
        Gateway.objects.filter(answered_at__gt=ahead).update(answered_at=None)
        Lease.objects.filter(expires_at__gt=Now() + LONGEST_WAIT).update(expires_at=Now())
        for command in (
            DeviceCommand.objects.open().select_for_update().filter(requested_at__gt=ahead)
        ):
            command.move(CommandEvent.EXPIRE, now, "The clock was set back since it was ordered.")
            command.save(update_fields=["state", "error", "finished_at", "steps"])
