"""Half-hourly prices of Octopus Agile in Great Britain, by grid region, with VAT.

https://developer.octopus.energy/rest/guides/endpoints (no account needed; pence per kWh, newest
first, at most 1,500 a page). The prices of a day, from 23:00 to 23:00 of Greenwich, come between
16:00 and 20:00 the day before; until then an answer ends with today. That is no error: it is asked
again with the next fetch. A price may be below 0.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core import feeds
from core.feeds import Signal, Slot, in_order, moment, number, option
from core.feeds._prices import MarketOptions, issued, now, with_fees
from core.net.errors import ApiError, ApiRefused

LARGEST_PAGE = 1500
MOST_PAGES = 8  # half-hours of eight months
HIGHEST = 10_000.0  # pence
REGIONS = "ABCDEFGHJKLMNP"
PRODUCT = re.compile(r"[A-Z0-9-]{3,40}")


@dataclass(frozen=True)
class Options(MarketOptions):
    product: str = option("AGILE-24-10-01", "The code of the product")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not PRODUCT.fullmatch(self.product):
            raise ValueError(f"product: {self.product!r} is no code such as AGILE-24-10-01.")


class Feed(feeds.Feed):
    label = "Octopus Agile"
    signals = (Signal.PRICE,)
    address = "https://api.octopus.energy"
    region_hint = "the letter of the grid region, A to P: C is London"
    Options = Options

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        letter = region.strip().upper().removeprefix("_")
        if len(letter) != 1 or letter not in REGIONS:
            raise ApiRefused(f"{region[:60]!r} is no region. It is {self.region_hint}.")
        if since >= until:
            return []
        product, at = self.options.product, now()
        path = (
            f"/v1/products/{product}/electricity-tariffs/E-1R-{product}-{letter}"
            "/standard-unit-rates/"
        )
        found = in_order(self._rates(path, since, until, at), since, until)
        return in_order(with_fees(found, self.options, self.zone), since, until)

    def _rates(self, path: str, since: datetime, until: datetime, at: datetime) -> Iterator[Slot]:
        # Bounded: an answer could name a next page for ever.
        for page in range(1, MOST_PAGES + 1):
            answer = self.http.get(
                path,
                {
                    "period_from": _written(since),
                    "period_to": _written(until),
                    "page_size": LARGEST_PAGE,
                    "page": page,
                },
            )
            rows = answer.get("results") if isinstance(answer, dict) else None
            if not isinstance(rows, list):
                raise ApiError(f"{self.address} answered without results.")
            found = [slot for row in rows if (slot := _slot(row, at))]
            if rows and not found:
                raise ApiError(
                    f"{self.address} answered {len(rows)} prices, and none of them can be read."
                )
            yield from found
            if not answer.get("next"):
                return


def _slot(row: Any, at: datetime) -> Slot | None:
    """Of {"value_inc_vat": -1.365, "valid_from": "2026-11-21T12:00:00Z", "valid_to": ...}."""
    if not isinstance(row, dict):
        return None
    starts_at, ends_at = moment(row.get("valid_from")), moment(row.get("valid_to"))
    pence = number(row.get("value_inc_vat"), -HIGHEST, HIGHEST)
    if starts_at is None or ends_at is None or pence is None:
        return None
    pounds = round(pence / 100, 8)
    return Slot(starts_at, ends_at, pounds, "GBP/kWh", issued(ends_at, at), Signal.PRICE)


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
