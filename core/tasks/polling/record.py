"""Store readings. All readings enter the database here.

For the answers of gateways this writes the observations, the latest value on each attribute, the
health of the gateway, and one event for each device.

Storing the same readings twice does no harm: an observation is unique per attribute and time, and
the first value stays.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Case, F, TextField, When
from django.db.models.functions import Cast
from django.utils import timezone

from core import serializers
from core.models import Attribute, Device, Gateway
from core.models.attribute import as_value, moves_daily
from core.readings import AttributeSpec, Kind, Reading, Unacceptable, clean_value
from core.tasks.events.outbox import Outbox, publishing
from core.tasks.polling.attribute_row import AttributeRow
from core.tasks.polling.backoff import Sleep, health_after
from core.tasks.polling.description import clean_spec, describe, fitted, set_apart
from core.tasks.polling.past import past_row
from core.tasks.polling.silences import Silences
from core.tasks.polling.statements import (
    INSERT_OBSERVATIONS,
    LATE,
    ROLL_UP_LATE_AGAIN,
    UPDATE_DEVICES,
    UPDATE_GATEWAYS,
    UPDATE_LATEST,
    DeviceRow,
    GatewayRow,
    LatestRow,
    ObservationRow,
)
from core.tasks.polling.units import converted
from core.tasks.runs import HeldLease

DEVICES_A_BATCH = 500
MOST_SENTENCES = 20
LONGEST_WAIT_SECONDS = 1.0
SKEW = timedelta(minutes=2)
"""How far ahead of ours a vendor's clock may be."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Before this a clock was never set."""


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """What came of asking one gateway for some of its devices.

    `asked_at` is when the call began. With an `error`, `readings` is empty. What was `pushed` came
    by itself, at `asked_at`: it may be older than what is stored. `tells_health` is False where it
    says nothing of whether the gateway answers. `seconds` is how long the call took.
    What is `past` comes from the vendor's history: it is stored as observations, and changes
    nothing else.
    """

    gateway_pk: int
    asked_at: datetime
    vendor_ids: Sequence[str]
    readings: Sequence[Reading] = ()
    error: Exception | None = None
    pushed: bool = False
    tells_health: bool = True
    seconds: float = 0.0
    past: bool = False


@dataclass
class Recorded:
    """Counts of readings. `duplicates` were stored before; `unknown` are of devices or attributes
    that are not in the database. `complaints` are sentences about the first 20 refused ones,
    `changes` about the first 20 attributes that became something else."""

    stored: int = 0
    duplicates: int = 0
    unavailable: int = 0
    unknown: int = 0
    refused: int = 0
    complaints: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def complain(self, reading: Reading, why: str) -> None:
        self.refused += 1
        if len(self.complaints) < MOST_SENTENCES:
            self.complaints.append(f"{reading.vendor_id} {reading.attribute}: {why}")

    def changed(self, sentence: str) -> None:
        if len(self.changes) < MOST_SENTENCES:
            self.changes.append(sentence)


class Recorder:
    """Takes answers as they come and stores them together, at most 500 devices a transaction.

    No answer waits longer than about a second, so that pages show values soon.
    """

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
            # Even an answer about no device becomes a row of its gateway's health.
            self.devices += max(1, len(piece.vendor_ids))
        self.tick()

    def tick(self) -> None:
        """Call while waiting for answers: renews the lease, and stores answers after a second."""
        if self.holding:
            self.holding.renew_if_due()
        if time.monotonic() - self.since > LONGEST_WAIT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Store all waiting answers. Raises LeaseLost, and stores none, if the lease was lost."""
        # Emptied first: a batch that fails is not tried again by the next flush.
        batch, self.waiting, self.devices, self.since = self.waiting, [], 0, time.monotonic()
        if batch:
            with publishing() as outbox:
                if self.holding:
                    # In the same transaction: whoever has lost the lease writes nothing.
                    self.holding.renew()
                _Batch(batch, self.recorded, outbox).store()


def record(answers: Iterable[GatewayAnswer], holding: HeldLease | None = None) -> Recorded:
    """Store answers, in transactions of at most 500 devices.

    Raises LeaseLost, and stores no more, if the lease was lost.
    """
    recorder = Recorder(Recorded(), holding)
    for answer in answers:
        recorder.add(answer)
    recorder.flush()
    return recorder.recorded


def _pieces(answer: GatewayAnswer) -> Iterator[GatewayAnswer]:
    """Split an answer for more devices than a batch holds.

    A failed answer is not split, so that it counts as one failure of the gateway.
    """
    if answer.error or len(answer.vendor_ids) <= DEVICES_A_BATCH:
        yield answer
        return
    by_device: dict[str, list[Reading]] = {vendor_id: [] for vendor_id in answer.vendor_ids}
    for reading in answer.readings:
        # One of a device that was not asked about is dropped, and not counted.
        if reading.vendor_id in by_device:
            by_device[reading.vendor_id].append(reading)
    ids = iter(by_device)
    while part := list(islice(ids, DEVICES_A_BATCH)):
        readings = [reading for vendor_id in part for reading in by_device[vendor_id]]
        yield replace(answer, vendor_ids=part, readings=readings)


class GatewayBefore(NamedTuple):
    """How a gateway did until now."""

    pk: int
    failures: int
    error: str
    wakes_every: timedelta | None
    answered_at: datetime | None

    @property
    def sleep(self) -> Sleep | None:
        return Sleep(self.wakes_every, self.answered_at) if self.wakes_every else None


@dataclass
class DeviceReadings:
    """What one device reported in one batch, by attribute: values with their `observed_at`, and the
    attributes that have no value now."""

    values: dict[int, tuple[Any, datetime]] = field(default_factory=dict)
    none: list[int] = field(default_factory=list)


class _Batch:
    """The answers of one transaction and the rows they become.

    Gateways, then devices are locked in the order of their keys, so that two recorders at once
    never deadlock.
    """

    def __init__(self, answers: list[GatewayAnswer], recorded: Recorded, outbox: Outbox) -> None:
        self.answers = answers
        self.recorded = recorded
        self.outbox = outbox
        self.now = timezone.now()
        self.observations: list[ObservationRow] = []
        self.latest: dict[int, LatestRow] = {}
        self.unavailable: list[int] = []
        self.silences = Silences()
        self.devices: dict[int, DeviceRow] = {}
        self.reported: dict[int, DeviceReadings] = {}

    def store(self) -> None:
        self._write_health()
        good = [answer for answer in self.answers if answer.error is None]
        if good:
            self._load(good)
            for answer in good:
                if answer.past:
                    self._take_past(answer)
                else:
                    self._take(answer)
            self._write()

    def _write_health(self) -> None:
        # The last answer of each gateway: UPDATE_GATEWAYS takes one row for each.
        asked = {answer.gateway_pk: answer for answer in self.answers if answer.tells_health}
        # no_key: others may still insert rows that refer to these.
        locked = (
            Gateway.objects.select_for_update(no_key=True).filter(pk__among=asked).order_by("pk")
        )
        rows: list[GatewayRow] = []
        changed: list[int] = []
        for before in map(GatewayBefore._make, locked.values_list(*GatewayBefore._fields)):
            answer = asked[before.pk]
            health = health_after(answer.asked_at, answer.error, before.failures, before.sleep)
            rows.append(GatewayRow(before.pk, *health))
            # Publish a gateway only if it began or stopped failing, or its error changed.
            was_failing, is_failing = bool(before.failures), bool(health.failures)
            if (is_failing, health.error) != (was_failing, before.error):
                changed.append(before.pk)
        UPDATE_GATEWAYS.run(rows)
        self.outbox.changed_pks(Gateway, changed)

    def _load(self, good: list[GatewayAnswer]) -> None:
        """Lock the devices that the answers are about, and read their attributes."""
        locked = (
            # Readings of a device removed meanwhile count as unknown.
            Device.objects.select_for_update(no_key=True)
            .filter(gateway__pk__among={answer.gateway_pk for answer in good}, removed_at=None)
            .filter(
                vendor_id__among={vendor_id for answer in good for vendor_id in answer.vendor_ids}
            )
            .order_by("pk")
            .values_list("pk", "gateway_id", "vendor_id")
        )
        self.device_pks = {(gateway, vendor_id): pk for pk, gateway, vendor_id in locked}
        # `choices` and `heard_at` are slow to parse, and few attributes need them. So the database
        # returns NULL for all the others, and choices as text: many attributes have the same.
        late = max(answer.asked_at for answer in good) - self.silences.late_after
        choices = Case(When(kind=Kind.CHOICE, then=Cast("choices", TextField())))
        silent_since = Case(When(heard_at__lt=late, then=F("heard_at")))
        attributes = Attribute.objects.filter(device__pk__among=self.device_pks.values()).order_by()
        # In the order of AttributeRow's fields.
        columns = ("device_id", "name", "pk", "kind", "writable", "unit")
        numbers = ("minimum", "maximum", "step")
        found = attributes.values_list(*columns, *numbers, choices, silent_since)
        self.attributes: dict[tuple[int, str], AttributeRow] = {
            row[:2]: AttributeRow._make(row) for row in found
        }

    def _take(self, answer: GatewayAnswer) -> None:
        """Put an answer in the rows of its readings and devices."""
        heard, nonsense = self._take_readings(answer)
        for vendor_id in answer.vendor_ids:
            device_pk = self.device_pks.get((answer.gateway_pk, vendor_id))
            if device_pk is None:
                continue
            # Nonsense in one attribute silences no other. Nothing but nonsense is nothing to say.
            if vendor_id not in nonsense or device_pk in self.reported:
                self._publish(answer, device_pk)
            if vendor_id in heard:
                row = DeviceRow(device_pk, answer.asked_at, heard[vendor_id], available=True)
                self.devices[device_pk] = row
            elif vendor_id not in nonsense:
                # The device has no value now, or the vendor no longer lists the device.
                self.devices[device_pk] = DeviceRow(device_pk, None, None, available=False)

    def _take_readings(self, answer: GatewayAnswer) -> tuple[dict[str, datetime | None], set[str]]:
        """Put the readings of an answer in their rows.

        Return two things by vendor id. First, the devices that were heard, each with the newest
        measurement time of an attribute that normally changes every day, or None. Second, the
        devices that sent a refused value.
        """
        heard: dict[str, datetime | None] = {}
        nonsense: set[str] = set()
        for reading in answer.readings:
            device_pk = self.device_pks.get((answer.gateway_pk, reading.vendor_id))
            attribute = self.attributes.get((device_pk, reading.attribute)) if device_pk else None
            if attribute is None:
                self.recorded.unknown += 1
            elif reading.value is None:
                self._take_none(attribute)
                if reading.reachable:
                    heard.setdefault(reading.vendor_id, None)
            else:
                try:
                    measured_at = self._take_value(answer, reading, attribute)
                except Unacceptable as complaint:
                    nonsense.add(reading.vendor_id)
                    self.recorded.complain(reading, str(complaint))
                else:
                    before = heard.get(reading.vendor_id)
                    heard[reading.vendor_id] = _newest(before, measured_at)
        return heard, nonsense

    def _take_past(self, answer: GatewayAnswer) -> None:
        """Put old readings in rows of observations, and let their devices' history grow.

        What a device is, its latest value and when it was heard stay as they are. So do commands
        and holds, which go by those.
        """
        for reading in answer.readings:
            device_pk = self.device_pks.get((answer.gateway_pk, reading.vendor_id))
            attribute = self.attributes.get((device_pk, reading.attribute)) if device_pk else None
            if device_pk is None or attribute is None:
                self.recorded.unknown += 1
            elif reading.value is None or reading.observed_at is None:
                self.recorded.unavailable += 1
            else:
                try:
                    row = past_row(attribute, reading, clean_time(reading.observed_at, self.now))
                except Unacceptable as complaint:
                    self.recorded.complain(reading, str(complaint))
                else:
                    self.observations.append(row)
                    self.devices[device_pk] = DeviceRow(device_pk, None, None, available=None)

    def _publish(self, answer: GatewayAnswer, device_pk: int) -> None:
        reported = self.reported.get(device_pk, DeviceReadings())
        body = serializers.readings_json(answer.asked_at, reported.values, reported.none)
        self.outbox.readings(device_pk, answer.gateway_pk, body)

    def _take_none(self, attribute: AttributeRow) -> None:
        self.unavailable.append(attribute.pk)
        self._reported(attribute.device_pk).none.append(attribute.pk)
        self.recorded.unavailable += 1

    def _take_value(
        self, answer: GatewayAnswer, reading: Reading, attribute: AttributeRow
    ) -> datetime | None:
        """Put one reading in its rows. Raises Unacceptable.

        Return the time of measurement if the value normally changes every day: that time shows
        whether the sensor still works. Else return None.
        """
        said: object = reading.value
        spec = reading.spec
        if spec is not None and not attribute.is_described_by(spec):
            attribute, said = self._follow(attribute, reading, spec)
        value = attribute.clean(said)
        observed_at = answer.asked_at
        if reading.observed_at is not None:
            observed_at = clean_time(reading.observed_at, self.now)
        number, text = (None, value) if isinstance(value, str) else (value, None)
        pk = attribute.pk
        self.observations.append(ObservationRow(pk, observed_at, number, text))
        latest = self.latest.get(pk)
        # Strictly newer: of two with the same time the first wins, as in the table.
        if latest is None or observed_at > latest.observed_at:
            shown = as_value(attribute.kind, number, text)
            self._reported(attribute.device_pk).values[pk] = (shown, observed_at)
            cause = reading.cause or ""
            self.latest[pk] = LatestRow(pk, answer.asked_at, observed_at, number, text, cause)
        if not answer.pushed:  # its silences are by the device's own interval
            self.silences.hear(attribute.pk, observed_at, answer.asked_at, attribute.silent_since)
        return observed_at if moves_daily(reading.attribute, attribute.writable) else None

    def _follow(
        self, attribute: AttributeRow, reading: Reading, spec: AttributeSpec
    ) -> tuple[AttributeRow, object]:
        """Make of an attribute what the vendor's answer says it is now.

        Return its row, and the reading's value in its unit. Raises Unacceptable, and changes
        nothing, if the value is not what the same answer says it is.
        """
        spec = clean_spec(spec)
        limits = {"minimum": spec.minimum, "maximum": spec.maximum}
        value = clean_value(reading.value, spec.kind, **limits, choices=spec.choices)
        wanted = fitted(attribute.kind, attribute.unit, spec)
        if wanted is None:
            attribute = self._set_apart(attribute, reading.vendor_id, spec)
        elif not attribute.is_described_by(wanted):
            describe(Attribute.objects.get(pk=attribute.pk), wanted)
            attribute = attribute.described_by(wanted)
            self._changed(attribute)
        if isinstance(value, float) and attribute.unit != spec.unit:
            return attribute, converted(value, spec.unit, attribute.unit)
        return attribute, reading.value

    def _set_apart(
        self, attribute: AttributeRow, vendor_id: str, spec: AttributeSpec
    ) -> AttributeRow:
        present, sentence = set_apart(Attribute.objects.get(pk=attribute.pk), spec)
        self.recorded.changed(f"{vendor_id} {sentence}")
        row = attribute.described_by(spec)._replace(pk=present.pk, silent_since=present.heard_at)
        self._changed(row)
        return row

    def _changed(self, attribute: AttributeRow) -> None:
        self.attributes[attribute.device_pk, attribute.name] = attribute
        self.outbox.changed_pks(Device, [attribute.device_pk])

    def _reported(self, device_pk: int) -> DeviceReadings:
        reported = self.reported.get(device_pk)
        if reported is None:
            reported = self.reported[device_pk] = DeviceReadings()
        return reported

    def _write(self) -> None:
        self.silences.write()
        since = self.now - LATE
        late = [row[:2] for row in self.observations if row.observed_at < since]
        ROLL_UP_LATE_AGAIN.run(late)
        stored = INSERT_OBSERVATIONS.run(self.observations)
        self.recorded.stored += stored
        self.recorded.duplicates += len(self.observations) - stored
        UPDATE_LATEST.run(list(self.latest.values()))
        UPDATE_DEVICES.run(list(self.devices.values()))
        # After UPDATE_LATEST, which makes available: with both in a batch, this wins.
        if self.unavailable:
            Attribute.objects.filter(pk__among=self.unavailable).update(available=False)


def clean_time(observed_at: datetime, now: datetime) -> datetime:
    """Return a vendor's time of measurement, if it can be one. Raises Unacceptable."""
    if observed_at.tzinfo is None:
        raise Unacceptable(f"the time {observed_at} has no zone")
    if observed_at > now + SKEW:
        raise Unacceptable(
            f"it was measured in the future, at {observed_at:%Y-%m-%d %H:%M:%S %Z}: "
            "set the device's clock"
        )
    if observed_at < EARLIEST:
        raise Unacceptable(f"it was measured in {observed_at.year}: the device's clock is not set")
    return observed_at


def _newest(first: datetime | None, second: datetime | None) -> datetime | None:
    if first is None or second is None:
        return first or second
    return max(first, second)
