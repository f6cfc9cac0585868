"""The expected power of panels, each step next to what pvlib calculates (reference/pvlib.json)."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core import feeds
from core.feeds import solar
from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import payload

REFERENCE = json.loads((Path(__file__).parent / "reference" / "pvlib.json").read_text())
HOUR = timedelta(hours=1)
BERLIN = "52.52,13.41"


@pytest.fixture
def sky(source, now):
    source.answers = {"/v1/forecast": (200, payload("solar/winter_day"))}
    return source


def fetch(source, now, options="", region=BERLIN):
    return source.feed("solar", options=options).fetch(region, now - 5 * HOUR, now + 24 * HOUR)


def told(slots):
    return {f"{slot.starts_at:%H:%M}": slot.value for slot in slots}


@pytest.mark.parametrize(("at", "latitude", "longitude", "zenith", "azimuth"), REFERENCE["sun"])
def test_the_sun_stands_where_pvlib_says(at, latitude, longitude, zenith, azimuth):
    sun = solar.sun_at(datetime.fromisoformat(at), latitude, longitude)
    assert sun.zenith == pytest.approx(zenith, abs=0.03)
    turn = (sun.azimuth - azimuth + 180) % 360 - 180
    # Near the zenith a hair's breadth is many degrees of azimuth.
    assert abs(turn) < 0.05 or zenith < 5


@pytest.mark.parametrize("row", REFERENCE["panels"])
def test_light_warmth_and_power_are_those_of_pvlib(row):
    zenith, azimuth, tilt, faces, direct, diffuse, light, air, wind, cell, watts = row
    sun = solar.Sun(zenith, azimuth)
    assert solar.on_panels([sun], direct, diffuse, tilt, faces) == pytest.approx(light, abs=0.01)
    assert solar.cell_temperature(light, air, wind) == pytest.approx(cell, abs=0.001)
    options = solar.Options(kwp=5, tilt=tilt, azimuth=faces, losses=14)
    assert solar.power(light, cell, options) == pytest.approx(watts, abs=0.1)


def test_each_hour_has_its_power_and_the_night_has_none(sky, now):
    slots = fetch(sky, now)
    # Irradiance is of the hour before: what is told at 12:00 is of 11:00 to 12:00.
    # An hour of which the temperature is not told is left out.
    assert list(told(slots)) == ["09:00", "10:00", "11:00", "12:00", "14:00", "15:00", "16:00"]
    assert told(slots)["16:00"] == 0 and 0 < told(slots)["11:00"] < 5000
    assert {(slot.unit, slot.signal) for slot in slots} == {("W", "solar_power")}
    assert [slot.issued_at for slot in slots] == [None] * 3 + [now] * 4


def test_panels_are_options_and_power_grows_with_them(sky, now):
    small, large = fetch(sky, now, "kwp=2 losses=0"), fetch(sky, now, "kwp=4 losses=0")
    pairs = zip(small, large, strict=True)
    assert all(two.value == pytest.approx(2 * one.value, abs=0.2) for one, two in pairs)
    south, north = told(fetch(sky, now)), told(fetch(sky, now, "azimuth=0"))
    assert south["11:00"] > 2 * north["11:00"]


@pytest.mark.parametrize("text", ["kwp=0", "tilt=91", "azimuth=-1", "losses=100", "kwp=nan"])
def test_panels_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match=r".+\."):
        feeds.read_options("solar", text)


def test_a_region_that_is_no_place_is_refused(sky, now):
    with pytest.raises(ApiRefused, match="latitude,longitude"):
        fetch(sky, now, region="Berlin")
    assert sky.asked == []


def test_an_answer_without_the_sun_is_an_error(sky, now):
    answer = sky.answers["/v1/forecast"][1]
    answer["hourly_units"] = dict.fromkeys(answer["hourly_units"], "kW")
    with pytest.raises(ApiError, match="answered neither"):
        fetch(sky, now)


def test_below_the_horizon_there_is_no_light():
    midnight = solar.sun_at(datetime(2026, 11, 21, 23, tzinfo=UTC), 52.52, 13.41)
    assert midnight.zenith > 90 and solar.on_panels([midnight], 500, 100, 35, 180) == 0
