"""Make rows of the event log: each changed object is read again, in bulk, as readers may see it."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from django.db import connection, models
from django.db.models import Subquery
from django.utils import timezone

from core import serializers
from core.models import Attribute, Device, DeviceCommand, Gateway, Plan, Presence, Run, Site
from core.models.event import EventKind


class NewEvent(NamedTuple):
    """An event that is not stored yet: `device` and `gateway` are keys, `body` is as JSON."""

    kind: EventKind
    device: int | None
    gateway: int | None
    body: dict[str, Any]


class Changed(NamedTuple):
    """An object that changed. `device` and `gateway` are keys, given if its row may be gone."""

    kind: EventKind
    pk: int
    device: int | None = None
    gateway: int | None = None


def kind_of(model: type[models.Model]) -> EventKind:
    """Return the kind of event for a model. Raises TypeError for one that has no events."""
    for evented, kind in KINDS.items():
        if issubclass(model, evented):
            return kind
    names = ", ".join(evented.__name__ for evented in KINDS)
    raise TypeError(f"The event log does not tell of {model.__name__}, only of {names}")


def source_of(instance: models.Model) -> tuple[int | None, int | None]:
    """Return the keys of device and gateway, as far as the instance has them."""
    if isinstance(instance, Device):
        return instance.pk, instance.gateway_id
    return None, instance.pk if isinstance(instance, Gateway) else None


def events_of(changed: Iterable[Changed]) -> Iterator[NewEvent]:
    """Make one event for each object: gateways first, then devices, plans, device commands, runs.

    At most three queries a kind. Of objects that are gone only devices and gateways have an event:
    the rest is history that was pruned.
    """
    by_kind: dict[EventKind, dict[int, Changed]] = {kind: {} for kind in MAKERS}
    for change in changed:
        earlier = by_kind[change.kind].get(change.pk)
        # The one that names the gateway stays: it can no longer be read once the row is gone.
        if earlier is None or earlier.gateway is None:
            by_kind[change.kind][change.pk] = change
    for kind, changes in by_kind.items():
        if changes:
            yield from MAKERS[kind](changes)


def store(events: Collection[NewEvent]) -> None:
    """Insert events in their order, all at one time. Raises ValueError for a number not finite.

    They are encoded once, as one JSON document, which the database takes apart: five times as fast
    as 500 values of JSON given to the driver.
    """
    document = json.dumps(events, separators=(",", ":"), allow_nan=False)
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(INSERT_EVENTS[connection.vendor], [now, document])


def _gateways(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    stored = Gateway.objects.present().with_hearing().in_bulk(changes)
    for pk in changes:
        if gateway := stored.get(pk):
            yield NewEvent(EventKind.GATEWAY, None, pk, serializers.public_gateway_json(gateway))
        else:
            yield NewEvent(EventKind.GATEWAY_REMOVED, None, pk, {"id": pk})


def _devices(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    now = timezone.now()
    # Of the home an event shows the zone only: with the devices, it costs no query of its own.
    devices = Device.objects.select_related("gateway").annotate(
        home_zone=Subquery(Site.objects.values("zone")[:1])
    )
    stored = devices.in_bulk(changes)
    attributes = _attributes(stored)
    for pk, change in changes.items():
        device = stored.get(pk)
        if device is None:
            yield NewEvent(EventKind.DEVICE_REMOVED, pk, change.gateway, {"id": pk})
        elif device.removed_at or device.gateway.removed_at:
            yield NewEvent(EventKind.DEVICE_REMOVED, pk, device.gateway_id, {"id": pk})
        else:
            zone = device.home_zone or ""  # type: ignore[attr-defined]  # annotated above
            site = Site(zone=zone)
            body = serializers.public_device_json(device, attributes[pk], now, site)
            yield NewEvent(EventKind.DEVICE, pk, device.gateway_id, body)


def _attributes(devices: dict[int, Device]) -> dict[int, list[Attribute]]:
    grouped: dict[int, list[Attribute]] = {pk: [] for pk in devices}
    for attribute in Attribute.objects.filter(device__in=devices).order_by("pk"):
        # Else each would load its device by a query of its own.
        attribute.device = devices[attribute.device_id]
        grouped[attribute.device_id].append(attribute)
    return grouped


def _plans(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    for plan in Plan.objects.filter(pk__in=changes).select_related("device").order_by("pk"):
        body = serializers.plan_json(plan)
        yield NewEvent(EventKind.PLAN, plan.device_id, plan.device.gateway_id, body)


def _commands(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    commands = DeviceCommand.objects.filter(pk__in=changes).order_by("pk")
    for command in commands.select_related("attribute__device"):
        device = command.attribute.device
        body = serializers.command_json(command)
        yield NewEvent(EventKind.COMMAND, device.pk, device.gateway_id, body)


def _runs(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    for run in Run.objects.filter(pk__in=changes).order_by("pk"):
        yield NewEvent(EventKind.RUN, None, None, serializers.public_run_json(run))


def _presence(changes: dict[int, Changed]) -> Iterator[NewEvent]:
    people: dict[int, list[Presence]] = {pk: [] for pk in changes}
    for person in Presence.objects.here().filter(device__in=changes).order_by("key"):
        people[person.device_id].append(person)
    for device in Device.objects.present().filter(pk__in=changes).order_by("pk"):
        body = serializers.presence_json(device.pk, people[device.pk])
        yield NewEvent(EventKind.PRESENCE, device.pk, device.gateway_id, body)


KINDS: dict[type[models.Model], EventKind] = {
    Device: EventKind.DEVICE,
    Gateway: EventKind.GATEWAY,
    DeviceCommand: EventKind.COMMAND,
    Run: EventKind.RUN,
    Plan: EventKind.PLAN,
}
MAKERS: dict[EventKind, Callable[[dict[int, Changed]], Iterator[NewEvent]]] = {
    EventKind.GATEWAY: _gateways,
    EventKind.DEVICE: _devices,
    EventKind.PLAN: _plans,
    EventKind.COMMAND: _commands,
    EventKind.RUN: _runs,
    EventKind.PRESENCE: _presence,
}
"""What makes the events of each kind, in the order in which they are stored."""

# ORDER BY keeps the order of the document: keys of the table follow it, and readers go by key.
INSERT_EVENTS = {
    "postgresql": """INSERT INTO core_event (happened_at, kind, device, gateway, body)
        SELECT %s, v.row->>0, (v.row->>1)::bigint, (v.row->>2)::bigint, v.row->3
        FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS v(row, place) ORDER BY v.place""",
    "sqlite": """INSERT INTO core_event (happened_at, kind, device, gateway, body)
        SELECT %s, json_extract(value, '$[0]'), json_extract(value, '$[1]'),
        json_extract(value, '$[2]'), json_extract(value, '$[3]') FROM json_each(%s) ORDER BY key""",
}
