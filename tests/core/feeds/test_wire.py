"""What goes wrong on the way goes wrong alike for every feed that asks somebody."""

import threading
from datetime import timedelta

import pytest

from core import feeds
from core.net.errors import ApiError, ApiRefused

NAMES = [name for name in feeds.names() if feeds.load(name).address]
REGIONS = {
    "watttime": "CAISO_NORTH",
    "open_meteo": "52.52,13.41",
    "solar": "52.52,13.41",
    "octopus_agile": "C",
    "energy_charts": "DE-LU",
    "entsoe": "DE-LU",
}
LOGIN = {"/login": (200, {"token": "a-token"})}

each_feed = pytest.mark.parametrize("name", NAMES)


def fetch(feed, name, now):
    return list(
        feed.fetch(REGIONS.get(name, ""), now - timedelta(hours=2), now + timedelta(hours=2))
    )


@each_feed
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_for_a_person(source, now, name, status):
    source.answers = {"/": (status, {"message": "No."}), **LOGIN}
    with pytest.raises(ApiRefused) as refusal:
        fetch(source.feed(name), name, now)
    assert refusal.value.status == status


@each_feed
def test_too_many_calls_may_pass(source, now, name):
    source.answers, source.headers = {"/": (429, b""), **LOGIN}, ["Retry-After: 17"]
    with pytest.raises(ApiError) as error:
        fetch(source.feed(name), name, now)
    assert (error.value.status, error.value.retry_after) == (429, 17)


@each_feed
def test_an_outage_may_pass(source, now, name):
    source.answers = {"/": (503, b"busy"), **LOGIN}
    with pytest.raises(ApiError) as error:
        fetch(source.feed(name), name, now)
    assert error.value.status == 503


@each_feed
def test_silence_may_pass(source, now, name):
    source.hanging = threading.Event()
    with pytest.raises(ApiError, match="within"):
        fetch(source.feed(name, timeout_seconds=0.2), name, now)


@each_feed
@pytest.mark.parametrize("body", [b"<html>", b"", b'{"data": NaN}', b"\xff", b"[" * 2000])
def test_garbage_may_pass(source, now, name, body):
    source.answers = {"/": (200, body), **LOGIN}
    with pytest.raises(ApiError):
        fetch(source.feed(name), name, now)


@each_feed
@pytest.mark.parametrize(
    "answer", [[], 3, "on", None, {}, {"data": 5}, {"data": None, "meta": {}}, {"hourly": []}]
)
def test_json_of_another_shape_may_pass(source, now, name, answer):
    source.answers = {"/": (200, answer), **LOGIN}
    with pytest.raises(ApiError, match="answered|say"):
        fetch(source.feed(name), name, now)
