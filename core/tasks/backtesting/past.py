"""One signal's past as it became known, bit by bit: what a backtest may see at each of its moments, and no more.

From the database: forecasts by the time they were fetched, measurements by the time they were told (and their revisions).
From a file: its measurements when their slot had ended; its forecasts are the last ones made before each slot, so that a
backtest from a file sees those of the evening better than anybody did. What that is worth, only `typical` tells from below.
"""

import csv
import gzip
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Protocol

from core import feeds
from core.feeds import UNITS, Signal, Slot
from core.models import Forecast, Measurement, Series
from core.planning.forecast import TYPICAL_OF, Outlook, apart, outlook
from core.tasks.decisions.situations import LOOK_AHEAD
from core.tasks.forecasts.regions import Region

Told = tuple[datetime, Slot]
"""A measurement and when it became known."""

starts_at, ends_at = attrgetter("starts_at"), attrgetter("ends_at")


class Forecasts(Protocol):
    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        """The newest forecast known at a time, and something that differs when it does. Times do not go back."""


class Past:
    """Asked at times that do not go back. `measured` is all there is, gaps and all, for the settling; `forecasted` what was
    expected of each slot when it began, as far as it was asked."""

    def __init__(
        self, signal: Signal, every: timedelta, told: Iterable[Told], forecasts: Forecasts
    ) -> None:
        self.signal, self.every, self.forecasts = signal, every, forecasts
        self._told = sorted(told, key=lambda one: one[0])
        self.measured = list(apart(list({slot.starts_at: slot for _, slot in self._told}.values())))
        self.forecasted: list[Slot] = []
        self._known: list[Slot] = []
        self._next = 0
        self._made: tuple[object, Outlook] | None = None

    def outlook(self, now: datetime) -> Outlook:
        """As of `now`. The same object until something new became known or the slot that holds now is over."""
        self._learn(now)
        news, forecast = self.forecasts.at(now)
        news = (news, self._next)
        if self._made and self._made[0] == news and _still_holds(self._made[1], now):
            return self._made[1]
        made = outlook(self.signal, now, now + LOOK_AHEAD, forecast, self._weeks(now), self.every)
        self._made = (news, made)
        if made.slots and made.issued_at and made.slots[0].starts_at <= now:
            self._keep(made.slots[0])
        return made

    def between(self, since: datetime, until: datetime) -> list[Slot]:
        """What was measured then."""
        first = bisect_right(self.measured, since, key=ends_at)
        return self.measured[first : bisect_left(self.measured, until, lo=first, key=starts_at)]

    def _learn(self, now: datetime) -> None:
        while self._next < len(self._told) and self._told[self._next][0] <= now:
            slot = self._told[self._next][1]
            place = bisect_left(self._known, slot.starts_at, key=starts_at)
            is_revised = place < len(self._known) and self._known[place].starts_at == slot.starts_at
            self._known[place : place + is_revised] = [slot]
            self._next += 1

    def _weeks(self, now: datetime) -> list[Slot]:
        return self._known[bisect_left(self._known, now - TYPICAL_OF, key=starts_at) :]

    def _keep(self, slot: Slot) -> None:
        if not self.forecasted or self.forecasted[-1].starts_at < slot.starts_at:
            self.forecasted.append(slot)


def _still_holds(made: Outlook, now: datetime) -> bool:
    return not made.slots or now < made.slots[0].ends_at


class NoForecasts:
    """Only what was measured is left to go by: a typical day."""

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        return None, ()


class LastForecasts:
    """One forecast of each slot. At any time, those of the coming 48 hours; issued, as far as anybody knows, when it began."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        first = bisect_right(self.slots, now, key=ends_at)
        last = bisect_left(self.slots, now + LOOK_AHEAD, lo=first, key=starts_at)
        return (first, last), self.slots[first:last]


class StoredForecasts:
    """By the time they were fetched; each is read when its time has come."""

    def __init__(self, series: Series, since: datetime, until: datetime) -> None:
        rows = Forecast.objects.filter(
            series=series, ends_at__gt=since, known_at__lte=until
        ).order_by("known_at")
        self.series = series
        self._waiting = list(rows.values_list("known_at", "issued_at", "pk"))[::-1]
        self._newest: tuple[datetime, int] | None = None
        self._read: tuple[int, Sequence[Slot]] = (0, ())

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        while self._waiting and self._waiting[-1][0] <= now:
            _, issued_at, pk = self._waiting.pop()
            self._newest = max(self._newest or (issued_at, pk), (issued_at, pk))
        if self._newest and self._newest[1] != self._read[0]:
            row = Forecast.objects.get(pk=self._newest[1])
            row.series = self.series
            self._read = (row.pk, apart(row.as_slots()))
        return self._read


def from_database(region: Region, signal: Signal, since: datetime, until: datetime) -> Past:
    """What was fetched of a region. Raises LookupError with a sentence if there is nothing."""
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
    told = [
        (max(known_at, end), Slot(start, end, value, series.unit, signal=signal))
        for known_at, start, end, value in columns.iterator()
    ]
    return Past(signal, feeds.load(region.feed).every, told, StoredForecasts(series, since, until))


def from_file(path: Path, signal: Signal = Signal.CARBON_INTENSITY, unit: str = "") -> Past:
    """A CSV file, perhaps with .gz, with the columns from, to, forecast, actual: ISO times (UTC where they do not say), numbers
    or nothing. Raises ValueError with the line that is wrong, OSError."""
    forecast, told = list[Slot](), list[Told]()
    for start, end, expected, actual in _rows(path):
        if expected is not None:
            forecast.append(Slot(start, end, expected, unit or UNITS[signal], start, signal))
        if actual is not None:
            told.append((end, Slot(start, end, actual, unit or UNITS[signal], signal=signal)))
    lengths = [slot.ends_at - slot.starts_at for _, slot in told] or [timedelta(minutes=30)]
    return Past(signal, max(set(lengths), key=lengths.count), told, LastForecasts(apart(forecast)))


Row = tuple[datetime, datetime, float | None, float | None]


def _rows(path: Path) -> Iterator[Row]:
    with (
        gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file
    ):
        rows = csv.DictReader(file)
        if missing := {"from", "to", "forecast", "actual"} - set(rows.fieldnames or ()):
            raise ValueError(f"{path} has no column {', '.join(sorted(missing))}.")
        for row in rows:
            try:
                yield _row(row)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {rows.line_num}: {error}") from error


def _row(row: dict[str, str]) -> Row:
    start, end = (_time(row[name]) for name in ("from", "to"))
    if not start < end:
        raise ValueError(f"{row['to']} is not after {row['from']}")
    return start, end, _number(row["forecast"]), _number(row["actual"])


def _time(written: str) -> datetime:
    time = datetime.fromisoformat(written.strip())
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _number(written: str) -> float | None:
    if not written.strip():
        return None
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"{written} is no number")
    return number
