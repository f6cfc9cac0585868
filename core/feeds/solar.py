"""The power that panels are expected to give, from the forecast of the sun on them, by the hour.

SOLAR_OPTIONS="kwp=5 tilt=35 azimuth=180". Irradiance, temperature and wind are Open-Meteo's, at the
place of the home. What is calculated, step by step, stands at the functions; a test compares each
with pvlib (https://pvlib-python.readthedocs.io), which weighs too much to run here (numpy, pandas,
scipy). Hours that are over come from the model's analysis of the weather: no meter told them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import acos, asin, atan2, cos, degrees, radians, sin
from typing import NamedTuple

from core import feeds
from core.feeds import Signal, Slot, in_order, option, place
from core.feeds.open_meteo import Column, params_of, values_of

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
J2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
SOLAR_POWER = Signal("solar_power", "W", "expected power of the panels")
DIRECT = Column("direct_normal_irradiance", "W/m²", 0, 1500, of_hour_before=True)
DIFFUSE = Column("diffuse_radiation", "W/m²", 0, 1500, of_hour_before=True)
TEMPERATURE = Column("temperature_2m", "°C", -100, 70)
WIND = Column("wind_speed_10m", "m/s", 0, 150)
COLUMNS = (DIRECT, DIFFUSE, TEMPERATURE, WIND)
ALBEDO = 0.25
"""Of grass and roofs: how much of the light the ground throws back."""
PER_DEGREE = -0.004
"""Of the power, for each degree that cells are warmer than 25 °C: crystalline silicon."""
MINUTES = (5, 15, 25, 35, 45, 55)
"""Of an hour: when the sun is looked at."""


@dataclass(frozen=True)
class Options:
    kwp: float = option(5, "What the panels give in the laboratory", "kWp")
    tilt: float = option(35, "0 is level, 90 upright", "°")
    azimuth: float = option(180, "Where they look to: 90 is east, 180 south, 270 west", "°")
    losses: float = option(14, "In wires, inverter, dirt", "%")

    def __post_init__(self) -> None:
        bounds = {"kwp": (0.01, 10_000), "tilt": (0, 90), "azimuth": (0, 360), "losses": (0, 99)}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name}: {getattr(self, name):g} is not between {least:g} and {most:g}."
                )


class Sun(NamedTuple):
    """Where it stands, in degrees: `zenith` from straight above, `azimuth` from north, by east."""

    zenith: float
    azimuth: float


class Feed(feeds.Feed):
    label = "Sun on the panels, by Open-Meteo"
    signals = (SOLAR_POWER,)
    address = "https://api.open-meteo.com"
    every = timedelta(hours=1)
    region_hint = "latitude,longitude, such as 51.50,-0.12"
    by_place = True
    Options = Options

    def fetch(self, region: str, since: datetime, until: datetime) -> list[Slot]:
        now = datetime.now(UTC)
        params = params_of(region, COLUMNS, since, until, now)
        weather = values_of(self.http.get("/v1/forecast", params), COLUMNS)
        latitude, longitude = place(region) or (0.0, 0.0)  # params_of() has refused what is none
        slots = self._slots(weather, latitude, longitude, now)
        return in_order(slots, since, until)

    def _slots(
        self,
        weather: Mapping[Column, Mapping[datetime, float]],
        latitude: float,
        longitude: float,
        now: datetime,
    ) -> Iterator[Slot]:
        told = [weather.get(column, {}) for column in COLUMNS]
        direct, diffuse, temperature, wind = told
        for starts_at, beam in direct.items():
            ends_at = starts_at + HOUR
            if not all(starts_at in column for column in told):
                continue
            # Not by its ends: in the hour of sunrise or sunset the sun is up for a part of it.
            suns = [sun_at(starts_at + minute * MINUTE, latitude, longitude) for minute in MINUTES]
            options: Options = self.options
            light = on_panels(suns, beam, diffuse[starts_at], options.tilt, options.azimuth)
            cell = cell_temperature(light, temperature[starts_at], wind[starts_at])
            watts = power(light, cell, options)
            issued_at = now if ends_at > now else None
            yield Slot(starts_at, ends_at, watts, SOLAR_POWER.unit, issued_at, SOLAR_POWER)


def sun_at(at: datetime, latitude: float, longitude: float) -> Sun:
    """Return where the sun stands, to a hundredth of a degree, without refraction.

    The low-precision formulas of the Astronomical Almanac; J. J. Michalsky, Solar Energy 40 (1988).
    """
    days = (at - J2000) / timedelta(days=1)
    anomaly = radians((357.528 + 0.9856003 * days) % 360)
    mean = 280.460 + 0.9856474 * days
    ecliptic = radians((mean + 1.915 * sin(anomaly) + 0.020 * sin(2 * anomaly)) % 360)
    tilted = radians(23.439 - 0.0000004 * days)
    ascension = atan2(cos(tilted) * sin(ecliptic), cos(ecliptic))
    declination = asin(sin(tilted) * sin(ecliptic))
    sidereal = (18.697374558 + 24.06570982441908 * days) % 24
    hour_angle = radians(sidereal * 15 + longitude) - ascension
    north = radians(latitude)
    height = sin(north) * sin(declination) + cos(north) * cos(declination) * cos(hour_angle)
    azimuth = atan2(
        -sin(hour_angle) * cos(declination),
        cos(north) * sin(declination) - sin(north) * cos(declination) * cos(hour_angle),
    )
    # Rounding may bring it a little beyond 1, which acos() refuses.
    return Sun(degrees(acos(max(-1.0, min(1.0, height)))), degrees(azimuth) % 360)


def cosine(sun: Sun, tilt: float, azimuth: float) -> float:
    """Return the cosine of the angle at which the sun meets the panels; 0 from behind."""
    zenith, slope = radians(sun.zenith), radians(tilt)
    aside = radians(sun.azimuth - azimuth)
    return max(0.0, cos(zenith) * cos(slope) + sin(zenith) * sin(slope) * cos(aside))


def on_panels(suns: list[Sun], direct: float, diffuse: float, tilt: float, azimuth: float) -> float:
    """Return the mean W/m² on the panels of an hour.

    The direct light by its angle, over the part of the hour when the sun is up; the sky as bright
    everywhere (Liu and Jordan, 1963); and what the ground throws back of all that falls on it.
    """
    up = [sun for sun in suns if sun.zenith < 90]
    if not up:
        return 0.0
    slope = radians(tilt)
    beam = direct * sum(cosine(sun, tilt, azimuth) for sun in up) / len(up)
    level = diffuse + direct * sum(cosine(sun, 0, 0) for sun in up) / len(up)
    return beam + diffuse * (1 + cos(slope)) / 2 + ALBEDO * level * (1 - cos(slope)) / 2


def cell_temperature(light: float, air: float, wind: float) -> float:
    """Return the °C of the cells. D. Faiman, Progress in Photovoltaics 16 (2008)."""
    return air + light / (25.0 + 6.84 * wind)


def power(light: float, cell: float, options: Options) -> float:
    """Return the watts: in proportion to the light, less with warmth, and what is lost.

    As PVWatts has it: A. Dobos, NREL/TP-6A20-62641 (2014).
    """
    watts = options.kwp * light * (1 + PER_DEGREE * (cell - 25))
    return round(max(0.0, watts * (1 - options.losses / 100)), 1)
