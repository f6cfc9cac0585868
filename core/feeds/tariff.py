"""A fixed tariff with hours, such as cheap from 00:30 to 04:30: by the clock at home, no service.

TARIFF_OPTIONS="currency=GBP prices='0.28, 00:30-04:30 0.07, Mon-Fri 16:00-19:00 0.45'"
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from core import feeds
from core.feeds import Signal, Slot, option
from core.feeds._prices import issued, now, read_tariff
from core.net.errors import ApiRefused


@dataclass(frozen=True)
class Options:
    currency: str = option("EUR", "Three letters: GBP, EUR, USD")
    prices: str = option(
        "", "The usual price, then others by the hour: 0.28, 00:30-04:30 0.07", "per kWh"
    )

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]{3}", self.currency):
            raise ValueError(f"currency: {self.currency!r} is not three capital letters.")
        read_tariff(self.prices)


class Feed(feeds.Feed):
    label = "A fixed tariff"
    signals = (Signal.PRICE,)
    region_hint = "none: its prices are in TARIFF_OPTIONS"
    Options = Options

    def fetch(self, region: str, since: datetime, until: datetime) -> Iterator[Slot]:
        if not self.options.prices:
            raise ApiRefused(
                "TARIFF_OPTIONS does not say the prices. "
                "Example: currency=GBP prices='0.28, 00:30-04:30 0.07'"
            )
        if since >= until:
            return
        tariff, unit, at = read_tariff(self.options.prices), f"{self.options.currency}/kWh", now()
        for starts_at, ends_at, price in tariff.spells(since, until, self.zone):
            yield Slot(starts_at, ends_at, price, unit, issued(ends_at, at), Signal.PRICE)
