"""What a thunderstorm could live on, anywhere on earth, by the hour, from the best weather model of
the place.

https://open-meteo.com/en/docs (free for non-commercial use up to 10,000 calls a day; data under CC
BY 4.0; no account needed). CAPE there is nearly everywhere; the lightning potential only where a
fine model has it (ICON-D2: central Europe), elsewhere it is null. Both are of the moment at which
the hour begins. Hours that are over are the model's analysis, not an instrument's measurement: they
are given as measurements, for nothing here is nearer to what was.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from core import feeds
from core.feeds import UNITS, Signal, Slot, in_order, moment, number, place
from core.net.errors import ApiError, ApiRefused

HOUR = timedelta(hours=1)
FARTHEST_BACK, FARTHEST_AHEAD = 92, 16  # days
FARTHEST_ZONE = 86_399  # seconds
# J/kg: twice, and far more than, what was ever seen.
HIGHEST = {Signal.CAPE: 20_000.0, Signal.LIGHTNING_POTENTIAL: 10_000.0}


class Feed(feeds.Feed):
    label = "Open-Meteo"
    signals = (Signal.CAPE, Signal.LIGHTNING_POTENTIAL)
    address = "https://api.open-meteo.com"
    every = timedelta(hours=1)
    region_hint = "latitude,longitude, such as 51.50,-0.12"
    by_place = True

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        """One call, for whole days: 92 days back and 16 ahead at most."""
        now, where = _now(), place(region)
        if where is None:
            raise ApiRefused(f"{region[:60]!r} is no place. What can be named: {self.region_hint}.")
        params: dict[str, str | int] = {
            "latitude": str(where[0]),
            "longitude": str(where[1]),
            "hourly": ",".join(self.signals),
            "timezone": "GMT",
            "past_days": min(max((now.date() - since.date()).days, 0), FARTHEST_BACK),
            "forecast_days": min(max((until.date() - now.date()).days + 1, 1), FARTHEST_AHEAD),
        }
        return in_order(_slots(self.http.get("/v1/forecast", params), now), since, until)


def _now() -> datetime:
    return datetime.now(UTC)


def _slots(answer: Any, now: datetime) -> Iterator[Slot]:
    """Of {"utc_offset_seconds", "hourly_units": {"cape": "J/kg"}, "hourly": {"time": [...], "cape":
    [...]}}: columns of one length, times without a zone, null where the model says nothing."""
    hourly, units = _object(answer, "hourly"), _object(answer, "hourly_units")
    hours = _hours(hourly.get("time"), answer.get("utc_offset_seconds"))
    columns = {
        signal: hourly[signal]
        for signal in Feed.signals
        if signal in hourly and units.get(signal) == UNITS[signal]
    }
    if not columns:
        raise ApiError(f"{Feed.address} answered neither {' nor '.join(Feed.signals)} in J/kg.")
    for signal, values in columns.items():
        if not isinstance(values, list) or len(values) != len(hours):
            raise ApiError(f"{Feed.address} answered other than one {signal} for each hour.")
        for starts_at, answered in zip(hours, values, strict=True):
            value = number(answered, 0, HIGHEST[signal])
            if starts_at is not None and value is not None:
                issued_at = now if starts_at + HOUR > now else None
                yield Slot(starts_at, starts_at + HOUR, value, UNITS[signal], issued_at, signal)


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
