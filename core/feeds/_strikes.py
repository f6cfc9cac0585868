"""Strikes of lightning: how they are told, and the looks at them that a nowcast compares."""

import csv
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from core.feeds import moment, number

MINUTE = 60.0
"""All times here are in seconds since 1970."""
LOOK_SECONDS = 10 * MINUTE
"""So much is taken together as what is seen at one time."""
LEAST_SECONDS = 2 * MINUTE
BEFORE_SECONDS = 25 * MINUTE
"""The earlier look ended at least so long before the newest strike: storms need time to move."""
KEPT_SECONDS = 100 * MINUTE
"""What is older is not looked at."""
MOST_STRIKES = 200_000
"""Of a file: the whole Earth has some 50 a second, seen by the best networks."""
COLUMNS = ("time_utc", "lat", "lon")


class Strike(NamedTuple):
    """When and where lightning struck.

    Without a place: somebody watched until then. That keeps a calm sky apart from a broken source.
    """

    at: float
    latitude: float | None = None
    longitude: float | None = None


class Place(NamedTuple):
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Look:
    """What was seen in so many seconds up to `ended_at`."""

    ended_at: float
    seconds: float
    places: Sequence[Place]


def read_strikes(lines: Iterable[str]) -> Iterator[Strike]:
    """Yield the strikes of a CSV file that has the columns time_utc, lat and lon.

    Raises ValueError with the line that cannot be read.
    """
    rows = csv.DictReader(lines)
    if not set(COLUMNS) <= set(rows.fieldnames or ()):
        raise ValueError(f"the first line does not name the columns {', '.join(COLUMNS)}")
    for row in islice(rows, MOST_STRIKES):
        found = read_strike(*(row[name] for name in COLUMNS))
        if found is None:
            raise ValueError(f"line {rows.line_num} is no time, latitude and longitude")
        yield found


def read_strike(time: object, latitude: object, longitude: object) -> Strike | None:
    """Return a strike as it was told, None if it is none. Degrees may be numbers or text."""
    at = moment(time)
    if at is None:
        return None
    if latitude in (None, "") and longitude in (None, ""):
        return Strike(at.timestamp())
    north, east = _degrees(latitude, 90), _degrees(longitude, 180)
    return None if north is None or east is None else Strike(at.timestamp(), north, east)


def _degrees(value: object, most: float) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value, -most, most)


def looks(strikes: Sequence[Strike], now: float) -> tuple[Look | None, Look | None]:
    """Return the newest look and an earlier one; None for what nobody saw.

    `strikes` are in order of time. The newest look ends with the newest strike, and the earlier one
    with the newest that is BEFORE_SECONDS older. Data that come now and then have a look each time.
    """
    times = [strike.at for strike in strikes]
    # A second of grace: strikes of just now count.
    end = bisect_left(times, now + 1)
    newest = _look(strikes, times, end, now)
    if newest is None:
        return None, None
    return newest, _look(strikes, times, bisect_left(times, newest.ended_at - BEFORE_SECONDS), now)


def _look(strikes: Sequence[Strike], times: Sequence[float], end: int, now: float) -> Look | None:
    if not end or times[end - 1] < now - KEPT_SECONDS:
        return None
    ended_at = times[end - 1]
    seen = strikes[bisect_left(times, ended_at - LOOK_SECONDS) : end]
    places = [
        Place(strike.latitude, strike.longitude)
        for strike in seen
        if strike.latitude is not None and strike.longitude is not None
    ]
    return Look(ended_at, max(ended_at - seen[0].at, LEAST_SECONDS), places)
