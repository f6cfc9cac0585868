"""Sum numbers up by the hour, so that they can be told when the observations are deleted; and
delete what is too old of each attribute: observations, silences, hours.

Each attribute has a mark, `rolled_until`: up to there its hours are summed up. Whoever stores a
value or changes a silence before the mark takes the mark back to it, in the same transaction. What
was observed in the last half an hour is after every mark, so that `record()` need not look.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from core.models import Attribute, Device, HourlyStatistics, Observation
from core.models.attribute import ROLL_UP_EVERY
from core.models.hourly import EPOCH, HOUR, end_of_hour, hour_of
from core.models.observation import ObservationQuerySet
from core.readings import Kind
from core.tasks import retention
from core.tasks.hours import HourRow, StoredLine, sum_up
from core.tasks.observations import silences_of
from core.tasks.polling.statements import BulkStatement
from core.tasks.polling.units import are_convertible
from core.tasks.retention import Kept, Old, delete_old
from core.tasks.runs import HeldLease

NUMBERS = [kind.value for kind in Kind if kind.is_number]
NOT_YET = HOUR
"""Hours wait for so long after their end, which is longer than LATE of `record()`."""
ATTRIBUTES_A_VISIT = 50
MOST_ROWS = 20_000
"""Observations of one attribute in one visit: a tenth of a second."""
LONGEST = 366 * 24 * HOUR
"""Of one attribute in one visit, whatever it holds: silences are counted by nothing else."""
SECONDS_A_POLL = 2.0
"""With polls every 10 minutes some 200,000 attributes are visited once a day. Until then they are
read from the observations."""

INSERT_HOURS = BulkStatement(
    (
        ("attribute_id", "bigint"),
        ("starts_at", "timestamptz"),
        ("observation_count", "integer"),
        ("known_microseconds", "bigint"),
        ("on_microseconds", "bigint"),
        ("minimum", "float8"),
        ("maximum", "float8"),
        ("mean", "float8"),
        ("mean_over_time", "float8"),
        ("first_number", "float8"),
        ("last_number", "float8"),
        ("is_known_at_end", "boolean"),
        ("counted_kwh", "float8"),
        ("counted_before_kwh", "float8"),
    ),
    """INSERT INTO core_hourlystatistics (attribute_id, starts_at, observation_count,
        known_microseconds, on_microseconds, minimum, maximum, mean, mean_over_time,
        first_number, last_number, is_known_at_end, counted_kwh, counted_before_kwh)
    SELECT v.attribute_id, v.starts_at, v.observation_count,
        v.known_microseconds, v.on_microseconds, v.minimum, v.maximum, v.mean, v.mean_over_time,
        v.first_number, v.last_number, v.is_known_at_end, v.counted_kwh, v.counted_before_kwh
    FROM {rows} WHERE true""",
)


class SummedUp(NamedTuple):
    """The hours of an attribute from `start` to `until` were made anew."""

    attribute_id: int
    start: datetime
    until: datetime


DELETE_HOURS_SINCE = BulkStatement(
    (("attribute_id", "bigint"), ("start", "timestamptz"), ("until", "timestamptz")),
    """DELETE FROM core_hourlystatistics WHERE id IN (
        SELECT hour.id FROM {rows} JOIN core_hourlystatistics AS hour
        ON hour.attribute_id = v.attribute_id AND hour.starts_at >= v.start)""",
)
SET_MARKS = BulkStatement(
    DELETE_HOURS_SINCE.columns,
    """UPDATE core_attribute SET rolled_until = v.until
    FROM {rows} WHERE core_attribute.id = v.attribute_id""",
)


@dataclass
class RolledUp:
    """How many hours were written, and what was deleted, by what it was, in the plural."""

    written: int = 0
    deleted: Counter[str] = field(default_factory=Counter)

    def add(self, other: "RolledUp") -> None:
        self.written += other.written
        self.deleted += other.deleted


def roll_up(
    kept: Kept | None = None, progress: Callable[[RolledUp], None] | None = None
) -> RolledUp:
    """Sum up all hours that are over, and delete what is not kept: nothing, unless `kept` says so.

    `progress` is called after each transaction with all that is done so far.
    """
    done, after = RolledUp(), 0
    attributes = Attribute.objects.order_by("pk").values_list("pk", flat=True)
    while pks := list(attributes.filter(pk__gt=after)[:ATTRIBUTES_A_VISIT]):
        after = pks[-1]
        while pks:
            visit = _Visit(pks, timezone.now(), kept)
            visit.run()
            done.add(visit.done)
            pks = visit.unfinished
            if progress:
                progress(done)
    return done


def roll_up_a_little(lease: HeldLease, kept: Kept) -> RolledUp:
    """Sum up, and delete what is not kept, of the attributes whose turn it is. Each poll does.

    A large backlog never holds a poll up: it is left to the next ones.
    """
    done, now, began = RolledUp(), timezone.now(), monotonic()
    turn = Attribute.objects.filter(roll_up_at__lte=now).order_by("roll_up_at", "pk")
    while monotonic() - began < SECONDS_A_POLL:
        pks = list(turn.values_list("pk", flat=True)[:ATTRIBUTES_A_VISIT])
        if not pks:
            break
        visit = _Visit(pks, now, kept)
        visit.run()
        done.add(visit.done)
        lease.renew_if_due()
    return done


class _Visit:
    """Some attributes are summed up, and what is too old of them deleted, in one transaction."""

    def __init__(self, pks: Collection[int], now: datetime, kept: Kept | None) -> None:
        self._pks, self._now, self._kept = pks, now, kept
        self._rows_left = MOST_ROWS
        self._summed, self._rows, self._old = list[SummedUp](), list[HourRow](), list[Old]()
        self._visited: list[int] = []
        self.done = RolledUp()
        self.unfinished: list[int] = []

    @transaction.atomic
    def run(self) -> None:
        for attribute in self._locked():
            if self._rows_left <= 0:
                self.unfinished.append(attribute.pk)
            else:
                self._visited.append(attribute.pk)
                self._take(attribute)
        # Deleted and made anew: an hour that had a row may need none now.
        DELETE_HOURS_SINCE.run(self._summed)
        SET_MARKS.run(self._summed)
        self.done.written = INSERT_HOURS.run(self._rows)
        if self._kept:
            self._delete(self._kept)
        # What is unfinished comes again as soon as all others had their turn.
        visited = Attribute.objects.filter(pk__in=self._visited)
        visited.filter(pk__in=self.unfinished).update(roll_up_at=self._now)
        visited.exclude(pk__in=self.unfinished).update(roll_up_at=self._now + ROLL_UP_EVERY)

    def _locked(self) -> list[Attribute]:
        """Read the attributes, their devices locked: so does who stores readings or silences."""
        of_devices = Attribute.objects.filter(pk__in=self._pks).values("device")
        devices = Device.objects.select_for_update(no_key=True).filter(pk__in=of_devices)
        list(devices.order_by("pk").values_list("pk"))
        return list(Attribute.objects.filter(pk__in=self._pks).order_by("pk"))

    def _take(self, attribute: Attribute) -> None:
        until, end = self._sum_up(attribute)
        if until < end:
            self.unfinished.append(attribute.pk)
        if self._kept:
            # What is not summed up yet stays.
            since = self._kept.values_since(attribute.name)
            self._old.append(Old(attribute.pk, since if until == end else min(since, until)))

    def _sum_up(self, attribute: Attribute) -> tuple[datetime, datetime]:
        """Sum up what there is, up to LONGEST. Return until when its hours are, and could be."""
        start = _start(attribute)
        if start is None or attribute.heard_at is None:
            return self._now, self._now
        end = min(hour_of(self._now - NOT_YET), end_of_hour(attribute.heard_at))
        if start >= end:
            return end, end
        line, until = _read(attribute, start, min(end, start + LONGEST))
        self._rows_left -= 1 + len(line.points)
        before = HourlyStatistics.objects.filter(attribute=attribute, starts_at__lt=start)
        columns = before.order_by("-starts_at").values_list(*HourRow._fields)
        self._rows += sum_up(line, until, next(map(HourRow._make, columns[:1]), None))
        self._summed.append(SummedUp(attribute.pk, start, until))
        return until, end

    def _delete(self, kept: Kept) -> None:
        self.done.deleted = delete_old(self._old, kept.hours_since)
        if self.done.deleted["observations"] >= retention.MOST_DELETED:
            self.unfinished = sorted({*self.unfinished, *self._visited})


def _start(attribute: Attribute) -> datetime | None:
    """Return the hour to begin with: the one of the mark, or of the first number."""
    start = attribute.rolled_until
    if start is None and attribute.kind in NUMBERS:
        start = _numbers(attribute).values_list("observed_at", flat=True).first()
    if start is None:
        return None
    # Of the hours before `pruned_until` the observations may be gone.
    return max(hour_of(start), attribute.pruned_until or EPOCH)


def _read(attribute: Attribute, start: datetime, until: datetime) -> tuple[StoredLine, datetime]:
    """Read the line of an attribute from an hour on, and until which hour that is."""
    rows = _numbers(attribute).values_list("observed_at", "number")
    found = list(rows.filter(observed_at__gt=start, observed_at__lt=until)[: MOST_ROWS + 1])
    if len(found) > MOST_ROWS:
        # Whole hours only; of one hour all is read, however much it is.
        until = max(hour_of(found[-1][0]), start + HOUR)
        found = list(rows.filter(observed_at__gt=start, observed_at__lt=until))
    # What holds when it begins.
    before = list(rows.filter(observed_at__lte=start).reverse()[:1])
    points = [(at, float(number or 0)) for at, number in before + found]
    silences = silences_of(attribute, start, until)
    heard_until = attribute.heard_at or start
    unit = attribute.unit if are_convertible(attribute.unit, "kWh") else ""
    return StoredLine(attribute.pk, start, heard_until, points, silences, unit), until


def _numbers(attribute: Attribute) -> ObservationQuerySet:
    stored = Observation.objects.filter(attribute=attribute, number__isnull=False)
    return stored.order_by("observed_at")
