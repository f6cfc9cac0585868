"""Carbon intensity of the grid of Great Britain and of its 17 regions: the national operator's own
forecast, by half-hours.

https://carbon-intensity.github.io/api-definitions/ (NESO, University of Oxford; data under CC BY
4.0; no account needed). A region has forecasts only: what it really was is known of the whole grid
alone. A value of 0 is a value.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from core import feeds
from core.feeds import Signal, Slot, in_order, moment, number
from core.net.errors import ApiError, ApiRefused

LONGEST_CALL = timedelta(days=14)  # the API refuses a longer range
HALF_HOUR = timedelta(minutes=30)
HIGHEST = 2_000.0  # gCO2/kWh: nothing but coal, burnt badly, is half of it
OUTCODE = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]?")


class HalfHour(NamedTuple):
    starts_at: datetime
    ends_at: datetime
    forecast: float | None
    actual: float | None


class Feed(feeds.Feed):
    label = "Great Britain: Carbon Intensity API"
    signals = (Signal.CARBON_INTENSITY,)
    address = "https://api.carbonintensity.org.uk"
    region_hint = (
        "nothing: all of Great Britain; a region from 1 to 17; "
        "or the first half of a postcode, such as SW1"
    )

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        """One call for the forecast, 48 hours at most, and one for each fortnight of the past."""
        now, unit, scope = _now(), Signal.CARBON_INTENSITY.unit, _scope(region)
        measured = [] if scope else self._past(since, min(until, now))
        coming = self._coming(scope, now) if until > now else []
        slots = [
            Slot(*one[:2], one.actual, unit)
            for one in measured
            if one.actual is not None and one.starts_at <= now
        ]
        slots += [
            Slot(*one[:2], one.forecast, unit, now)
            for one in coming
            if one.forecast is not None and one.ends_at > now
        ]
        return in_order(slots, since, until)

    def _past(self, since: datetime, until: datetime) -> list[HalfHour]:
        found: list[HalfHour] = []
        while since < until:
            upto = min(since + LONGEST_CALL, until)
            found += self._ask(f"/intensity/{_written(since)}/{_written(upto)}")
            since = upto
        return found

    def _coming(self, scope: str, now: datetime) -> list[HalfHour]:
        begin = _written(now - (now - datetime.min.replace(tzinfo=UTC)) % HALF_HOUR)
        return self._ask(
            f"/regional/intensity/{begin}/fw48h/{scope}" if scope else f"/intensity/{begin}/fw48h"
        )

    def _ask(self, path: str) -> list[HalfHour]:
        rows = list(_rows(self.http.get(path)))
        found = [half_hour for half_hour in map(_half_hour, rows) if half_hour]
        # A change of the format is told, and not taken for an empty answer.
        if rows and not found:
            raise ApiError(
                f"{self.address} answered {len(rows)} half-hours, and none of them can be read."
            )
        return found


def _now() -> datetime:
    return datetime.now(UTC)


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")  # seconds are refused


def _scope(region: str) -> str:
    """The end of a regional path, "" for all of Great Britain."""
    name = region.strip().upper()
    if name in map(str, range(1, 18)):
        return f"regionid/{name}"
    if name and not OUTCODE.fullmatch(name):
        raise ApiRefused(f"{region[:60]!r} is no region. What can be named: {Feed.region_hint}.")
    return f"postcode/{name}" if name else ""


def _rows(answer: Any) -> Iterator[Mapping[str, Any]]:
    """{"data": [half-hour, ...]}; of a region {"data": [{"regionid": 13, ..., "data": [half-hour,
    ...]}]}."""
    for row in _data(answer):
        yield from _data(row) if "data" in row else [row]


def _data(holder: Any) -> list[dict[str, Any]]:
    """What is in "data": a list of objects, or one object that is not in a list. Empty ones say
    nothing."""
    data = holder.get("data") if isinstance(holder, dict) else None
    found = [data] if isinstance(data, dict) else data
    if not isinstance(found, list):
        raise ApiError(f"{Feed.address} answered without data.")
    return [one for one in found if isinstance(one, dict) and one]


def _half_hour(row: Mapping[str, Any]) -> HalfHour | None:
    starts_at, ends_at = moment(row.get("from")), moment(row.get("to"))
    values = row.get("intensity")
    if starts_at is None or ends_at is None or not isinstance(values, dict):
        return None
    forecast, actual = (number(values.get(name), 0, HIGHEST) for name in ("forecast", "actual"))
    return HalfHour(starts_at, ends_at, forecast, actual)
