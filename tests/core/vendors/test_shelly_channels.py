"""A Shelly of several channels is a device for each: simulated devices, and recorded payloads."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from core.net.errors import ApiRefused
from core.net.http import Http
from core.readings import DeviceSpec
from core.simulator import BLIND, LAMP, STRIP, Simulator
from core.vendors._shelly import MOST_CHANNELS, changed_readings, devices, readings
from core.vendors.shelly import Client

LOOPBACK = (ip_network("127.0.0.0/8"),)
HARDWARE = "shellypro4pm-f008d1d8b8b8"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=3, kinds=(STRIP, LAMP, BLIND)) as simulator:
        yield simulator


def client(simulator: Simulator, number: int = 0) -> Client:
    return Client(Http(simulator.address(number), networks=LOOPBACK))


def described(status: dict[str, Any], config: dict[str, Any] | None = None) -> list[DeviceSpec]:
    return list(devices("hw", "Workshop", status, config or {}))


def test_each_switch_is_a_device_with_plain_names(simulator):
    found = client(simulator).devices()
    hardware = simulator.devices[0].id
    assert [device.vendor_id for device in found] == [
        hardware,
        *(f"{hardware}/switch:{number}" for number in (1, 2, 3)),
    ]
    assert {device.hardware for device in found} == {hardware}
    assert {device.hardware_name for device in found} == {"Workshop"}
    assert {device.model for device in found} == {"Pro4PM"}
    for device in found:
        assert device.attributes[0].name == "on"
        assert "chip_temperature" in [attribute.name for attribute in device.attributes]


def test_a_channel_has_the_name_of_its_configuration(simulator):
    names = [device.name for device in client(simulator).devices()]
    assert names == ["Bench light", "Lathe", "Dust extractor", "Workshop 4"]


def test_one_channel_is_one_device_as_ever(simulator):
    for number in (1, 2):
        [device] = client(simulator, number).devices()
        assert (device.vendor_id, device.hardware) == (simulator.devices[number].id, "")


def test_one_call_reads_all_channels(simulator):
    reader = client(simulator)
    ids = [device.vendor_id for device in reader.devices()]
    simulator.devices[0].channels[2].on = True
    before = simulator.devices[0].requests
    on = {one.vendor_id: one.value for one in reader.read(ids) if one.attribute == "on"}
    assert on == {ids[0]: False, ids[1]: False, ids[2]: True, ids[3]: False}
    assert simulator.devices[0].requests == before + 1


def test_nothing_is_told_of_channels_that_nobody_asked_for(simulator):
    wanted = f"{simulator.devices[0].id}/switch:1"
    assert {one.vendor_id for one in client(simulator).read([wanted])} == {wanted}


def test_an_order_switches_its_channel_alone(simulator):
    client(simulator).write(f"{simulator.devices[0].id}/switch:2", "on", True)
    assert [channel.on for channel in simulator.devices[0].channels] == [False, False, True, False]


def test_there_is_no_channel_that_the_device_does_not_have(simulator):
    with pytest.raises(ApiRefused, match="no 'on' that can be set"):
        client(simulator).write(f"{simulator.devices[0].id}/switch:4", "on", True)
    with pytest.raises(ApiRefused, match="no 'on_1' that can be set"):
        client(simulator).write(simulator.devices[0].id, "on_1", True)


def test_what_is_no_channels_stays_with_the_hardware():
    found = described(
        {
            "switch:0": {"output": True},
            "switch:1": {"output": True},
            "input:0": {"state": True},
            "input:1": {"state": True},
            "temperature:100": {"tC": 20.0},
        }
    )
    names = [[attribute.name for attribute in device.attributes] for device in found]
    assert names == [["on", "temperature_100", "input", "input_1"], ["on"]]


def test_of_different_kinds_each_has_plain_names():
    found = described(
        {
            "rgb:0": {"output": True, "brightness": 5, "rgb": [1, 2, 3]},
            "cct:0": {"output": True, "brightness": 5, "ct": 3000},
        },
        {"rgb:0": {"name": "Strip"}, "cct:0": {"name": None}},
    )
    assert {device.vendor_id: device.name for device in found} == {
        "hw": "Workshop 1",
        "hw/rgb:0": "Strip",
    }
    names = {device.vendor_id: {one.name for one in device.attributes} for device in found}
    assert names == {
        "hw": {"on", "brightness", "color_temperature"},
        "hw/rgb:0": {"on", "brightness", "color"},
    }


def test_a_change_is_told_of_its_channel_alone():
    status = {"switch:0": {"output": True}, "switch:1": {"output": False}}
    told = changed_readings("hw", status, {"switch:1": {"output": False}})
    assert [(one.vendor_id, one.attribute, one.value) for one in told] == [
        ("hw/switch:1", "on", False)
    ]


@pytest.mark.parametrize("nonsense", [None, [], "on", 7])
def test_a_component_that_is_none_makes_no_device(nonsense):
    assert len(described({"switch:0": {"output": True}, "switch:1": nonsense})) == 1


def test_a_device_has_no_more_channels_than_a_real_one_can_have():
    status = {f"switch:{number}": {"output": True} for number in range(MOST_CHANNELS + 9)}
    assert len(described(status)) == MOST_CHANNELS
    assert len({one.vendor_id for one in readings("hw", status)}) == MOST_CHANNELS


def test_a_light_is_dimmed_and_warmed(simulator):
    lamp = simulator.devices[1]
    client(simulator, 1).write(lamp.id, "brightness", 35.0)
    client(simulator, 1).write(lamp.id, "color_temperature", 3010.0)
    values = {one.attribute: one.value for one in client(simulator, 1).read([lamp.id])}
    assert (values["brightness"], values["color_temperature"]) == (35, 3000)


def test_a_light_may_round_its_color_temperature(simulator):
    [device] = client(simulator, 1).devices()
    spec = {attribute.name: attribute for attribute in device.attributes}["color_temperature"]
    assert (spec.minimum, spec.maximum, spec.tolerance) == (2700, 6500, 50)


def test_a_blind_moves_to_where_it_is_sent(simulator):
    blind = simulator.devices[2]
    client(simulator, 2).write(blind.id, "position", 40.0)
    values = {one.attribute: one.value for one in client(simulator, 2).read([blind.id])}
    assert values["state"] == "closing" and values["position"] > 40
