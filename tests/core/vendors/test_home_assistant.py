"""Home Assistant's client against a real local server that replays what a Home Assistant 2025.4
answered."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import AttributeSpec, DeviceSpec, Kind, Unacceptable, Value, clean_value
from core.vendors.home_assistant import Client

PAYLOADS = Path(__file__).parent / "payloads" / "home_assistant"
LOOPBACK = (ip_network("127.0.0.0/8"),)
TOKEN = "a-long-lived-token"


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Peer:
    """Answers a path with a status and JSON (or bytes as they are), and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "/api/config": (200, payload("config")),
            "/api/states": (200, payload("states")),
        }
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.posted: list[Any] = []
        self.queries: list[dict[str, list[str]]] = []
        self.authorizations: set[str | None] = set()
        self.hanging = threading.Event()
        self.hangs = False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def _handler(peer) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                peer.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer()

            def answer(self) -> None:
                url = urlsplit(self.path)
                path = unquote(url.path)
                peer.asked.append((self.command, path))
                peer.queries.append(parse_qs(url.query))
                peer.authorizations.add(self.headers["Authorization"])
                if peer.hangs:
                    peer.hanging.wait(60)
                    return
                status, body = peer.answers.get(path, (404, payload("state_not_found")))
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        return Handler

    def client(self, timeout_seconds: float = 30) -> Client:
        address = f"http://127.0.0.1:{self.server.server_port}"
        return Client(
            Http(address, credential=TOKEN, networks=LOOPBACK, timeout_seconds=timeout_seconds)
        )

    def says(self, *states: dict[str, Any]) -> Client:
        """A client of a home that holds these states."""
        self.answers["/api/states"] = (200, list(states))
        for state in states:
            self.answers[f"/api/states/{state['entity_id']}"] = (200, state)
        return self.client()

    def fails(self, status: int, body: Any = b"") -> Client:
        for path in (
            "/api/config",
            "/api/states",
            "/api/states/switch.heater",
            "/api/services/switch/turn_on",
        ):
            self.answers[path] = (status, body)
        return self.client()

    def stop(self) -> None:
        self.hanging.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.stop()


def state(entity_id: str, value: Any, **attributes: Any) -> dict[str, Any]:
    return {
        "entity_id": entity_id,
        "state": value,
        "attributes": attributes,
        "last_reported": "2026-11-21T12:00:02.500000+00:00",
        "last_updated": "2026-11-21T12:00:01+00:00",
    }


def found(client: Client) -> dict[str, DeviceSpec]:
    return {device.vendor_id: device for device in client.devices()}


def names(device: DeviceSpec) -> list[str]:
    return [attribute.name for attribute in device.attributes]


def values(client: Client, *vendor_ids: str) -> dict[str, Value | None]:
    """By attribute, of one device, or of the last of several where they share a name."""
    return {reading.attribute: reading.value for reading in client.read(vendor_ids)}


# Who answers


def test_a_home_is_known_by_its_name(peer):
    assert peer.client().identify().name == "Peer"


def test_every_call_carries_the_token(peer):
    peer.client().identify()
    assert peer.authorizations == {f"Bearer {TOKEN}"}


def test_the_key_stays_when_the_address_and_the_version_change(peer):
    before = peer.client().identify().key
    peer.answers["/api/config"] = (
        200,
        payload("config") | {"version": "2027.1", "internal_url": "http://10.0.0.9:8123"},
    )
    assert peer.client().identify().key == before


def test_homes_of_one_name_in_two_places_differ(peer):
    before = peer.client().identify().key
    peer.answers["/api/config"] = (200, payload("config") | {"latitude": 48.1})
    assert peer.client().identify().key != before


def test_the_key_does_not_tell_where_the_home_is(peer):
    assert "51.5" not in peer.client().identify().key


@pytest.mark.parametrize(
    "config", [{}, {"location_name": "Home"}, {"location_name": 5, "version": "2025.4"}, [], 7]
)
def test_something_else_than_home_assistant_is_told_apart(peer, config):
    peer.answers["/api/config"] = (200, config)
    with pytest.raises(ApiError, match="does not look like Home Assistant"):
        peer.client().identify()


# What there is


def test_every_entity_of_a_known_domain_is_a_device(peer):
    devices = found(peer.client())
    assert len(devices) == 20
    assert not {"media_player.bedroom", "sun.sun", "zone.home"} & set(devices)


def test_a_device_has_the_name_people_gave_it(peer):
    assert found(peer.client())["switch.heater"].name == "Heater"


def test_an_entity_without_a_name_goes_by_its_id(peer):
    assert found(peer.client())["sensor.total_energy_kwh"].name == "sensor.total_energy_kwh"


def of_devices(peer, *rows):
    """Discovers a home whose entities are of these devices."""
    states = [state(entity_id, "1") for entity_id in ("sensor.warmth", "sensor.damp", "switch.a")]
    client = peer.says(*states)
    peer.answers["/api/template"] = (200, [list(row) for row in rows])
    return found(client)


def test_what_home_assistant_has_as_one_device_is_one_hardware(peer):
    devices = of_devices(
        peer,
        ("sensor.warmth", "d1", "Bath sensor"),
        ("sensor.damp", "d1", "Bath sensor"),
        ("switch.a", "d2", "Plug"),
        ("sun.sun", None, None),
    )
    assert {key: (one.hardware, one.hardware_name) for key, one in devices.items()} == {
        "sensor.warmth": ("d1", "Bath sensor"),
        "sensor.damp": ("d1", "Bath sensor"),
        "switch.a": ("", ""),
    }
    assert "device_id(state.entity_id)" in peer.posted[0]["template"]


@pytest.mark.parametrize(
    "answer",
    [(401, b""), (404, b""), (400, {"message": "no"}), (500, b""), (200, {}), (200, "x")],
)
def test_who_may_not_ask_for_devices_sees_every_entity_alone(peer, answer):
    peer.answers["/api/template"] = answer
    assert {one.hardware for one in found(peer.client()).values()} == {""}


@pytest.mark.parametrize("row", [7, [], ["sensor.warmth", 5, "x"], [5, "d1", "x"], ["a", "b"]])
def test_a_row_of_devices_that_is_none_costs_nothing_but_itself(peer, row):
    devices = of_devices(peer, ("sensor.damp", "d1", None), ("switch.a", "d1", None))
    assert devices["switch.a"].hardware == "d1"
    peer.answers["/api/template"][1].append(row)
    assert found(peer.client()) == devices


def test_that_nobody_answers_who_is_of_one_device_is_an_outage(peer):
    peer.answers["/api/template"] = (200, b"<html>")
    with pytest.raises(ApiError):
        found(peer.client())


@pytest.mark.parametrize(
    ("vendor_id", "attributes"),
    [
        ("switch.heater", [AttributeSpec("on", Kind.BOOLEAN, writable=True)]),
        ("input_boolean.heater_relay", [AttributeSpec("on", Kind.BOOLEAN, writable=True)]),
        ("lock.front_door", [AttributeSpec("locked", Kind.BOOLEAN, writable=True)]),
        ("sensor.heater_power", [AttributeSpec("power", unit="W")]),
        ("sensor.outside_temperature", [AttributeSpec("temperature", unit="°C")]),
        ("sensor.sun_next_rising", [AttributeSpec("value", Kind.TEXT)]),
        (
            "sensor.thermostat",
            [AttributeSpec("value", Kind.CHOICE, choices=("away", "comfort", "eco", "sleep"))],
        ),
        ("binary_sensor.movement_backyard", [AttributeSpec("motion", Kind.BOOLEAN)]),
        (
            "number.temperature_setting",
            [AttributeSpec("value", unit="°C", minimum=15, maximum=35, writable=True, step=1)],
        ),
        (
            "light.bed_light",
            [
                AttributeSpec("on", Kind.BOOLEAN, writable=True),
                AttributeSpec(
                    "brightness", unit="%", minimum=0, maximum=100, writable=True, step=1
                ),
                AttributeSpec(
                    *("color_temperature", Kind.NUMBER, "K", 2000, 6535, (), True, 1, 50)
                ),
            ],
        ),
        (
            "climate.heatpump",
            [
                AttributeSpec("mode", Kind.CHOICE, choices=("heat", "off"), writable=True),
                AttributeSpec(
                    "target_temperature", unit="°C", minimum=7, maximum=35, writable=True
                ),
                AttributeSpec("temperature", unit="°C"),
            ],
        ),
    ],
)
def test_a_domain_has_its_attributes(peer, vendor_id, attributes):
    assert list(found(peer.client())[vendor_id].attributes) == attributes


def test_a_thermostat_that_takes_only_a_range_has_no_single_target(peer):
    assert names(found(peer.client())["climate.ecobee"]) == ["mode", "temperature"]


def test_climate_speaks_the_unit_of_the_house(peer):
    peer.answers["/api/config"] = (200, payload("config") | {"unit_system": {"temperature": "°F"}})
    assert {a.unit for a in found(peer.client())["climate.heatpump"].attributes} == {"", "°F"}


def test_a_helper_number_is_written_like_a_number(peer):
    device = found(
        peer.says(state("input_number.setback", "3", min=0, max=5, unit_of_measurement="K"))
    )["input_number.setback"]
    assert device.attributes == (
        AttributeSpec("value", unit="K", minimum=0, maximum=5, writable=True),
    )


def test_a_lamp_that_cannot_dim_has_no_brightness(peer):
    device = found(
        peer.says(state("light.porch", "on", supported_color_modes=["onoff"], color_mode="onoff"))
    )["light.porch"]
    assert names(device) == ["on"]


def test_an_old_integration_without_color_modes_dims_if_it_tells_a_brightness(peer):
    devices = found(peer.says(state("light.old", "on", brightness=10), state("light.older", "on")))
    assert [names(device) for device in devices.values()] == [["on", "brightness"], ["on"]]


def test_a_sensor_without_class_is_called_value(peer):
    devices = found(
        peer.says(state("sensor.clicks", "5", state_class="total"), state("sensor.slogan", "hello"))
    )
    assert devices["sensor.clicks"].attributes == (AttributeSpec("value", Kind.NUMBER),)
    assert devices["sensor.slogan"].attributes == (AttributeSpec("value", Kind.TEXT),)


def test_a_class_of_an_integrations_own_making_without_unit_is_text(peer):
    device = found(peer.says(state("sensor.moon", "waxing", device_class="moon__phase")))[
        "sensor.moon"
    ]
    assert device.attributes == (AttributeSpec("moon__phase", Kind.TEXT),)


def test_a_unitless_class_of_numbers_is_a_number(peer):
    device = found(peer.says(state("sensor.pool", "7.1", device_class="ph")))["sensor.pool"]
    assert device.attributes == (AttributeSpec("ph", Kind.NUMBER),)


def test_options_that_are_no_words_are_left_out(peer):
    device = found(
        peer.says(
            state("sensor.phase", "a", device_class="enum", options=["a", 5, "b" * 300, "", "a"])
        )
    )["sensor.phase"]
    assert device.attributes == (AttributeSpec("value", Kind.CHOICE, choices=("a",)),)


def test_an_enum_without_options_is_text(peer):
    device = found(peer.says(state("sensor.phase", "x", device_class="enum", options=None)))[
        "sensor.phase"
    ]
    assert device.attributes == (AttributeSpec("value", Kind.TEXT),)


def test_a_binary_sensor_without_class_is_called_on(peer):
    device = found(peer.says(state("binary_sensor.thing", "off")))["binary_sensor.thing"]
    assert device.attributes == (AttributeSpec("on", Kind.BOOLEAN),)


def test_a_range_upside_down_is_no_range(peer):
    device = found(peer.says(state("number.odd", "3", min=9, max=1)))["number.odd"]
    assert device.attributes == (AttributeSpec("value", writable=True),)


def test_a_thermostat_without_modes_cannot_be_switched(peer):
    device = found(peer.says(state("climate.plain", "heat", supported_features=1)))["climate.plain"]
    assert device.attributes[0] == AttributeSpec("mode", Kind.CHOICE)


AWAY = [
    state("light.bed", "unavailable", supported_color_modes=["brightness"]),
    state(
        "climate.hall",
        "unavailable",
        hvac_modes=["off", "heat"],
        min_temp=7,
        max_temp=35,
        supported_features=385,
    ),
    state("number.volume", "unavailable", min=0, max=100, step=1),
    state(
        "sensor.power",
        "unavailable",
        device_class="power",
        unit_of_measurement="W",
        state_class="measurement",
    ),
    state("switch.heater", "unavailable"),
    state("binary_sensor.door", "unavailable", device_class="door"),
]
BACK = [
    state(
        "light.bed", "off", supported_color_modes=["brightness"], brightness=None, color_mode=None
    ),
    state(
        "climate.hall",
        "heat",
        hvac_modes=["off", "heat"],
        min_temp=7,
        max_temp=35,
        supported_features=385,
        temperature=20,
        current_temperature=19.5,
    ),
    state("number.volume", "42.0", min=0, max=100, step=1),
    state(
        "sensor.power",
        "12.5",
        device_class="power",
        unit_of_measurement="W",
        state_class="measurement",
    ),
    state("switch.heater", "on"),
    state("binary_sensor.door", "on", device_class="door"),
]


def test_an_entity_away_at_discovery_has_the_attributes_it_has_later(peer):
    assert found(peer.says(*AWAY)) == found(peer.says(*BACK))


@pytest.mark.parametrize("states", [AWAY, BACK])
def test_what_is_read_has_the_names_that_were_discovered(peer, states):
    client = peer.says(*states)
    discovered = [(device.vendor_id, name) for device in client.devices() for name in names(device)]
    assert [
        (r.vendor_id, r.attribute) for r in client.read([s["entity_id"] for s in states])
    ] == discovered


def test_an_empty_home_has_no_devices(peer):
    assert found(peer.says()) == {}


def test_malformed_states_do_not_hide_the_others(peer):
    good = state("switch.heater", "on")
    peer.answers["/api/states"] = (
        200,
        [None, 5, {}, {"entity_id": 7}, {"entity_id": "switch.../../x"}, good],
    )
    assert list(found(peer.client())) == ["switch.heater"]


# What they say


@pytest.mark.parametrize(
    ("vendor_id", "expected"),
    [
        ("switch.heater", {"on": False}),
        ("light.ceiling_lights", {"on": True, "brightness": 71, "color_temperature": 2631}),
        ("light.bed_light", {"on": False, "brightness": 0, "color_temperature": None}),
        ("climate.heatpump", {"mode": "heat", "target_temperature": 20, "temperature": 25}),
        ("number.volume", {"value": 42}),
        ("lock.front_door", {"locked": True}),
        ("lock.kitchen_door", {"locked": False}),
        ("sensor.heater_power", {"power": 0.4}),
        ("sensor.total_energy_kwh", {"energy": 0}),
        ("sensor.thermostat", {"value": "eco"}),
        ("binary_sensor.movement_backyard", {"motion": True}),
        ("binary_sensor.basement_floor_wet", {"moisture": False}),
        ("sensor.backup_next_scheduled_automatic_backup", {"value": None}),
    ],
)
def test_an_entity_is_read(peer, vendor_id, expected):
    assert values(peer.client(), vendor_id, "sun.sun", "switch.gone") == expected


def test_each_percent_of_brightness_is_read_back_as_it_was_ordered(peer):
    read = [
        values(peer.says(state("light.a", "on", brightness=round(255 * percent / 100))), "light.a")[
            "brightness"
        ]
        for percent in (1, 5, 33, 41, 50, 99, 100)
    ]
    assert read == [1, 5, 33, 41, 50, 99, 100]


def test_the_brightness_of_a_real_lamp_set_to_37_percent_is_37(peer):
    assert (
        values(peer.says(payload("state_light_at_37_percent")), "light.bed_light")["brightness"]
        == 37
    )


def test_the_dimmest_light_is_not_dark(peer):
    assert values(peer.says(state("light.a", "on", brightness=1)), "light.a")["brightness"] == 1


@pytest.mark.parametrize("jammed_or", ["jammed", "locking", "open", "opening"])
def test_only_a_locked_lock_is_locked(peer, jammed_or):
    assert values(peer.says(state("lock.door", jammed_or)), "lock.door") == {"locked": False}


def test_a_real_jammed_lock_is_not_locked(peer):
    assert values(peer.says(payload("state_lock_jammed")), "lock.poorly_installed_door") == {
        "locked": False
    }


def test_a_lock_still_unlocking_confirms_nothing(peer):
    assert values(peer.says(state("lock.door", "unlocking")), "lock.door") == {"locked": True}


@pytest.mark.parametrize("silent", ["unknown", "unavailable"])
def test_a_silent_entity_has_no_value_in_any_attribute(peer, silent):
    client = peer.says(state("light.bed", silent, supported_color_modes=["brightness"]))
    assert values(client, "light.bed") == {"on": None, "brightness": None}


def test_the_real_heater_made_unavailable_has_no_value(peer):
    client = peer.says(*payload("states_with_an_unavailable_switch"))
    assert values(client, "switch.heater") == {"on": None}


def test_a_thermostat_without_a_target_now_has_none(peer):
    client = peer.says(
        state(
            "climate.a", "off", hvac_modes=["off"], supported_features=1, current_temperature=None
        )
    )
    assert values(client, "climate.a") == {
        "mode": "off",
        "target_temperature": None,
        "temperature": None,
    }


def test_a_missing_state_is_no_value(peer):
    answer = state("switch.heater", "on")
    del answer["state"]
    assert values(peer.says(answer), "switch.heater") == {"on": None}


@pytest.mark.parametrize("mark", ["", "None", "none", "null", "nan", "NaN", "unknown"])
def test_a_mark_that_a_number_is_not_known_is_no_value(peer, mark):
    asked = state("sensor.power", mark, device_class="power", unit_of_measurement="W")
    lamp = state("light.bed", "on", brightness=mark, supported_color_modes=["brightness"])
    client = peer.says(asked, lamp)
    assert values(client, "sensor.power") == {"power": None}
    assert values(client, "light.bed") == {"on": True, "brightness": None}


def test_a_text_may_be_a_word_that_marks_nothing_in_a_number(peer):
    asked = state("sensor.next", "none")
    assert values(peer.says(asked), "sensor.next") == {"value": "none"}


@pytest.mark.parametrize(
    "nonsense",
    ["inf", "-Infinity", "1e999", "1_000", " 12 ", "١٢", "0x10", "12,5", "1" * 60],
)
def test_a_number_that_is_none_is_refused_where_readings_are_stored(peer, nonsense):
    client = peer.says(
        state("sensor.power", nonsense, device_class="power", unit_of_measurement="W")
    )
    with pytest.raises(Unacceptable):
        clean_value(values(client, "sensor.power")["power"], Kind.NUMBER)


@pytest.mark.parametrize(
    ("nonsense", "attribute", "kind"),
    [
        (state("switch.a", "perhaps"), "on", Kind.BOOLEAN),
        (state("lock.a", "ajar"), "locked", Kind.BOOLEAN),
        (state("light.a", "on", brightness="bright"), "brightness", Kind.NUMBER),
        (state("light.a", "on", brightness=[1]), "brightness", Kind.NUMBER),
        (state("climate.a", "heat", current_temperature=True), "temperature", Kind.NUMBER),
        (state("climate.a", "heat", temperature=1e300), "target_temperature", Kind.NUMBER),
    ],
)
def test_nonsense_is_refused_where_readings_are_stored(peer, nonsense, attribute, kind):
    client = peer.says(nonsense)
    with pytest.raises(Unacceptable):
        clean_value(values(client, nonsense["entity_id"])[attribute], kind)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("0.0", 0), ("-3.5", -3.5), ("1e3", 1000), ("+2", 2), ("007", 7)]
)
def test_numbers_come_as_text(peer, text, number):
    assert values(peer.says(state("sensor.a", text, state_class="measurement")), "sensor.a") == {
        "value": number
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            state("sensor.a", "1.5", device_class="power", unit_of_measurement="kW"),
            AttributeSpec("power", Kind.NUMBER, "kW"),
        ),
        (state("sensor.a", "3.4"), AttributeSpec("value", Kind.TEXT)),
        (
            state("sensor.a", "3.4", unit_of_measurement="mm"),
            AttributeSpec("value", Kind.NUMBER, "mm"),
        ),
        (
            state("climate.a", "cool", hvac_modes=["cool", "off"], supported_features=0),
            AttributeSpec("mode", Kind.CHOICE, choices=("cool", "off"), writable=True),
        ),
        (
            state("number.a", "30", min=10, max=40, step=0.5, unit_of_measurement="s"),
            AttributeSpec("value", Kind.NUMBER, "s", 10, 40, writable=True, step=0.5),
        ),
    ],
)
def test_a_reading_tells_what_its_attribute_is_by_the_same_answer(peer, asked, expected):
    specs = [reading.spec for reading in peer.says(asked).read([asked["entity_id"]])]
    assert expected in specs


def test_a_thermostat_is_read_in_the_unit_of_the_house(peer):
    config = payload("config")
    config["unit_system"]["temperature"] = "°F"
    peer.answers["/api/config"] = (200, config)
    lounge = state(
        "climate.a",
        "heat",
        hvac_modes=["heat"],
        supported_features=1,
        temperature=68,
        current_temperature=66,
        target_temp_step=0.5,
    )
    specs = {reading.attribute: reading.spec for reading in peer.says(lounge).read(["climate.a"])}
    assert (specs["target_temperature"].unit, specs["temperature"].unit) == ("°F", "°F")
    assert specs["target_temperature"].step == 0.5


# When they said it


def test_the_time_is_when_it_was_last_reported(peer):
    [reading] = peer.says(state("switch.a", "on")).read(["switch.a"])
    assert reading.observed_at == datetime(2026, 11, 21, 12, 0, 2, 500_000, UTC)


@pytest.mark.parametrize(
    "reported", [None, "yesterday", 5, "0001-01-01T00:00:00+14:00", "2026-11-21T12:00:02"]
)
def test_without_it_the_time_of_the_last_update_stands(peer, reported):
    [reading] = peer.says(state("switch.a", "on") | {"last_reported": reported}).read(["switch.a"])
    assert reading.observed_at == datetime(2026, 11, 21, 12, 0, 1, tzinfo=UTC)


def test_a_time_that_cannot_be_read_is_none(peer):
    [reading] = peer.says({"entity_id": "switch.a", "state": "on", "last_updated": "soon"}).read(
        ["switch.a"]
    )
    assert reading.observed_at is None


def test_times_of_another_zone_are_utc(peer):
    [reading] = peer.says(
        state("switch.a", "on") | {"last_reported": "2026-11-21T13:00:00+01:00"}
    ).read(["switch.a"])
    assert (reading.observed_at, reading.observed_at.tzinfo) == (
        datetime(2026, 11, 21, 12, tzinfo=UTC),
        UTC,
    )


# How often they are asked


def test_five_hundred_entities_are_one_call(peer):
    client = peer.says(*(state(f"switch.s{number}", "on") for number in range(500)))
    assert len(list(client.read([f"switch.s{number}" for number in range(500)]))) == 500
    assert peer.asked == [("GET", "/api/states")]


def test_one_entity_is_asked_for_alone(peer):
    assert values(peer.says(state("switch.a", "on")), "switch.a") == {"on": True}
    assert peer.asked == [("GET", "/api/states/switch.a")]


def test_nothing_asked_is_no_call(peer):
    assert values(peer.client()) == {}
    assert peer.asked == []


def test_an_entity_that_is_gone_yields_nothing(peer):
    assert values(peer.client(), "switch.gone") == {}


def test_a_missing_page_is_no_missing_entity(peer):
    peer.answers.clear()
    with pytest.raises((ApiError, ApiRefused)) as caught:
        values(peer.client(), "switch.heater")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "vendor_id",
    ["switch.a/../../config", "switch.a?x=1", "../config", "switch.A", "", "switch", "sun.sun"],
)
def test_an_id_that_is_none_reaches_no_path(peer, vendor_id):
    assert values(peer.client(), vendor_id) == {}
    assert peer.asked == []


# Orders


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "value", "service", "fields"),
    [
        ("switch.heater", "on", True, "switch/turn_on", {}),
        ("switch.heater", "on", False, "switch/turn_off", {}),
        ("input_boolean.relay", "on", True, "input_boolean/turn_on", {}),
        ("light.bed_light", "on", False, "light/turn_off", {}),
        ("light.bed_light", "brightness", 40.0, "light/turn_on", {"brightness_pct": 40}),
        ("light.bed_light", "brightness", 0.0, "light/turn_on", {"brightness_pct": 0}),
        ("light.bed_light", "color_temperature", 3e3, "light/turn_on", {"color_temp_kelvin": 3000}),
        ("climate.heatpump", "mode", "off", "climate/set_hvac_mode", {"hvac_mode": "off"}),
        (
            "climate.heatpump",
            "target_temperature",
            21.5,
            "climate/set_temperature",
            {"temperature": 21.5},
        ),
        ("number.volume", "value", 30.0, "number/set_value", {"value": 30.0}),
        ("input_number.setback", "value", 2.5, "input_number/set_value", {"value": 2.5}),
        ("lock.front_door", "locked", True, "lock/lock", {}),
        ("lock.front_door", "locked", False, "lock/unlock", {}),
    ],
)
def test_an_order_calls_its_service(peer, vendor_id, attribute, value, service, fields):
    peer.answers[f"/api/services/{service}"] = (200, payload("turn_on_answer"))
    peer.client().write(vendor_id, attribute, value)
    assert peer.asked == [("POST", f"/api/services/{service}")]
    assert peer.posted == [{"entity_id": vendor_id, **fields}]


def test_what_an_unavailable_entity_is_ordered_counts_as_accepted(peer):
    peer.answers["/api/services/switch/turn_off"] = (200, payload("turn_off_unavailable_answer"))
    peer.client().write("switch.heater", "on", False)
    assert len(peer.posted) == 1


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "value"),
    [
        ("sensor.heater_power", "power", 5.0),
        ("sensor.heater_power", "value", 5.0),
        ("climate.heatpump", "temperature", 5.0),
        ("switch.heater", "brightness", 5.0),
        ("media_player.bedroom", "on", True),
        ("switch.a/../b", "on", True),
        ("switch", "on", True),
        ("switch.heater", "on", 1.0),
        ("light.bed_light", "brightness", 101.0),
        ("light.bed_light", "brightness", 40.5),
        ("climate.heatpump", "target_temperature", float("nan")),
        ("climate.heatpump", "mode", True),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_here(peer, vendor_id, attribute, value):
    with pytest.raises(ApiRefused):
        peer.client().write(vendor_id, attribute, value)
    assert peer.asked == []


def test_there_is_no_timer(peer):
    with pytest.raises(ApiRefused, match="has no timer"):
        peer.client().write("switch.heater", "on", True, timedelta(minutes=5))
    assert peer.asked == []


def test_an_answer_that_is_no_list_leaves_the_order_unknown(peer):
    with pytest.raises(ApiError):
        peer.fails(200, {"message": "Welcome to the hotel"}).write("switch.heater", "on", True)


# Failures


def ask_in_every_way(client: Client) -> Iterator[Any]:
    yield client.identify
    yield client.devices
    yield lambda: list(client.read(["switch.heater", "switch.ac"]))
    yield lambda: list(client.read(["switch.heater"]))
    yield lambda: client.write("switch.heater", "on", True)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"401: Unauthorized", ApiRefused),
        (403, b"403: Forbidden", ApiRefused),
        (429, b"", ApiError),
        (500, b"500 Internal Server Error", ApiError),
        (503, b"", ApiError),
        (200, b"<html>garbage", ApiError),
        (200, b"", ApiError),
        (200, b'{"half": ', ApiError),
    ],
)
def test_a_failure_is_told_as_what_it_is(peer, status, body, error):
    for call in ask_in_every_way(peer.fails(status, body)):
        with pytest.raises(error):
            call()


def test_a_bad_request_is_refused_for_good(peer):
    with pytest.raises(ApiRefused):
        peer.fails(400, b"400: Bad Request").write("switch.heater", "on", True)


def test_how_long_to_wait_is_passed_on(peer):
    peer.headers["Retry-After"] = "90"
    with pytest.raises(ApiError) as caught:
        peer.fails(429).devices()
    assert caught.value.retry_after == 90


def test_a_home_that_hangs_is_given_up(peer):
    peer.hangs = True
    for method in ("identify", "devices"):
        with pytest.raises(ApiError):
            getattr(peer.client(timeout_seconds=0.2), method)()


@pytest.mark.parametrize("answer", [{}, None, 5, "states", {"message": "ok"}])
def test_states_that_are_no_list_are_an_error(peer, answer):
    peer.answers["/api/states"] = (200, answer)
    with pytest.raises(ApiError):
        values(peer.client(), "switch.heater", "switch.ac")


@pytest.mark.parametrize("answer", [[], {}, None, state("switch.other", "on")])
def test_a_single_state_that_is_none_is_an_error(peer, answer):
    peer.answers["/api/states/switch.heater"] = (200, answer)
    with pytest.raises(ApiError):
        values(peer.client(), "switch.heater")


# What was


NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def history(
    peer: Peer, vendor_id: str, answer: Any, **window: datetime
) -> list[tuple[str, Value | None]]:
    since, until = window.get("since", NOON), window.get("until", NOON + timedelta(hours=1))
    peer.answers[f"/api/states/{vendor_id}"] = (
        200,
        next(s for s in payload("states") if s["entity_id"] == vendor_id),
    )
    peer.answers[f"/api/history/period/{since:%Y-%m-%dT%H:%M:%S.%fZ}"] = (200, answer)
    return [
        (reading.attribute, reading.value)
        for reading in peer.client().history(vendor_id, since, until)
    ]


def test_history_tells_what_a_sensor_measured(peer):
    told = history(peer, "sensor.heater_power", payload("history_power"))
    assert told == [("power", None), ("power", 0.4), ("power", 1850)]


def test_history_tells_when_a_switch_was_away(peer):
    assert history(peer, "switch.heater", payload("history_switch")) == [
        ("on", False),
        ("on", True),
        ("on", None),
    ]


def test_history_asks_for_one_entity_and_no_more_than_it_needs(peer):
    history(peer, "switch.heater", [])
    assert peer.queries[-1] == {
        "filter_entity_id": ["switch.heater"],
        "end_time": ["2026-11-21T13:00:00+00:00"],
        "significant_changes_only": ["0"],
    }


def test_history_leaves_out_what_lies_outside(peer):
    assert history(
        peer,
        "switch.heater",
        payload("history_switch"),
        until=NOON + timedelta(minutes=10, seconds=20),
    ) == [("on", False)]


def recorded(entity_state: str, **attributes: Any) -> list[Any]:
    at = "2026-11-21T12:00:05+00:00"
    return [[{"state": entity_state, "attributes": attributes, "last_updated": at}]]


def test_history_tells_the_mode_and_the_temperatures_of_then(peer):
    answer = recorded("off", temperature=17, current_temperature=18.5)
    told = history(peer, "climate.heatpump", answer)
    assert told == [("mode", "off"), ("target_temperature", 17), ("temperature", 18.5)]


def test_history_tells_how_bright_a_light_was(peer):
    told = history(peer, "light.bed_light", recorded("on", brightness=128))
    assert told == [("on", True), ("brightness", 50), ("color_temperature", None)]


def test_history_tells_the_unit_of_then(peer):
    answer = recorded("1.85", unit_of_measurement="kW", device_class="power")
    history(peer, "sensor.heater_power", answer)
    (reading,) = peer.client().history("sensor.heater_power", NOON, NOON + timedelta(hours=1))
    assert (reading.value, reading.spec.unit) == (1.85, "kW")


def test_what_had_no_unit_then_is_no_number_of_the_present_unit(peer):
    answer = recorded("1.85", device_class="power")
    history(peer, "sensor.heater_power", answer)
    (reading,) = peer.client().history("sensor.heater_power", NOON, NOON + timedelta(hours=1))
    assert (reading.spec.kind, reading.spec.unit) == (Kind.TEXT, "")


@pytest.mark.parametrize(
    "answer", [[], {}, [[]], [5], [[5, {}, {"state": 5}, {"state": "on"}]], None]
)
def test_history_without_anything_of_use_is_empty(peer, answer):
    assert history(peer, "switch.heater", answer) == []


def test_an_entity_that_is_gone_has_no_history(peer):
    assert list(peer.client().history("switch.gone", NOON, NOON + timedelta(hours=1))) == []


def test_an_id_that_is_none_has_no_history(peer):
    assert list(peer.client().history("../config", NOON, NOON + timedelta(hours=1))) == []
    assert peer.asked == []
