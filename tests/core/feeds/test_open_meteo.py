"""Open-Meteo against a real local server. The payloads are written after its public
documentation."""

from datetime import timedelta

import pytest

from core.feeds import Signal
from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import payload

HOUR = timedelta(hours=1)
CAPE, POTENTIAL = Signal.CAPE, Signal.LIGHTNING_POTENTIAL
NAMES = "cape,lightning_potential,temperature_2m,precipitation,wind_speed_10m,shortwave_radiation"


@pytest.fixture
def weather(source, now):
    source.answers = {"/v1/forecast": (200, payload("open_meteo/central_europe"))}
    return source


def fetch(source, now, region="52.52,13.41", since=-6 * HOUR, until=48 * HOUR):
    return source.feed("open_meteo").fetch(region, now + since, now + until)


def told(slots, signal=CAPE):
    return [(f"{slot.starts_at:%H:%M}", slot.value) for slot in slots if slot.signal is signal]


def test_hours_that_are_over_are_measurements_and_the_others_forecasts(weather, now):
    slots = fetch(weather, now)
    assert told(slots) == [
        ("09:00", 310),
        ("10:00", 420),
        ("11:00", 0),
        ("13:00", 980),
        ("14:00", 1210),
    ]
    assert told(slots, POTENTIAL) == [
        ("09:00", 0),
        ("10:00", 1.2),
        ("11:00", 0),
        ("12:00", 3.4),
        ("14:00", 25.6),
    ]
    assert [slot.issued_at for slot in slots] == [*[None] * 3, *[now] * 2] * 2
    assert {slot.ends_at - slot.starts_at for slot in slots} == {HOUR}


def test_what_is_asked_for(weather, now):
    fetch(weather, now, since=-24 * HOUR, until=48 * HOUR)
    assert weather.asked == ["/v1/forecast"]
    assert weather.queries == [
        {
            **{"latitude": "52.52", "longitude": "13.41", "hourly": NAMES},
            **{"timezone": "GMT", "past_days": "1", "forecast_days": "3"},
            "wind_speed_unit": "ms",
        }
    ]


def test_no_more_is_asked_for_than_there_is(weather, now):
    fetch(weather, now, since=timedelta(days=-400), until=timedelta(days=40))
    assert (weather.queries[0]["past_days"], weather.queries[0]["forecast_days"]) == ("92", "16")


def test_only_what_was_asked_for_is_told(weather, now):
    assert told(fetch(weather, now, since=-HOUR, until=HOUR)) == [("11:00", 0), ("13:00", 980)]


def test_where_no_model_knows_the_lightning_there_is_none(weather, now):
    weather.answers["/v1/forecast"] = (200, payload("open_meteo/elsewhere"))
    assert {slot.signal for slot in fetch(weather, now, region="34.25,-110.03")} == {CAPE}


@pytest.mark.parametrize("signal", [CAPE, POTENTIAL])
def test_one_of_the_two_may_be_missing(weather, now, signal):
    del weather.answers["/v1/forecast"][1]["hourly"][signal]
    assert {slot.signal for slot in fetch(weather, now)} == {CAPE, POTENTIAL} - {signal}


def test_local_times_are_of_the_zone_that_is_told_with_them(weather, now):
    weather.answers["/v1/forecast"][1]["utc_offset_seconds"] = -7 * 3600
    assert told(fetch(weather, now))[:2] == [("16:00", 310), ("17:00", 420)]


@pytest.mark.parametrize(
    "region", ["", "Berlin", "52.52", "91,0", "0,181", "nan,0", "1,2,3", "1e1,5", "x" * 200]
)
def test_a_region_that_is_no_place_is_refused(weather, now, region):
    with pytest.raises(ApiRefused, match="latitude,longitude"):
        fetch(weather, now, region=region)
    assert weather.asked == []


def test_a_refusal_comes_in_the_words_of_the_source(weather, now):
    weather.answers["/v1/forecast"] = (400, payload("open_meteo/bad_request"))
    with pytest.raises(ApiRefused, match="Latitude must be"):
        fetch(weather, now)


def test_nothing_known_is_no_error(weather, now):
    weather.answers["/v1/forecast"][1]["hourly"] = {
        "time": [],
        "cape": [],
        "lightning_potential": [],
    }
    assert fetch(weather, now) == []


@pytest.mark.parametrize("value", [None, "980", True, -5, 1e9, 10**250, [980]])
def test_a_value_that_makes_no_sense_is_left_out(weather, now, value):
    weather.answers["/v1/forecast"][1]["hourly"]["cape"][4] = value
    assert told(fetch(weather, now))[3:] == [("14:00", 1210)]


@pytest.mark.parametrize(
    "time", [None, 5, "soon", "9999-12-31T23:00", "2026-11-21T11:00", "2026-11-21T11:30"]
)
def test_an_hour_that_makes_no_sense_is_left_out(weather, now, time):
    weather.answers["/v1/forecast"][1]["hourly"]["time"][4] = time
    hours = [hour for hour, _ in told(fetch(weather, now))]
    assert hours == sorted(set(hours)) and "13:00" not in hours and "14:00" in hours


@pytest.mark.parametrize(
    "damage",
    [
        *({name: None} for name in ("hourly", "hourly_units", "utc_offset_seconds")),
        *({"utc_offset_seconds": offset} for offset in ("0", 1e9, True)),
        *(
            {"hourly": hourly}
            for hourly in ([], {"time": []}, {"cape": [1]}, {"time": 5, "cape": [1]})
        ),
        {"hourly": {"time": ["2026-11-21T12:00"], "cape": [1, 2]}},
        {"hourly": {"time": ["noon"], "cape": [1]}},
        {"hourly": {"time": ["2026-11-21T12:00"], "cape": 5}},
        {"hourly_units": {"cape": "kJ/kg"}},
    ],
)
def test_columns_that_do_not_fit_may_pass(weather, now, damage):
    weather.answers["/v1/forecast"][1].update(damage)
    with pytest.raises(ApiError):
        fetch(weather, now)


def test_the_weather_comes_with_it_each_in_its_unit(weather, now):
    weather.answers["/v1/forecast"] = (200, payload("open_meteo/weather"))
    slots = fetch(weather, now)
    assert {(slot.signal, slot.unit) for slot in slots} == {
        ("temperature", "°C"),
        ("rain", "mm/h"),
        ("wind", "m/s"),
        ("irradiance", "W/m²"),
    }
    assert [slot.value for slot in slots if slot.signal == "temperature"][0] == -1.5


def test_rain_and_sun_are_of_the_hour_before_the_time_told(weather, now):
    weather.answers["/v1/forecast"] = (200, payload("open_meteo/weather"))
    slots = fetch(weather, now)
    sun = [slot for slot in slots if slot.signal == "irradiance"]
    wind = [slot for slot in slots if slot.signal == "wind"]
    assert (f"{sun[0].starts_at:%H:%M}", sun[0].value) == ("08:00", 60)
    assert (f"{wind[0].starts_at:%H:%M}", wind[0].value) == ("09:00", 3.1)
