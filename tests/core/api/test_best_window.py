"""The planner over the API."""

from datetime import datetime, timedelta

import pytest

from core.models import Site
from tests.core.api.test_skeleton import expect_problem
from tests.core.tasks.homes import make_device
from tests.core.tasks.test_best_window import HERE, INTENSITY, NOW, forecast, series

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def at_noon(time_machine, settings):
    time_machine.move_to(NOW, tick=False)
    settings.FEEDS = [f"{HERE.feed}:{HERE.region}"]


@pytest.fixture
def intensities():
    forecast(
        series(INTENSITY, "gCO2/kWh"), [300, 300, 100, 100, 300, 300], NOW - timedelta(minutes=9)
    )


def ask(api, **wanted):
    return api.get("/best-window/", **{"duration": 120, "before": "2026-03-11T18:00:00Z", **wanted})


def test_the_answer_is_that_of_the_carbon_aware_sdk_and_more(anonymous, intensities):
    body = ask(anonymous).json()
    points = body.pop("forecastData")
    assert body == {
        "generatedAt": "2026-03-11T11:51:00.000Z",
        "requestedAt": "2026-03-11T12:00:00.000Z",
        "location": "13",
        "dataStartAt": "2026-03-11T12:00:00.000Z",
        "dataEndAt": "2026-03-11T18:00:00.000Z",
        "windowSize": 120,
        "optimalDataPoints": [
            {
                "location": "13",
                "timestamp": "2026-03-11T14:00:00.000Z",
                "duration": 120.0,
                "value": 100.0,
            }
        ],
        "feed": "carbon_intensity_gb",
        "signal": "carbon_intensity",
        "unit": "gCO2/kWh",
        "forecast": "live forecast",
        "isReplayed": False,
        "earlierFrom": None,
        "typicalFrom": None,
        "value": 100.0,
        "valueAtOnce": 300.0,
        "cost": 200.0,
        "costUnit": "gCO2",
        "shortMinutes": 0.0,
    }
    assert [point["value"] for point in points] == [300, 300, 100, 100, 300, 300]
    assert {point["origin"] for point in points} == {"forecast"}


def test_points_are_cut_to_what_was_asked(anonymous, intensities):
    body = ask(anonymous, after="2026-03-11T14:30:00Z", duration=60).json()
    first = body["forecastData"][0]
    assert (first["timestamp"], first["duration"]) == ("2026-03-11T14:30:00.000Z", 30)
    assert body["dataStartAt"] == "2026-03-11T14:30:00.000Z"


def test_a_time_of_day_is_by_the_clock_of_the_home(anonymous, intensities):
    Site.objects.create(zone="Europe/Berlin")
    assert ask(anonymous, before="18:30").json()["dataEndAt"] == "2026-03-11T17:30:00.000Z"
    assert ask(anonymous, before="07:00").json()["dataEndAt"] == "2026-03-12T06:00:00.000Z"


def test_without_a_deadline_it_is_a_day(anonymous, intensities):
    def between(**wanted):
        body = anonymous.get("/best-window/", duration=120, **wanted).json()
        return body["dataStartAt"], body["dataEndAt"]

    assert between() == ("2026-03-11T12:00:00.000Z", "2026-03-12T12:00:00.000Z")
    assert between(after="14:00") == ("2026-03-11T14:00:00.000Z", "2026-03-12T14:00:00.000Z")


@pytest.mark.parametrize(
    ("now", "opens_at"),
    [
        ("2026-03-11T12:00:00Z", "2026-03-11T22:00:00.000Z"),
        ("2026-03-11T21:59:00Z", "2026-03-11T22:00:00.000Z"),
        ("2026-03-11T23:00:00Z", "2026-03-11T23:00:00.000Z"),
        ("2026-03-12T04:00:00Z", "2026-03-12T04:00:00.000Z"),
    ],
)
def test_a_night_is_the_one_that_is_or_the_next(anonymous, time_machine, now, opens_at):
    forecast(series(INTENSITY, "gCO2/kWh"), [200] * 48, NOW - timedelta(minutes=9))
    time_machine.move_to(datetime.fromisoformat(now), tick=False)
    body = ask(anonymous, after="22:00", before="07:00").json()
    assert (body["dataStartAt"], body["dataEndAt"]) == (opens_at, "2026-03-12T07:00:00.000Z")


def test_for_a_device_it_is_by_its_own_clock_and_least_times(anonymous, gateway, intensities):
    device = make_device(gateway, zone="Asia/Tokyo", min_on_minutes=180)
    body = ask(anonymous, device=device.pk, before="02:30", contiguous="false").json()
    assert body["dataEndAt"] == "2026-03-11T17:30:00.000Z"
    assert sum(run["duration"] for run in body["optimalDataPoints"]) == 180


def test_who_may_not_see_a_device_is_not_told_where_it_is(limited, device, other, intensities):
    assert ask(limited, device=device.pk).status_code == 200
    expect_problem(ask(limited, device=other.pk), 404)


def test_without_data_there_is_no_answer(anonymous, intensities):
    body = expect_problem(ask(anonymous, region="7"), 404)
    assert body["detail"].startswith(
        "Nothing is known of carbon_intensity in carbon_intensity_gb:7."
    )
    expect_problem(ask(anonymous, signal="price"), 404)


@pytest.mark.parametrize(
    ("wrong", "status", "sentence"),
    [
        ({"duration": 0}, 400, "duration"),
        ({"duration": "nan"}, 400, "duration"),
        ({"before": "soon"}, 422, "before: It must be a time with a zone"),
        ({"before": "2026-03-11T18:00:00"}, 422, "before: It must be a time with a zone"),
        ({"before": "9999-12-31T23:59:59-12:00"}, 422, "before: It must be"),
        ({"before": "2026-03-11T11:00:00Z"}, 422, "before: it must be after now"),
        ({"before": "2026-03-19T11:00:00Z"}, 422, "at most 7 days"),
        ({"duration": 361}, 422, "361 min do not fit"),
        ({"place": "51.5,-0.1"}, 422, "has regions, not places"),
        ({"place": "here"}, 422, "is no place"),
        ({"place": "51.5,-0.1", "region": "13"}, 422, "Name one of"),
        ({"signal": "cape"}, 400, "signal"),
        ({"contiguous": "maybe"}, 400, "contiguous"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(anonymous, intensities, wrong, status, sentence):
    assert sentence in expect_problem(ask(anonymous, **wrong), status)["detail"]
