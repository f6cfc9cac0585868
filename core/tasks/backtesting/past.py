"""One signal's past as it became known: what a backtest may see at each of its ticks, and no more.

From the database: forecasts by the time they were fetched, measurements and their revisions by the
time they were known. From a file: its measurements when their slot had ended; its forecasts are the
last ones made before each slot, so that a backtest from a file has better forecasts in the evening
than anybody had then.
"""

import csv
import gzip
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

from core import feeds
from core.feeds import UNITS, Signal, Slot, clean_slots
from core.models import Forecast, Measurement, Series
from core.planning.forecast import TYPICAL_OF, Outlook, outlook
from core.tasks.decisions.situations import LOOK_AHEAD
from core.tasks.forecasts.regions import Region

starts_at, ends_at = attrgetter("starts_at"), attrgetter("ends_at")


class Measured(NamedTuple):
    """A measurement and when it became known."""

    known_at: datetime
    slot: Slot


class Forecasts(Protocol):
    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        """Return a key that differs when the forecast does, and the newest forecast as of `now`.

        The slots are clean. Times do not go back.
        """


class SignalHistory:
    """What a signal was, and what was expected of it. Asked at times that do not go back.

    `measured` is all there is, clean, perhaps with gaps: costs are by it. `forecasted` is what was
    expected of each slot when it began, as far as the backtest asked for it.
    """

    def __init__(
        self,
        signal: Signal,
        every: timedelta,
        measurements: Iterable[Measured],
        forecasts: Forecasts,
    ) -> None:
        self.signal, self.every, self.forecasts = signal, every, forecasts
        self._measurements = sorted(measurements, key=lambda measured: measured.known_at)
        # In order of `known_at`, so that the last revision of a start is the one that stays.
        revised = {measured.slot.starts_at: measured.slot for measured in self._measurements}
        self.measured = clean_slots(revised.values())
        self.forecasted: list[Slot] = []
        self._seen: list[Slot] = []
        self._next = 0
        self._made: tuple[object, Outlook] | None = None

    def outlook(self, now: datetime) -> Outlook:
        """Return what was expected as of `now`.

        The same object until something new became known or the slot that holds `now` is over.
        """
        self._see(now)
        forecast_key, forecast = self.forecasts.at(now)
        key = (forecast_key, self._next)
        if self._made and self._made[0] == key and _still_holds(self._made[1], now):
            return self._made[1]
        made = outlook(self.signal, now, now + LOOK_AHEAD, forecast, self._weeks(now), self.every)
        self._made = (key, made)
        if made.slots and made.issued_at and made.slots[0].starts_at <= now:
            self._record_forecast(made.slots[0])
        return made

    def between(self, since: datetime, until: datetime) -> list[Slot]:
        """Return what was measured in this time."""
        first = bisect_right(self.measured, since, key=ends_at)
        return self.measured[first : bisect_left(self.measured, until, lo=first, key=starts_at)]

    def _see(self, now: datetime) -> None:
        """Take in what became known up to now; a revision takes the place of what it revises."""
        while self._next < len(self._measurements):
            known_at, slot = self._measurements[self._next]
            if known_at > now:
                break
            place = bisect_left(self._seen, slot.starts_at, key=starts_at)
            is_revised = place < len(self._seen) and self._seen[place].starts_at == slot.starts_at
            self._seen[place : place + is_revised] = [slot]
            self._next += 1

    def _weeks(self, now: datetime) -> list[Slot]:
        return self._seen[bisect_left(self._seen, now - TYPICAL_OF, key=starts_at) :]

    def _record_forecast(self, slot: Slot) -> None:
        if not self.forecasted or self.forecasted[-1].starts_at < slot.starts_at:
            self.forecasted.append(slot)


def _still_holds(made: Outlook, now: datetime) -> bool:
    return not made.slots or now < made.slots[0].ends_at


class LastForecasts:
    """One forecast of each slot. At any time, those of the coming 48 hours.

    When it was issued nobody knows: it counts as issued when its slot began.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        first = bisect_right(self.slots, now, key=ends_at)
        last = bisect_left(self.slots, now + LOOK_AHEAD, lo=first, key=starts_at)
        return (first, last), self.slots[first:last]


class StoredForecasts:
    """Forecasts by the time they were fetched; each is read from the database when it is due."""

    def __init__(self, series: Series, since: datetime, until: datetime) -> None:
        rows = Forecast.objects.filter(
            series=series, ends_at__gt=since, known_at__lte=until
        ).order_by("known_at")
        self.series = series
        # Reversed, so that the next one is popped from the end.
        self._waiting = list(rows.values_list("known_at", "issued_at", "pk"))[::-1]
        self._newest: tuple[datetime, int] | None = None
        self._read: tuple[int, Sequence[Slot]] = (0, ())

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        while self._waiting and self._waiting[-1][0] <= now:
            _, issued_at, pk = self._waiting.pop()
            # An older issue may be fetched later than a newer one.
            self._newest = max(self._newest or (issued_at, pk), (issued_at, pk))
        if self._newest and self._newest[1] != self._read[0]:
            row = Forecast.objects.get(pk=self._newest[1])
            row.series = self.series
            self._read = (row.pk, row.as_slots())
        return self._read


def from_database(
    region: Region, signal: Signal, since: datetime, until: datetime
) -> SignalHistory:
    """Return what was fetched of a region. Raises LookupError with a sentence if nothing was."""
    found = Series.objects.filter(
        source__feed=region.feed, source__region=region.region, signal=signal
    )
    series = found.select_related("source").first()
    if series is None:
        raise LookupError(
            f"Nothing is stored of {signal} from {region}. Take a file: --file history.csv"
        )
    rows = Measurement.objects.filter(
        series=series, ends_at__gt=since - TYPICAL_OF, starts_at__lt=until
    )
    columns = rows.order_by("known_at").values_list("known_at", "starts_at", "ends_at", "value")
    measurements = []
    for known_at, start, end, value in columns.iterator():
        slot = Slot(start, end, value, series.unit, signal=signal)
        # A source may answer before a slot is over; the rule sees the value only after it.
        measurements.append(Measured(max(known_at, end), slot))
    every = feeds.load(region.feed).every
    return SignalHistory(signal, every, measurements, StoredForecasts(series, since, until))


def from_file(
    path: Path, signal: Signal = Signal.CARBON_INTENSITY, unit: str = ""
) -> SignalHistory:
    """Return what a CSV file says, perhaps with .gz.

    Its columns are from, to, forecast, actual: ISO times (UTC where they have no zone), numbers or
    nothing. Raises ValueError with the line that is wrong, OSError.
    """
    forecast, measurements = list[Slot](), list[Measured]()
    unit = unit or UNITS[signal]
    for row in _rows(path):
        if row.forecast is not None:
            forecast.append(Slot(row.start, row.end, row.forecast, unit, row.start, signal))
        if row.actual is not None:
            slot = Slot(row.start, row.end, row.actual, unit, signal=signal)
            measurements.append(Measured(row.end, slot))
    lengths = [slot.ends_at - slot.starts_at for _, slot in measurements] or [timedelta(minutes=30)]
    every = max(set(lengths), key=lengths.count)
    return SignalHistory(signal, every, measurements, LastForecasts(clean_slots(forecast)))


class _FileRow(NamedTuple):
    start: datetime
    end: datetime
    forecast: float | None
    actual: float | None


def _rows(path: Path) -> Iterator[_FileRow]:
    is_packed = path.suffix == ".gz"
    with gzip.open(path, "rt", newline="") if is_packed else path.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"from", "to", "forecast", "actual"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}.")
        for row in rows:
            try:
                yield _row(row)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {rows.line_num}: {error}") from error


def _row(row: dict[str, str]) -> _FileRow:
    start, end = _time(row["from"]), _time(row["to"])
    if not start < end:
        raise ValueError(f"{row['to']} is not after {row['from']}")
    return _FileRow(start, end, _number(row["forecast"]), _number(row["actual"]))


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text.strip())
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _number(text: str) -> float | None:
    if not text.strip():
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number
