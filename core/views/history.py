"""History of one attribute over a span of time: a chart, and the same as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from math import ceil

from core import formatting
from core.charts import Chart, Column, draw
from core.models import Attribute, Observation, Silence
from core.models.attribute import as_value
from core.planning.timeline import Piece, from_samples, held
from core.readings import Kind, Value

MOST_RAW = 2000
MOST_SILENCES = 500
SAMPLES = 480
TABLE_ROWS = 200


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
    if len(points) > MOST_RAW or len(silences) > MOST_SILENCES:
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
) -> History:
    is_switch = attribute.kind == Kind.BOOLEAN
    chart = draw(pieces, start, end, words=("off", "on") if is_switch else None)
    every = max(1, ceil(len(values) / TABLE_ROWS))
    return History(
        start=start,
        end=end,
        chart=chart if pieces else None,
        readouts=[Readout(column, _readout(attribute, column)) for column in chart.columns],
        table=[(time, _say(attribute, number)) for time, number in values[::-1][::every]],
        how=how + (f"; the table shows one in {every}" if every > 1 else ""),
    )


def _readout(attribute: Attribute, column: Column) -> str:
    if column.value is None or column.low is None or column.high is None:
        return "nothing heard"
    value = _say(attribute, column.value)
    low, high = (_say(attribute, number, unit=False) for number in (column.low, column.high))
    return value if low == high else f"{value} ({low} to {high})"


def _say(attribute: Attribute, number: float, unit: bool = True) -> str:
    return formatting.value_text(
        as_value(attribute.kind, number, None), attribute.unit if unit else ""
    )


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
