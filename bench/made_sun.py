"""A year of a home with panels, made: what they give, what the home uses, what was expected.

The sun is where it stands in London, by the formulas of core/feeds/solar.py, through a clear sky
(Meinel and Meinel, 1976). Clouds have two parts: a slow one, of days, which the forecast knows with
an error, and a fast one, of minutes, which it does not. The home uses a base, more in the morning
and in the evening, and now and then a kettle or an oven.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import cos, exp, pi, radians
from random import Random

from core.feeds import Slot
from core.feeds.solar import (
    SOLAR_POWER,
    Options,
    cell_temperature,
    on_panels,
    power,
    sun_at,
)
from core.tasks.backtesting.past import LastForecasts, Measured, SignalHistory

STEP = timedelta(minutes=10)
HOUR = timedelta(hours=1)
PLACE = (51.5, -0.12)
PANELS = Options(kwp=5)


@dataclass(frozen=True)
class Home:
    """By steps of ten minutes: what the panels gave and what was used, in W; by hours, what was
    expected of the panels."""

    begins_at: datetime
    given: Sequence[float]
    used: Sequence[float]
    expected: Sequence[float]

    @property
    def bought(self) -> list[float]:
        """What a meter says: fed in is negative."""
        return [used - given for used, given in zip(self.used, self.given, strict=True)]

    def at(self, step: int) -> datetime:
        return self.begins_at + step * STEP

    def history(self) -> SignalHistory:
        """The forecast of the panels, as if issued when each hour began."""
        slots = []
        for hour, watts in enumerate(self.expected):
            at = self.begins_at + hour * HOUR
            slots.append(Slot(at, at + HOUR, watts, "W", at, SOLAR_POWER))
        measured = [Measured(slot.ends_at, slot) for slot in slots]
        return SignalHistory(SOLAR_POWER, HOUR, measured, LastForecasts(slots))


def made_home(first: date, days: int, seed: int = 2023) -> Home:
    """The same for the same seed."""
    random, slow, fast = Random(seed), 0.0, 0.0
    begins_at = datetime(first.year, first.month, first.day, tzinfo=UTC)
    given, used, expected = [], [], []
    clear_of_hour: list[float] = []
    for step in range(days * 144):
        at = begins_at + step * STEP
        slow = 0.997 * slow + random.gauss(0, 0.0775)
        fast = 0.6 * fast + random.gauss(0, 0.8)
        given.append(panels(at, slow + 0.6 * fast))
        used.append(home(at, random))
        clear_of_hour.append(panels(at, slow))
        if len(clear_of_hour) == 6:
            error = exp(random.gauss(0, 0.2))
            expected.append(round(sum(clear_of_hour) / 6 * error, 1))
            clear_of_hour = []
    return Home(begins_at, given, used, expected)


def panels(at: datetime, clouds: float) -> float:
    sun = sun_at(at + STEP / 2, *PLACE)
    if sun.zenith >= 88:
        return 0.0
    covered = 1 / (1 + exp(-1.6 * clouds - 0.3))  # 0 is clear, 1 is overcast
    mass = 1 / cos(radians(sun.zenith))
    clear = 1353 * 0.7 ** (mass**0.678)
    direct = clear * max(0.0, 1 - 1.3 * covered)
    diffuse = clear * cos(radians(sun.zenith)) * (0.12 + 0.25 * covered * (1.3 - covered))
    light = on_panels([sun], direct, diffuse, PANELS.tilt, PANELS.azimuth)
    season = -cos(2 * pi * (at.timetuple().tm_yday + 10) / 365.25)
    return power(light, cell_temperature(light, 11 + 7 * season, 3), PANELS)


def home(at: datetime, random: Random) -> float:
    hour = at.hour + at.minute / 60
    morning = 350 * exp(-(((hour - 7.5) / 1.2) ** 2))
    evening = 700 * exp(-(((hour - 18.5) / 2) ** 2))
    awake = 6.5 <= hour < 23
    kettle = 1800 if awake and random.random() < 0.03 else 0
    return round(220 + morning + evening + kettle + abs(random.gauss(0, 60)), 1)
