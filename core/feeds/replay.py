"""A fortnight of real carbon intensity, played again and again: for a first evening without any account or network.

The excerpt, its source and licence are in replay.csv. A time is answered with the same weekday and time of day of an even
or odd week of 2023, so day and night, working day and weekend look as they did.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from core import feeds
from core.feeds import Signal, Slot

STARTS_AT = datetime(2023, 4, 17, tzinfo=UTC)  # a Monday
HALF_HOUR = timedelta(minutes=30)
FORTNIGHT = timedelta(days=14)
UNIT = "gCO2/kWh"


class Feed(feeds.Feed):
    label = "Replay of Great Britain, April 2023"
    signals = (Signal.CARBON_INTENSITY,)

    def fetch(self, region: str, since: datetime, until: datetime) -> Iterator[Slot]:
        """Forecasts issued at `since`. The region is not used: there is one."""
        starts_at = since - (since - STARTS_AT) % HALF_HOUR
        while starts_at < until:
            forecast, _ = _excerpt()[(starts_at - STARTS_AT) % FORTNIGHT // HALF_HOUR]
            yield Slot(starts_at, starts_at + HALF_HOUR, forecast, UNIT, issued_at=since)
            starts_at += HALF_HOUR


@lru_cache(maxsize=1)
def _excerpt() -> list[tuple[float, float]]:
    """Forecast and measurement of each half-hour."""
    lines = (Path(__file__).parent / "replay.csv").read_text().splitlines()
    pairs = (line.split(",") for line in lines if not line.startswith("#"))
    return [(float(forecast), float(actual)) for forecast, actual in pairs]
