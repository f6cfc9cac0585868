"""Day-ahead prices of the bidding zones of Europe, by quarters of an hour (by hours until October
2025), from Fraunhofer ISE.

https://api.energy-charts.info (no account needed; data of some zones under CC BY 4.0). The prices
of a day by Central European Time come about 13:00 the day before; until then an answer ends with
today, which is no error: it is asked again with the next fetch. They are of the market, so fees and
tax are options: ENERGY_CHARTS_OPTIONS="fees='0.12, 17:00-20:00 0.2' vat=19".
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from core import feeds
from core.feeds import Signal, Slot, in_order, number
from core.feeds._prices import MarketOptions, issued, now, with_fees
from core.net.errors import ApiError, ApiRefused

HIGHEST = 100_000.0  # EUR/MWh
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
ZONE = re.compile(r"[A-Za-z]{2}[A-Za-z0-9-]{0,28}")
UNIT = re.compile(r"([A-Z]{3}) ?/ ?MWh")


class Feed(feeds.Feed):
    label = "Energy-Charts: day-ahead prices"
    signals = (Signal.PRICE,)
    address = "https://api.energy-charts.info"
    region_hint = "a bidding zone: DE-LU, AT, CH, FR, NL, DK1, SE4, IT-North"
    Options = MarketOptions

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        zone = region.strip()
        if not ZONE.fullmatch(zone):
            raise ApiRefused(f"{region[:60]!r} is no bidding zone. It is {self.region_hint}.")
        if since >= until:
            return []
        answer = self.http.get(
            "/price", {"bzn": zone, "start": _written(since), "end": _written(until)}
        )
        found = in_order(_slots(answer, now()), since, until)
        return in_order(with_fees(found, self.options, self.zone), since, until)


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _slots(answer: Any, at: datetime) -> Iterator[Slot]:
    """Of {"unix_seconds": [...], "price": [..., null, ...], "unit": "EUR / MWh"}."""
    if not isinstance(answer, dict):
        raise ApiError(f"{Feed.address} answered without prices.")
    times, prices, unit = (answer.get(name) for name in ("unix_seconds", "price", "unit"))
    currency = UNIT.fullmatch(unit) if isinstance(unit, str) else None
    if not isinstance(times, list) or not isinstance(prices, list) or len(times) != len(prices):
        raise ApiError(f"{Feed.address} answered other than one price for each time.")
    if currency is None:
        raise ApiError(f"{Feed.address} answered prices in {str(unit)[:40]!r}, not per MWh.")
    read = [
        (datetime.fromtimestamp(seconds, UTC), value)
        for told, price in zip(times, prices, strict=True)
        if (seconds := number(told, 0, LATEST)) is not None
        and (value := number(price, -HIGHEST, HIGHEST)) is not None
    ]
    if times and not read and any(price is not None for price in prices):
        raise ApiError(f"{Feed.address} answered {len(times)} prices, and none can be read.")
    length = _length([starts_at for starts_at, _ in read])
    for starts_at, price in read:
        ends_at, per_kwh = starts_at + length, round(price / 1000, 8)
        made_at = issued(ends_at, at)
        yield Slot(starts_at, ends_at, per_kwh, f"{currency[1]}/kWh", made_at, Signal.PRICE)


def _length(times: list[datetime]) -> timedelta:
    """Return how long a price holds: the usual distance of two, an hour where there is none."""
    gaps = Counter(after - before for before, after in pairwise(sorted(times)) if after > before)
    # Not the first distance: a price that is missing leaves a longer one.
    usual = min(gaps, key=lambda gap: (-gaps[gap], gap), default=timedelta(hours=1))
    return min(usual, timedelta(hours=1))
