"""Sum up the line of an attribute by the hour."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from core.models.hourly import HOUR, hour_of
from core.planning.metering import used
from core.planning.timeline import Piece, held
from core.tasks.polling.units import converted

MICROSECOND = timedelta(microseconds=1)
WHOLE = HOUR // MICROSECOND


class HourRow(NamedTuple):
    """A row of HourlyStatistics, and the columns of it in this order."""

    attribute_id: int
    starts_at: datetime
    observation_count: int
    known_microseconds: int
    on_microseconds: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    mean_over_time: float | None
    first_number: float | None
    last_number: float | None
    is_known_at_end: bool
    counted_kwh: float | None
    counted_before_kwh: float | None


@dataclass(frozen=True)
class StoredLine:
    """What is stored of an attribute from `start` on: observations and silences, in order of time.

    The first point may be from before. Nothing is known after `heard_until`. `counter_unit` is the
    unit of a counter of energy, and "" for all else.
    """

    attribute_pk: int
    start: datetime
    heard_until: datetime
    points: Sequence[tuple[datetime, float]]
    silences: Sequence[tuple[datetime, datetime]]
    counter_unit: str = ""


def sum_up(line: StoredLine, until: datetime, before: HourRow | None) -> list[HourRow]:
    """Make the rows of the hours up to `until`, which begins an hour, as `line.start` does.

    `before` is the last row before them. No row is made of an hour that is as the end of the one
    before. It goes from change to change: a year without any costs no time.
    """
    hours = _Hours(line.start, until)
    # Also where nothing was heard: without a row, the end of the hour before would hold on.
    hours.at(line.start)
    for time, number in line.points:
        if line.start <= time < until:
            hours.at(time).observe(number)
    earlier = _piece_before(line, before)
    for piece in held(line.points, line.silences, line.start, min(until, line.heard_until)):
        hours.hold(piece)
        if line.counter_unit and earlier:
            hours.count(earlier, piece, line.counter_unit)
        earlier = piece
    rows: list[HourRow] = []
    for starts_at, hour in sorted(hours.found.items()):
        row = hour.row(line, starts_at, before)
        if not _is_as_the_end(row, before):
            rows.append(row)
            before = row
    return rows


def _piece_before(line: StoredLine, before: HourRow | None) -> Piece | None:
    """Return what was last known before the line begins, by the last row before it."""
    if before is None or before.last_number is None:
        return None
    end = line.start
    if line.silences and line.silences[0][0] < line.start:
        end = line.silences[0][0]
    elif not before.is_known_at_end:
        end = before.starts_at + HOUR
    return Piece(end, end, before.last_number)


class _Hours:
    """The hours in which anything changes."""

    def __init__(self, start: datetime, until: datetime) -> None:
        self.found: dict[datetime, _Hour] = {}
        self._until = until
        self._newest, self._start, self._end = _Hour(), start, start

    def at(self, time: datetime) -> "_Hour":
        # Times come in order: nearly always it is the same hour again.
        if not self._start <= time < self._end:
            self._start = hour_of(time)
            self._end = self._start + HOUR
            self._newest = self.found.setdefault(self._start, _Hour())
        return self._newest

    def hold(self, piece: Piece) -> None:
        """Add a piece to the hour it begins in and the one it ends in. Those between are as it."""
        hour = self.at(piece.start)
        if piece.start == self._start:
            hour.first = piece.value
        if piece.end <= self._end:
            hour.hold(piece.start, piece.end, piece.value)
            hour.is_known_at_end = piece.end == self._end
        else:
            hour.hold(piece.start, self._end, piece.value)
            hour.is_known_at_end = True
        begins = self._end
        # Where it ends with an hour, the next may be unknown: that one is told too.
        if begins <= piece.end < self._until:
            last = self.at(piece.end)
            if self._start < piece.end:
                last.first = piece.value
            last.hold(self._start, piece.end, piece.value)

    def count(self, before: Piece, piece: Piece, unit: str) -> None:
        """Add what a counter grew by from one piece to the next."""
        if before.value == piece.value:
            return
        earlier = converted(before.value, unit, "kWh")
        grew_by = used(earlier, converted(piece.value, unit, "kWh"), piece.start - before.end)
        hour = self.at(piece.start)
        if piece.start == self._start or before.end < self._start:
            hour.counted_before += grew_by
        else:
            hour.counted += grew_by


@dataclass(slots=True)
class _Hour:
    """What one hour holds."""

    count: int = 0
    mean: float = 0.0
    first: float | None = None
    last: float | None = None
    is_known_at_end: bool = False
    counted: float = 0.0
    counted_before: float = 0.0
    parts: list[tuple[int, float]] = field(default_factory=list)

    def observe(self, number: float) -> None:
        self.count += 1
        # Not by the sum, which the largest numbers would make infinite.
        self.mean = self.mean * ((self.count - 1) / self.count) + number / self.count
        self.last = number

    def hold(self, start: datetime, end: datetime, value: float) -> None:
        if start < end:
            self.parts.append(((end - start) // MICROSECOND, value))

    def row(self, line: StoredLine, starts_at: datetime, before: HourRow | None) -> HourRow:
        known = sum(length for length, _ in self.parts)
        values = [value for _, value in self.parts]
        last = self.last
        # Also without an observation: then it is the value that was carried in.
        if self.is_known_at_end:
            last = values[-1]
        elif last is None and before:
            last = before.last_number
        return HourRow(
            line.attribute_pk,
            starts_at,
            self.count,
            known,
            sum(length for length, value in self.parts if value),
            min(values, default=None),
            max(values, default=None),
            self.mean if self.count else None,
            # Each by its share: the sum of the largest numbers would be infinite.
            sum(value * (length / known) for length, value in self.parts) if known else None,
            self.first,
            last,
            self.is_known_at_end,
            self.counted if line.counter_unit else None,
            self.counted_before if line.counter_unit else None,
        )


def _is_as_the_end(row: HourRow, before: HourRow | None) -> bool:
    """Whether the hour needs no row: HourlyStatisticsQuerySet.summaries() tells it all the same."""
    if row.observation_count:
        return False
    if before is None or not before.is_known_at_end:
        return row.known_microseconds == 0
    return row.known_microseconds == WHOLE and row.minimum == row.maximum == before.last_number
