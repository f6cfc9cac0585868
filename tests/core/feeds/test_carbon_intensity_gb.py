"""The Carbon Intensity API against a real local server. The payloads are written after its public documentation."""

from datetime import UTC, datetime, timedelta

import pytest

from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import payload

HOUR = timedelta(hours=1)


@pytest.fixture
def gb(source, now):
    past, coming = payload("carbon_intensity_gb/past"), payload("carbon_intensity_gb/fw48h")
    source.answers = {
        "/intensity/": (200, past),
        "/intensity/2026-11-21T12:00Z/fw48h": (200, coming),
    }
    return source


def fetch(
    source,
    region="",
    since=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
    until=datetime(2026, 11, 23, tzinfo=UTC),
):
    return source.feed("carbon_intensity_gb").fetch(region, since, until)


def measured(slots):
    return [(f"{slot.starts_at:%H:%M}", slot.value) for slot in slots if slot.issued_at is None]


def forecast(slots):
    return [(f"{slot.starts_at:%H:%M}", slot.value) for slot in slots if slot.issued_at is not None]


def test_what_was_and_what_is_to_come(gb, now):
    slots = fetch(gb)
    assert measured(slots) == [("09:30", 118), ("10:00", 0), ("11:00", 99), ("11:30", 96)]
    assert forecast(slots) == [
        ("12:00", 92),
        ("12:30", 64),
        ("13:00", 0),
        ("13:30", 12),
        ("14:00", 35),
    ]
    assert {slot.issued_at for slot in slots} == {None, now}
    assert {slot.ends_at - slot.starts_at for slot in slots} == {HOUR / 2}


def test_times_are_asked_for_without_seconds(gb):
    fetch(gb)
    assert gb.asked == [
        "/intensity/2026-11-21T09:30Z/2026-11-21T12:10Z",
        "/intensity/2026-11-21T12:00Z/fw48h",
    ]


def test_what_has_been_is_asked_for_by_the_fortnight_and_without_a_forecast(gb, now):
    fetch(gb, since=now - timedelta(days=30), until=now)
    assert gb.asked == [
        "/intensity/2026-10-22T12:10Z/2026-11-05T12:10Z",
        "/intensity/2026-11-05T12:10Z/2026-11-19T12:10Z",
        "/intensity/2026-11-19T12:10Z/2026-11-21T12:10Z",
    ]


def test_only_what_was_asked_for_is_told(gb, now):
    slots = fetch(gb, since=now - HOUR, until=now + HOUR)
    assert measured(slots) == [("11:00", 99), ("11:30", 96)]
    assert forecast(slots) == [("12:00", 92), ("12:30", 64), ("13:00", 0)]


@pytest.mark.parametrize(
    ("region", "path"),
    [("13", "regionid/13"), (" sw1 ", "postcode/SW1"), ("EC1A", "postcode/EC1A")],
)
@pytest.mark.parametrize("answer", ["region", "postcode"])
def test_a_region_has_forecasts_and_no_measurement(gb, region, path, answer):
    gb.answers = {
        f"/regional/intensity/2026-11-21T12:00Z/fw48h/{path}": (
            200,
            payload(f"carbon_intensity_gb/{answer}"),
        )
    }
    slots = fetch(gb, region)
    assert forecast(slots) == [("12:00", 77), ("12:30", 0), ("13:00", 70)]
    assert measured(slots) == []


@pytest.mark.parametrize("region", ["0", "18", "London", "SW1A 1AA", "../x", "1/2", "x" * 200])
def test_a_region_that_is_none_is_refused_with_what_can_be_named(gb, region):
    with pytest.raises(ApiRefused, match="1 to 17"):
        fetch(gb, region)
    assert gb.asked == []


def test_a_postcode_that_nobody_knows_is_refused_in_the_words_of_the_source(gb):
    gb.answers = {"/regional": (400, payload("carbon_intensity_gb/bad_request"))}
    with pytest.raises(ApiRefused, match="400"):
        fetch(gb, "ZZ9")


@pytest.mark.parametrize("data", [[], {}])
def test_nothing_known_is_no_error(gb, data):
    gb.answers = {"/intensity/": (200, {"data": data})}
    assert fetch(gb) == []


def test_one_half_hour_may_come_without_its_list(gb):
    [*_, last] = payload("carbon_intensity_gb/fw48h")["data"]
    gb.answers["/intensity/2026-11-21T12:00Z/fw48h"] = (200, {"data": last})
    assert forecast(fetch(gb)) == [("14:00", 35)]


@pytest.mark.parametrize(
    "damage",
    [
        *(
            {"intensity": told}
            for told in (None, {}, 64, {"forecast": "64"}, {"forecast": True}, {"forecast": None})
        ),
        *({"intensity": {"forecast": value}} for value in (-1, 1e9, 10**250, [64])),
        *(
            {"to": told}
            for told in (
                None,
                "soon",
                "2026-11-21T12:30Z",
                "2026-11-21T11:00Z",
                "2027-11-21T13:00Z",
            )
        ),
        *({"from": told} for told in (None, 5, "", "9999-12-31T23:30Z")),
    ],
)
def test_a_half_hour_that_makes_no_sense_is_left_out(gb, damage):
    answer = payload("carbon_intensity_gb/fw48h")
    answer["data"][2] |= damage
    gb.answers["/intensity/2026-11-21T12:00Z/fw48h"] = (200, answer)
    assert forecast(fetch(gb)) == [("12:00", 92), ("13:00", 0), ("13:30", 12), ("14:00", 35)]


def test_an_answer_of_which_nothing_can_be_read_is_an_error(gb):
    gb.answers["/intensity/2026-11-21T12:00Z/fw48h"] = (200, {"data": [{"start": 1, "value": 64}]})
    with pytest.raises(ApiError, match="none of them can be read"):
        fetch(gb)


def test_a_measurement_of_what_is_to_come_is_none(gb):
    answer = payload("carbon_intensity_gb/past")
    answer["data"].append(
        {
            "from": "2026-11-21T12:30Z",
            "to": "2026-11-21T13:00Z",
            "intensity": {"forecast": 5, "actual": 5},
        }
    )
    gb.answers["/intensity/"] = (200, answer)
    assert measured(fetch(gb))[-1] == ("11:30", 96)
