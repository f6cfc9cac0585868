"""A year of half-hourly prices, made: no recorded year may be passed on with this repository.

Each price is a usual day (dear from 16:00 to 19:00, cheap at night), a dip at noon that grows with
the sun of the season, wind that comes and goes over two days, and noise. Some are below 0. The
prices of a day, from 23:00 to 23:00 UTC, become known at 16:00 the day before, as Octopus Agile's.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from math import cos, exp, pi
from random import Random

from core.feeds import Signal, Slot
from core.tasks.backtesting.past import (
    ForecastKind,
    Issue,
    IssuedForecasts,
    Measured,
    SignalHistory,
)

HALF_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)
PUBLISHED = timedelta(hours=7)
"""Before a day of prices begins."""
UNIT = "GBP/kWh"


def made_prices(first: date, days: int, seed: int = 2023) -> list[Slot]:
    """Return the prices from 23:00 UTC before the first day on. The same for the same seed."""
    random, wind = Random(seed), 0.0
    at = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=1)
    slots = []
    for _ in range(days * 48):
        wind = 0.99 * wind + random.gauss(0, 0.0105)
        price = _usual(at) - wind + random.gauss(0, 0.012)
        slots.append(Slot(at, at + HALF_HOUR, round(price, 5), UNIT, None, Signal.PRICE))
        at += HALF_HOUR
    return slots


def _usual(at: datetime) -> float:
    hour = at.hour + at.minute / 60
    season = -cos(2 * pi * (at.timetuple().tm_yday + 10) / 365.25)  # 1 at midsummer
    evening = 0.14 * exp(-(((hour - 17.5) / 1.5) ** 2))
    morning = 0.05 * exp(-(((hour - 7.5) / 1.5) ** 2))
    night = -0.05 * exp(-((min(abs(hour - 3), abs(hour - 27)) / 2.5) ** 2))
    sun = -(0.07 + 0.06 * season) * exp(-(((hour - 12.5) / 2.5) ** 2))
    return 0.18 + evening + morning + night + sun


def history(slots: list[Slot]) -> SignalHistory:
    measured = [Measured(slot.ends_at, slot) for slot in slots]
    issued = IssuedForecasts(_issues(slots), ForecastKind.ISSUED)
    return SignalHistory(Signal.PRICE, HALF_HOUR, measured, issued)


def _issues(slots: list[Slot]) -> Iterator[Issue]:
    for start in range(0, len(slots), 48):
        day = slots[start : start + 48]
        known_at = day[0].starts_at - PUBLISHED
        told = [
            Slot(one.starts_at, one.ends_at, one.value, UNIT, known_at, Signal.PRICE) for one in day
        ]
        yield Issue(known_at, known_at, told[-1].ends_at, partial(tuple, told))
