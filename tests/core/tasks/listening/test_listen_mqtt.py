"""A broker as a gateway: polls by cron alone, orders in the ledger, and the listener."""

import pytest
from django.db.models.functions import Now

from core.models import Attribute, Device, Gateway
from core.models.device_command import State
from core.readings import Source
from core.tasks import gateways, poll
from core.tasks.orders import send
from core.vendors import _mqtt_session, mqtt
from tests.core.mosquitto import House, running
from tests.core.tasks.listening.listeners import until
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
CELLAR = "zigbee2mqtt:0x00158d00018255df"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with running(tmp_path_factory.mktemp("mosquitto")) as started:
        yield started


@pytest.fixture
def house(broker, monkeypatch):
    monkeypatch.setattr(_mqtt_session, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(mqtt, "LISTEN_SECONDS", 0.05)
    with House(broker) as made:
        made.tasmota()
        made.zigbee()
        yield made


@pytest.fixture
def gateway(broker, house):
    return gateways.add("mqtt", broker.address).gateway


def value(gateway, vendor_id, name):
    found = Attribute.objects.get(device__gateway=gateway, device__vendor_id=vendor_id, name=name)
    return found.value


def test_cron_alone_reads_what_can_be_asked_and_leaves_the_rest_as_it_is(gateway):
    poll.poll_devices()
    assert value(gateway, "tasmota:plug", "on") is False
    cellar = Device.objects.get(vendor_id=CELLAR)
    assert (cellar.available, cellar.heard_at) == (True, None)
    assert Gateway.objects.get().failures == 0


def test_an_order_is_confirmed_by_what_the_device_says_after_it(gateway, house):
    poll.poll_devices()
    switch = Attribute.objects.get(device__vendor_id="tasmota:plug", name="on")
    command = send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    [command] = send.send([command.pk])
    assert ("cmnd/plug/POWER", "ON") in house.heard
    if command.state != State.CONFIRMED:  # on a busy machine its answer came late
        poll.poll_devices(force=True)
        command.refresh_from_db()
    assert command.state == State.CONFIRMED


def test_an_order_that_nobody_does_is_not_confirmed(gateway, house):
    poll.poll_devices()
    house.answers["cmnd/plug/POWER"] = lambda said: []
    switch = Attribute.objects.get(device__vendor_id="tasmota:plug", name="on")
    command = send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    [command] = send.send([command.pk])
    assert ("cmnd/plug/POWER", "ON") in house.heard
    assert command.state == State.ACCEPTED


def test_what_tells_by_itself_is_heard_by_the_listener(gateway, house):
    with until() as turn_until:
        turn_until(lambda: Gateway.objects.filter(listened_until__gt=Now()).exists())
        house.tell("zigbee2mqtt/cellar", {"temperature": 8.5})
        turn_until(lambda: value(gateway, CELLAR, "temperature") == 8.5)


def test_a_broker_that_was_away_is_listened_to_again(gateway, house, broker):
    is_listened_to = Gateway.objects.filter(listened_until__gt=Now()).exists
    with until() as turn_until:
        turn_until(is_listened_to)
        broker.stop()
        turn_until(lambda: not is_listened_to())
        broker.start()
        wait_until(house.client.is_connected)
        house.tasmota()
        turn_until(is_listened_to)
