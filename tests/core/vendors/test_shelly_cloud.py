"""The client of Shelly's cloud against a local server. The payloads are written after Shelly's
public documentation, not recorded: of the cloud's own calls, and of what devices of both
generations tell."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from core.net import transport
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import Cause, Reading
from core.vendors._shelly import readings
from core.vendors.shelly_cloud import Client, from_first_generation
from tests.core.raw_server import Request, answer, serving

PAYLOADS = Path(__file__).parent / "payloads" / "shelly_cloud"
LOOPBACK = (ip_network("127.0.0.0/8"),)
KEY = "MzQzMTAxdWlkA0B1+C2D3/E4F5=="
PLUG, GEN_1, COVER, DIMMER, BULB = (
    "b48a0a1cd978",
    "d9ab8f",
    "5443b23d81f8",
    "b08184f2e0a4",
    "a4cf12f45b10",
)


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Cloud:
    """Answers with the states of the devices it has and is asked for, or with what stands in
    `answers` for a path."""

    def __init__(self) -> None:
        self.states = payload("get")
        self.answers: dict[str, bytes] = {
            "/device/all_status": answer(json.dumps(payload("all_status")).encode())
        }
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    def __call__(self, request: Request) -> bytes:
        target = urlsplit(request.target)
        assert parse_qs(target.query)["auth_key"] == [KEY]
        self.asked.append(target.path.removeprefix("/v2/devices/api/"))
        body = json.loads(request.body) if request.body else None
        self.bodies.append(body)
        if target.path in self.answers:
            return self.answers[target.path]
        if target.path.endswith("/get"):
            assert 1 <= len(body["ids"]) <= 10
            return answer(
                json.dumps([state for state in self.states if state["id"] in body["ids"]]).encode()
            )
        return answer(b"")

    def plug(self) -> dict[str, Any]:
        return self.states[0]

    def fails(self, path: str, what: bytes) -> None:
        self.answers[path if path.startswith("/") else f"/v2/devices/api/{path}"] = what


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@contextmanager
def connected(cloud: Cloud, **options: Any) -> Iterator[Client]:
    with serving(cloud) as server:
        yield Client(
            Http(
                server.address,
                **{"credential": KEY, "networks": LOOPBACK, "timeout_seconds": 30.0, **options},
            )
        )
        transport.close_idle_connections()


def told(cloud: Cloud, *vendor_ids: str) -> dict[str, Any]:
    with connected(cloud) as client:
        return {reading.attribute: reading.value for reading in client.read(vendor_ids)}


def write(cloud: Cloud, vendor_id: str, *order: Any) -> None:
    with connected(cloud) as client:
        client.write(vendor_id, *order)


# The account


def test_an_account_is_known_by_its_number_whatever_its_password(cloud):
    with connected(cloud) as client:
        identity = client.identify()
    assert (identity.key, identity.name) == ("343101uid", "Shelly account with 6 devices")
    assert cloud.asked == ["/device/all_status"]


def test_every_device_that_tells_something_is_listed_with_its_name(cloud):
    with connected(cloud) as client:
        devices = {device.vendor_id: device for device in client.devices()}
    assert list(devices) == [PLUG, GEN_1, COVER, DIMMER, BULB]
    assert [device.name for device in devices.values()] == [
        "Boiler",
        "Freezer",
        COVER,
        DIMMER,
        BULB,
    ]
    assert devices[PLUG].model == "SNPL-00112EU"
    assert [spec.name for spec in devices[PLUG].attributes if spec.writable] == ["on"]
    assert [spec.name for spec in devices[BULB].attributes if spec.writable] == ["on", "brightness"]
    assert cloud.asked == ["/device/all_status", "get"]


@pytest.mark.parametrize("found", [[], {}])
def test_an_empty_account_has_no_devices(cloud, found):
    cloud.fails(
        "/device/all_status",
        answer(json.dumps({"isok": True, "data": {"devices_status": found}}).encode()),
    )
    with connected(cloud) as client:
        assert list(client.devices()) == []
        assert client.identify().name == "Shelly account with 0 devices"


def test_a_listing_that_was_removed_is_said_and_the_rest_goes_on(cloud):
    cloud.fails("/device/all_status", answer(b"", "404 Not Found"))
    with connected(cloud) as client, pytest.raises(ApiRefused, match="404"):
        client.identify()
    assert told(cloud, PLUG)["on"] is True


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"isok": False, "errors": {"wrong_auth": KEY}}, ApiRefused),
        ({"isok": False, "errors": {"max_req": "Request limit reached!"}}, ApiError),
        ({"isok": False}, ApiError),
        ({"isok": True, "data": None}, ApiError),
        ([], ApiError),
    ],
)
def test_the_older_api_says_no_with_status_200(cloud, said, error):
    cloud.fails("/device/all_status", answer(json.dumps(said).encode()))
    with connected(cloud) as client, pytest.raises(error) as failed:
        client.identify()
    assert KEY not in str(failed.value)


# What devices say


def test_values_are_those_of_the_device_itself(cloud):
    assert told(cloud, PLUG) == {
        **{"on": True, "power": 1803.4, "voltage": 231.4, "current": 7.79, "frequency": 50.0},
        **{"energy": 11.679357, "chip_temperature": 47.3, "input": False},
    }
    assert (cloud.asked, cloud.bodies) == (["get"], [{"ids": [PLUG], "select": ["status"]}])


def test_the_first_generation_is_told_in_the_words_of_the_second(cloud):
    assert told(cloud, GEN_1) == {"on": False, "power": 0.0, "energy": 6.0, "temperature": 28.4}
    assert told(cloud, BULB) == {"on": True, "brightness": 40, "power": 5.2, "energy": 0.001}


def test_zero_is_a_value_like_any_other(cloud):
    assert told(cloud, DIMMER) == {
        "on": False,
        "brightness": 0,
        "power": 0.0,
        "energy": 0.0,
        "chip_temperature": 0.0,
    }


def test_a_roller_of_the_first_generation_has_no_relays_to_switch():
    status = {
        "relays": [{"ison": True}],
        "rollers": [{"current_pos": 40, "positioning": True, "source": "input"}],
    }
    assert from_first_generation(status) == {
        "cover:0": {"current_pos": 40, "pos_control": True, "source": "input"}
    }


def test_meters_and_sensors_of_the_first_generation():
    status = {
        "emeters": [
            {"power": -4.5, "voltage": 230.1, "total": 7.0, "is_valid": True},
        ]
    }
    sensors = {
        "tmp": {"value": 21.5, "tC": 21.5},
        "hum": {"value": 0},
        "bat": {"value": 97, "voltage": 2.9},
    }
    assert from_first_generation(status | sensors) == {
        "em1:0": {"act_power": -4.5, "voltage": 230.1},
        "em1data:0": {"total_act_energy": 7.0},
        "temperature:0": {"tC": 21.5},
        "humidity:0": {"rh": 0},
        "devicepower:0": {"battery": {"percent": 97, "V": 2.9}},
    }


def test_what_the_first_generation_marks_as_not_valid_is_no_value():
    status = {
        "relays": [{"ison": True}, {"ison": False, "is_valid": False}],
        "meters": [{"power": 0, "total": 0, "is_valid": False}, {"power": 1, "total": -1}],
        "emeters": [{"power": 0, "total": 5.0, "is_valid": False}],
        "tmp": {"tC": 0, "is_valid": False},
        "bat": {"value": -1, "voltage": 2.9},
    }
    told = from_first_generation(status)
    assert told["switch:0"] == {"output": True, "apower": None, "aenergy": {"total": None}}
    assert told["switch:1"] == {"output": None, "apower": 1, "aenergy": {"total": None}}
    assert (told["em1:0"], told["em1data:0"]) == ({"act_power": None}, {"total_act_energy": None})
    assert told["temperature:0"] == {"tC": None}
    values = {reading.attribute: reading.value for reading in readings("x", told)}
    assert (values["battery"], values["battery_voltage"]) == (None, 2.9)


def test_a_device_out_of_reach_says_so_for_each_attribute(cloud):
    cloud.states = payload("offline")
    with connected(cloud) as client:
        assert list(client.read([PLUG])) == [
            Reading(PLUG, "on", None, reachable=False),
            Reading(PLUG, "power", None, reachable=False),
        ]


def test_a_device_that_left_the_account_tells_nothing(cloud):
    assert told(cloud, "000000000000") == {}


def test_a_missing_field_costs_nothing_but_itself(cloud):
    del cloud.plug()["status"]["switch:0"]["apower"], cloud.plug()["status"]["input:0"]
    assert told(cloud, PLUG).keys() == {
        "on",
        "voltage",
        "current",
        "energy",
        "frequency",
        "chip_temperature",
    }


@pytest.mark.parametrize("field", ["status", "online", "gen", "code"])
def test_a_missing_part_of_a_state_is_no_failure(cloud, field):
    del cloud.plug()[field]
    with connected(cloud) as client:
        assert all(reading.value is None for reading in client.read([PLUG])) is (
            field in ("status", "online")
        )


def test_ten_devices_are_asked_for_in_a_call(cloud):
    ids = [f"{number:012x}" for number in range(25)]
    cloud.states = [cloud.plug() | {"id": one} for one in ids]
    with connected(cloud) as client:
        assert [
            reading.vendor_id for reading in client.read(ids) if reading.attribute == "on"
        ] == ids
    assert [len(body["ids"]) for body in cloud.bodies] == [10, 10, 5]


def test_nobody_is_asked_for_nothing(cloud):
    assert told(cloud) == {}
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("SHC", None),
        ("button", Cause.PERSON),
        ("timer", Cause.TIMER),
        ("init", Cause.RESTART),
        ("HTTP_in", Cause.ORDER),
        (3, None),
    ],
)
def test_what_came_through_the_cloud_may_be_our_own_order(cloud, source, cause):
    cloud.plug()["status"]["switch:0"]["source"] = source
    with connected(cloud) as client:
        causes = {reading.attribute: reading.cause for reading in client.read([PLUG])}
    assert causes.pop("on") is cause
    assert set(causes.values()) == {None}


# Failures


def test_a_wrong_key_is_refused_without_repeating_it(cloud, caplog):
    caplog.set_level(logging.DEBUG)
    cloud.fails(
        "get",
        answer(json.dumps({"error": "UNAUTHORIZED", "key": KEY}).encode(), "401 Unauthorized"),
    )
    with (
        connected(cloud) as client,
        pytest.raises(ApiRefused, match="changes with the account's password") as refused,
    ):
        list(client.read([PLUG]))
    assert refused.value.status == 401
    assert not [
        word
        for word in ("MzQzMTAx", "A0B1")
        if word in f"{refused.value!r}{caplog.text}{client.http!r}{client.http.auth!r}"
    ]


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "429 Too Many Requests", "503 Service Unavailable", "302 Found"]
)
def test_no_failure_repeats_the_key(cloud, status):
    cloud.fails(
        "get",
        answer(
            f"?auth_key={KEY}".encode(), status, f"Location: https://example.org/?auth_key={KEY}"
        ),
    )
    with connected(cloud) as client, pytest.raises((ApiError, ApiRefused)) as failed:
        list(client.read([PLUG]))
    assert "MzQzMTAx" not in str(failed.value)


def test_too_many_calls_and_an_outage_are_no_refusal(cloud):
    cloud.fails("get", answer(b"", "429 Too Many Requests", "Retry-After: 7"))
    with connected(cloud) as client, pytest.raises(ApiError) as failed:
        list(client.read([PLUG]))
    assert (failed.value.status, failed.value.retry_after) == (429, 7.0)
    cloud.fails(
        "get", answer(b'{"error":"UNEXPECTED_SUBSERVICE_ERROR"}', "500 Internal Server Error")
    )
    with connected(cloud) as client, pytest.raises(ApiError, match="UNEXPECTED_SUBSERVICE_ERROR"):
        list(client.read([PLUG]))
    cloud.fails("get", answer(b"", "503 Service Unavailable"))
    with connected(cloud) as client, pytest.raises(ApiError):
        list(client.read([PLUG]))


def silence() -> Iterator[bytes]:
    time.sleep(0.5)
    yield b"HTTP/1.1 200 OK\r\n"


def test_silence_ends_at_the_deadline():
    with serving(lambda request: silence()) as server:
        client = Client(
            Http(server.address, credential=KEY, networks=LOOPBACK, timeout_seconds=0.2)
        )
        with pytest.raises(ApiError, match="did not answer"):
            list(client.read([PLUG]))
        transport.close_idle_connections()


@pytest.mark.parametrize(
    "garbage", [b"<html>", b"{}", b'"no"', b"[1, null]", b'[{"id": null}, {"status": 3}]', b""]
)
def test_garbage_is_an_error_or_nothing(cloud, garbage):
    cloud.fails("get", answer(garbage))
    with connected(cloud) as client:
        try:
            assert list(client.read([PLUG])) == []
        except ApiError as error:
            assert str(error)


# Orders


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "value", "path", "arguments"),
    [
        (PLUG, "on", False, "set/switch", {"on": False}),
        (GEN_1, "on", True, "set/switch", {"on": True}),
        (DIMMER, "on", True, "set/light", {"on": True}),
        (DIMMER, "brightness", 80.0, "set/light", {"brightness": 80}),
        (COVER, "position", 20.0, "set/cover", {"position": 20}),
    ],
)
def test_an_order_goes_to_what_its_attribute_is_part_of(
    cloud, vendor_id, attribute, value, path, arguments
):
    write(cloud, vendor_id, attribute, value)
    assert cloud.asked == ["get", path]
    assert cloud.bodies[1] == {"id": vendor_id, "channel": 0, **arguments}


@pytest.mark.parametrize(
    ("component", "attribute", "value", "arguments"),
    [
        ("cct:0", "color_temperature", 3000.0, {"temperature": 3000}),
        ("cct:0", "brightness", 80.0, {"brightness": 80}),
        ("rgb:0", "brightness", 80.0, {"gain": 80}),
        ("rgbw:0", "white", 9.0, {"white": 9}),
        ("rgbw:0", "on", True, {"on": True}),
    ],
)
def test_lights_of_each_kind_are_ordered_in_the_words_of_the_cloud(
    cloud, component, attribute, value, arguments
):
    status = {"id": 0, "output": False, "brightness": 7, "ct": 2700, "white": 0}
    del cloud.plug()["status"]["switch:0"]
    cloud.plug()["status"][component] = status
    write(cloud, PLUG, attribute, value)
    assert cloud.asked == ["get", "set/light"]
    assert cloud.bodies[1] == {"id": PLUG, "channel": 0, **arguments}


def test_an_order_can_carry_its_own_way_back(cloud):
    write(cloud, PLUG, "on", True, timedelta(minutes=3))
    assert cloud.bodies[1] == {"id": PLUG, "channel": 0, "on": True, "toggle_after": 180}


def test_each_channel_is_ordered_by_its_number(cloud):
    cloud.plug()["status"]["switch:3"] = {"id": 3, "output": False}
    write(cloud, f"{PLUG}/switch:3", "on", True)
    assert (cloud.bodies[1]["id"], cloud.bodies[1]["channel"]) == (PLUG, 3)


def test_each_channel_is_a_device_named_by_the_settings(cloud):
    cloud.plug()["status"]["switch:1"] = {"id": 1, "output": False}
    cloud.plug()["settings"]["switch:1"] = {"id": 1, "name": "Fan"}
    with connected(cloud) as client:
        found = {device.vendor_id: device for device in client.devices()}
    assert (found[PLUG].name, found[f"{PLUG}/switch:1"].name) == ("Boiler 1", "Fan")
    assert {found[key].hardware for key in (PLUG, f"{PLUG}/switch:1")} == {PLUG}
    assert found[GEN_1].hardware == ""


def test_a_channel_of_the_first_generation_is_named_by_its_settings(cloud):
    state = next(state for state in cloud.states if state["id"] == GEN_1)
    state["status"]["relays"].append({"ison": True})
    state["settings"]["relays"] = [{"name": None}, {"name": "Fan"}]
    with connected(cloud) as client:
        found = {device.vendor_id: device.name for device in client.devices()}
    assert found[f"{GEN_1}/switch:1"] == "Fan"


def test_ten_channels_of_one_device_are_one_device_to_the_cloud(cloud):
    ids = [PLUG, *(f"{PLUG}/switch:{number}" for number in range(1, 12))]
    cloud.plug()["status"] |= {f"switch:{n}": {"id": n, "output": n == 5} for n in range(1, 12)}
    with connected(cloud) as client:
        on = {one.vendor_id for one in client.read(ids) if one.attribute == "on" and one.value}
    assert f"{PLUG}/switch:5" in on and f"{PLUG}/switch:4" not in on
    assert cloud.bodies == [{"ids": [PLUG], "select": ["status"]}]


def test_all_channels_are_away_with_their_device(cloud):
    cloud.plug()["status"]["switch:1"] = {"id": 1, "output": False}
    cloud.plug()["online"] = 0
    with connected(cloud) as client:
        found = list(client.read([PLUG, f"{PLUG}/switch:1"]))
    assert {reading.vendor_id for reading in found} == {PLUG, f"{PLUG}/switch:1"}
    assert not any(reading.reachable or reading.value is not None for reading in found)


@pytest.mark.parametrize(
    "order", [("power", 5.0), ("on_7", True), ("on", 1.0), ("on", True, timedelta(0))]
)
def test_an_order_that_makes_no_sense_is_never_sent(cloud, order):
    with pytest.raises(ApiRefused):
        write(cloud, PLUG, *order)
    assert cloud.asked == ["get"]


def test_a_device_out_of_reach_is_not_ordered(cloud):
    cloud.states = payload("offline")
    with pytest.raises(ApiRefused, match="cannot reach"):
        write(cloud, PLUG, "on", True)
    assert cloud.asked == ["get"]


def test_a_device_that_left_the_account_is_not_ordered(cloud):
    with pytest.raises(ApiRefused, match="no device"):
        write(cloud, "000000000000", "on", True)


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        (payload("device_offline"), "400 Bad Request", ApiRefused),
        (payload("device_offline"), "200 OK", ApiRefused),
        ({"error": "DEVICE_INVALID_CHANNEL"}, "400 Bad Request", ApiRefused),
        ({"error": "BAD_REQUEST"}, "400 Bad Request", ApiRefused),
        ({"error": "DEVICE_NOT_FOUND"}, "404 Not Found", ApiRefused),
        ({"error": "INSTANCE_NOT_FOUND"}, "404 Not Found", ApiError),
        (payload("failed_command"), "400 Bad Request", ApiError),
        ({"error": "UNEXPECTED_SUBSERVICE_ERROR"}, "500 Internal Server Error", ApiError),
        ({"isok": False}, "200 OK", ApiError),
        ("ok", "200 OK", ApiError),
        ([], "200 OK", ApiError),
    ],
)
def test_only_a_clear_no_is_a_refusal(cloud, said, status, error):
    cloud.fails("set/switch", answer(json.dumps(said, separators=(",", ":")).encode(), status))
    with pytest.raises(error):
        write(cloud, PLUG, "on", True)


@pytest.mark.parametrize("yes", [b"", b"null", b"{}", b'{"isok":true}'])
def test_an_empty_answer_means_accepted(cloud, yes):
    cloud.fails("set/switch", answer(yes))
    write(cloud, PLUG, "on", True)


def test_without_a_key_it_says_where_to_get_one():
    with serving(lambda request: answer(b"", "401 Unauthorized")) as server:
        client = Client(Http(server.address, networks=LOOPBACK, timeout_seconds=30))
        with pytest.raises(ApiRefused, match="wants a key: get one in the user settings"):
            client.identify()
        transport.close_idle_connections()
