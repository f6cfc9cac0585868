"""The only way in for readings: observations once, the latest on the attribute, how the gateway did.

Everything runs twice without harm: an observation is unique per attribute and time, and the first value wins.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Case, F, When
from django.utils import timezone

from core import serializers
from core.models import Attribute, Device, Gateway, Silence
from core.models.attribute import moves_daily
from core.models.freshness import late_after
from core.readings import Kind, Reading, Unacceptable, clean_value
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.backoff import health_after
from core.tasks.polling.statements import (
    INSERT_OBSERVATIONS,
    UPDATE_DEVICES,
    UPDATE_GATEWAYS,
    UPDATE_LATEST,
)
from core.tasks.runs import HeldLease

DEVICES_A_BATCH = 500
LONGEST_WAIT_SECONDS = 1.0
SKEW = timedelta(minutes=2)
"""How far ahead of ours a vendor's clock may be."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Before this a clock was never set."""


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """What came of asking one gateway for some of its devices. `asked_at` is when the call began."""

    gateway_pk: int
    asked_at: datetime
    vendor_ids: Sequence[str]
    readings: Sequence[Reading] = ()
    error: Exception | None = None


@dataclass
class Recorded:
    """Counts of readings. `complaints` names what was refused and why, up to a few."""

    stored: int = 0
    known: int = 0
    unavailable: int = 0
    unknown: int = 0
    refused: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, sentence: str) -> None:
        self.refused += 1
        if len(self.complaints) < 20:
            self.complaints.append(sentence)


class Recorder:
    """Takes answers as they come and stores them together: at most 500 devices a transaction, none waiting for long."""

    def __init__(self, recorded: Recorded, holding: HeldLease | None = None) -> None:
        self.recorded = recorded
        self.holding = holding
        self.waiting: list[GatewayAnswer] = []
        self.devices = 0
        self.since = time.monotonic()

    def add(self, answer: GatewayAnswer) -> None:
        for piece in _pieces(answer):
            if self.devices + len(piece.vendor_ids) > DEVICES_A_BATCH:
                self.flush()
            self.waiting.append(piece)
            self.devices += max(1, len(piece.vendor_ids))
        self.tick()

    def tick(self) -> None:
        """Call while waiting for answers: keeps the lease and stores what waits."""
        if self.holding:
            self.holding.renew_if_due()
        if time.monotonic() - self.since > LONGEST_WAIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Raises LeaseLost instead of writing late."""
        batch, self.waiting, self.devices, self.since = self.waiting, [], 0, time.monotonic()
        if batch:
            with publishing() as outbox:
                if self.holding:
                    self.holding.renew()
                _Batch(batch, self.recorded, outbox).store()


def record(answers: Iterable[GatewayAnswer], holding: HeldLease | None = None) -> Recorded:
    """Store answers, in transactions of at most 500 devices. Raises LeaseLost instead of writing late."""
    recorder = Recorder(Recorded(), holding)
    for answer in answers:
        recorder.add(answer)
    recorder.flush()
    return recorder.recorded


def _pieces(answer: GatewayAnswer) -> Iterator[GatewayAnswer]:
    if answer.error or len(answer.vendor_ids) <= DEVICES_A_BATCH:
        yield answer
        return
    by_device: dict[str, list[Reading]] = {vendor_id: [] for vendor_id in answer.vendor_ids}
    for reading in answer.readings:
        if reading.vendor_id in by_device:
            by_device[reading.vendor_id].append(reading)
    ids = iter(by_device)
    while part := list(islice(ids, DEVICES_A_BATCH)):
        readings = [reading for vendor_id in part for reading in by_device[vendor_id]]
        yield GatewayAnswer(answer.gateway_pk, answer.asked_at, part, readings, answer.error)


@dataclass
class DeviceChange:
    """What one device told at once, by attribute: values with the times they were observed at, and those that have none now."""

    values: dict[int, tuple[Any, datetime]] = field(default_factory=dict)
    none: list[int] = field(default_factory=list)


class _Batch:
    """One transaction's worth. Gateways and devices are locked in order first, so that two recorders never deadlock."""

    def __init__(self, answers: list[GatewayAnswer], recorded: Recorded, outbox: Outbox) -> None:
        self.answers = answers
        self.recorded = recorded
        self.outbox = outbox
        self.now = timezone.now()
        self.late_after = late_after()
        self.observations: list[tuple[Any, ...]] = []
        self.latest: dict[int, tuple[Any, ...]] = {}
        self.heard: dict[int, datetime] = {}
        self.unavailable: list[int] = []
        self.silences: list[Silence] = []
        self.devices: dict[int, tuple[Any, ...]] = {}
        self.told: dict[int, DeviceChange] = {}

    def store(self) -> None:
        self._write_health()
        good = [answer for answer in self.answers if answer.error is None]
        if good:
            self._load(good)
            for answer in good:
                self._take(answer)
            self._write()

    def _write_health(self) -> None:
        wanted = {answer.gateway_pk for answer in self.answers}
        locked = Gateway.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
        before = {
            pk: (failures, error)
            for pk, failures, error in locked.values_list("pk", "failures", "error")
        }
        answers = {
            answer.gateway_pk: answer for answer in self.answers if answer.gateway_pk in before
        }
        healths = {
            pk: health_after(answer.asked_at, answer.error, before[pk][0])
            for pk, answer in answers.items()
        }
        UPDATE_GATEWAYS.run([(pk, *health) for pk, health in healths.items()])
        # Of those that go on answering, or go on failing in the same way, there is nothing to tell.
        news = [
            pk
            for pk, health in healths.items()
            if (bool(health.failures), health.error) != (bool(before[pk][0]), before[pk][1])
        ]
        self.outbox.changed_pks(Gateway, news)

    def _load(self, good: list[GatewayAnswer]) -> None:
        """The devices and attributes that the answers are about, by their vendor's words."""
        locked = (
            Device.objects.select_for_update(no_key=True)
            .filter(gateway__in={answer.gateway_pk for answer in good}, removed_at=None)
            .filter(vendor_id__in={vendor_id for answer in good for vendor_id in answer.vendor_ids})
            .order_by("pk")
            .values_list("pk", "gateway_id", "vendor_id")
        )
        self.device_pks = {(gateway, vendor_id): pk for pk, gateway, vendor_id in locked}
        # What few attributes need is fetched for those only: lists of choices, and the times of those that were silent.
        late = max(answer.asked_at for answer in good) - self.late_after
        choices = Case(When(kind=Kind.CHOICE, then=F("choices")))
        silent_since = Case(When(heard_at__lt=late, then=F("heard_at")))
        columns = (
            "device_id",
            "name",
            "pk",
            "kind",
            "writable",
            "minimum",
            "maximum",
            choices,
            silent_since,
        )
        found = (
            Attribute.objects.filter(device__in=self.device_pks.values())
            .order_by()
            .values_list(*columns)
        )
        self.attributes: dict[tuple[int, str], tuple[Any, ...]] = {
            row[:2]: row[2:] for row in found
        }

    def _take(self, answer: GatewayAnswer) -> None:
        measured: dict[str, datetime | None] = {}
        nonsense: set[str] = set()
        for reading in answer.readings:
            device = self.device_pks.get((answer.gateway_pk, reading.vendor_id))
            attribute = self.attributes.get((device, reading.attribute)) if device else None
            if device is None or attribute is None:
                self.recorded.unknown += 1
            elif reading.value is None:
                self.unavailable.append(attribute[0])
                self.told.setdefault(device, DeviceChange()).none.append(attribute[0])
                self.recorded.unavailable += 1
                if reading.reachable:
                    measured.setdefault(reading.vendor_id, None)
            else:
                try:
                    measured_at = self._take_value(answer, reading, device, attribute)
                except Unacceptable as complaint:
                    nonsense.add(reading.vendor_id)
                    self.recorded.complain(f"{reading.vendor_id} {reading.attribute}: {complaint}")
                else:
                    measured[reading.vendor_id] = _newest(
                        measured.get(reading.vendor_id), measured_at
                    )
        for vendor_id in answer.vendor_ids:
            device = self.device_pks.get((answer.gateway_pk, vendor_id))
            if device and vendor_id not in nonsense:
                told = self.told.get(device, DeviceChange())
                self.outbox.readings(
                    device,
                    answer.gateway_pk,
                    serializers.readings(answer.asked_at, told.values, told.none),
                )
            if device and vendor_id in measured:
                self.devices[device] = (device, answer.asked_at, measured[vendor_id], True)
            elif (
                device and vendor_id not in nonsense
            ):  # the vendor says that it has nothing, or no longer knows it
                self.devices[device] = (device, None, None, False)

    def _take_value(
        self, answer: GatewayAnswer, reading: Reading, device: int, attribute: tuple[Any, ...]
    ) -> datetime | None:
        """Put one reading in its rows. Returns the time of measurement, if it tells a dead sensor from a living one."""
        pk, kind, writable, minimum, maximum, choices, silent_since = attribute
        kind = Kind(kind)
        value = clean_value(
            reading.value, kind, minimum=minimum, maximum=maximum, choices=choices or ()
        )
        observed_at = (
            answer.asked_at
            if reading.observed_at is None
            else self._clean_time(reading.observed_at)
        )
        number, text = (value, None) if kind.is_number else (None, value)
        self.observations.append((pk, observed_at, number, text))
        if pk not in self.latest or observed_at > self.latest[pk][2]:
            self.told.setdefault(device, DeviceChange()).values[pk] = (reading.value, observed_at)
            self.latest[pk] = (pk, answer.asked_at, observed_at, number, text, reading.cause or "")
        heard_at = self.heard.get(pk, silent_since)
        if heard_at and answer.asked_at - heard_at > self.late_after:
            self.silences.append(
                Silence(attribute_id=pk, starts_at=heard_at, ends_at=answer.asked_at)
            )
        self.heard[pk] = answer.asked_at
        return observed_at if moves_daily(reading.attribute, writable) else None

    def _clean_time(self, observed_at: datetime) -> datetime:
        if observed_at.tzinfo is None:
            raise Unacceptable(f"the time {observed_at} has no zone")
        if observed_at > self.now + SKEW:
            raise Unacceptable(
                f"it was measured in the future, at {observed_at:%Y-%m-%d %H:%M:%S %Z}: set the device's clock"
            )
        if observed_at < EARLIEST:
            raise Unacceptable(
                f"it was measured in {observed_at.year}: the device's clock is not set"
            )
        return observed_at

    def _write(self) -> None:
        stored = INSERT_OBSERVATIONS.run(self.observations)
        self.recorded.stored += stored
        self.recorded.known += len(self.observations) - stored
        UPDATE_LATEST.run(list(self.latest.values()))
        UPDATE_DEVICES.run(list(self.devices.values()))
        if self.unavailable:
            Attribute.objects.filter(pk__in=self.unavailable).update(available=False)
        if self.silences:
            Silence.objects.bulk_create(
                self.silences,
                update_conflicts=True,
                unique_fields=["attribute", "starts_at"],
                update_fields=["ends_at"],
            )


def _newest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((time for time in (one, other) if time is not None), default=None)
