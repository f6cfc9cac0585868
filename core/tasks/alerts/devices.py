"""Which devices are silent, and which orders had no effect, with gateways that answer."""

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Max, Q

from core.formatting import counted
from core.models import Device, DeviceCommand
from core.models.device_command import FINAL, State
from core.models.freshness import STALE_AFTER
from core.readings import Source
from core.tasks import runs
from core.tasks.alerts.finding import Finding
from core.tasks.alerts.gateways import MANY, NAMES_SHOWN

SAME_HUB = 3
"""So many silent devices, and half of all behind a gateway: its radio, not each of them."""
NOT_DONE = (State.EXPIRED, State.UNCONFIRMED, State.FAILED)
TOLD_FOR = timedelta(days=1)
"""An order that had no effect counts so long, unless a later one has."""
NEWEST = 5000
"""Orders looked at: a day has fewer, and the table has no index on its time."""


def silent_devices(
    now: datetime, polled_at: datetime | None, polls_are_late: bool
) -> Iterator[Finding]:
    """Yield devices that are not reached, or whose values have stopped moving.

    `polled_at` is when the newest poll was.
    """
    silent = list(_silent(now))
    behind = Counter(device.gateway_id for device in silent)
    hubs = set(_whole_hubs(behind))
    alone = []
    for device in silent:
        is_explained = (
            device.gateway.failures > 0
            or device.gateway_id in hubs
            or (polls_are_late and device.due_at is None)
        )
        alone += [] if is_explained else [device]
        yield _finding(device, now, polled_at, is_explained)
    for gateway in {device.gateway for device in silent if device.gateway_id in hubs}:
        many = counted(behind[gateway.pk], "device")
        yield Finding(
            f"devices:{gateway.pk}",
            f"{many} behind {gateway.public_name} are silent",
            gateway=gateway.pk,
            explained=gateway.failures > 0 or polls_are_late,
            looks=settings.ALERT_AFTER_FAILURES,
            seen_at=polled_at,
        )
    if len(alone) > MANY:
        names = ", ".join(str(device) for device in alone[:NAMES_SHOWN])
        yield Finding("devices", f"{len(alone):,} devices are silent", f"{names} and others.")


def _silent(now: datetime) -> Iterator[Device]:
    long = 3 * runs.interval(runs.POLL)
    # The gateway answers, and for some polls has not told of this device.
    is_forgotten = Q(due_at=None, gateway__answered_at__gt=F("heard_at") + long)
    is_stale = Q(due_at__lt=now) | Q(measured_at__lt=now - STALE_AFTER)
    heard = Device.objects.active().exclude(heard_at=None).select_related("gateway")
    yield from heard.filter(Q(available=False) | is_forgotten | is_stale).order_by("pk")


def _finding(
    device: Device, now: datetime, polled_at: datetime | None, is_explained: bool
) -> Finding:
    is_stale = device.due_at is not None and device.due_at < now
    is_stale |= device.measured_at is not None and device.measured_at < now - STALE_AFTER
    if not device.available:
        what = "is not reached by its gateway"
    elif is_stale:
        what = "has told nothing new for long"
    else:
        what = "is not told of by its gateway any more"
    return Finding(
        f"device:{device.pk}",
        f"{device} {what}",
        gateway=device.gateway_id,
        device=device.pk,
        explained=is_explained,
        # What is stale is so after long; what is away may be back at the next poll.
        looks=1 if device.available and is_stale else settings.ALERT_AFTER_FAILURES,
        seen_at=polled_at,
    )


def _whole_hubs(behind: Counter[int]) -> Iterator[int]:
    several = [pk for pk, count in behind.items() if count >= SAME_HUB]
    if not several:
        return
    devices = Device.objects.active().filter(gateway__in=several).order_by()
    for pk, total in devices.values_list("gateway").annotate(Count("pk")):
        if 2 * behind[pk] >= total:
            yield pk


def orders_not_done(now: datetime, silent: Collection[int]) -> Iterator[Finding]:
    """Yield the attributes whose newest order had no effect. `silent` devices explain it."""
    newest = DeviceCommand.objects.aggregate(newest=Max("pk"))["newest"] or 0
    late = DeviceCommand.objects.filter(pk__gt=newest - NEWEST, requested_at__gt=now - TOLD_FOR)
    failed = set(late.filter(state__in=NOT_DONE).values_list("attribute", flat=True))
    if not failed:
        return
    # One that was replaced tells nothing: what came of the order before it still stands.
    ended = late.filter(attribute__in=failed, state__in=FINAL).exclude(state=State.SUPERSEDED)
    related = ended.select_related("attribute__device__gateway").order_by("pk")
    latest = {command.attribute_id: command for command in related}
    for command in latest.values():
        device = command.attribute.device
        if command.state not in NOT_DONE or device.removed_at or device.is_paused:
            continue
        yield Finding(
            f"order:{command.attribute_id}",
            f"{device}: an order for {command.attribute.name} is {command.state}",
            command.error or command.reason,
            gateway=device.gateway_id,
            device=device.pk,
            # A guard averts harm, and the fail-safe is the last resort.
            urgent=command.source in (Source.GUARD, Source.FAIL_SAFE),
            explained=device.gateway.failures > 0 or device.pk in silent,
        )
