"""The MQTT vendor against a real Mosquitto, with devices that speak as documented."""

import json
import logging
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.net import transport
from core.net.errors import ApiError, ApiRefused, Unreachable
from core.net.http import Http
from core.net.mqtt import Broker, Message
from core.readings import DeviceSpec, Kind
from core.vendors import Update, _mqtt_session
from core.vendors import mqtt as vendor
from core.vendors._mqtt_discovery import Discovery, _path
from core.vendors._mqtt_shelly import Shelly
from core.vendors._mqtt_tasmota import Tasmota
from core.vendors._mqtt_zigbee import Zigbee2Mqtt
from core.vendors.mqtt import Client
from tests.core.mosquitto import House, Mosquitto, payload, running
from tests.core.vendors.test_contract import anything, check_device, check_reading
from tests.waiting import wait_until

LOOPBACK = (ip_network("127.0.0.0/8"),)
SHELLY = "shelly:shellyplus1pm-a8032abe54dc"
PLUG, FAN, GARAGE = "tasmota:plug", "discovery:switch_fan", "discovery:sensor_garage_temperature"
CELLAR, LAMP = "zigbee2mqtt:0x00158d00018255df", "zigbee2mqtt:0x000b57fffec6a5b2"
EVERYTHING = {SHELLY, PLUG, FAN, GARAGE, CELLAR, LAMP}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running(tmp_path_factory.mktemp("mosquitto")) as started:
        yield started


@pytest.fixture(scope="module")
def house(broker: Mosquitto) -> Iterator[House]:
    with House(broker) as made:
        made.tasmota()
        made.zigbee()
        made.shelly()
        made.announced()
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is near: what comes comes soon. On a busy machine answers may take longer."""
    monkeypatch.setattr(_mqtt_session, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(_mqtt_session, "ANSWER_SECONDS", 20.0)
    monkeypatch.setattr(vendor, "LISTEN_SECONDS", 0.05)


def http(address: str, credential: str = "", **options: Any) -> Http:
    return Http(
        address,
        credential=credential,
        **{"networks": LOOPBACK, "timeout_seconds": 30, **options},
    )


def client(broker: Mosquitto) -> Client:
    return Client(http(broker.address))


def read(broker: Mosquitto, *ids: str) -> dict[str, Any]:
    found = client(broker).read(ids)
    return {f"{one.vendor_id} {one.attribute}": one.value for one in found if one.vendor_id in ids}


# Discovery


def test_all_four_dialects_are_discovered(broker: Mosquitto, house: House) -> None:
    def discovered() -> dict[str, DeviceSpec]:
        found = {device.vendor_id: device for device in client(broker).devices()}
        # On a busy machine the second answer of the plug may come late.
        is_whole = found.keys() == EVERYTHING and len(found[PLUG].attributes) > 5
        return found if is_whole else {}

    devices = wait_until(discovered)
    for device in devices.values():
        check_device(device)
    names = {id: {spec.name for spec in device.attributes} for id, device in devices.items()}
    assert names[PLUG] == {
        *("on", "energy", "power", "voltage", "current"),
        *("temperature", "temperature_am2301", "humidity", "dew_point"),
    }
    assert names[LAMP] == {"on", "brightness"} | {"effect"}
    assert names[CELLAR] == {"battery", "temperature", "humidity"}
    assert names[SHELLY] >= {"on", "power", "energy"}
    assert (names[FAN], names[GARAGE]) == ({"on"}, {"temperature"})


def test_what_can_be_ordered_is_known(broker: Mosquitto, house: House) -> None:
    writable = {
        f"{device.vendor_id} {spec.name}"
        for device in client(broker).devices()
        for spec in device.attributes
        if spec.writable
    }
    assert writable == {
        *(f"{PLUG} on", f"{SHELLY} on", f"{FAN} on"),
        *(f"{LAMP} on", f"{LAMP} brightness", f"{LAMP} effect"),
    }


# Reading: a poll asks those that can be asked


def test_a_poll_asks_and_stores_what_is_answered(broker: Mosquitto, house: House) -> None:
    def answered() -> dict[str, Any]:
        values = read(broker, *EVERYTHING)
        return values if f"{PLUG} energy" in values else {}

    values = wait_until(answered)
    assert values[f"{PLUG} on"] is False
    assert (values[f"{PLUG} energy"], values[f"{PLUG} temperature"]) == (83.112, 20.6)
    assert (values[f"{LAMP} on"], values[f"{LAMP} brightness"]) == (False, 50.0)
    assert values[f"{SHELLY} voltage"] > 200


def test_what_cannot_be_asked_stays_as_it_is(broker: Mosquitto, house: House) -> None:
    asked = client(broker)
    list(asked.read(EVERYTHING))
    assert asked.told is not None
    assert set(asked.told) == {PLUG, LAMP, SHELLY}


def test_a_retained_state_is_no_measurement(broker: Mosquitto, house: House) -> None:
    house.tell("garage/fan/state", "1", retain=True)
    house.tell("zigbee2mqtt/cellar", {"temperature": 99.0}, retain=True)
    try:
        assert read(broker, FAN, CELLAR) == {}
    finally:
        house.tell("garage/fan/state", "", retain=True)
        house.tell("zigbee2mqtt/cellar", "", retain=True)


def test_a_retained_state_with_a_time_of_its_own_is_one_of_then(
    broker: Mosquitto, house: House
) -> None:
    then = "2026-11-20T07:00:00+00:00"
    content = {"temperature": 12.5, "last_seen": then}
    house.tell("zigbee2mqtt/cellar", content, retain=True)
    try:
        [reading] = wait_until(
            lambda: [one for one in client(broker).read([CELLAR]) if one.vendor_id == CELLAR]
        )
    finally:
        house.tell("zigbee2mqtt/cellar", "", retain=True)
    assert (reading.attribute, reading.value) == ("temperature", 12.5)
    assert reading.observed_at == datetime(2026, 11, 20, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("topic", "away", "back", "vendor_id"),
    [
        ("tele/gone/LWT", "Offline", "", "tasmota:gone"),
        ("zigbee2mqtt/lamp/availability", '{"state": "offline"}', "", LAMP),
        ("shellygone-1/online", "false", "", "shelly:shellygone-1"),
        ("garage/fan/status", "offline", "", FAN),
    ],
)
def test_who_is_away_says_so(
    broker: Mosquitto, house: House, topic: str, away: str, back: str, vendor_id: str
) -> None:
    house.answers.pop("zigbee2mqtt/lamp/get", None)
    house.tell(topic, away, retain=True)
    try:

        def is_told() -> bool:
            asked = client(broker)
            assert not [one for one in asked.read([vendor_id]) if one.vendor_id == vendor_id]
            return vendor_id in (asked.told or ())

        wait_until(is_told)
    finally:
        house.tell(topic, back, retain=True)
        house.zigbee()


def test_each_channel_of_a_shelly_is_a_device_that_goes_away_with_it(
    broker: Mosquitto, house: House
) -> None:
    second = {"id": 1, "output": True, "apower": 7.5}
    house.shelly("shellystrip-1", {"switch:1": second})
    ids = ["shelly:shellystrip-1", "shelly:shellystrip-1/switch:1"]
    try:
        found = {one.vendor_id: one for one in client(broker).devices() if one.vendor_id in ids}
        assert {one.hardware for one in found.values()} == {ids[0]}
        assert read(broker, *ids)[f"{ids[1]} power"] == 7.5
        client(broker).write(ids[1], "on", False)
        wait_until(lambda: read(broker, *ids)[f"{ids[1]} on"] is False)
        assert read(broker, *ids)[f"{ids[0]} on"] is True
        house.answers.pop("shellystrip-1/rpc")
        house.tell("shellystrip-1/online", "false", retain=True)

        def are_away() -> bool:
            asked = client(broker)
            return not list(asked.read(ids)) and set(asked.told or ()) == set(ids)

        wait_until(are_away)
    finally:
        house.tell("shellystrip-1/online", "", retain=True)


def announced(id: str, **config: Any) -> Message:
    payload = {"stat_t": f"{id}/state", "name": id, **config}
    return Message(f"homeassistant/sensor/{id}/config", json.dumps(payload).encode(), True)


@pytest.mark.parametrize("ids", ["box", ["box", "other"]])
def test_what_announces_the_same_device_is_of_one_hardware(ids: Any) -> None:
    found = Discovery()
    found.take(announced("one", dev={"ids": ids, "name": "Box"}))
    found.take(announced("two", device={"identifiers": ids, "name": "Box"}))
    found.take(announced("three", dev={"ids": "alone", "name": "Alone"}))
    found.take(announced("four", dev={"ids": [7]}))
    found.take(announced("five", dev=[]))
    hardware = {one.vendor_id: (one.hardware, one.hardware_name) for one in found.devices()}
    assert hardware == {
        "discovery:sensor_one": ("box", "Box"),
        "discovery:sensor_two": ("box", "Box"),
        **{f"discovery:sensor_{id}": ("", "") for id in ("three", "four", "five")},
    }


# Ordering


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "value"),
    [(PLUG, "on", True), (SHELLY, "on", True), (LAMP, "on", True), (LAMP, "brightness", 80.0)],
)
def test_what_is_ordered_is_read_back(
    broker: Mosquitto, house: House, vendor_id: str, attribute: str, value: Any
) -> None:
    client(broker).write(vendor_id, attribute, value)
    wait_until(lambda: read(broker, vendor_id).get(f"{vendor_id} {attribute}") == value)


def test_an_announced_switch_is_ordered_in_its_own_words(broker: Mosquitto, house: House) -> None:
    client(broker).write(FAN, "on", True)
    wait_until(lambda: ("garage/fan/set", "1") in house.heard)


def test_an_order_is_not_retained(broker: Mosquitto, house: House) -> None:
    """One that a broker kept would be done again by a device that comes back."""
    client(broker).write(FAN, "on", False)
    with Broker(http(broker.address)) as opened:
        opened.subscribe(["garage/fan/set"])
        assert opened.receive(0.3) is None


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "value"),
    [
        (PLUG, "energy", 1.0),
        (LAMP, "brightness", 101.0),
        (LAMP, "effect", "explode"),
        (FAN, "speed", 1.0),
        ("unknown:1", "on", True),
    ],
)
def test_what_cannot_be_ordered_is_refused(
    broker: Mosquitto, house: House, vendor_id: str, attribute: str, value: Any
) -> None:
    with pytest.raises(ApiRefused):
        client(broker).write(vendor_id, attribute, value)


def test_nothing_is_ordered_of_a_device_that_does_not_answer(broker: Mosquitto) -> None:
    with pytest.raises(ApiError, match="nothing was ordered"):
        client(broker).write("tasmota:nobody", "on", True)


# Listening


def test_what_devices_tell_is_heard_at_once(broker: Mosquitto, house: House) -> None:
    ids = [CELLAR, FAN, GARAGE, PLUG, SHELLY]
    found = client(broker).listen(ids, timedelta(hours=1))
    first = next(found)
    assert first.is_whole and PLUG in first.vendor_ids
    house.tell("zigbee2mqtt/cellar", {"temperature": 8.5, "humidity": 71, "linkquality": 66})
    house.tell("garage/climate/state", {"env": {"temperature": "3.5"}})
    house.tell("garage/fan/state", "0")
    house.tell("tele/plug/STATE", {"Time": "2026-11-24T17:31:45", "POWER": "ON"})
    params = {"ts": 1.0, "switch:0": {"id": 0, "apower": 42.5}}
    house.tell(f"{SHELLY[7:]}/events/rpc", {"method": "NotifyStatus", "params": params})
    values: dict[str, Any] = {}
    while len(values) < 6:
        values |= {f"{one.vendor_id} {one.attribute}": one.value for one in next(found).readings}
    assert values == {
        f"{CELLAR} temperature": 8.5,
        f"{CELLAR} humidity": 71,
        f"{GARAGE} temperature": 3.5,
        f"{FAN} on": False,
        f"{PLUG} on": True,
        f"{SHELLY} power": 42.5,
    }


def test_others_devices_are_not_told_of(broker: Mosquitto, house: House) -> None:
    found = client(broker).listen([FAN], timedelta(hours=1))
    next(found)
    house.tell("tele/plug/STATE", {"POWER": "ON"})
    house.tell("garage/fan/state", "1")
    update: Update = next(one for one in found if one.vendor_ids)
    assert list(update.vendor_ids) == [FAN]


def test_a_broker_that_goes_away_is_noticed(tmp_path: Any) -> None:
    with running(tmp_path) as own:
        found = client(own).listen([PLUG], timedelta(hours=1))
        next(found)
        own.stop()
        with pytest.raises(Unreachable, match="broke off"):
            list(found)


# The broker


def test_nobody_there_is_unreachable(tmp_path: Any) -> None:
    with running(tmp_path) as own:
        own.stop()
        with pytest.raises(Unreachable, match="refused the connection"):
            client(own).identify()


@pytest.mark.parametrize("credential", ["", "me:wrong"])
def test_a_broker_with_a_password_refuses_others(tmp_path: Any, credential: str) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("me:right\n")
    hashed = ["mosquitto_passwd", "-U", str(passwords)]
    subprocess.run(hashed, check=True)
    lines = ("allow_anonymous false", f"password_file {passwords}")
    with running(tmp_path, *lines) as own:
        with pytest.raises(ApiRefused) as caught:
            Client(http(own.address, credential)).identify()
        assert caught.value.status == 401
        assert "wrong" not in str(caught.value)
        assert Client(http(own.address, "me:right")).identify().key == ""


def test_it_is_also_spoken_over_tls(tmp_path: Any, certificate: Any, tls: Any) -> None:
    lines = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {certificate}")
    with running(tmp_path, *lines) as own:
        assert Client(http(own.address.replace("mqtt:", "mqtts:"))).devices() == []


def test_a_certificate_that_nobody_vouches_for_is_refused(
    tmp_path: Any, certificate: Any, untrusted_tls: Any
) -> None:
    transport._tls_context.cache_clear()
    lines = ("allow_anonymous true", f"certfile {certificate}", f"keyfile {certificate}")
    with running(tmp_path, *lines) as own, pytest.raises(ApiRefused, match="not trusted"):
        Client(http(own.address.replace("mqtt:", "mqtts:"))).identify()


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1"])
def test_addresses_are_checked_as_for_http(host: str) -> None:
    with pytest.raises(ApiRefused, match="never connected to|GATEWAY_NETWORKS"):
        Client(http(f"mqtt://{host}", networks=())).identify()


def test_a_message_that_is_too_large_ends_the_connection(broker: Mosquitto, house: House) -> None:
    with Broker(http(broker.address, max_bytes=10_000)) as opened:
        opened.subscribe(["large"])
        house.tell("large", "x" * 20_000)
        with pytest.raises(ApiError, match="more than 10,000 bytes"):
            opened.receive(30)


def test_an_address_of_http_is_none_of_a_broker() -> None:
    with pytest.raises(ApiRefused, match="mqtt://"):
        Client(http("http://127.0.0.1")).identify()


# Templates


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("", None),
        ("{{ value }}", None),
        ("{{ value | float }}", None),
        ("{{ value_json.a }}", ("a",)),
        ("{{value_json.a.b|float(0)}}", ("a", "b")),
        ("{{ value_json['a b'][\"c\"] }}", ("a b", "c")),
        ("{{ value_json.a | is_defined }}", ("a",)),
    ],
)
def test_simple_templates_are_read(template: str, path: tuple[str, ...] | None) -> None:
    assert _path(template) == path


@pytest.mark.parametrize(
    "template",
    [
        "{{ value_json.a * 2 }}",
        "{% if value %}1{% endif %}",
        "{{ value.a }}",
        "{{ states('a') }}",
        5,
    ],
)
def test_another_template_is_left_out_and_named(
    template: object, caplog: pytest.LogCaptureFixture
) -> None:
    discovery = Discovery()
    config = {"stat_t": "a/b", "val_tpl": template}
    with caplog.at_level(logging.WARNING):
        message = Message("homeassistant/sensor/a/config", json.dumps(config).encode(), True)
        assert list(discovery.take(message)) == []
    assert list(discovery.devices()) == []
    assert "homeassistant/sensor/a/config is left out: its template" in caplog.text


def test_an_announcement_that_is_taken_back_is_gone() -> None:
    discovery = Discovery()
    topic = "homeassistant/sensor/a/config"
    config = json.dumps(payload("mqtt/discovery_sensor_config")).encode()
    discovery.take(Message(topic, config, True))
    assert [device.attributes[0].kind for device in discovery.devices()] == [Kind.NUMBER]
    discovery.take(Message(topic, b"", True))
    assert list(discovery.devices()) == []


# Whatever devices say

TOPICS = st.sampled_from(
    [
        *("a/online", "a/events/rpc", "tele/plug/LWT", "tele/plug/STATE", "stat/plug/STATUS10"),
        *("zigbee2mqtt/bridge/devices", "zigbee2mqtt/lamp", "zigbee2mqtt/lamp/availability"),
        *("homeassistant/sensor/a/config", "homeassistant/switch/a/b/config", "a/b"),
    ]
)
KEYS = ["POWER", "POWER2", "ENERGY", "AM2301", "Dimmer", "state", "brightness", "last_seen"]
CONTENT = st.dictionaries(st.sampled_from([*KEYS, "stat_t", "cmd_t", "val_tpl", "~"]), anything)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(said=st.lists(st.tuples(TOPICS, CONTENT | anything, st.booleans()), max_size=8))
def test_whatever_is_said_is_refused_or_well_formed(said: list[tuple[str, Any, bool]]) -> None:
    dialects = (Shelly(), Tasmota(), Zigbee2Mqtt(), Discovery())
    devices = payload("mqtt/zigbee_bridge_devices")
    first = [("tele/plug/LWT", "Online", True), ("zigbee2mqtt/bridge/devices", devices, True)]
    for topic, content, retained in [*first, *said]:
        text = content if isinstance(content, str) else json.dumps(content)
        message = Message(topic, text.encode(errors="replace"), retained)
        for dialect in dialects:
            for reading in dialect.take(message):
                check_reading(reading)
    for dialect in dialects:
        for device in dialect.devices():
            check_device(device)
