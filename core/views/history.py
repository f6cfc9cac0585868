"""History of one attribute over a span of time: a chart, and the same as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from math import ceil

from core import formatting
from core.charts import Around, Chart, Column, draw
from core.models import Attribute, Observation, Silence
from core.models.attribute import as_value
from core.models.hourly import HOUR, hour_of
from core.planning.timeline import Piece, from_samples, held
from core.readings import Kind, Value
from core.tasks.observations import spans, summed_up_until

MOST_RAW = 2000
MOST_SILENCES = 500
SAMPLES = 480
TABLE_ROWS = 200
BEHIND = timedelta(days=2)
"""As far as hours are not summed up yet, observations are read, however many."""


@dataclass(frozen=True)
class Span:
    name: str
    words: str
    lasts: timedelta


SPANS = {
    span.name: span
    for span in (
        Span("day", "24 hours", timedelta(hours=24)),
        Span("week", "7 days", timedelta(days=7)),
        Span("month", "30 days", timedelta(days=30)),
        Span("year", "12 months", timedelta(days=365)),
    )
}


@dataclass(frozen=True)
class Readout:
    """One place of the chart, in words."""

    column: Column
    words: str


@dataclass(frozen=True)
class History:
    """`chart` is None for text, which has no height; `how` says how the values were taken."""

    start: datetime
    end: datetime
    chart: Chart | None
    readouts: list[Readout]
    table: list[tuple[datetime, str]]
    how: str


def history(attribute: Attribute, span: Span, now: datetime) -> History:
    start = now - span.lasts
    if not attribute.has_chart:
        return _of_text(attribute, start, now)
    until = min(now, attribute.heard_at or start)
    stored = Observation.objects.filter(attribute=attribute)
    points = list(stored.between(start, now).values_list("observed_at", "number")[: MOST_RAW + 1])
    silences = _silences(attribute, start, now)
    is_pruned = attribute.pruned_until is not None and attribute.pruned_until > start
    is_much = len(points) > MOST_RAW or len(silences) > MOST_SILENCES
    hours = _hours(start, now)
    if (is_pruned or is_much) and summed_up_until(attribute, hours) > until - BEHIND:
        return _of_hours(attribute, hours, start, now)
    if is_much:
        times = [start + (until - start) * place / (SAMPLES - 1) for place in range(SAMPLES)]
        samples = stored.sample([attribute.pk], times)[attribute.pk]
        pairs = zip(times, samples, strict=True)
        values = [(time, value) for time, value in pairs if value is not None]
        how = f"sampled at {SAMPLES} points: more than {MOST_RAW:,} values are stored"
        return _drawn(attribute, from_samples(times, samples), values, start, now, how)
    before = (
        stored.filter(observed_at__lte=start)
        .order_by("-observed_at")
        .values_list("observed_at", "number")[:1]
    )
    both = (*before, *points)
    values = [(time, float(number)) for time, number in both if number is not None]
    how = f"{len(points):,} value{'' if len(points) == 1 else 's'} stored"
    return _drawn(attribute, held(values, silences, start, until), values, start, now, how)


def _hours(start: datetime, now: datetime) -> list[datetime]:
    """Return the edges of at most SAMPLES spans of so many whole hours."""
    every = HOUR * ceil((now - start) / HOUR / SAMPLES)
    times = [hour_of(start)]
    while times[-1] < now:
        times.append(times[-1] + every)
    return times


def _of_hours(
    attribute: Attribute, times: Sequence[datetime], start: datetime, now: datetime
) -> History:
    """Draw means, with the least and the greatest values around them."""
    until = min(now, attribute.heard_at or start)
    means, lows, highs = list[Piece](), list[Piece](), list[Piece]()
    for starts_at, ends_at, mean, low, high, *_ in spans(attribute, times, now):
        begin, end = max(starts_at, start), min(ends_at, until)
        if mean is not None and low is not None and high is not None and begin < end:
            means.append(Piece(begin, end, mean))
            lows.append(Piece(begin, end, low))
            highs.append(Piece(begin, end, high))
    hours = (times[1] - times[0]) // HOUR
    each = "each hour" if hours == 1 else f"{hours} hours"
    how = f"means of {each}, with the least and the greatest value around them"
    if attribute.kind == Kind.BOOLEAN:
        how = f"the share of {each} in which it was on"
    values = [(piece.start, piece.value) for piece in means]
    return _drawn(attribute, means, values, start, now, how, Around(lows, highs))


def _silences(
    attribute: Attribute, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the silences in the span, in order of time.

    They do not overlap, so reading backwards can stop at the first before the span.
    """
    newest = Silence.objects.filter(attribute=attribute, starts_at__lt=end).order_by("-starts_at")
    rows = newest.values_list("starts_at", "ends_at")[: MOST_SILENCES + 1]
    return list(takewhile(lambda row: row[1] > start, rows))[::-1]


def _drawn(
    attribute: Attribute,
    pieces: Sequence[Piece],
    values: Sequence[tuple[datetime, float]],
    start: datetime,
    end: datetime,
    how: str,
    around: Around | None = None,
) -> History:
    is_switch = attribute.kind == Kind.BOOLEAN
    words = ("off", "on") if is_switch else None
    # Of a switch the mean says all: how much of the time it was on.
    chart = draw(pieces, start, end, words, around=None if is_switch else around)
    say = _say_share if is_switch and around else _say
    every = max(1, ceil(len(values) / TABLE_ROWS))
    return History(
        start=start,
        end=end,
        chart=chart if pieces else None,
        readouts=[Readout(column, _readout(attribute, column, say)) for column in chart.columns],
        table=[(time, say(attribute, number)) for time, number in values[::-1][::every]],
        how=how + (f"; the table shows one in {every}" if every > 1 else ""),
    )


def _readout(attribute: Attribute, column: Column, say: Callable[..., str]) -> str:
    if column.value is None or column.low is None or column.high is None:
        return "nothing heard"
    value = say(attribute, column.value)
    low, high = (say(attribute, number, unit=False) for number in (column.low, column.high))
    return value if low == high else f"{value} ({low} to {high})"


def _say(attribute: Attribute, number: float, unit: bool = True) -> str:
    return formatting.value_text(
        as_value(attribute.kind, number, None), attribute.unit if unit else ""
    )


def _say_share(_: Attribute, share: float, unit: bool = True) -> str:
    return f"{share:.0%}" + (" of the time on" if unit else "")


def _of_text(attribute: Attribute, start: datetime, end: datetime) -> History:
    stored = Observation.objects.filter(attribute=attribute)
    rows = stored.between(start, end).reverse().values_list("observed_at", "text")[:TABLE_ROWS]
    table: list[tuple[datetime, Value | None]] = [(time, text) for time, text in rows]
    return History(
        start,
        end,
        None,
        [],
        [(time, formatting.value_text(text)) for time, text in table],
        f"the last {TABLE_ROWS} at most",
    )
