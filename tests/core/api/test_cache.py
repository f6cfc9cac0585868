"""Answers that are kept: never older than the database, and only for who may see them."""

import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from os import environ

import pytest
import redis
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import checks
from core.api import cache as kept
from core.feeds import Signal, Slot
from core.models import Attribute, Device, FeedSource, Forecast, Observation, Silence, Site
from core.readings import Reading
from core.tasks import prune
from core.tasks.forecasts.store import checked_answer, store_answer
from core.tasks.polling import clock
from core.tasks.polling.record import GatewayAnswer, record
from core.tasks.receive_readings import receive_readings
from core.tasks.runs import running
from tests.core.live.web_server import ROOT

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
REDIS = environ.get("TEST_REDIS_URL") or "redis://127.0.0.1:6379/9"


def in_redis(settings, url=REDIS, timeout=5):
    options = {"serializer": "core.api.cache.Bytes", "socket_timeout": timeout}
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": url,
            "OPTIONS": options,
        }
    }


@pytest.fixture(params=["memory", "redis"])
def backend(request, settings):
    if request.param == "redis":
        try:
            redis.Redis.from_url(REDIS).ping()
        except redis.ConnectionError:
            pytest.skip(f"No Redis answers at {REDIS}: set TEST_REDIS_URL")
        in_redis(settings)
    cache.clear()
    yield request.param
    cache.clear()


@pytest.fixture(autouse=True)
def answering(monkeypatch):
    monkeypatch.setattr(kept._Resting, "until", 0.0)


@pytest.fixture
def power(device, time_machine):
    time_machine.move_to(NOON, tick=False)
    return device.attributes.get(name="power")


def poll(power, value, at=None):
    reading = Reading(power.device.vendor_id, "power", value)
    record([GatewayAnswer(power.device.gateway_id, at or timezone.now(), ["plug"], [reading])])


def push(power, value, at):
    """As a device does that was away: of an earlier time."""
    said = {"device": "plug", "attribute": "power", "value": value, "time": at.timestamp()}
    return receive_readings(power.device.gateway_id, [said])


def spans(asking, **more):
    since = (NOON - 6 * HOUR).isoformat()
    return asking.get("/observations/", **{"name": "power", "every": "1h", "since": since} | more)


def queries(ask):
    """How often it reads observations or forecasts."""
    with CaptureQueriesContext(
        connection,
    ) as found:
        ask()
    tables = ('FROM "core_observation"', 'FROM "core_forecast"')
    return sum(any(table in query["sql"] for table in tables) for query in found)


def test_what_is_made_from_the_same_is_made_once(backend, viewer, power):
    poll(power, 5)
    first = spans(viewer)
    assert queries(lambda: spans(viewer)) == 0
    again = spans(viewer)
    assert again.content == first.content and again.headers["ETag"] == first.headers["ETag"]
    assert first.json()["results"]
    viewer._client.defaults["HTTP_IF_NONE_MATCH"] = first.headers["ETag"]
    assert spans(viewer).status_code == 304


def silence(power):
    Silence.objects.create(attribute=power, starts_at=NOON - 2 * HOUR, ends_at=NOON - 100 * MINUTE)


CHANGES = {
    "a poll": lambda power: poll(power, 7),
    "a poll that was slow": lambda power: poll(power, 8, NOON - MINUTE),
    "a late push": lambda power: push(power, 9, NOON - 3 * HOUR),
    "a late push into a silence, which is refused": lambda power: push(
        power, 1e9, NOON - 110 * MINUTE
    ),
    "pruning": lambda power: prune.prune(0),
}


@pytest.mark.parametrize("every", ["30m", "1d"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_answer_is_as_new_as_the_database(change, every, viewer, power, time_machine):
    for minutes in range(300, 0, -30):
        push(power, minutes, NOON - minutes * MINUTE)
    poll(power, 5)
    silence(power)
    time_machine.move_to(NOON + 10 * MINUTE, tick=False)
    before = spans(viewer, every=every).content
    CHANGES[change](power)
    answer = spans(viewer, every=every).content
    cache.clear()
    assert answer == spans(viewer, every=every).content
    assert answer != before


def test_days_follow_the_zone_of_the_home(viewer, power):
    poll(power, 5)
    before = spans(viewer, every="1d").json()
    Site.objects.create(zone="Asia/Kathmandu")
    assert spans(viewer, every="1d").json() != before


@pytest.mark.parametrize(
    ("every", "edge"),
    [
        ("30m", NOON + HOUR),
        ("1d", datetime(2026, 3, 29, 11, tzinfo=UTC)),  # midnight there
        ("7d", datetime(2026, 3, 29, 11, tzinfo=UTC)),  # and Monday
    ],
)
def test_time_that_goes_on_makes_new_spans(every, edge, viewer, power, time_machine):
    Device.objects.update(zone="Pacific/Auckland")
    poll(power, 5)

    def at_many_times():  # in less time than an answer is kept
        for minutes in (-2, -1, 0, 0.1, 1, 2):
            time_machine.move_to(edge + minutes * MINUTE, tick=False)
            yield spans(viewer, every=every).content
            yield spans(viewer, every=every, until=(edge + MINUTE).isoformat()).content
            yield spans(viewer, every=every, until=(edge - HOUR).isoformat()).content

    answers = list(at_many_times())
    cache.clear()
    fresh = []
    for one in at_many_times():
        fresh.append(one)
        cache.clear()
    assert answers == fresh and len(set(answers)) > 1


def test_a_silence_that_a_wrong_clock_wrote_is_cut_at_once(viewer, power, time_machine):
    push(power, 3, NOON - 5 * HOUR)
    poll(power, 5)
    time_machine.move_to(NOON + 10 * MINUTE, tick=False)
    poll(power, 6)
    Silence.objects.create(attribute=power, starts_at=NOON - 3 * HOUR, ends_at=NOON + 300 * HOUR)
    before = spans(viewer).content
    with running("poll") as lease:
        clock.forget_the_future(lease)
    answer = spans(viewer).content
    cache.clear()
    assert answer == spans(viewer).content != before


def test_nobody_gets_what_was_kept_for_others(backend, viewer, limited, other, power):
    poll(power, 5)
    hidden = other.attributes.get(name="power")
    reading = Reading(other.vendor_id, "power", 7)
    record([GatewayAnswer(other.gateway_id, timezone.now(), [other.vendor_id], [reading])])
    for _ in range(2):
        assert {row["attribute"] for row in spans(viewer).json()["results"]} == {
            power.pk,
            hidden.pk,
        }
        assert {row["attribute"] for row in spans(limited).json()["results"]} == {power.pk}


def test_who_has_no_right_is_refused_before_anything_is_looked_up(viewer, with_token, power):
    poll(power, 5)
    spans(viewer)
    assert spans(with_token("ingest")).status_code == 403


# Forecasts


@pytest.fixture
def source(db, time_machine):
    time_machine.move_to(NOON, tick=False)
    return FeedSource.objects.create(feed="somewhere", region="secret place")


def tell(source, *values, issued=NOON):
    slots = [
        Slot(
            issued + place * HOUR,
            issued + (place + 1) * HOUR,
            value,
            "gCO2/kWh",
            issued,
            Signal.CARBON_INTENSITY,
        )
        for place, value in enumerate(values)
    ]
    answer = checked_answer(slots, issued, issued + 100 * HOUR, timezone.now())
    return store_answer(source.pk, answer)


def test_forecasts_are_kept_until_a_source_tells_more(backend, viewer, source, time_machine):
    tell(source, 1.0, 2.0)
    first = viewer.get("/forecasts/").json()
    assert queries(lambda: viewer.get("/forecasts/")) == 0
    time_machine.move_to(NOON + MINUTE, tick=False)
    tell(source, 1.0, 2.0, 3.0)  # the same issue, with more at its end
    second = viewer.get("/forecasts/").json()
    assert len(second["results"][0]["slots"]) == 3 > len(first["results"][0]["slots"])
    tell(source, 4.0, issued=NOON + MINUTE)
    assert len(viewer.get("/forecasts/").json()["results"]) == 2


def test_pruned_forecasts_are_gone_at_once(viewer, source, time_machine):
    tell(source, 1.0)
    assert viewer.get("/forecasts/").json()["results"]
    time_machine.move_to(NOON + 10_000 * HOUR, tick=False)
    assert prune.prune(1)["forecasts"] == 1
    assert viewer.get("/forecasts/").json()["results"] == [] and not Forecast.objects.exists()


def test_a_region_is_not_told_to_readers_without_a_log_in(backend, viewer, anonymous, source):
    tell(source, 1.0)
    for _ in range(2):
        assert "secret place" in viewer.get("/forecasts/").content.decode()
        assert "secret place" not in anonymous.get("/forecasts/").content.decode()


def test_what_is_of_a_device_is_not_told_to_who_is_limited(backend, viewer, limited, source):
    FeedSource.objects.update(region="device:7")
    tell(source, 1.0)
    for _ in range(2):
        assert viewer.get("/forecasts/").json()["results"]
        assert limited.get("/forecasts/").json()["results"] == []


def test_the_schema_is_written_once(viewer):
    assert viewer.get("/schema/").content == viewer.get("/schema/").content


# Redis


def test_what_is_in_redis_is_json_and_no_pickle(settings, viewer, power):
    in_redis(settings)
    cache.clear()
    poll(power, 5)
    answer = spans(viewer).content
    here = redis.Redis.from_url(REDIS)
    assert answer in [here.get(key) for key in here.keys("*")]
    cache.clear()


def test_a_redis_that_is_away_is_done_without(settings, viewer, power, caplog):
    in_redis(settings, "redis://127.0.0.1:1/0")
    poll(power, 5)
    assert spans(viewer).json()["results"] == spans(viewer).json()["results"] != []
    assert caplog.text.count("The cache does not answer") == 1


def test_a_redis_that_hangs_is_asked_once(settings, viewer, power, caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:
        in_redis(settings, f"redis://127.0.0.1:{server.getsockname()[1]}/0", timeout=0.05)
        poll(power, 5)
        for _ in range(5):
            assert spans(viewer).json()["results"]
    assert caplog.text.count("The cache does not answer") == 1


def test_a_scheduled_command_loads_neither_cache_nor_redis(database_url):
    program = (
        "import sys, django; django.setup(); from django.core.management import call_command; "
        "call_command('poll_devices'); "
        "sys.exit(any(name.split('.')[0] == 'redis' or name == 'core.api.cache' "
        "for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environ
        | {
            "DATABASE_URL": database_url,
            "DEBUG": "1",
            "REDIS_URL": REDIS,
            "DJANGO_SETTINGS_MODULE": "iotapp.settings",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_package_is_told(settings, monkeypatch):
    settings.REDIS_URL = REDIS
    assert checks.check_redis(None) == []
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    [error] = checks.check_redis(None)
    assert "requirements-redis.txt" in error.hint


def test_versions_grow_with_what_they_are_of(power):
    before = Device.objects.get().history_version
    poll(power, 5)
    assert Device.objects.get().history_version == before + 1
    assert Observation.objects.count() == 1 and Attribute.objects.get(name="power").number == 5
