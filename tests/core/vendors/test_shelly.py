"""Shelly's client against a real local server that answers with recorded payloads of many
models."""

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import AttributeSpec, Cause, Kind, Reading, Value
from core.vendors.shelly import Client

PAYLOADS = Path(__file__).parent / "payloads" / "shelly"
LOOPBACK = (ip_network("127.0.0.0/8"),)
ID = "shellyplus1pm-a8032abe54dc"
PRO_4PM = "shellypro4pm-f008d1d8b8b8"
INFO, STATUS, CONFIG = (
    f"/rpc/Shelly.{method}" for method in ("GetDeviceInfo", "GetStatus", "GetConfig")
)


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Peer:
    """One device: answers a path with a status and JSON (or bytes as they are), and keeps the
    frames it was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"/rpc": (200, payload("set_accepted"))}
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []
        self.frames: list[Any] = []
        self.authorizations: list[str | None] = []
        self.password = ""
        self.hangs = False
        self.hanging = threading.Event()
        self.is_("plus_1pm")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def is_(self, model: str) -> None:
        for path, kind in ((INFO, "info"), (STATUS, "status"), (CONFIG, "config")):
            if (PAYLOADS / f"{model}_{kind}.json").exists():
                self.answers[path] = (200, payload(f"{model}_{kind}"))

    def client(self, timeout_seconds: float = 30, credential: str = "") -> Client:
        address = f"http://127.0.0.1:{self.server.server_port}"
        return Client(
            Http(address, credential=credential, networks=LOOPBACK, timeout_seconds=timeout_seconds)
        )

    def status(self) -> dict[str, Any]:
        return self.answers[STATUS][1]

    def attributes(self) -> dict[str, AttributeSpec]:
        (device,) = self.client().devices()
        return {attribute.name: attribute for attribute in device.attributes}

    def values(self, channel: str = "") -> dict[str, Value | None]:
        vendor_id = self.answers[INFO][1]["id"] + channel
        readings = list(self.client().read([vendor_id]))
        assert {reading.vendor_id for reading in readings} <= {vendor_id}
        return {reading.attribute: reading.value for reading in readings}

    def stop(self) -> None:
        self.hanging.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _handler(peer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                peer.frames.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer()

            def answer(self) -> None:
                peer.asked.append(self.path)
                peer.authorizations.append(self.headers["Authorization"])
                if peer.hangs:
                    peer.hanging.wait(60)
                    return
                status, body = peer.answers.get(
                    self.path, (404, {"code": 404, "message": f"No handler for {self.path}"})
                )
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.stop()


# Who it is


def test_a_device_says_who_it_is(peer):
    identity = peer.client().identify()
    assert (identity.key, identity.name) == (ID, "Boiler")
    assert peer.asked == [INFO]


def test_a_nameless_device_is_called_by_its_id(peer):
    peer.is_("pro_4pm")
    assert peer.client().identify().name == "shellypro4pm-f008d1d8b8b8"


def test_the_password_is_proved_where_one_is_set(peer):
    peer.answers[INFO][1]["auth_en"] = True
    peer.answers[STATUS] = (401, {})
    with pytest.raises(ApiRefused, match="wants its admin password"):
        peer.client().identify()
    with pytest.raises(ApiRefused, match="does not accept this password"):
        peer.client(credential="wrong").identify()


def test_the_password_answers_the_challenge_with_sha_256(peer):
    realm, nonce = ID, "60dc59c6"
    peer.answers[STATUS] = (401, {})
    peer.headers = {
        "WWW-Authenticate": f'Digest qop="auth", realm="{realm}", nonce="{nonce}", '
        "algorithm=SHA-256"
    }
    with pytest.raises(ApiRefused):
        peer.client(credential="secret").read([ID])
    told = dict(
        part.strip().split("=", 1)
        for part in (peer.authorizations[-1] or "").removeprefix("Digest ").split(",")
    )
    told = {key: value.strip('"') for key, value in told.items()}
    ha1, ha2 = (
        hashlib.sha256(text.encode()).hexdigest()
        for text in (f"admin:{realm}:secret", f"GET:{STATUS}")
    )
    expected = f"{ha1}:{nonce}:{told['nc']}:{told['cnonce']}:auth:{ha2}"
    assert told["response"] == hashlib.sha256(expected.encode()).hexdigest()


def test_a_device_of_the_first_generation_is_refused_in_a_sentence(peer):
    peer.answers = {"/shelly": (200, payload("gen_1"))}
    with pytest.raises(ApiRefused, match="first generation"):
        peer.client().identify()


def test_a_locked_device_of_the_first_generation_is_refused_in_a_sentence(peer):
    peer.answers = {"/shelly": (200, payload("gen_1")), INFO: (401, b"401 Unauthorized")}
    with pytest.raises(ApiRefused, match="first generation"):
        peer.client().identify()


def test_without_get_device_info_the_introduction_serves(peer):
    peer.answers["/shelly"] = peer.answers.pop(INFO)
    assert peer.client().identify().key == ID


def test_something_that_is_no_shelly_is_refused(peer):
    peer.answers = {}
    with pytest.raises(ApiRefused, match="404"):
        peer.client().identify()
    peer.answers = {"/shelly": (200, [])}
    with pytest.raises(ApiRefused, match="404"):
        peer.client().identify()


def test_an_outage_while_it_is_asked_who_it_is_may_pass(peer):
    peer.answers[INFO] = (500, b"")
    with pytest.raises(ApiError):
        peer.client().identify()


@pytest.mark.parametrize(
    "changed", [{"id": None}, {"mac": None}, {"mac": "nonsense"}, {"id": ["x"]}, {"id": "x\n"}]
)
def test_a_device_that_does_not_say_who_it_is_is_not_taken(peer, changed):
    peer.answers[INFO][1].update(changed)
    with pytest.raises(ApiError, match="who it is"):
        peer.client().identify()


@pytest.mark.parametrize("vendor_id", ["shellyplus1pm-000000000000", "x" * 300 + "a8032abe54dc"])
def test_an_id_that_answers_could_not_be_recognised_by_is_refused(peer, vendor_id):
    peer.answers[INFO][1]["id"] = vendor_id
    with pytest.raises(ApiRefused, match="does not end in its MAC address"):
        peer.client().identify()


# What it is


def test_a_plug_is_one_device_with_its_switch_first(peer):
    (device,) = peer.client().devices()
    assert (device.vendor_id, device.name, device.model) == (ID, "Boiler", "Plus1PM")
    assert device.attributes[0] == AttributeSpec("on", Kind.BOOLEAN, writable=True)
    assert [attribute.name for attribute in device.attributes[1:]] == [
        *(
            "power",
            "voltage",
            "current",
            "energy",
            "energy_returned",
            "frequency",
            "chip_temperature",
            "input",
        )
    ]
    assert not any(attribute.writable for attribute in device.attributes[1:])
    assert peer.asked == [INFO, STATUS]


def test_nonsense_is_out_of_the_range_of_its_attribute(peer):
    peer.is_("plus_ht")
    bounds = {
        name: (spec.unit, spec.minimum, spec.maximum) for name, spec in peer.attributes().items()
    }
    assert bounds == {
        "temperature": ("°C", -100, 1000),
        "humidity": ("%", 0, 100),
        "battery": ("%", 0, 100),
        "battery_voltage": ("V", 0, 1000),
    }


def test_the_name_is_looked_for_in_the_configuration(peer):
    peer.is_("pro_4pm")
    assert {device.hardware_name for device in peer.client().devices()} == {"Workshop"}
    assert peer.asked == [INFO, STATUS, CONFIG]


def test_the_only_named_component_names_a_nameless_device(peer):
    peer.answers[INFO][1]["name"] = None
    peer.answers[CONFIG] = (
        200,
        {"sys": {"device": {"name": None}}, "switch:0": {"name": "Pump"}, "input:0": {"name": ""}},
    )
    assert [device.name for device in peer.client().devices()] == ["Pump"]


def test_a_named_channel_does_not_name_the_others(peer):
    peer.is_("pro_4pm")
    peer.answers[CONFIG] = (200, {"switch:0": {"name": "Pump"}})
    names = [device.name for device in peer.client().devices()]
    assert names == ["Pump", *(f"shellypro4pm-f008d1d8b8b8 {number}" for number in (2, 3, 4))]


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"Not Found"),
        (200, payload("no_handler")),
        (200, {"sys": 3}),
        (200, {}),
        (200, [1]),
        *((200, {"code": code, "message": "no"}) for code in (404, 401, 403, -103, -105, -114, 7)),
        *((200, {"id": 1, "error": {"code": code, "message": "no"}}) for code in (-103, -108)),
        (401, b""),
        (403, b"Forbidden"),
        (500, {"code": -108, "message": "out of memory"}),
    ],
)
def test_a_device_that_does_not_tell_its_configuration_is_called_by_its_id(peer, answer):
    peer.is_("pro_4pm")
    peer.answers[CONFIG] = answer
    names = {device.hardware_name for device in peer.client().devices()}
    assert names == {"shellypro4pm-f008d1d8b8b8"}


def test_a_configuration_that_nobody_answered_is_not_taken_for_a_missing_one(peer):
    peer.is_("pro_4pm")
    peer.answers[CONFIG] = (200, b"")
    with pytest.raises(ApiError, match="answered nothing"):
        peer.client().devices()


def test_a_device_without_components_has_no_attributes(peer):
    peer.answers[STATUS] = (200, {"sys": {"mac": "A8032ABE54DC"}})
    assert peer.attributes() == {}
    assert peer.values() == {}


# What it says


def test_values_come_in_the_usual_units(peer):
    assert peer.values() == {
        "on": True,
        "power": 749.2,
        "voltage": 231.4,
        "current": 3.241,
        "energy": 11.679357,
        "energy_returned": 0.0,
        "frequency": 50.0,
        "chip_temperature": 47.3,
        "input": False,
    }
    assert peer.asked == [STATUS]


def test_a_reading_carries_no_time_for_the_answer_is_the_state_at_the_call(peer):
    assert {reading.observed_at for reading in peer.client().read([ID])} == {None}


def test_each_switch_has_its_own_values(peer):
    peer.is_("pro_4pm")
    first, *others = (peer.values(key) for key in ("", "/switch:1", "/switch:2", "/switch:3"))
    assert [values["on"] for values in (first, *others)] == [False, False, True, False]
    assert (first["power"], others[1]["power"], others[2]["energy"]) == (0.0, 1500.0, 3.0)
    assert first["input_3"] is None


def test_three_phases_and_their_counters(peer):
    peer.is_("pro_3em")
    values = peer.values()
    assert (values["power"], values["power_a"], values["power_c"]) == (235.8, 951.2, -715.4)
    assert (values["energy"], values["energy_returned"], values["energy_returned_c"]) == (
        666.66672,
        98.7654,
        98.7654,
    )
    assert (values["voltage_b"], values["current"], values["temperature"]) == (236.2, 7.056, 46.8)


def test_a_meter_beside_a_switch_keeps_its_names_apart(peer):
    peer.is_("pro_em_50")
    values = peer.values()
    assert values["on"] is False
    assert (values["meter_power"], values["meter_power_1"]) == (-0.4, 501.8)
    assert (values["meter_energy"], values["meter_energy_returned_1"]) == (2776.17511, 0.0)
    assert "power" not in values and "energy" not in values


def test_a_meter_alone_has_plain_names(peer):
    peer.is_("pm_mini_g3")
    assert peer.values() == {
        **{
            "power": 0.0,
            "voltage": 238.3,
            "current": 0.0,
            "energy": 2.69073,
            "energy_returned": 0.0,
            "frequency": 50.0,
        }
    }


def test_zero_degrees_and_an_empty_clock_are_values_like_any_other(peer):
    peer.is_("plus_ht")
    assert peer.values() == {
        "temperature": 0.0,
        "humidity": 61.4,
        "battery": 64.0,
        "battery_voltage": 5.38,
    }


def test_sensors_of_an_add_on_are_told_apart_from_the_relay(peer):
    peer.is_("plus_1_addon")
    values = peer.values()
    assert (values["chip_temperature"], values["temperature_100"], values["temperature_101"]) == (
        51.2,
        -3.6,
        None,
    )
    assert (values["humidity_100"], values["voltmeter_voltage_100"], values["input"]) == (
        88.1,
        4.321,
        True,
    )


def test_a_dimmer_has_a_brightness(peer):
    peer.is_("dimmer_g3")
    values = peer.values()
    assert (values["on"], values["brightness"], values["input"], values["input_percent_1"]) == (
        True,
        40.0,
        None,
        47.5,
    )


LAMP = "shellydimmerg3-b08184f2e0a4"


def lamp(peer: Peer, component: str, **status: Any) -> None:
    """A device whose light is of another kind."""
    peer.is_("dimmer_g3")
    del peer.status()["light:0"]
    peer.status()[component] = {"id": 0, "output": True, "brightness": 40, **status}
    peer.answers["/rpc"] = (200, {"id": 1, "src": LAMP, "result": None})


def test_a_white_light_has_a_color_temperature_in_the_range_of_its_configuration(peer):
    lamp(peer, "cct:0", ct=3666, source="button")
    peer.answers[CONFIG] = (200, {"cct:0": {"id": 0, "name": None, "ct_range": [3333, 5555]}})
    assert peer.values() | {"on": True, "brightness": 40, "color_temperature": 3666} == (
        peer.values()
    )
    spec = peer.attributes()["color_temperature"]
    assert (spec.unit, spec.minimum, spec.maximum, spec.writable) == ("K", 3333, 5555, True)
    causes = {reading.attribute: reading.cause for reading in peer.client().read([LAMP])}
    assert causes["color_temperature"] is Cause.PERSON


@pytest.mark.parametrize(
    "reach", [None, [], [2700], [6500, 2700], ["2700", "6500"], [True, 6500], [0, 6500], "27"]
)
def test_a_range_that_is_none_leaves_that_of_all_white_lights(peer, reach):
    lamp(peer, "cct:0", ct=2700)
    peer.answers[CONFIG] = (200, {"cct:0": {"ct_range": reach}})
    spec = peer.attributes()["color_temperature"]
    assert (spec.minimum, spec.maximum) == (1000, 10_000)


@pytest.mark.parametrize("component", ["rgb:0", "rgbw:0"])
def test_a_coloured_light_tells_its_color(peer, component):
    lamp(peer, component, rgb=[255, 128, 0], white=12, apower=3.5)
    values = peer.values()
    assert (values["on"], values["brightness"], values["color"], values["power"]) == (
        True,
        40,
        "#ff8000",
        3.5,
    )
    assert values.get("white") == (12 if component == "rgbw:0" else None)
    assert not peer.attributes()["color"].writable


@pytest.mark.parametrize("rgb", [[], [1, 2], [1, 2, 256], [1, 2, -1], [1, 2, True], "red", 7])
def test_what_is_no_color_is_not_told(peer, rgb):
    lamp(peer, "rgb:0", rgb=rgb)
    assert "color" not in peer.values()


@pytest.mark.parametrize(
    ("component", "attribute", "value", "method", "params"),
    [
        ("cct:0", "color_temperature", 3000.0, "CCT.Set", {"ct": 3000}),
        ("cct:0", "brightness", 80.0, "CCT.Set", {"brightness": 80}),
        ("rgb:0", "on", False, "RGB.Set", {"on": False}),
        ("rgbw:0", "brightness", 80.0, "RGBW.Set", {"brightness": 80}),
        ("rgbw:0", "white", 255.0, "RGBW.Set", {"white": 255}),
    ],
)
def test_lights_of_each_kind_are_ordered(peer, component, attribute, value, method, params):
    lamp(peer, component, ct=2700, rgb=[1, 2, 3], white=0)
    peer.client().write(LAMP, attribute, value)
    assert peer.frames == [{"id": 1, "method": method, "params": {"id": 0, **params}}]


def test_another_kind_of_light_changes_no_name_that_was_there_before(peer):
    peer.is_("dimmer_g3")
    before = set(peer.attributes())
    for kind in ("cct", "rgb", "rgbw"):
        peer.status()[f"{kind}:0"] = {"id": 0, "output": False, "brightness": 7}
    first, *others = peer.client().devices()
    assert {attribute.name for attribute in first.attributes} == before
    names = [[attribute.name for attribute in device.attributes] for device in others]
    assert names == [["on", "brightness"]] * 3
    assert peer.values()["brightness"] == 40


def test_a_cover_has_a_position_and_a_state(peer):
    peer.is_("plus_2pm_cover")
    assert (peer.values()["position"], peer.values()["state"]) == (35.0, "stopped")
    assert peer.attributes()["position"].writable
    assert "closing" in peer.attributes()["state"].choices


def test_a_cover_that_was_never_calibrated_cannot_be_sent_anywhere(peer):
    peer.is_("plus_2pm_cover")
    peer.status()["cover:0"] |= {"pos_control": False, "current_pos": None}
    assert not peer.attributes()["position"].writable
    assert peer.values()["position"] is None


def test_alarms_are_read(peer):
    peer.status().update(
        {"smoke:0": {"id": 0, "alarm": True, "mute": False}, "flood:1": {"id": 1, "alarm": False}}
    )
    assert (peer.values()["smoke"], peer.values()["flood_1"]) == (True, False)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("init", Cause.RESTART),
        ("timer", Cause.TIMER),
        *(
            (order, Cause.ORDER)
            for order in ("HTTP_in", "HTTP", "http", "WS_in", "RPC", "MQTT", "loopback")
        ),
        *(
            (person, Cause.PERSON)
            for person in ("button", "switch", "input", "UI", "SHC", "SHC_in", "cloud")
        ),
        *((unknown, None) for unknown in ("", "limit_switch", None, 3, ["init"])),
    ],
)
def test_who_switched_it_is_told_of_the_switch_alone(peer, source, cause):
    peer.status()["switch:0"]["source"] = source
    causes = {reading.attribute: reading.cause for reading in peer.client().read([ID])}
    assert causes.pop("on") is cause
    assert set(causes.values()) == {None}


def test_each_component_has_its_own_cause(peer):
    peer.is_("pro_4pm")
    peer.status()["switch:0"]["source"], peer.status()["switch:2"]["source"] = "timer", "button"
    del peer.status()["switch:3"]["source"]
    keys = ("", "/switch:2", "/switch:3")
    causes = {
        reading.vendor_id: reading.cause
        for reading in peer.client().read([f"{PRO_4PM}{key}" for key in keys])
        if reading.attribute == "on"
    }
    assert list(causes.values()) == [Cause.TIMER, Cause.PERSON, None]


def test_brightness_and_position_have_a_cause_too(peer):
    peer.is_("dimmer_g3")
    peer.status()["light:0"]["source"] = "button"
    causes = {
        reading.attribute: reading.cause
        for reading in peer.client().read(["shellydimmerg3-b08184f2e0a4"])
    }
    assert (causes["on"], causes["brightness"], causes["chip_temperature"]) == (
        Cause.PERSON,
        Cause.PERSON,
        None,
    )


def test_null_is_the_answer_that_there_is_no_value(peer):
    peer.status()["switch:0"] |= {"output": None, "apower": None, "temperature": {"tC": None}}
    values = peer.values()
    assert (values["on"], values["power"], values["chip_temperature"], values["voltage"]) == (
        None,
        None,
        None,
        231.4,
    )


@pytest.mark.parametrize(
    ("component", "status", "name"),
    [
        ("temperature:100", {"tC": 85.0, "errors": ["read"]}, "temperature_100"),
        ("temperature:100", {"tC": 999}, "temperature_100"),
        ("temperature:100", {"tC": 20.0, "is_valid": False}, "temperature_100"),
        ("humidity:0", {"rh": -1}, "humidity"),
        ("humidity:0", {"rh": 999}, "humidity"),
        ("illuminance:0", {"lux": -1}, "illuminance"),
        ("devicepower:0", {"battery": {"percent": -1, "V": 3.0}}, "battery"),
        ("devicepower:0", {"battery": {"percent": 80, "errors": ["read"]}}, "battery"),
        ("flood:0", {"alarm": False, "errors": ["cable_unplugged"]}, "flood"),
        ("input:2", {"percent": 3.0, "errors": ["out_of_range"]}, "input_percent_2"),
        ("cover:0", {"pos_control": False, "current_pos": -1}, "position"),
        ("cover:0", {"pos_control": False, "current_pos": 101}, "position"),
        ("switch:0", {"output": True, "aenergy": {"total": -1}}, "energy"),
        ("em:0", {"a_act_power": 0.0, "a_errors": ["out_of_range:act_power"]}, "meter_power_a"),
        ("em:0", {"total_act_power": 0.0, "errors": ["power_meter_failure"]}, "meter_power"),
    ],
)
def test_a_mark_beside_a_value_that_it_is_not_valid_makes_it_no_value(
    peer, component, status, name
):
    if component == "cover:0":
        del peer.status()["switch:0"]  # their names would differ
    peer.status()[component] = status
    values = peer.values()
    assert name in values
    assert values[name] is None


def test_a_mark_that_says_nothing_of_the_value_leaves_it(peer):
    peer.status()["switch:0"]["errors"] = ["overtemp"]
    peer.status()["em:0"] = {
        "a_act_power": 5.0,
        "a_voltage": 231.0,
        "a_errors": ["out_of_range:act_power"],
    }
    peer.status()["temperature:0"] = {"tC": -1}
    values = peer.values()
    assert (values["on"], values["meter_voltage_a"], values["temperature"]) == (True, 231.0, -1)


@pytest.mark.parametrize("odd", ["749", [1], {}, True, 10**17, -1e300])
def test_a_number_of_an_odd_kind_costs_nothing_but_itself(peer, odd):
    peer.status()["switch:0"]["apower"] = odd
    assert "power" not in peer.values()
    assert peer.values()["voltage"] == 231.4


@pytest.mark.parametrize("odd", [1, "on", 0.0, []])
def test_a_state_that_is_neither_on_nor_off_is_left_out(peer, odd):
    peer.status()["switch:0"]["output"] = odd
    assert "on" not in peer.values()


def test_missing_fields_cost_nothing_but_themselves(peer):
    del peer.status()["switch:0"]["apower"], peer.status()["switch:0"]["aenergy"]["total"]
    peer.status()["switch:0"]["temperature"] = None
    assert peer.values().keys() == {
        "on",
        "voltage",
        "current",
        "energy_returned",
        "frequency",
        "input",
    }


@pytest.mark.parametrize(
    "key",
    ["switch", "switch:", "switch:x", "switch:00", "switch:²", "switch:99999", "toaster:0", ":0"],
)
def test_what_is_no_component_is_passed_over(peer, key):
    del peer.status()["switch:0"]
    peer.status()[key] = {"output": True}
    assert peer.values() == {"input": False}


def test_the_device_that_took_over_the_address_is_not_taken_for_the_old_one(peer):
    with pytest.raises(ApiRefused, match="Another device answers at this address"):
        peer.client().read(["shellyplus1pm-000000000001"])


def test_of_several_devices_once_at_an_address_only_the_present_one_is_read(peer):
    readings = peer.client().read(["shellyplus1pm-000000000001", ID])
    assert {reading.vendor_id for reading in readings} == {ID}


@pytest.mark.parametrize(
    "system", [None, [], {}, {"mac": None}, {"mac": "A8032ABE54"}, {"mac": "A8032ABE54DZ"}]
)
def test_a_status_that_does_not_say_whose_it_is_is_not_taken(peer, system):
    peer.status()["sys"] = system
    with pytest.raises(ApiError, match="does not say whose it is"):
        peer.client().read([ID])


# When it fails


def test_a_wrong_password_is_for_a_person(peer):
    peer.answers[STATUS] = (401, {})
    with pytest.raises(ApiRefused) as refusal:
        peer.client(credential="wrong").read([ID])
    assert refusal.value.status == 401


def test_too_many_requests_may_pass(peer):
    peer.answers[STATUS] = (429, b"")
    peer.headers = {"Retry-After": "17"}
    with pytest.raises(ApiError) as error:
        peer.client().read([ID])
    assert (error.value.status, error.value.retry_after) == (429, 17)


def test_an_outage_may_pass(peer):
    peer.answers[STATUS] = (503, b"busy")
    with pytest.raises(ApiError) as error:
        peer.client().read([ID])
    assert error.value.status == 503


def test_silence_may_pass(peer):
    peer.hangs = True
    with pytest.raises(ApiError, match="within"):
        peer.client(timeout_seconds=0.2).read([ID])


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"sys": NaN}', b"\xff", b"[" * 2000])
def test_garbage_may_pass(peer, body):
    peer.answers[STATUS] = (200, body)
    with pytest.raises(ApiError):
        peer.client().read([ID])


@pytest.mark.parametrize("answer", [[], 3, "on", None, {}])
def test_json_that_is_no_status_may_pass(peer, answer):
    peer.answers[STATUS] = (200, answer)
    with pytest.raises(ApiError):
        peer.client().read([ID])


@pytest.mark.parametrize("code", [404, 401, -103, -105, -109])
@pytest.mark.parametrize("framed", [True, False])
def test_an_error_for_good_comes_with_status_200(peer, code, framed):
    error = {"code": code, "message": "No."}
    peer.answers[STATUS] = (200, {"id": 1, "error": error} if framed else error)
    with pytest.raises(ApiRefused, match=r"GetStatus with an error: No\."):
        peer.client().read([ID])


@pytest.mark.parametrize("code", [-104, -108, -114, -1, 500, None, "404", [404], -105.5])
def test_an_error_that_may_pass_comes_with_status_200(peer, code):
    peer.answers[STATUS] = (200, {"code": code, "message": "Not now."})
    with pytest.raises(ApiError, match=r"Not now\."):
        peer.client().read([ID])


def test_an_error_in_a_word_is_an_error(peer):
    peer.answers[STATUS] = (200, {"error": "broken"})
    with pytest.raises(ApiError, match="broken"):
        peer.client().read([ID])


# What it is told


def test_an_order_is_one_frame(peer):
    peer.client().write(ID, "on", False)
    assert peer.frames == [{"id": 1, "method": "Switch.Set", "params": {"id": 0, "on": False}}]
    assert peer.asked == [STATUS, "/rpc"]


def test_the_way_back_travels_with_the_order(peer):
    peer.client().write(ID, "on", True, timedelta(minutes=1))
    assert peer.frames[0]["params"] == {"id": 0, "on": True, "toggle_after": 60}


def test_an_order_reaches_the_component_its_attribute_stands_in(peer):
    peer.is_("pro_4pm")
    peer.client().write(f"{PRO_4PM}/switch:3", "on", True)
    assert peer.frames[0]["params"] == {"id": 3, "on": True}


@pytest.mark.parametrize(
    ("attribute", "value", "params"),
    [("brightness", 80.0, {"id": 0, "brightness": 80}), ("on", False, {"id": 0, "on": False})],
)
def test_a_light_is_dimmed_and_switched(peer, attribute, value, params):
    peer.is_("dimmer_g3")
    peer.answers["/rpc"] = (200, {"id": 1, "src": "shellydimmerg3-b08184f2e0a4", "result": None})
    peer.client().write("shellydimmerg3-b08184f2e0a4", attribute, value)
    assert peer.frames == [{"id": 1, "method": "Light.Set", "params": params}]


def test_a_cover_is_sent_to_a_position(peer):
    peer.is_("plus_2pm_cover")
    peer.answers["/rpc"] = (200, {"id": 1, "src": "shellyplus2pm-5443b23d81f8", "result": None})
    peer.client().write("shellyplus2pm-5443b23d81f8", "position", 20)
    assert peer.frames == [
        {"id": 1, "method": "Cover.GoToPosition", "params": {"id": 0, "pos": 20}}
    ]


def test_only_what_is_switched_has_a_timer(peer):
    peer.is_("dimmer_g3")
    with pytest.raises(ApiRefused, match="no timer"):
        peer.client().write("shellydimmerg3-b08184f2e0a4", "brightness", 50, timedelta(minutes=1))
    with pytest.raises(ApiRefused, match="longer than nothing"):
        peer.client().write("shellydimmerg3-b08184f2e0a4", "on", True, timedelta(0))
    assert peer.frames == []


@pytest.mark.parametrize(
    ("attribute", "value", "why"),
    [
        ("power", 5, "no 'power' that can be set"),
        ("on_1", True, "no 'on_1' that can be set"),
        ("on", 1, "neither true nor false"),
        ("on", "on", "neither true nor false"),
        ("brightness", 101, "above the most"),
        ("brightness", 33.4, "no whole number"),
        ("brightness", True, "no number"),
    ],
)
def test_an_order_that_makes_no_sense_is_never_sent(peer, attribute, value, why):
    peer.is_("dimmer_g3")
    with pytest.raises(ApiRefused, match=why):
        peer.client().write("shellydimmerg3-b08184f2e0a4", attribute, value)
    assert peer.frames == []


def test_the_device_that_took_over_the_address_is_not_switched(peer):
    with pytest.raises(ApiRefused, match="Another device"):
        peer.client().write("shellyplus1pm-000000000001", "on", True)
    assert peer.frames == []


def test_a_refused_order_did_not_happen(peer):
    peer.answers["/rpc"] = (200, payload("set_refused"))
    with pytest.raises(ApiRefused, match="Missing required argument"):
        peer.client().write(ID, "on", True)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "ok",
        {},
        {"id": 1},
        {"id": 2, "result": {"was_on": True}},
        {"id": 1, "result": "ok"},
        {"was_on": True},
    ],
)
def test_only_a_well_formed_result_means_accepted(peer, answer):
    peer.answers["/rpc"] = (200, answer)
    with pytest.raises(ApiError, match="nobody knows"):
        peer.client().write(ID, "on", True)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = (
    "id",
    "output",
    "apower",
    "voltage",
    "aenergy",
    "temperature",
    "tC",
    "rh",
    "state",
    "current_pos",
    "ct",
    "rgb",
    "total",
    "battery",
)
components = st.dictionaries(
    st.sampled_from(FIELDS), st.dictionaries(st.sampled_from(FIELDS), anything) | anything
)
KINDS = (
    "switch:0",
    "switch:1",
    "light:0",
    "cct:0",
    "rgbw:0",
    "cover:0",
    "pm1:0",
    "em:0",
    "em1:0",
    "emdata:0",
    "temperature:0",
    "voltmeter:0",
)
statuses = st.dictionaries(st.sampled_from(KINDS) | st.text(max_size=8), components | anything)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(answer=anything | statuses, order=anything, knows_itself=st.booleans())
def test_whatever_it_answers_is_a_reading_or_one_of_two_errors(peer, answer, order, knows_itself):
    if knows_itself and isinstance(answer, dict):
        answer = answer | {"sys": {"mac": "A8032ABE54DC"}}
    peer.answers[STATUS], peer.answers["/rpc"] = (200, answer), (200, order)
    try:
        readings = peer.client().read([ID])
        assert all(
            isinstance(reading, Reading) and isinstance(reading.value, Value | None)
            for reading in readings
        )
        names = [reading.attribute for reading in readings]
        assert len(names) == len(set(names))
        peer.client().devices()
        peer.client().write(ID, "on", True)
    except (ApiError, ApiRefused) as error:
        assert str(error)


# What meters kept

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON_TS = int(NOON.timestamp())


def kept(peer: Peer, *pages: dict[str, Any], model: str = "pro_em_50", of: str = "EM1Data") -> Any:
    """What it tells of the hour from noon, as (minute, attribute, value); a page leads to the
    next."""
    peer.is_(model)
    times = [NOON_TS, *(page.get("next_record_ts", 0) for page in pages)]
    for ts, page in zip(times, pages, strict=False):
        peer.answers[f"/rpc/{of}.GetData?id=0&ts={ts}&end_ts={NOON_TS + 3600}"] = (200, page)
    empty = {"keys": [], "data": []}
    other = f"/rpc/EM1Data.GetData?id=1&ts={NOON_TS}&end_ts={NOON_TS + 3600}"
    peer.answers[other] = (200, empty)
    vendor_id = peer.answers[INFO][1]["id"]
    found = peer.client().history(vendor_id, NOON, NOON + timedelta(hours=1))
    return [((r.observed_at - NOON) / timedelta(minutes=1), r.attribute, r.value) for r in found]


def test_a_meter_tells_power_voltage_and_current_of_each_minute(peer):
    page = payload("em1data")
    assert kept(peer, page) == [
        (0, "meter_power", 1850.4),
        (0, "meter_voltage", 231.2),
        (0, "meter_current", 8.004),
        (1, "meter_power", -60.0),
        (1, "meter_voltage", 230.9),
        (1, "meter_current", 0.3),
        (2, "meter_power", None),
        (2, "meter_voltage", None),
        (2, "meter_current", None),
    ]


def test_a_meter_of_three_phases_tells_each_and_their_sums(peer):
    told = kept(peer, payload("emdata"), model="pro_3em", of="EMData")
    values = {name: value for minute, name, value in told if minute == 0}
    assert values == {
        "power": 540.0,
        "current": 5.5,
        "power_a": 600.0,
        "voltage_a": 230.0,
        "current_a": 3.0,
        "power_b": 0.0,
        "voltage_b": 231.0,
        "current_b": 0.0,
        "power_c": -60.0,
        "voltage_c": 229.5,
        "current_c": 2.5,
    }


def test_a_history_in_several_pages_is_asked_for_to_its_end(peer):
    page = payload("em1data")
    first = {**page, "next_record_ts": NOON_TS + 120}
    second = {**page, "data": [{**page["data"][0], "ts": NOON_TS + 120}]}
    told = kept(peer, first, second)
    assert [minute for minute, name, _ in told if name == "meter_power"] == [0, 1, 2, 3, 4]


def test_where_records_were_interrupted_nothing_is_known(peer):
    page = payload("em1data")
    blocks = [page["data"][0], {**page["data"][0], "ts": NOON_TS + 1800}]
    told = kept(peer, {**page, "data": blocks})
    powers = [(minute, value is None) for minute, name, value in told if name == "meter_power"]
    assert powers == [(0, False), (1, False), (2, True), (30, False), (31, False), (32, True)]


def test_pages_that_lead_nowhere_end(peer):
    page = payload("em1data")
    told = kept(peer, {**page, "next_record_ts": NOON_TS})
    assert len(told) == 9


def test_what_keeps_no_history_tells_none(peer):
    since = NOON - timedelta(hours=1)
    assert list(peer.client().history(ID, since, NOON)) == []
    assert peer.asked == [STATUS]


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"keys": ["total_act_energy"], "data": [{}]},
        {"keys": ["total_act_energy"], "data": [{"ts": 10**30, "period": 60, "values": [[1]]}]},
        {"keys": ["total_act_energy"], "data": [{"ts": NOON_TS, "period": 0, "values": [[1]]}]},
        {"keys": ["total_act_energy"], "data": [{"ts": None, "period": 60, "values": [[1]]}]},
        {"code": 500, "message": "busy"},
    ],
)
def test_a_history_that_is_none_is_an_error(peer, page):
    with pytest.raises(ApiError):
        kept(peer, page)


def test_a_row_that_lacks_a_value_tells_none_of_it(peer):
    page = payload("em1data")
    page["data"][0]["values"] = [[30.0, 0.0, None, 8.0], 5]
    told = kept(peer, page)
    assert told[:3] == [
        (0, "meter_power", 1800.0),
        (0, "meter_voltage", None),
        (0, "meter_current", 8.0),
    ]
    assert [value for minute, _, value in told if minute == 1] == [None] * 3
