"""Receive readings that devices and services push, and say of each what became of it.

One that is wrong costs no other. A reading is an object, and this is the whole of it (docs/push.md
has it for those who send):

    device            the device's own ID behind its gateway
    attribute         such as temperature
    value             a number, true or false, a text; null: it has no value now
    time              when it was measured: ISO 8601 with a zone, or seconds since 1970; else now
    unit              of this value; one that can be converted to the stored unit is
    kind, minimum, maximum, choices       of a new attribute; the kind is else guessed
    interval_seconds  how often the device pushes
    name, model       of a new device
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import vendors
from core.models import Access, Attribute, Device, Gateway, Right
from core.readings import (
    AttributeSpec,
    Kind,
    Reading,
    Unacceptable,
    Value,
    clean_value,
)
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.description import fitted
from core.tasks.polling.intervals import Interval
from core.tasks.polling.pushed_items import PushedItem, read_item
from core.tasks.polling.record import GatewayAnswer, Recorded, Recorder
from core.tasks.polling.silences import note_pushed_silences
from core.tasks.polling.units import are_convertible, converted
from core.tasks.react import ask_workers_to_react
from core.tasks.signed_messages import Envelope, use_up

MOST_READINGS = 1_000
"""In one message."""
MOST_DEVICES = 1_000
"""Behind one gateway whose devices push."""
DEFAULTS = ("device", "time", "interval_seconds", "name", "model")
"""Fields that a message may state once for all of its readings."""


class GatewayDisabled(ValueError):
    """Says that a person disabled the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(f"Gateway {gateway.pk} is disabled. Enable it on its page first.")


@dataclass(frozen=True, order=True)
class Refusal:
    """Why a reading was refused; `index` is its place in the message, from 0."""

    index: int
    error: str


@dataclass
class Received:
    """What became of a message: each of its readings is counted in one of the four.

    `duplicates` were stored before, `without_value` say that there is no value now.
    """

    stored: int = 0
    duplicates: int = 0
    without_value: int = 0
    refused: list[Refusal] = field(default_factory=list)
    new_devices: list[int] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        return bool(self.refused) and not (self.stored or self.duplicates or self.without_value)

    def as_json(self) -> dict[str, Any]:
        return {
            "stored": self.stored,
            "duplicates": self.duplicates,
            "without_value": self.without_value,
            "refused": [asdict(refusal) for refusal in self.refused],
            "new_devices": self.new_devices,
        }


@dataclass(frozen=True, slots=True)
class PushedReading(Reading):
    index: int = 0


@dataclass
class _RecordedItems(Recorded):
    """Keeps why each reading was refused, not only the first ones."""

    errors: list[Refusal] = field(default_factory=list)

    def complain(self, reading: Reading, why: str) -> None:
        super().complain(reading, why)
        if isinstance(reading, PushedReading):
            self.errors.append(Refusal(reading.index, why))


def receive_readings(
    gateway_pk: int,
    readings: Sequence[object],
    defaults: Mapping[str, object] | None = None,
    *,
    access: Access | None = None,
    envelope: Envelope | None = None,
) -> Received:
    """Store readings for the devices of one gateway. Sent again, they are duplicates.

    A device or attribute that is not there is added only where devices push, a device only if the
    gateway allows it. `access` None: the sender may reach all of the gateway. `envelope` is that of
    a signed message, which is used up with what it stores. Raises Gateway.DoesNotExist,
    GatewayDisabled, SentAgain.
    """
    received, items = Received(), list[PushedItem]()
    now = timezone.now()
    for index, said in enumerate(readings):
        try:
            items.append(read_item(index, said, defaults or {}, now))
        except Unacceptable as error:
            received.refused.append(Refusal(index, str(error)))
    with publishing() as outbox:
        # One message at a time: two would both create what is new.
        locked = Gateway.objects.present().select_for_update(no_key=True)
        gateway = locked.get(pk=gateway_pk)
        if not gateway.enabled:
            raise GatewayDisabled(gateway)
        if envelope is not None:
            use_up(gateway, envelope)
        message = _Message(gateway, now, access, received, outbox)
        message.take(items)
    if received.stored:
        heard = {
            message.devices[item.device].pk for item in items if item.device in message.devices
        }
        # After the commit: a worker that begins at once would not find them before.
        transaction.on_commit(lambda: ask_workers_to_react(heard))
    received.refused.sort()
    return received


class _Message:
    """One message to one gateway, whose row is locked."""

    def __init__(
        self,
        gateway: Gateway,
        now: datetime,
        access: Access | None,
        received: Received,
        outbox: Outbox,
    ) -> None:
        self.gateway = gateway
        self.now = now
        self.access = access
        self.received = received
        self.outbox = outbox
        self.pushes = vendors.load_or_default(gateway.vendor).pushes
        self.attribute_counts: dict[int, int] = {}

    def take(self, items: Iterable[PushedItem]) -> None:
        items = list(items)
        self._load(items)
        accepted: list[tuple[PushedItem, PushedReading]] = []
        for item in items:
            try:
                accepted.append((item, self._reading(item)))
            except Unacceptable as error:
                self.received.refused.append(Refusal(item.index, str(error)))
        if accepted:
            self._store(accepted)

    def _load(self, items: Sequence[PushedItem]) -> None:
        names = {item.device for item in items}
        locked = Device.objects.select_for_update(no_key=True).filter(vendor_id__among=names)
        found = locked.filter(gateway=self.gateway).order_by("pk")
        self.devices = {device.vendor_id: device for device in found}
        attributes = Attribute.objects.filter(
            device__pk__among={device.pk for device in self.devices.values()},
            name__among={item.attribute for item in items},
        )
        self.attributes = {(one.device_id, one.name): one for one in attributes}
        self.places = MOST_DEVICES - self.gateway.devices.count() if self.pushes else 0

    def _reading(self, item: PushedItem) -> PushedReading:
        """Find, or make, what a reading is of. Raises Unacceptable."""
        device = self._device(item)
        attribute = None
        if device is not None:
            attribute = self.attributes.get((device.pk, item.attribute))
        if attribute is None:
            self._make(item, device)
            return _pushed(item, item.value, None)
        if attribute.writable:
            raise Unacceptable(
                f"{attribute.name} can be ordered: it is read from the device itself"
            )
        return self._of(attribute, item)

    def _device(self, item: PushedItem) -> Device | None:
        """Return the device, None if it is new and allowed. Raises Unacceptable."""
        device = self.devices.get(item.device)
        reaches = self.access is None or (
            self.access.may(Right.INGEST, device=device)
            if device
            else self.access.devices is None and self.access.may(Right.INGEST)
        )
        if device is None or not reaches:
            if not reaches or not (self.pushes and self.gateway.allow_new):
                raise Unacceptable(self._unknown(item.device))
            if self.places <= 0:
                raise Unacceptable(f"gateway {self.gateway.pk} has {MOST_DEVICES:,} devices")
            return None
        if device.removed_at:
            raise Unacceptable(f"{item.device} was removed: restore it on its gateway's page")
        if not device.enabled:
            raise Unacceptable(f"{item.device} is disabled: enable it on its page")
        return device

    def _unknown(self, vendor_id: str) -> str:
        sentence = f"gateway {self.gateway.pk} has no device {vendor_id}"
        return f"{sentence}, and takes no new ones" if self.pushes else sentence

    def _make(self, item: PushedItem, device: Device | None) -> None:
        """Add the attribute, and the device where that is new. Raises Unacceptable."""
        if not self.pushes:
            raise Unacceptable(f"{item.device} has no attribute {item.attribute}")
        spec = item.spec()
        if item.value is not None:
            _clean(item.value, spec)
        if device is None:
            device = self.gateway.devices.create(
                vendor_id=item.device, name=item.name or item.device, model=item.model
            )
            self.places -= 1
            self.devices[item.device] = device
            self.received.new_devices.append(device.pk)
        count = self.attribute_counts.get(device.pk)
        if count is None:
            count = device.attributes.count()
        if count >= settings.MOST_ATTRIBUTES:
            raise Unacceptable(
                f"{item.device} has as many attributes as it may have (MOST_ATTRIBUTES)"
            )
        self.attribute_counts[device.pk] = count + 1
        attribute = Attribute.of(device, spec)
        attribute.save(force_insert=True)
        self.attributes[device.pk, item.attribute] = attribute
        self.outbox.changed_pks(Device, [device.pk])

    def _of(self, attribute: Attribute, item: PushedItem) -> PushedReading:
        """Make the reading of an attribute that is there. Raises Unacceptable.

        One that states a kind or unit that cannot go on is a new description where devices push.
        """
        kind, stored = item.kind or Kind(attribute.kind), Kind(attribute.kind)
        unit = attribute.unit if item.unit is None else item.unit
        spec = AttributeSpec(
            attribute.name, kind, unit, item.minimum, item.maximum, choices=item.choices
        )
        if fitted(stored, attribute.unit, spec) is None:
            if not self.pushes:
                raise Unacceptable(
                    f"{attribute.name} is a {stored.value} here, its unit {attribute.unit!r}"
                )
            if item.value is not None:
                _clean(item.value, item.spec())
            return _pushed(item, item.value, item.spec())
        value = item.value
        said = _stored_spec(attribute) if self.pushes else None
        if stored is Kind.NUMBER and value is not None and unit != attribute.unit:
            number = clean_value(value, Kind.NUMBER)
            if isinstance(number, float) and are_convertible(unit, attribute.unit):
                value = converted(number, unit, attribute.unit)
        return _pushed(item, value, said)

    def _store(self, accepted: Sequence[tuple[PushedItem, PushedReading]]) -> None:
        self._note_silences(accepted)
        recorded = _RecordedItems()
        recorder = Recorder(recorded)
        vendor_ids = list(dict.fromkeys(reading.vendor_id for _, reading in accepted))
        recorder.add(
            GatewayAnswer(
                self.gateway.pk,
                self.now,
                vendor_ids,
                [reading for _, reading in accepted],
                pushed=True,
                tells_health=self.pushes,
            )
        )
        recorder.flush()
        self.received.stored = recorded.stored
        self.received.duplicates = recorded.duplicates
        self.received.without_value = recorded.unavailable
        self.received.refused += recorded.errors
        if self.pushes:
            refused = {error.index for error in recorded.errors}
            self._note_intervals(item for item, _ in accepted if item.index not in refused)

    def _note_silences(self, accepted: Sequence[tuple[PushedItem, PushedReading]]) -> None:
        told: dict[int, Attribute] = {}
        times: dict[int, list[datetime]] = {}
        for item, reading in accepted:
            attribute = self.attributes[self.devices[item.device].pk, item.attribute]
            if reading.value is not None:
                told[attribute.pk] = attribute
                times.setdefault(attribute.pk, []).append(item.observed_at or self.now)
        pushing = self.devices.values() if self.pushes else ()
        note_pushed_silences(told.values(), times, {device.pk: device for device in pushing})

    def _note_intervals(self, items: Iterable[PushedItem]) -> None:
        """Note of each device when it pushed, and when it is silent too long."""
        newest: dict[str, datetime] = {}
        stated: dict[str, timedelta] = {}
        for item in items:
            observed_at = item.observed_at or self.now
            newest[item.device] = max(observed_at, newest.get(item.device, observed_at))
            if item.interval is not None:
                stated[item.device] = item.interval
        changed: list[Device] = []
        for vendor_id, pushed_at in newest.items():
            device = self.devices[vendor_id]
            before = Interval(device.pushed_at, device.pushes_every, device.states_interval)
            after = before.after(pushed_at, stated.get(vendor_id))
            if after != before:
                device.pushed_at, device.pushes_every, device.states_interval = after
                device.due_at = after.due_at
                changed.append(device)
        fields = ["pushed_at", "pushes_every", "states_interval", "due_at"]
        Device.objects.bulk_update(changed, fields, batch_size=100)


def _stored_spec(attribute: Attribute) -> AttributeSpec:
    """Return what its value is of, also if another reading of the message changes the attribute."""
    return AttributeSpec(
        attribute.name,
        Kind(attribute.kind),
        attribute.unit,
        attribute.minimum,
        attribute.maximum,
        tuple(attribute.choices),
        step=attribute.step,
    )


def _clean(value: Value, spec: AttributeSpec) -> None:
    clean_value(value, spec.kind, minimum=spec.minimum, maximum=spec.maximum, choices=spec.choices)


def _pushed(item: PushedItem, value: Value | None, spec: AttributeSpec | None) -> PushedReading:
    return PushedReading(
        vendor_id=item.device,
        attribute=item.attribute,
        value=value,
        observed_at=item.observed_at,
        spec=spec,
        index=item.index,
    )
