"""Strikes of lightning that programs push, and the nowcast that is made of them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from core.feeds import Signal
from core.models import Forecast, LightningStrike, Measurement
from core.models.access import Role
from core.tasks import prune
from core.tasks.forecasts import strikes
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region
from tests.core.api.conftest import Api, person
from tests.core.api.test_skeleton import expect_problem

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 8, 9, 21, 40, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def now(time_machine):
    time_machine.move_to(NOW, tick=False)


@pytest.fixture
def pusher(with_token):
    return with_token("ingest")


def strike(minutes_ago=1.0, latitude=34.25, longitude=-110.03):
    return {
        "time": (NOW - minutes_ago * MINUTE).isoformat(),
        "latitude": latitude,
        "longitude": longitude,
    }


def push(api, *sent):
    response = api.post("/strikes/", {"strikes": sent})
    assert response.status_code == 200, response.content
    return response.json()["stored"]


def test_strikes_are_stored_once(pusher):
    assert push(pusher, strike(1), strike(2), strike(1)) == 2
    assert push(pusher, strike(2), strike(3)) == 1
    assert LightningStrike.objects.count() == 3


def test_who_watched_says_so_without_a_place(pusher):
    assert push(pusher, {"time": "2026-08-09T21:39:00Z"}) == 1
    assert push(pusher, {"time": "2026-08-09T21:39:00Z", "latitude": None}) == 0
    [row] = LightningStrike.objects.all()
    assert (row.latitude, row.longitude) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"time": "soon", "latitude": 1, "longitude": 1},
        {"time": "2026-08-09T21:50:00Z", "latitude": 1, "longitude": 1},
        {"time": "2026-08-09T21:39:00Z", "latitude": 1},
        {"time": "2026-08-09T21:39:00Z", "latitude": 91, "longitude": 1},
        {"time": "2026-08-09T21:39:00Z", "latitude": "1", "longitude": "1"},
        {"time": "2026-08-09T21:39:00Z", "latitude": True, "longitude": 1},
        {"time": "2026-08-09T21:39:00Z", "latitude": 1, "longitude": 1, "height": 1},
        "lightning",
    ],
)
def test_one_that_is_wrong_is_named_and_nothing_is_stored(pusher, wrong):
    response = pusher.post("/strikes/", {"strikes": [strike(), wrong]})
    assert expect_problem(response, 422)["errors"][0]["field"] == "strikes.1"
    assert not LightningStrike.objects.exists()


@pytest.mark.parametrize("body", [{}, [], {"strikes": []}, {"strikes": {}}, {"strikes": "many"}])
def test_a_body_without_strikes_is_refused(pusher, body):
    expect_problem(pusher.post("/strikes/", body), 422)


def test_a_message_is_bounded(pusher, monkeypatch):
    monkeypatch.setattr("core.api.strikes.MOST_STRIKES", 2)
    expect_problem(pusher.post("/strikes/", {"strikes": [strike(), strike(), strike()]}), 422)


def test_the_right_to_push_is_needed_and_for_all(api, with_token, gateway, device):
    body = {"strikes": [strike()]}
    expect_problem(api().post("/strikes/", body), 401)
    expect_problem(with_token("read", "control").post("/strikes/", body), 403)
    expect_problem(with_token("ingest", gateways=[gateway]).post("/strikes/", body), 403)
    expect_problem(with_token("ingest", devices=[device]).post("/strikes/", body), 403)
    expect_problem(Api(person("vera", Role.VIEWER)).post("/strikes/", body), 403)
    assert not LightningStrike.objects.exists()


def test_what_is_older_than_two_hours_is_not_kept(pusher, time_machine):
    assert push(pusher, strike(121)) == 0
    assert push(pusher, strike(60), strike(1)) == 2
    time_machine.move_to(NOW + 90 * MINUTE, tick=False)
    assert push(pusher, strike(-89)) == 1
    assert LightningStrike.objects.count() == 2
    time_machine.move_to(NOW + timedelta(hours=4), tick=False)
    assert prune.prune()["strikes"] == 2
    assert not LightningStrike.objects.exists()


@pytest.mark.parametrize("place", [(1, None), (None, 1), (91, 1), (1, -181)])
def test_the_database_keeps_no_place_that_is_not_on_earth(place):
    with pytest.raises(IntegrityError):
        LightningStrike.objects.create(struck_at=NOW, latitude=place[0], longitude=place[1])


def test_only_the_newest_are_read(pusher, monkeypatch):
    push(pusher, strike(3), strike(1), strike(2))
    monkeypatch.setattr(strikes, "MOST_READ", 2)
    found = strikes.pushed_strikes(timezone.now())
    assert [(NOW.timestamp() - one.at) / 60 for one in found] == [2, 1]


def test_a_nowcast_is_made_of_what_was_pushed(pusher):
    region = Region("lightning_nowcast", "34.25,-110.03")
    [(_, why)] = fetch_regions([region]).failed
    assert why.startswith("Nobody told of strikes in the last hour")
    near = [strike(minute / 4, 34.2 + minute / 500, -110.0) for minute in range(1, 50)]
    push(pusher, *near)
    result = fetch_regions([region], force=True)
    assert (result.failed, result.forecasts) == ([], 2)
    chance = Forecast.objects.get(series__signal=Signal.LIGHTNING_CHANCE)
    assert [slot.value > 30 for slot in chance.as_slots()] == [True, True, True]
    measured = Measurement.objects.filter(series__signal=Signal.LIGHTNING_CHANCE)
    assert {row.value for row in measured} == {100}
