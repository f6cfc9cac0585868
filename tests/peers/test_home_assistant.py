"""Against a real Home Assistant: run with `make peers`, which sets HA_URL and HA_TOKEN.

It needs Home Assistant's demo integration, switch.heater whose relay drives sensor.heater_power, and
input_boolean.flaky, which makes that switch unavailable while it is on.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from core.arbiter import Source
from core.http import ApiRefused, Http
from core.models import Attribute, Gateway
from core.models.device_command import State
from core.readings import Kind, Value
from core.tasks import gateways, poll, send
from core.vendors.home_assistant import Client

pytestmark = pytest.mark.peers

HEATER, POWER, FLAKY = "switch.heater", "sensor.heater_power", "input_boolean.flaky"


def needed(name: str) -> str:
    if not os.environ.get(name):
        pytest.skip(f"{name} is not set: no Home Assistant to talk to (run with make peers)")
    return os.environ[name]


def client(token: str | None = None) -> Client:
    """A client is for one piece of work: a new one each time."""
    credential = needed("HA_TOKEN") if token is None else token
    return Client(Http(needed("HA_URL"), credential=credential, networks=settings.GATEWAY_NETWORKS))


def value(vendor_id: str, attribute: str) -> Value | None:
    return {reading.attribute: reading.value for reading in client().read([vendor_id])}[attribute]


def becomes(vendor_id: str, attribute: str, expected: Value | None) -> bool:
    """Whether it shows the value within the time that the vendor says it needs to settle."""
    until = time.monotonic() + Client.settle.total_seconds()
    while (now := value(vendor_id, attribute)) != expected and time.monotonic() < until:
        time.sleep(0.05)
    return now == expected


@pytest.fixture(autouse=True)
def rested() -> None:
    """The heater is there, and off."""
    client().write(FLAKY, "on", False)
    assert becomes(FLAKY, "on", False)
    client().write(HEATER, "on", False)
    assert becomes(HEATER, "on", False)


@pytest.fixture
def away() -> Iterator[None]:
    """The heater cannot be reached."""
    client().write(FLAKY, "on", True)
    assert becomes(HEATER, "on", None)
    yield
    client().write(FLAKY, "on", False)
    assert becomes(FLAKY, "on", False)


# The client


def test_it_says_who_it_is():
    identity = client().identify()
    assert (identity.name, client().identify()) == ("Peer", identity)


def test_a_wrong_token_is_refused():
    with pytest.raises(ApiRefused) as caught:
        client("wrong").identify()
    assert caught.value.status == 401


def test_it_discovers_every_entity_that_can_be_measured_or_switched():
    devices = {device.vendor_id: device for device in client().devices()}
    domains = {vendor_id.partition(".")[0] for vendor_id in devices}
    assert domains == {"switch", "light", "input_boolean", "sensor", "binary_sensor", "climate", "number", "lock"}
    assert len(devices) >= 40
    assert all(device.attributes for device in devices.values())


def test_what_it_reads_is_what_it_discovered():
    devices = client().devices()
    discovered = {(device.vendor_id, attribute.name) for device in devices for attribute in device.attributes}
    assert {(r.vendor_id, r.attribute) for r in client().read([d.vendor_id for d in devices])} == discovered


def test_every_value_is_of_its_attributes_kind():
    kinds = {
        (device.vendor_id, attribute.name): attribute.kind for device in client().devices() for attribute in device.attributes
    }
    types = {Kind.NUMBER: (int, float), Kind.BOOLEAN: bool, Kind.TEXT: str, Kind.CHOICE: str}
    for reading in client().read([vendor_id for vendor_id, _ in kinds]):
        kind = kinds[reading.vendor_id, reading.attribute]
        assert reading.value is None or isinstance(reading.value, types[kind]), reading


def test_the_power_follows_the_switch():
    assert becomes(POWER, "power", 0.4)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    assert becomes(POWER, "power", 1850)


def test_the_time_of_a_change_is_its_own():
    before = datetime.now(UTC)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    [reading] = client().read([HEATER])
    assert before <= reading.observed_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("vendor_id", "attribute", "values"),
    [
        ("light.bed_light", "brightness", (37.0, 100.0, 5.0, 0.0)),
        ("light.bed_light", "on", (True, False)),
        ("climate.heatpump", "target_temperature", (19.0, 21.5)),
        ("climate.heatpump", "mode", ("off", "heat")),
        ("number.volume", "value", (30.0, 42.0)),
        ("lock.front_door", "locked", (False, True)),
        ("input_boolean.heater_relay", "on", (True, False)),
    ],
)
def test_what_is_ordered_is_read_back(vendor_id, attribute, values):
    for ordered in values:
        client().write(vendor_id, attribute, ordered)
        assert becomes(vendor_id, attribute, ordered)


def test_an_unavailable_switch_accepts_and_does_nothing(away):
    client().write(HEATER, "on", True)
    assert value(HEATER, "on") is None
    assert value("input_boolean.heater_relay", "on") is False


def test_an_unavailable_switch_is_discovered_as_it_was(away):
    device = next(device for device in client().devices() if device.vendor_id == HEATER)
    assert [(attribute.name, attribute.writable) for attribute in device.attributes] == [("on", True)]


def test_an_unknown_entity_is_not_read():
    assert list(client().read(["switch.nobody"])) == []


def test_a_mode_that_it_lacks_is_refused():
    with pytest.raises(ApiRefused):
        client().write("climate.heatpump", "mode", "no such mode")


def test_history_tells_what_happened():
    since = datetime.now(UTC)
    client().write(HEATER, "on", True)
    assert becomes(HEATER, "on", True)
    until = time.monotonic() + 10
    while (
        not (told := [r.value for r in client().history(HEATER, since, since + timedelta(hours=1))]) and time.monotonic() < until
    ):
        time.sleep(0.2)  # the recorder commits each second
    assert told == [True]


# The full way


@pytest.fixture
def gateway(transactional_db) -> Gateway:
    return gateways.add("home_assistant", needed("HA_URL"), needed("HA_TOKEN")).gateway


def attribute(gateway: Gateway, vendor_id: str, name: str) -> Attribute:
    return Attribute.objects.get(device__gateway=gateway, device__vendor_id=vendor_id, name=name)


def test_a_wrong_token_stores_nothing(transactional_db):
    with pytest.raises(ApiRefused):
        gateways.add("home_assistant", needed("HA_URL"), "wrong")
    assert not Gateway.objects.exists()


def test_a_poll_stores_what_it_says_and_refuses_nothing(gateway):
    recorded = poll.poll().asked.recorded
    assert recorded.complaints == []
    assert (recorded.refused, recorded.unknown) == (0, 0)
    assert attribute(gateway, POWER, "power").value == 0.4
    assert recorded.stored >= 40


def test_a_second_poll_stores_nothing_again(gateway):
    poll.poll()
    again = poll.poll().asked.recorded
    assert again.known >= 40
    assert again.stored < 5


def test_an_order_is_confirmed_and_the_power_follows(gateway):
    poll.poll()
    command = send.order(attribute(gateway, HEATER, "on").pk, True, source=Source.HUMAN, reason="The peer test says so.")
    [command] = send.send([command.pk])
    assert command.state == State.CONFIRMED
    poll.poll()
    assert attribute(gateway, POWER, "power").value == 1850


def test_an_unavailable_switch_never_confirms(gateway, away):
    poll.poll()
    command = send.order(attribute(gateway, HEATER, "on").pk, True, source=Source.HUMAN, reason="The peer test says so.")
    [command] = send.send([command.pk])
    assert command.state == State.ACCEPTED
    with time_machine.travel(timezone.now() + timedelta(minutes=15)):
        poll.poll()
    command.refresh_from_db()
    assert command.state in (State.UNCONFIRMED, State.FAILED)
    assert not attribute(gateway, HEATER, "on").available
