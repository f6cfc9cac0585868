"""Read what attributes were in the last minutes: two queries, for however many devices."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from django.db import connection

from core.models import Attribute
from core.models.attribute import as_value
from core.planning.timeline import held
from core.readings import Value
from core.rules._past import Past, Stretch

MOST_VALUES = 100
"""Of one attribute: of those before them the lowest and the highest are read, as one."""

# What is wanted: its place in the list, an attribute, and since when. The last row before that time
# still holds then, and is read too.
WANTED = {
    "postgresql": """
SELECT place, pk, since FROM
unnest(%(places)s::int[], %(pks)s::bigint[], %(since)s::timestamptz[]) AS one (place, pk, since)
""",
    "sqlite": """
SELECT key AS place, json_extract(value, '$[0]') AS pk, json_extract(value, '$[1]') AS since
FROM json_each(%(wanted)s)
""",
}
VALUES = """
WITH wanted AS MATERIALIZED (
    SELECT place, pk, COALESCE((SELECT MAX(observed_at) FROM core_observation
        WHERE attribute_id = pk AND observed_at <= since), since) AS since
    FROM ({wanted}) AS asked
), told AS (
    SELECT wanted.place, observed_at, number, text, ROW_NUMBER() OVER (
        PARTITION BY wanted.place ORDER BY observed_at DESC) AS newest
    FROM wanted JOIN core_observation ON attribute_id = pk
        AND observed_at >= since AND observed_at <= %(at)s
)
SELECT place, MIN(observed_at), MIN(number), MAX(number), MIN(text), MAX(text) FROM told
GROUP BY place, CASE WHEN newest < %(most)s THEN newest ELSE %(most)s END ORDER BY 1, 2
"""
SILENCES = """
WITH wanted AS MATERIALIZED (
    SELECT place, pk, COALESCE((SELECT MAX(starts_at) FROM core_silence
        WHERE attribute_id = pk AND starts_at <= since), since) AS since
    FROM ({wanted}) AS asked
)
SELECT wanted.place, starts_at, ends_at FROM wanted JOIN core_silence ON attribute_id = pk
    AND starts_at >= since AND starts_at < %(at)s
ORDER BY 1, 2
"""


class Wanted(NamedTuple):
    """An attribute, and how far back it is looked at."""

    attribute: Attribute
    lasts: timedelta

    @property
    def key(self) -> tuple[int, timedelta]:
        return self.attribute.pk, self.lasts


class HeldValue(NamedTuple):
    """From when on a value held, or several: the lowest and the highest."""

    at: datetime
    lowest: Value
    highest: Value


@dataclass(frozen=True)
class Line:
    """What was told of an attribute, and when nothing was, in order of time."""

    values: Sequence[HeldValue]
    silences: Sequence[tuple[datetime, datetime]]

    def latest(self, at: datetime) -> HeldValue | None:
        """Return what was told last, by then."""
        place = bisect_right(self.values, at, key=attrgetter("at"))
        return self.values[place - 1] if place else None

    def silent_since(self, at: datetime) -> datetime | None:
        """Return when the silence began that was not over then; None if there is none."""
        place = bisect_left(self.silences, at, key=itemgetter(0))
        if not place or self.silences[place - 1][1] <= at:
            return None
        return self.silences[place - 1][0]

    def past(self, lasts: timedelta, at: datetime) -> Past:
        """Return what it was until `at`. A silence that was not over then is not known yet."""
        since = at - lasts
        # From the value before the span: it still holds when the span begins.
        first = max(0, bisect_right(self.values, since, key=attrgetter("at")) - 1)
        told = self.values[first : bisect_right(self.values, at, key=attrgetter("at"))]
        gaps = [silence for silence in self.silences if since < silence[1] <= at]
        # The line is drawn by places in `told`: what held may be words.
        points = [(one.at, float(place)) for place, one in enumerate(told)]
        stretches = list[Stretch]()
        for piece in held(points, gaps, since, at):
            one, starts_at = told[int(piece.value)], piece.start
            last = stretches[-1] if stretches else None
            # Told again, or heard of again without a silence: it goes on.
            if last and last.ends_at == starts_at and _same(last, one):
                starts_at = stretches.pop().starts_at
            stretches.append(Stretch(starts_at, piece.end, one.lowest, one.highest))
        return Past(lasts, tuple(stretches))


def _same(stretch: Stretch, value: HeldValue) -> bool:
    return stretch.lowest == value.lowest and stretch.highest == value.highest


def recent_past(wanted: Iterable[Wanted], at: datetime) -> dict[tuple[int, timedelta], Past]:
    """Return what attributes were until `at`, by their keys and how far back is looked.

    They are fresh: the latest value of each holds.
    """
    # Several rules may look back equally far at the same attribute: it is read once.
    rows = list({one.key: one for one in wanted}.values())
    found = lines(rows, at, MOST_VALUES)
    return {one.key: line.past(one.lasts, at) for one, line in zip(rows, found, strict=True)}


def lines(wanted: Sequence[Wanted], at: datetime, most: int) -> list[Line]:
    """Read what was told of each until `at`, as far back as it is looked at, and what held then.

    Of the oldest, beyond `most`, the lowest and the highest are one.
    """
    if not wanted:
        return []
    told = _by_place(VALUES, wanted, at, most)
    silences = _by_place(SILENCES, wanted, at, most)
    return [
        Line(
            list(_held_values(one.attribute.kind, told[place])),
            [(_time(starts_at), _time(ends_at)) for _, starts_at, ends_at in silences[place]],
        )
        for place, one in enumerate(wanted)
    ]


def _held_values(kind: str, rows: Iterable[Any]) -> Iterator[HeldValue]:
    for _, at, least, most, first, last in rows:
        lowest, highest = as_value(kind, least, first), as_value(kind, most, last)
        # Of another kind once: nothing to compare with.
        if lowest is not None and highest is not None:
            yield HeldValue(_time(at), lowest, highest)


def _by_place(query: str, wanted: Collection[Wanted], at: datetime, most: int) -> list[list[Any]]:
    """Return the rows of each of those that are wanted, in order of time."""
    found: list[list[Any]] = [[] for _ in wanted]
    adapt = connection.ops.adapt_datetimefield_value
    pks = [one.attribute.pk for one in wanted]
    since = [adapt(at - one.lasts) for one in wanted]
    parameters: dict[str, Any] = {"at": adapt(at), "most": most}
    if connection.vendor == "sqlite":
        parameters["wanted"] = json.dumps(list(zip(pks, since, strict=True)))
    else:
        parameters |= {"places": list(range(len(pks))), "pks": pks, "since": since}
    with connection.cursor() as cursor:
        cursor.execute(query.format(wanted=WANTED[connection.vendor]), parameters)
        for row in cursor.fetchall():
            found[row[0]].append(row)
    return found


def _time(stored: datetime | str) -> datetime:
    """SQLite stores times as texts."""
    if isinstance(stored, str):
        return datetime.fromisoformat(stored).replace(tzinfo=UTC)
    return stored.astimezone(UTC)
