"""One signal's past as it became known: what a backtest may see at each of its ticks, and no more.

From the database: forecasts by the time they were fetched, measurements and their revisions by the
time they were known. From a file: its measurements when their slot had ended, its forecasts by the
time they were issued where the file says that. Where it does not they are the last ones made before
each slot: then a backtest has better forecasts in the evening than anybody had, and says so.
"""

import csv
import gzip
import math
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache, partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, Protocol

from core import feeds
from core.feeds import Signal, Slot, clean_slots
from core.models import Forecast, Measurement, Series
from core.planning import learner
from core.planning.calibration import CALIBRATED_EVERY, Calibration, may_be_calibrated
from core.planning.forecast import REPLAYED, TYPICAL_OF, Outlook, Rung, layered, outlook
from core.planning.learner import READS, Lessons, Measured
from core.tasks.decisions.situations import LOOK_AHEAD
from core.tasks.forecasts.as_of import OLDEST_ISSUE
from core.tasks.forecasts.regions import Region

MOST_READ = 100
"""Forecasts of the database kept in memory."""

starts_at, ends_at = attrgetter("starts_at"), attrgetter("ends_at")


class ForecastKind(StrEnum):
    """What kind of forecasts a backtest used, for its result."""

    LAST = (
        "forecasts: the last one before each slot, as if it had been known 48 h ahead; nobody "
        "had these then, so a plan saves less in truth, and changes more often"
    )
    ISSUED = "forecasts: as they were issued"
    FETCHED = "forecasts: as they were fetched then"
    TYPICAL = "forecasts: none was known then; by a typical day of what had been measured"
    NONE = "forecasts: none was known then, nor a typical day: this says nothing of the rule"


class Forecasts(learner.Forecasts, Protocol):
    """What was expected, and of what kind that is."""

    kind: ForecastKind


class SignalHistory:
    """What a signal was, and what was expected of it. Asked at times that do not go back.

    `measured` is all there is, clean, perhaps with gaps: costs are by it. `forecasted` is what was
    expected of each slot when it began, as far as the backtest asked for it. `origin` says that the
    data is replayed, "" if it is not.
    """

    def __init__(
        self,
        signal: Signal,
        every: timedelta,
        measurements: Iterable[Measured],
        forecasts: Forecasts,
        origin: str = "",
    ) -> None:
        self.signal, self.every, self.forecasts = signal, every, forecasts
        self.origin = origin
        self._measurements = sorted(measurements, key=lambda measured: measured.known_at)
        # In order of `known_at`, so that the last revision of a start is the one that stays.
        revised = {measured.slot.starts_at: measured.slot for measured in self._measurements}
        self.measured = clean_slots(revised.values())
        self.forecasted: list[Slot] = []
        self._seen: list[Slot] = []
        self._next = 0
        self._made: tuple[object, Outlook] | None = None
        self._rungs: set[Rung] = set()
        # As live: replayed data is not learnt of.
        self.is_calibrated = may_be_calibrated(signal) and not origin
        self._lessons: Lessons | None = None
        self._calibrated_at: datetime | None = None
        self._calibration: Calibration | None = None
        self._earlier: list[Sequence[Slot]] = []

    @property
    def kind(self) -> ForecastKind:
        """What kind of forecasts the backtest has seen."""
        if self._rungs & {Rung.LIVE, Rung.LAST}:
            return self.forecasts.kind
        return ForecastKind.TYPICAL if Rung.TYPICAL in self._rungs else ForecastKind.NONE

    def outlook(self, now: datetime) -> Outlook:
        """Return what was expected as of `now`.

        The same object until something new became known or the slot that holds `now` is over.
        """
        if self.is_calibrated:
            self._learn(now)
        self._see(now)
        forecast_key, forecast = self.forecasts.at(now)
        key = (forecast_key, self._next)
        if self._made and self._made[0] == key and _still_holds(self._made[1], now):
            return self._made[1]
        made = outlook(
            self.signal,
            now,
            now + LOOK_AHEAD,
            forecast,
            self._weeks(now),
            self.every,
            calibration=self._calibration,
            earlier=self._earlier,
        )
        self._made = (key, made)
        self._rungs.add(made.rung)
        if made.slots and made.issued_at and made.slots[0].starts_at <= now:
            self._record_forecast(made.slots[0])
        return made

    def between(self, since: datetime, until: datetime) -> list[Slot]:
        """Return what was measured in this time."""
        first = bisect_right(self.measured, since, key=ends_at)
        return self.measured[first : bisect_left(self.measured, until, lo=first, key=starts_at)]

    def _learn(self, now: datetime) -> None:
        """Learn from forecasts and measurements up to now, as it would have been done then."""
        if self._lessons is None:
            self._lessons = Lessons(now - READS, self.forecasts, iter(self._measurements))
        learner = self._lessons.until(now)
        if self._calibrated_at is None or now - self._calibrated_at >= CALIBRATED_EVERY:
            self._calibration = learner.calibration(now)
            self._calibrated_at = now
        self._earlier = learner.earlier(now)

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
        self.kind = ForecastKind.LAST

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        first = bisect_right(self.slots, now, key=ends_at)
        last = bisect_left(self.slots, now + LOOK_AHEAD, lo=first, key=starts_at)
        return (first, last), self.slots[first:last]


class Issue(NamedTuple):
    """A forecast. Its clean slots are read when they are needed."""

    known_at: datetime
    issued_at: datetime
    ends_at: datetime
    slots: Callable[[], Sequence[Slot]]


class IssuedForecasts:
    """Forecasts that count from when they became known.

    As in core/tasks/forecasts/as_of.py, the newest is filled up from those before it.
    """

    def __init__(self, issues: Iterable[Issue], kind: ForecastKind) -> None:
        self.kind = kind
        self.issues = sorted(issues, key=attrgetter("known_at"))
        # Reversed, so that the next one is popped from the end.
        self._waiting = self.issues[::-1]
        self._known: list[Issue] = []
        self._read: tuple[tuple[datetime, ...], Sequence[Slot]] = ((), ())

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        while self._waiting and self._waiting[-1].known_at <= now:
            self._known.append(self._waiting.pop())
        # An older issue may become known later than a newer one.
        self._known.sort(key=attrgetter("issued_at"), reverse=True)
        self._known = [issue for issue in self._known if issue.ends_at > now]
        issues = list(self._issues(now))
        key = tuple(issue.issued_at for issue in issues)
        if key != self._read[0]:
            self._read = key, layered([issue.slots() for issue in issues])
        return self._read

    def _issues(self, now: datetime) -> Iterator[Issue]:
        """Yield the newest issue, and each before it that reaches further ahead."""
        reach, has_now = now, False
        recent = [issue for issue in self._known if now - issue.issued_at < OLDEST_ISSUE]
        for issue in recent or self._known[:1]:
            # One that begins only later leaves open what holds now.
            if issue.ends_at > (reach if has_now else now):
                reach = max(reach, issue.ends_at)
                has_now = has_now or any(slot.starts_at <= now for slot in issue.slots()[:1])
                yield issue


def stored_forecasts(series: Series, since: datetime, until: datetime) -> IssuedForecasts:
    """Return the forecasts by the time they were fetched, each read when it is due."""

    @lru_cache(maxsize=MOST_READ)
    def slots(pk: int) -> Sequence[Slot]:
        row = Forecast.objects.get(pk=pk)
        row.series = series
        return row.as_slots()

    rows = Forecast.objects.filter(series=series, ends_at__gt=since, known_at__lte=until)
    columns = rows.values_list("known_at", "issued_at", "ends_at", "pk")
    issues = [
        Issue(known_at, issued_at, ends_at, partial(slots, pk))
        for known_at, issued_at, ends_at, pk in columns
    ]
    return IssuedForecasts(issues, ForecastKind.FETCHED)


def from_database(
    region: Region, signal: Signal, since: datetime, until: datetime
) -> SignalHistory:
    """Return what was fetched of a region.

    Raises LookupError with a sentence if there is no such feed, or nothing was.
    """
    feed = feeds.load(region.feed)
    found = Series.objects.filter(
        source__feed=region.feed, source__region=region.region, signal=signal
    )
    series = found.select_related("source").first()
    if series is None:
        raise LookupError(
            f"Nothing is stored of {signal} from {region}. Take a file: --file history.csv"
        )
    # What was learnt before the backtest begins counts too.
    begins_at = since - READS
    rows = Measurement.objects.filter(series=series, ends_at__gt=begins_at, starts_at__lt=until)
    columns = rows.order_by("known_at").values_list("known_at", "starts_at", "ends_at", "value")
    measurements = []
    for known_at, start, end, value in columns.iterator():
        slot = Slot(start, end, value, series.unit, signal=signal)
        # A source may answer before a slot is over; the rule sees the value only after it.
        measurements.append(Measured(max(known_at, end), slot))
    forecasts = stored_forecasts(series, begins_at, until)
    is_known = any(issue.ends_at > since for issue in forecasts.issues)
    if not is_known and not any(one.slot.ends_at > since for one in measurements):
        raise LookupError(
            f"Of {signal} from {region} nothing is stored between {since:%Y-%m-%d} and "
            f"{until:%Y-%m-%d}. Take other days, or a file: --file history.csv"
        )
    origin = REPLAYED if feed.is_replayed else ""
    return SignalHistory(signal, feed.every, measurements, forecasts, origin)


def from_file(
    path: Path, signal: Signal = Signal.CARBON_INTENSITY, unit: str = ""
) -> SignalHistory:
    """Return what a CSV file says, perhaps with .gz.

    Its columns are from, to, forecast, actual: ISO times (UTC where they have no zone), numbers or
    nothing; and perhaps issued: when the forecast was. Then it has a row for each slot of each
    issue. Raises ValueError with the line that is wrong, OSError.
    """
    forecasts, measurements = dict[datetime | None, list[Slot]](), list[Measured]()
    unit = unit or signal.unit
    for row in _rows(path):
        if row.forecast is not None:
            issued_at = row.issued or row.start
            slot = Slot(row.start, row.end, row.forecast, unit, issued_at, signal)
            forecasts.setdefault(row.issued, []).append(slot)
        if row.actual is not None:
            slot = Slot(row.start, row.end, row.actual, unit, signal=signal)
            measurements.append(Measured(row.end, slot))
    lengths = [slot.ends_at - slot.starts_at for _, slot in measurements] or [timedelta(minutes=30)]
    every = max(set(lengths), key=lengths.count)
    return SignalHistory(signal, every, measurements, _file_forecasts(forecasts))


def _file_forecasts(by_issue: dict[datetime | None, list[Slot]]) -> Forecasts:
    if set(by_issue) <= {None}:
        return LastForecasts(clean_slots(by_issue.get(None, [])))
    issues = []
    for issued_at, slots in by_issue.items():
        clean = clean_slots(slots)
        if issued_at and clean:
            issues.append(Issue(issued_at, issued_at, clean[-1].ends_at, partial(tuple, clean)))
    return IssuedForecasts(issues, ForecastKind.ISSUED)


class _FileRow(NamedTuple):
    start: datetime
    end: datetime
    forecast: float | None
    actual: float | None
    issued: datetime | None


def _rows(path: Path) -> Iterator[_FileRow]:
    try:
        yield from _read_rows(path)
    except (EOFError, zlib.error, gzip.BadGzipFile, csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read_rows(path: Path) -> Iterator[_FileRow]:
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
    forecast, issued = _number(row["forecast"]), None
    if "issued" in row and forecast is not None:
        issued = _time(row["issued"])
    return _FileRow(start, end, forecast, _number(row["actual"]), issued)


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
