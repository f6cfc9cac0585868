"""From what changed to rows of the event log: each changed object read again in bulk, as readers may see it."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from django.db import connection, models
from django.utils import timezone

from core import serializers
from core.models import Attribute, Device, DeviceCommand, Gateway, Plan, Presence, Run
from core.models.event import EventKind

Row = tuple[EventKind, int | None, int | None, dict[str, Any]]
"""Kind, device, gateway, body."""


class Changed(NamedTuple):
    """The two last are for a device whose row will be gone."""

    kind: EventKind
    pk: int
    device: int | None = None
    gateway: int | None = None


def kind_of(model: type[models.Model]) -> EventKind:
    """Raises TypeError for a model that the log does not tell of."""
    for known, kind in KINDS.items():
        if issubclass(model, known):
            return kind
    raise TypeError(
        f"The event log does not tell of {model.__name__}, only of {', '.join(one.__name__ for one in KINDS)}"
    )


def source_of(instance: models.Model) -> tuple[int | None, int | None]:
    """The keys of device and gateway, as far as the instance has them."""
    if isinstance(instance, Device):
        return instance.pk, instance.gateway_id
    return None, instance.pk if isinstance(instance, Gateway) else None


def rows_of(changed: Iterable[Changed]) -> Iterator[Row]:
    """One for each object: gateways, devices, plans, device commands, runs. Two queries at most for each kind. Of what is
    gone only devices and gateways are told: the rest is history that was pruned."""
    by_kind: dict[EventKind, dict[int, Changed]] = {kind: {} for kind in TOLD_BY}
    for one in changed:
        known = by_kind[one.kind].get(one.pk)
        by_kind[one.kind][one.pk] = one if known is None or known.gateway is None else known
    for kind, wanted in by_kind.items():
        if wanted:
            yield from TOLD_BY[kind](wanted)


def store(rows: Collection[Row]) -> None:
    """In their order, at one time, as one document: the database takes that apart five times as fast as the driver takes
    500 values of JSON. Raises ValueError for a number that is not finite."""
    document = json.dumps(
        [(kind.value, *rest) for kind, *rest in rows], separators=(",", ":"), allow_nan=False
    )
    with connection.cursor() as cursor:
        cursor.execute(
            INSERT_EVENTS[connection.vendor],
            [connection.ops.adapt_datetimefield_value(timezone.now()), document],
        )


def _gateways(wanted: dict[int, Changed]) -> Iterator[Row]:
    there = Gateway.objects.present().in_bulk(wanted)
    for pk in wanted:
        if gateway := there.get(pk):
            yield EventKind.GATEWAY, None, pk, serializers.public_gateway(gateway)
        else:
            yield EventKind.GATEWAY_REMOVED, None, pk, {"id": pk}


def _devices(wanted: dict[int, Changed]) -> Iterator[Row]:
    now = timezone.now()
    stored = Device.objects.select_related("gateway").in_bulk(wanted)
    attributes = _attributes(stored)
    for pk, change in wanted.items():
        device = stored.get(pk)
        if device is None or device.removed_at or device.gateway.removed_at:
            yield (
                EventKind.DEVICE_REMOVED,
                pk,
                device.gateway_id if device else change.gateway,
                {"id": pk},
            )
        else:
            yield (
                EventKind.DEVICE,
                pk,
                device.gateway_id,
                serializers.public_device(device, attributes[pk], now),
            )


def _attributes(devices: dict[int, Device]) -> dict[int, list[Attribute]]:
    grouped: dict[int, list[Attribute]] = {pk: [] for pk in devices}
    for attribute in Attribute.objects.filter(device__in=devices).order_by("pk"):
        attribute.device = devices[attribute.device_id]
        grouped[attribute.device_id].append(attribute)
    return grouped


def _plans(wanted: dict[int, Changed]) -> Iterator[Row]:
    for plan in Plan.objects.filter(pk__in=wanted).select_related("device").order_by("pk"):
        yield EventKind.PLAN, plan.device_id, plan.device.gateway_id, serializers.plan(plan)


def _commands(wanted: dict[int, Changed]) -> Iterator[Row]:
    for command in (
        DeviceCommand.objects.filter(pk__in=wanted)
        .select_related("attribute__device")
        .order_by("pk")
    ):
        device = command.attribute.device
        yield EventKind.COMMAND, device.pk, device.gateway_id, serializers.device_command(command)


def _runs(wanted: dict[int, Changed]) -> Iterator[Row]:
    for run in Run.objects.filter(pk__in=wanted).order_by("pk"):
        yield EventKind.RUN, None, None, serializers.public_run(run)


def _presence(wanted: dict[int, Changed]) -> Iterator[Row]:
    people: dict[int, list[Presence]] = {pk: [] for pk in wanted}
    for one in Presence.objects.here().filter(device__in=wanted).order_by("key"):
        people[one.device_id].append(one)
    for device in Device.objects.present().filter(pk__in=wanted).order_by("pk"):
        yield (
            EventKind.PRESENCE,
            device.pk,
            device.gateway_id,
            serializers.presence(device.pk, people[device.pk]),
        )


KINDS: dict[type[models.Model], EventKind] = {
    Device: EventKind.DEVICE,
    Gateway: EventKind.GATEWAY,
    DeviceCommand: EventKind.COMMAND,
    Run: EventKind.RUN,
    Plan: EventKind.PLAN,
}
TOLD_BY: dict[EventKind, Callable[[dict[int, Changed]], Iterator[Row]]] = {
    EventKind.GATEWAY: _gateways,
    EventKind.DEVICE: _devices,
    EventKind.PLAN: _plans,
    EventKind.COMMAND: _commands,
    EventKind.RUN: _runs,
    EventKind.PRESENCE: _presence,
}

INSERT_EVENTS = {
    "postgresql": """INSERT INTO core_event (happened_at, kind, device, gateway, body)
        SELECT %s, v.row->>0, (v.row->>1)::bigint, (v.row->>2)::bigint, v.row->3
        FROM jsonb_array_elements(%s::jsonb) WITH ORDINALITY AS v(row, place) ORDER BY v.place""",
    "sqlite": """INSERT INTO core_event (happened_at, kind, device, gateway, body)
        SELECT %s, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]') FROM json_each(%s) ORDER BY key""",
}
