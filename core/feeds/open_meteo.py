"""The weather and what a thunderstorm could live on, anywhere on earth, by the hour, from the best
weather model of the place.

https://open-meteo.com/en/docs (free for non-commercial use up to 10,000 calls a day; data under CC
BY 4.0; no account needed). CAPE there is nearly everywhere; the lightning potential only where a
fine model has it (ICON-D2: central Europe), elsewhere it is null. Rain and irradiance are told of
the hour before a time, all others of the moment at which an hour begins. Hours that are over are
the model's analysis, not an instrument's measurement: they are given as measurements, for nothing
here is nearer to what was.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from core import feeds
from core.feeds import Signal, Slot, in_order, moment, number, place
from core.net.errors import ApiError, ApiRefused

HOUR = timedelta(hours=1)
FARTHEST_BACK, FARTHEST_AHEAD = 92, 16  # days
FARTHEST_ZONE = 86_399  # seconds

TEMPERATURE = Signal("temperature", "°C", "outside temperature")
RAIN = Signal("rain", "mm/h", "rain and snow, melted")
WIND = Signal("wind", "m/s", "wind at 10 m")
IRRADIANCE = Signal("irradiance", "W/m²", "sun on a level square metre")


class Column(NamedTuple):
    """A quantity as the source tells it, with bounds far outside of what was ever seen.

    `of_hour_before`: it is the mean, or the sum, of the hour that ends at the time told.
    """

    name: str
    unit: str
    least: float
    most: float
    of_hour_before: bool = False


COLUMNS: Mapping[Signal, Column] = {
    Signal.CAPE: Column("cape", "J/kg", 0, 20_000),
    Signal.LIGHTNING_POTENTIAL: Column("lightning_potential", "J/kg", 0, 10_000),
    TEMPERATURE: Column("temperature_2m", "°C", -100, 70),
    RAIN: Column("precipitation", "mm", 0, 500, of_hour_before=True),
    WIND: Column("wind_speed_10m", "m/s", 0, 150),
    IRRADIANCE: Column("shortwave_radiation", "W/m²", 0, 1500, of_hour_before=True),
}


class Feed(feeds.Feed):
    label = "Open-Meteo"
    signals = tuple(COLUMNS)
    address = "https://api.open-meteo.com"
    every = timedelta(hours=1)
    region_hint = "latitude,longitude, such as 51.50,-0.12"
    by_place = True

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        """One call, for whole days: 92 days back and 16 ahead at most."""
        now = datetime.now(UTC)
        answer = self.http.get(
            "/v1/forecast", params_of(region, COLUMNS.values(), since, until, now)
        )
        return in_order(_slots(answer, now), since, until)


def params_of(
    region: str, columns: Iterable[Column], since: datetime, until: datetime, now: datetime
) -> dict[str, str | int]:
    """Return what is asked for. Raises ApiRefused if the region is no place."""
    where = place(region)
    if where is None:
        raise ApiRefused(f"{region[:60]!r} is no place. What can be named: {Feed.region_hint}.")
    return {
        "latitude": str(where[0]),
        "longitude": str(where[1]),
        "hourly": ",".join(column.name for column in columns),
        "timezone": "GMT",
        "wind_speed_unit": "ms",
        "past_days": min(max((now.date() - since.date()).days, 0), FARTHEST_BACK),
        "forecast_days": min(max((until.date() - now.date()).days + 1, 1), FARTHEST_AHEAD),
    }


def _slots(answer: Any, now: datetime) -> Iterator[Slot]:
    found = values_of(answer, COLUMNS.values())
    for signal, column in COLUMNS.items():
        for starts_at, value in found.get(column, {}).items():
            issued_at = now if starts_at + HOUR > now else None
            yield Slot(starts_at, starts_at + HOUR, value, signal.unit, issued_at, signal)


def values_of(answer: Any, columns: Iterable[Column]) -> dict[Column, dict[datetime, float]]:
    """Return each column that is told in its unit, by the start of the hours it is of.

    Of {"utc_offset_seconds", "hourly_units": {"cape": "J/kg"}, "hourly": {"time": [...], "cape":
    [...]}}: columns of one length, times without a zone, null where the model says nothing. Raises
    ApiError if there is none.
    """
    hourly, units = _object(answer, "hourly"), _object(answer, "hourly_units")
    hours = _hours(hourly.get("time"), answer.get("utc_offset_seconds"))
    wanted = list(columns)
    # By its unit as well: a number in another one would be taken for what it is not.
    told = [one for one in wanted if one.name in hourly and units.get(one.name) == one.unit]
    if not told:
        names = " nor ".join(f"{column.name} in {column.unit}" for column in wanted)
        raise ApiError(f"{Feed.address} answered neither {names}.")
    return {column: dict(_column(column, hourly[column.name], hours)) for column in told}


def _column(
    column: Column, values: Any, hours: Sequence[datetime | None]
) -> Iterator[tuple[datetime, float]]:
    if not isinstance(values, list) or len(values) != len(hours):
        raise ApiError(f"{Feed.address} answered other than one {column.name} for each hour.")
    before = HOUR if column.of_hour_before else timedelta()
    for at, answered in zip(hours, values, strict=True):
        value = number(answered, column.least, column.most)
        if at is not None and value is not None:
            yield at - before, value


def _object(answer: Any, name: str) -> dict[str, Any]:
    found = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise ApiError(f"{Feed.address} answered without {name}.")
    return found


def _hours(times: Any, offset: Any) -> list[datetime | None]:
    """When each hour begins; None where that cannot be read."""
    seconds = number(offset, -FARTHEST_ZONE, FARTHEST_ZONE)
    if not isinstance(times, list) or seconds is None:
        raise ApiError(f"{Feed.address} did not say which hours it means.")
    hours = [moment(time, timezone(timedelta(seconds=seconds))) for time in times]
    if hours and not any(hours):
        raise ApiError(f"{Feed.address} answered {len(hours)} hours, and none of them can be read.")
    return hours
