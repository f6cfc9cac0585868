"""Against real things, served by Mozilla's `webthing` and the W3C's node-wot: run with `make peers`
or `make things`. tests/peers/things/run starts them and sets their addresses."""

import os
from ipaddress import ip_network

import pytest

from core.net.errors import ApiRefused
from core.net.http import Http
from core.readings import AttributeSpec, Kind, Value
from core.vendors.web_of_things import Client

pytestmark = pytest.mark.peers

ROOM, CLOSED_ROOM = "urn:dev:ops:room", "urn:dev:ops:closed-room"
PASSWORD = "me:secret-word"
ON = AttributeSpec("on", Kind.BOOLEAN, writable=True)
BRIGHTNESS = AttributeSpec("brightness", Kind.NUMBER, "%", 0, 100, writable=True, step=1)
THINGS = [
    ("WEBTHING_URL", "urn:dev:ops:lamp-1", ""),
    ("WEBTHINGS_URL", "urn:dev:ops:lamp-2", ""),
    ("WEBTHINGS_URL", "urn:dev:ops:lamp-3", ""),
    ("NODE_WOT_URL", ROOM, ""),
    ("NODE_WOT_CLOSED_URL", CLOSED_ROOM, PASSWORD),
]


def client(variable: str, credential: str = "") -> Client:
    """A client is for one piece of work: a new one each time."""
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set: no things to talk to (run with make things)")
    networks = (ip_network("127.0.0.0/8"),)
    return Client(Http(os.environ[variable], credential=credential, networks=networks))


def told(variable: str, vendor_id: str, credential: str = "") -> dict[str, Value | None]:
    readings = client(variable, credential).read([vendor_id])
    return {reading.attribute: reading.value for reading in readings}


def test_one_thing_says_who_it_is():
    identity = client("WEBTHING_URL").identify()
    assert (identity.key, identity.name) == ("urn:dev:ops:lamp-1", "Lamp 1")
    identity = client("NODE_WOT_URL").identify()
    assert (identity.key, identity.name) == (ROOM, "Room")


def test_several_things_of_an_address_are_several_devices():
    assert client("WEBTHINGS_URL").identify().name == "2 things"
    found = [(device.vendor_id, device.name) for device in client("WEBTHINGS_URL").devices()]
    assert found == [("urn:dev:ops:lamp-2", "Lamp 2"), ("urn:dev:ops:lamp-3", "Lamp 3")]


def test_properties_are_described():
    (lamp,) = client("WEBTHING_URL").devices()
    assert lamp.attributes == (ON, BRIGHTNESS)
    (room,) = client("NODE_WOT_URL").devices()
    assert room.attributes == (
        ON,
        BRIGHTNESS,
        AttributeSpec("room_temperature", Kind.NUMBER, "°C"),
        AttributeSpec("mode", Kind.CHOICE, choices=("day", "night"), writable=True),
    )


@pytest.mark.parametrize(("variable", "vendor_id", "credential"), THINGS)
def test_what_is_ordered_is_read_back(variable, vendor_id, credential):
    for on, brightness in ((True, 70), (False, 20)):
        client(variable, credential).write(vendor_id, "on", on)
        client(variable, credential).write(vendor_id, "brightness", float(brightness))
        values = told(variable, vendor_id, credential)
        assert (values["on"], values["brightness"]) == (on, brightness)


def test_a_property_with_a_blank_in_its_name_is_read_and_a_choice_is_set():
    for mode in ("night", "day"):
        client("NODE_WOT_URL").write(ROOM, "mode", mode)
        values = told("NODE_WOT_URL", ROOM)
        assert (values["mode"], values["room_temperature"]) == (mode, 21.5)


def test_a_thing_behind_a_password_refuses_another():
    with pytest.raises(ApiRefused, match="wants a credential"):
        client("NODE_WOT_CLOSED_URL").identify()
    with pytest.raises(ApiRefused) as refusal:
        told("NODE_WOT_CLOSED_URL", CLOSED_ROOM, "me:another-word")
    assert refusal.value.status == 401
