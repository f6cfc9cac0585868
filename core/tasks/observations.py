"""Read the time series out: raw in blocks, or by spans of time with how much of each is known."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import groupby, islice, pairwise, takewhile
from operator import itemgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection

from core.models import Attribute, HourlyStatistics, Observation, Silence
from core.models.hourly import EPOCH, HOUR, Summary, end_of_hour, hour_of
from core.models.observation import Span
from core.planning.timeline import Piece, held

BLOCK = 5000
"""Rows that are in memory at once, a few hundred kilobytes."""
SPANS_AT_ONCE = 500
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)

# The database writes time and number as texts: made in Python, both take longer than all the rest.
# SQLite knows fewer digits of a number than Python, which writes it there.
TEXTS = {
    "postgresql": (
        """to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""",
        "number::text",
    ),
    "sqlite": (
        "substr(observed_at, 1, 10) || 'T' "
        "|| substr(observed_at || CASE length(observed_at) WHEN 19 THEN '.000' ELSE '' END, 12, 12)"
        " || 'Z'",
        "number",
    ),
}
BLOCK_QUERY = """
SELECT {time}, {number}, text, 0 FROM core_observation
WHERE attribute_id = %(pk)s AND observed_at > %(since)s AND observed_at <= %(until)s
ORDER BY observed_at LIMIT %(most)s
"""
# The first so many rows of each of some attributes, by one seek of the index each. PostgreSQL would
# sort all that there are of them for an ORDER BY with one LIMIT.
FIRST_ROWS = {
    "postgresql": """
SELECT {time}, {number}, text, place
FROM unnest(%(pks)s::bigint[]) WITH ORDINALITY AS wanted (pk, place) CROSS JOIN LATERAL (
    SELECT observed_at, number, text FROM core_observation
    WHERE attribute_id = pk AND observed_at > %(since)s AND observed_at <= %(until)s
    ORDER BY observed_at LIMIT %(most)s) AS observation
ORDER BY place, observed_at
""",
    "sqlite": """
SELECT {time}, {number}, text, wanted.key + 1
FROM json_each(%(pks)s) AS wanted CROSS JOIN core_observation
WHERE attribute_id = wanted.value AND observed_at > %(since)s
    AND observed_at <= min(%(until)s, coalesce(
        (SELECT last.observed_at FROM core_observation AS last
         WHERE last.attribute_id = wanted.value AND last.observed_at > %(since)s
         ORDER BY last.observed_at LIMIT 1 OFFSET %(most)s - 1), %(until)s))
ORDER BY wanted.key, observed_at
""",
}
MOST_TOGETHER = 250
"""Attributes that are read by one query."""

Texts = tuple[str, str | float | None, str | None, int]
"""Time as in JSON, number, text, and the place of the attribute among those that are read together,
from 1. Of number and text one is None."""


class Range(NamedTuple):
    """After `since`, up to `until`."""

    since: datetime = BEGINNING
    until: datetime = END


def blocks_of(
    attributes: Iterable[Attribute], within: Range
) -> Iterator[tuple[Attribute, list[Texts]]]:
    """Read all observations of attributes, one attribute after the other, in order of time.

    Each query reads some thousand rows at most, of as many attributes as that is likely to be: who
    reads slowly holds no connection and no transaction.
    """
    remaining, together = iter(attributes), min(MOST_TOGETHER, BLOCK)
    while some := list(islice(remaining, together)):
        count = 0
        for attribute, block in _blocks_together(some, within):
            count += len(block)
            yield attribute, block
        # A quarter more than these had: of one that has as many as were asked for, more are read.
        likely = max(1, 5 * count // (4 * len(some)))
        together = max(1, min(MOST_TOGETHER, BLOCK // likely))


def _blocks_together(
    attributes: Sequence[Attribute], within: Range
) -> Iterator[tuple[Attribute, list[Texts]]]:
    most = BLOCK // len(attributes)
    pks: Any = [attribute.pk for attribute in attributes]
    if connection.vendor == "sqlite":
        pks = json.dumps(pks)
    rows = _texts(FIRST_ROWS[connection.vendor], within, most, pks=pks)
    for place, of_one in groupby(rows, key=itemgetter(3)):
        attribute, block = attributes[place - 1], list(of_one)
        yield attribute, block
        if len(block) == most:
            for more in blocks(attribute.pk, within, block):
                yield attribute, more


def blocks(attribute_pk: int, within: Range, before: Sequence[Texts] = ()) -> Iterator[list[Texts]]:
    """Read all observations of an attribute in order of time, some thousand at once.

    `before` are the latest of those that were read already.
    """
    last, known = "", 0
    while True:
        since = within.since
        if before:
            # As a text, a time has milliseconds: others may be of the last one, and come again.
            of_last = _leading(reversed(before), before[-1][0])
            known = known + of_last if before[-1][0] == last else of_last
            last = before[-1][0]
            since = max(since, datetime.fromisoformat(last) - MICROSECOND)
        rows = _texts(BLOCK_QUERY, Range(since, within.until), BLOCK + known, pk=attribute_pk)
        before = rows[_leading(rows[:known], last) :]
        if before:
            yield before
        if len(rows) < BLOCK + known:
            return


def _leading(rows: Iterable[Texts], time_text: str) -> int:
    """Return how many of the first rows are of a time."""
    return sum(1 for _ in takewhile(lambda row: row[0] == time_text, rows))


def _texts(query: str, within: Range, most: int, **parameters: Any) -> list[Texts]:
    time_text, number_text = TEXTS[connection.vendor]
    since, until = map(connection.ops.adapt_datetimefield_value, within)
    with connection.cursor() as cursor:
        cursor.execute(
            query.format(time=time_text, number=number_text),
            {"since": since, "until": until, "most": most, **parameters},
        )
        rows: list[Texts] = cursor.fetchall()
    return rows


def newest_or_oldest(
    attribute: Attribute,
    within: Range,
    after: datetime | None,
    most: int,
    is_newest_first: bool,
) -> list[tuple[datetime, float | None, str | None]]:
    """Read so many observations of an attribute, in either order; after one, where it is named."""
    found = Observation.objects.filter(attribute=attribute).between(*within)
    if is_newest_first:
        found = found.reverse()
    if after is not None and is_newest_first:
        found = found.filter(observed_at__lt=after)
    elif after is not None:
        found = found.filter(observed_at__gt=after)
    return list(found.values_list("observed_at", "number", "text")[:most])


def edges(since: datetime, until: datetime, every: timedelta, zone: ZoneInfo) -> Iterator[datetime]:
    """Return where spans begin: at whole multiples of `every`; days at midnight of the zone."""
    if every < DAY:
        at = since - (since - EPOCH) % every
        while at < until:
            yield at
            at += every
        yield at
        return
    day = since.astimezone(zone).date()
    # Weeks begin on Monday, which the first of all days was.
    day -= timedelta(days=(day.toordinal() - 1) % every.days)
    while (at := datetime.combine(day, time(), zone).astimezone(UTC)) < until:
        yield at
        day += every
    yield at


def span_blocks(
    attribute: Attribute, times: Iterator[datetime], now: datetime, *, with_counts: bool
) -> Iterator[list[Span]]:
    """Sum up an attribute between each of these times, as of edges(), and the next: some hundred
    spans at once. Of the same times each attribute has as many blocks."""
    last = next(times)
    while more := list(islice(times, SPANS_AT_ONCE)):
        yield spans(attribute, [last, *more], now, with_counts=with_counts)
        last = more[-1]


def spans(
    attribute: Attribute, starts: Sequence[datetime], now: datetime, *, with_counts: bool = False
) -> list[Span]:
    """Sum up an attribute between each of these times and the next. Nothing after `now` is known.

    Points are read once, in order of time. Where they may have been pruned, spans of an hour and
    longer are summed up from hours. `with_counts` counts observations too, by one more query.
    """
    if len(starts) < 2:
        return []
    known = _known(attribute, starts, min(starts[-1], now))
    found, part = [], next(known, None)
    for starts_at, ends_at in pairwise(starts):
        within = list[Summary]()
        while part and part.starts_at < ends_at:
            within.append(part)
            if part.ends_at > ends_at:
                break
            part = next(known, None)
        found.append(_span(within, starts_at, ends_at, with_count=with_counts))
    return _with_counts(attribute, starts, found) if with_counts else found


def _known(attribute: Attribute, starts: Sequence[datetime], end: datetime) -> Iterator[Summary]:
    """Read what is known, in order of time: of hours that are summed up, then of observations."""
    start, summed_up = starts[0], summed_up_until(attribute, starts)
    if start < summed_up:
        yield from HourlyStatistics.objects.summaries(attribute, start, min(end, summed_up))
        start = summed_up
    for piece in pieces(attribute, start, end):
        # A value that was seen once, and no longer, has no weight.
        if piece.start < piece.end:
            seconds = (piece.end - piece.start).total_seconds()
            value = piece.value
            on_seconds = seconds if value else 0.0
            yield Summary(piece.start, piece.end, seconds, value, value, value, on_seconds, 0)


def _with_counts(
    attribute: Attribute, starts: Sequence[datetime], found: Sequence[Span]
) -> list[Span]:
    """Add what hours that are summed up counted to the observations since them."""
    summed_up = max(starts[0], summed_up_until(attribute, starts))
    later = [max(at, summed_up) for at in starts]
    counts = Observation.objects.counts(attribute.pk, later)
    told = []
    for span, count in zip(found, counts, strict=True):
        total = None if span.observation_count is None else span.observation_count + count
        if total == 0 and not span.coverage:
            total = None  # nothing is known: there were none, or they are deleted
        told.append(span._replace(observation_count=total))
    return told


def summed_up_until(attribute: Attribute, starts: Sequence[datetime]) -> datetime:
    """Return until when hours tell what these spans need, by which less is read.

    Spans that divide hours, as days of a clock half an hour off, are exact by observations, for as
    long as these are there.
    """
    shortest = min(later - earlier for earlier, later in pairwise(starts))
    mark, heard_at = attribute.rolled_until, attribute.heard_at
    if shortest < HOUR or mark is None or heard_at is None:
        return BEGINNING
    until = attribute.pruned_until or BEGINNING
    if all(at == hour_of(at) for at in starts):
        until = max(until, hour_of(mark))
    return min(until, end_of_hour(heard_at))


def _span(
    summaries: Iterable[Summary], starts_at: datetime, ends_at: datetime, *, with_count: bool
) -> Span:
    known, total, least, most = 0.0, 0.0, list[float](), list[float]()
    on_seconds, count, is_divided = 0.0, 0, False
    for summary in summaries:
        seconds = _known_within(summary, starts_at, ends_at)
        count += summary.observation_count
        if summary.observation_count and not _is_within(summary, starts_at, ends_at):
            is_divided = True
        if summary.mean is None or summary.minimum is None or summary.maximum is None:
            continue
        if seconds > 0:
            least.append(summary.minimum)
            most.append(summary.maximum)
            known += seconds
            total += seconds * summary.mean
            on_seconds += seconds * (summary.on_seconds / summary.known_seconds)
    # How many of an hour were in which of two spans is not known.
    counted = count if with_count and not is_divided else None
    if not known:
        return Span(starts_at, ends_at, None, None, None, 0.0, None, counted)
    coverage = round(known / (ends_at - starts_at).total_seconds(), 6)
    mean, minutes_on = total / known, round(on_seconds / 60, 3)
    return Span(starts_at, ends_at, mean, min(least), max(most), coverage, minutes_on, counted)


def _known_within(summary: Summary, starts_at: datetime, ends_at: datetime) -> float:
    """Return the known seconds of a summary in a span. An hour that is in two spans, as by a clock
    half an hour off, is divided as if it were evenly known."""
    if _is_within(summary, starts_at, ends_at):
        return summary.known_seconds
    length = summary.ends_at - summary.starts_at
    within = min(summary.ends_at, ends_at) - max(summary.starts_at, starts_at)
    return within.total_seconds() * (summary.known_seconds / length.total_seconds())


def _is_within(summary: Summary, starts_at: datetime, ends_at: datetime) -> bool:
    return starts_at <= summary.starts_at and summary.ends_at <= ends_at


def pieces(attribute: Attribute, start: datetime, end: datetime) -> Iterator[Piece]:
    """Read the line between two times, a block of points at once."""
    until = min(end, attribute.heard_at or start)
    if until <= start:
        return
    silences = silences_of(attribute, start, until)
    stored = Observation.objects.filter(attribute=attribute, number__isnull=False)
    values = stored.values_list("observed_at", "number")
    before = values.filter(observed_at__lte=start).order_by("-observed_at")[:1]
    points = [(at, float(number or 0)) for at, number in before]
    after = start
    while True:
        more = values.filter(observed_at__gt=after, observed_at__lte=until).order_by("observed_at")
        block = [(at, float(number or 0)) for at, number in more[:BLOCK]]
        points += block
        if len(block) < BLOCK:
            yield from held(points, silences, start, until)
            return
        after = block[-1][0]
        # The last point holds until one of the next block, which is not known yet.
        yield from held(points[:-1], silences, start, after)
        points, start = points[-1:], after
        silences = [silence for silence in silences if silence[1] > start]


def silences_of(
    attribute: Attribute, start: datetime, end: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the silences in the span, in order of time. They do not overlap."""
    newest = Silence.objects.filter(attribute=attribute, starts_at__lt=end).order_by("-starts_at")
    rows = newest.values_list("starts_at", "ends_at").iterator()
    return list(takewhile(lambda row: row[1] > start, rows))[::-1]
