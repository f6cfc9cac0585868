"""WattTime against a real local server. The payloads are written after its public documentation, version 3."""

from base64 import b64encode
from datetime import timedelta

import pytest

from core.feeds import Signal
from core.net.errors import ApiError, ApiRefused
from tests.core.feeds.conftest import CREDENTIAL, payload

HOUR = timedelta(hours=1)
TOKEN = payload("watttime/login")["token"]


@pytest.fixture
def watttime(source, now):
    paths = {"/login": "login", "/v3/region-from-loc": "region_from_loc"}
    paths |= {"/v3/forecast": "forecast", "/v3/historical": "historical"}
    source.answers = {path: (200, payload(f"watttime/{name}")) for path, name in paths.items()}
    return source


def fetch(source, now, region="CAISO_NORTH", since=-HOUR, until=HOUR, **options):
    return source.feed("watttime", **options).fetch(region, now + since, now + until)


def told(slots):
    return [(f"{slot.starts_at:%H:%M}", slot.value) for slot in slots]


def test_what_was_and_what_is_to_come_in_grams(watttime, now):
    slots = fetch(watttime, now)
    assert told(slots[:4]) == [
        ("11:50", 394.625),
        ("11:55", 0),
        ("12:00", 390.316),
        ("12:05", 408.777),
    ]
    assert told(slots[4:]) == [
        ("12:10", 391.995),
        ("12:15", 0),
        ("12:20", 385.554),
        ("12:25", 383.331),
    ]
    assert {(slot.unit, slot.signal) for slot in slots} == {("gCO2/kWh", Signal.MARGINAL_INTENSITY)}
    assert {slot.ends_at - slot.starts_at for slot in slots} == {timedelta(minutes=5)}


def test_a_forecast_was_issued_when_the_source_made_it(watttime, now):
    assert [slot.issued_at for slot in fetch(watttime, now)][3:5] == [
        None,
        now - timedelta(minutes=5),
    ]


@pytest.mark.parametrize("generated_at", [None, 5, "soon", "2026-11-21T13:00:00+00:00"])
def test_a_forecast_that_does_not_say_when_was_issued_when_it_was_fetched(
    watttime, now, generated_at
):
    watttime.answers["/v3/forecast"][1]["meta"]["generated_at"] = generated_at
    assert fetch(watttime, now)[-1].issued_at == now


def test_a_log_in_by_name_and_then_the_token(watttime, now):
    fetch(watttime, now)
    assert watttime.asked == ["/login", "/v3/historical", "/v3/forecast"]
    assert watttime.authorizations == [
        f"Basic {b64encode(CREDENTIAL.encode()).decode()}",
        *[f"Bearer {TOKEN}"] * 2,
    ]


def test_what_is_asked_for(watttime, now):
    fetch(watttime, now, until=timedelta(hours=47, minutes=10))
    common = {"region": "CAISO_NORTH", "signal_type": "co2_moer"}
    assert watttime.queries[1] == common | {
        "start": "2026-11-21T11:10Z",
        "end": "2026-11-21T12:10Z",
    }
    assert watttime.queries[2] == common | {"horizon_hours": "48"}


def test_no_more_is_asked_for_than_there_is(watttime, now):
    fetch(watttime, now, since=timedelta(days=-40), until=timedelta(days=9))
    assert watttime.asked.count("/v3/historical") == 2
    assert watttime.queries[-1]["horizon_hours"] == "72"


def test_what_has_been_is_asked_for_without_a_forecast(watttime, now):
    fetch(watttime, now, until=-HOUR / 2)
    assert watttime.asked == ["/login", "/v3/historical"]


def test_the_region_of_a_place_is_asked_for(watttime, now):
    assert fetch(watttime, now, region="38.5, -121.5")
    assert watttime.asked[:2] == ["/login", "/v3/region-from-loc"]
    assert watttime.queries[1] == {
        "latitude": "38.5",
        "longitude": "-121.5",
        "signal_type": "co2_moer",
    }
    assert watttime.queries[2]["region"] == "CAISO_NORTH"


@pytest.mark.parametrize("region", ["", "north of here", "a/b", "91,0", "0,181", "x" * 61])
def test_a_region_that_is_none_is_refused(watttime, now, region):
    with pytest.raises(ApiRefused, match="CAISO_NORTH"):
        fetch(watttime, now, region=region)
    assert watttime.asked == []


@pytest.mark.parametrize("found", [{}, [], {"region": None}, {"region": "a b"}, {"region": 7}])
def test_a_place_whose_region_is_not_told_is_an_error(watttime, now, found):
    watttime.answers["/v3/region-from-loc"] = (200, found)
    with pytest.raises(ApiError, match="which region"):
        fetch(watttime, now, region="38.5,-121.5")


@pytest.mark.parametrize("credential", ["", "anna", ":password", "anna:"])
def test_a_credential_is_a_name_and_a_password(watttime, now, credential):
    with pytest.raises(ApiRefused, match="user:password"):
        fetch(watttime, now, credential=credential)


def test_a_wrong_password_is_for_a_person(watttime, now):
    watttime.answers["/login"] = (401, b"Unauthorized")
    with pytest.raises(ApiRefused) as refusal:
        fetch(watttime, now)
    assert refusal.value.status == 401
    assert watttime.asked == ["/login"]


@pytest.mark.parametrize(
    "login", [{}, [], {"token": None}, {"token": ""}, {"token": "a b"}, {"token": "ä"}]
)
def test_a_log_in_without_a_token_may_pass(watttime, now, login):
    watttime.answers["/login"] = (200, login)
    with pytest.raises(ApiError, match="no token"):
        fetch(watttime, now)


def test_a_token_that_ran_out_is_renewed_and_the_call_repeated(watttime, now):
    watttime.once = {"/v3/forecast": (401, b"{}")}
    assert len(fetch(watttime, now)) == 8
    assert watttime.asked == ["/login", "/v3/historical", "/v3/forecast", "/login", "/v3/forecast"]


def test_a_token_that_is_always_refused_is_for_a_person(watttime, now):
    watttime.answers["/v3/historical"] = (401, b"{}")
    with pytest.raises(ApiRefused):
        fetch(watttime, now)
    assert watttime.asked == ["/login", "/v3/historical"] * 2


def test_a_region_outside_the_subscription_is_for_a_person(watttime, now):
    watttime.answers["/v3/historical"] = (403, payload("watttime/not_subscribed"))
    with pytest.raises(ApiRefused, match="does not allow"):
        fetch(watttime, now)
    assert watttime.asked.count("/login") == 1


def test_nothing_known_is_no_error(watttime, now):
    for path in ("/v3/historical", "/v3/forecast"):
        watttime.answers[path][1]["data"] = []
    assert fetch(watttime, now) == []


@pytest.mark.parametrize(
    "damage",
    [
        *({"value": value} for value in (None, "870", True, -1, 1e6, 10**250, [870])),
        *({"point_time": when} for when in (None, 5, "soon", "9999-12-31T23:59:00+00:00")),
    ],
)
def test_a_point_that_makes_no_sense_is_left_out(watttime, now, damage):
    watttime.answers["/v3/forecast"][1]["data"][3] |= damage
    assert told(fetch(watttime, now)[4:]) == [("12:10", 391.995), ("12:15", 0), ("12:25", 383.331)]


@pytest.mark.parametrize(
    "damage",
    [
        *({"units": unit} for unit in (None, "kg_co2_per_mwh", 5)),
        *({"data_point_period_seconds": seconds} for seconds in (None, 0, -300, "300", 1e9)),
        {"signal_type": "health_damage"},
    ],
)
def test_numbers_of_another_kind_are_not_taken_for_grams(watttime, now, damage):
    watttime.answers["/v3/forecast"][1]["meta"] |= damage
    with pytest.raises(ApiError, match="lbs_co2_per_mwh"):
        fetch(watttime, now)


@pytest.mark.parametrize("missing", ["units", "data_point_period_seconds"])
def test_a_missing_unit_or_length_is_not_guessed(watttime, now, missing):
    del watttime.answers["/v3/historical"][1]["meta"][missing]
    with pytest.raises(ApiError):
        fetch(watttime, now)


def test_points_of_which_none_can_be_read_are_an_error(watttime, now):
    watttime.answers["/v3/forecast"][1]["data"] = [{"time": 1}, 5]
    with pytest.raises(ApiError, match="none of them can be read"):
        fetch(watttime, now)


def test_no_message_holds_the_password_or_the_token(watttime, now):
    watttime.answers["/v3/historical"] = (503, f"{TOKEN} {CREDENTIAL}".encode())
    with pytest.raises(ApiError) as error:
        fetch(watttime, now)
    assert TOKEN not in str(error.value) and "long-password" not in str(error.value)
