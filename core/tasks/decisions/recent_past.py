"""Read what attributes were in the last minutes: two queries, for however many devices."""

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from core.models import Attribute
from core.models.attribute import as_value
from core.planning.timeline import held
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
# One that is not over at that time was not known of then.
SILENCES = """
WITH wanted AS MATERIALIZED (
    SELECT place, pk, COALESCE((SELECT MAX(starts_at) FROM core_silence
        WHERE attribute_id = pk AND starts_at <= since), since) AS since
    FROM ({wanted}) AS asked
)
SELECT wanted.place, starts_at, ends_at FROM wanted JOIN core_silence ON attribute_id = pk
    AND starts_at >= since AND starts_at < %(at)s
WHERE ends_at <= %(at)s ORDER BY 1, 2
"""


class Wanted(NamedTuple):
    """An attribute, and how far back it is looked at."""

    attribute: Attribute
    lasts: timedelta

    @property
    def key(self) -> tuple[int, timedelta]:
        return self.attribute.pk, self.lasts


def recent_past(wanted: Iterable[Wanted], at: datetime) -> dict[tuple[int, timedelta], Past]:
    """Return what attributes were until `at`, by their keys and how far back is looked.

    They are fresh: the latest value of each holds.
    """
    rows = list({one.key: one for one in wanted}.values())
    if not rows:
        return {}
    told, silences = _by_place(VALUES, rows, at), _by_place(SILENCES, rows, at)
    return {
        one.key: Past(one.lasts, _stretches(one, told[place], silences[place], at))
        for place, one in enumerate(rows)
    }


def _stretches(
    one: Wanted, told: Sequence[Any], silences: Sequence[Any], at: datetime
) -> tuple[Stretch, ...]:
    # The line is drawn by places in `told`: what held may be words.
    points = [(_time(row[1]), float(place)) for place, row in enumerate(told)]
    gaps = [(_time(starts_at), _time(ends_at)) for _, starts_at, ends_at in silences]
    stretches = []
    for piece in held(points, gaps, at - one.lasts, at):
        _, _, least, most, first, last = told[int(piece.value)]
        lowest = as_value(one.attribute.kind, least, first)
        highest = as_value(one.attribute.kind, most, last)
        if lowest is not None and highest is not None:
            stretches.append(Stretch(piece.start, piece.end, lowest, highest))
    return tuple(stretches)


def _by_place(query: str, wanted: Collection[Wanted], at: datetime) -> list[list[Any]]:
    """Return the rows of each of those that are wanted, in order of time."""
    found: list[list[Any]] = [[] for _ in wanted]
    adapt = connection.ops.adapt_datetimefield_value
    pks = [one.attribute.pk for one in wanted]
    since = [adapt(at - one.lasts) for one in wanted]
    parameters: dict[str, Any] = {"at": adapt(at), "most": MOST_VALUES}
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
