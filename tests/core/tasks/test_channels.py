"""Channels of one simulated Shelly: devices with rules, orders, holds and history of their own."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from core.models import Attribute, Device, Event, Observation, Silence, Token
from core.models.device_command import State
from core.readings import Kind, Source
from core.simulator import LAMP, STRIP, Simulator
from core.tasks import decide, gateways, poll
from core.tasks.discovery import discover
from core.tasks.events.outbox import publishing
from core.tasks.orders import holds, send
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db
MIGRATION = "0028_channels"
ALWAYS, NEVER = "mon-sun 00:00-24:00", "mon 00:00-00:01"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=2, kinds=(STRIP, LAMP)) as running:
        yield running


@pytest.fixture
def strip(simulator) -> list[Device]:
    """The four devices of the strip, in the order of its channels."""
    gateways.add("shelly", simulator.address(0))
    poll.poll_devices(force=True)
    return list(Device.objects.order_by("pk"))


def on(simulator) -> list[bool]:
    return [channel.on for channel in simulator.devices[0].channels]


def switch(device: Device) -> Attribute:
    return Attribute.objects.get(device=device, name="on")


def order(attribute: Attribute, value: object) -> str:
    command = send.order(attribute.pk, value, source=Source.HUMAN, reason="a test")
    [command] = send.send([command.pk])
    return command.state


def test_four_channels_are_four_devices_of_one_hardware(strip):
    assert [device.name for device in strip] == [
        "Bench light",
        "Lathe",
        "Dust extractor",
        "Workshop 4",
    ]
    assert {(device.hardware, device.hardware_name) for device in strip} == {
        (strip[0].vendor_id, "Workshop")
    }
    assert {device.freshness(timezone.now()) for device in strip} == {"fresh"}


def test_each_channel_follows_its_own_rule(strip, simulator):
    for device, hours in zip(strip, (ALWAYS, NEVER, ALWAYS, NEVER), strict=True):
        gateways.set_rule(device.pk, "schedule", {"on": hours})
    assert len(decide.decide()) == 4
    assert on(simulator) == [True, False, True, False]


def test_a_hold_of_one_channel_leaves_the_others_alone(strip, simulator):
    for device in strip:
        gateways.set_rule(device.pk, "schedule", {"on": ALWAYS})
    poll.poll_devices(force=True)
    holds.hold(strip[1].pk, None, "mine")
    decide.decide()
    assert on(simulator) == [True, False, True, True]
    simulator.devices[0].channels[2].on = False
    poll.poll_devices(force=True)
    now = timezone.now()
    held = [device.is_held(now) for device in Device.objects.order_by("pk")]
    assert held == [False, True, True, False]


def test_an_order_to_one_channel_is_confirmed_by_that_channel(strip, simulator):
    simulator.devices[0].channels[0].on = True
    assert order(switch(strip[3]), True) == State.CONFIRMED
    assert on(simulator) == [True, False, False, True]


def test_one_poll_of_all_channels_is_one_call(strip, simulator):
    before = simulator.devices[0].requests
    asked = poll.poll_devices(force=True).asked
    assert simulator.devices[0].requests == before + 1
    assert asked.recorded.unknown == 0


def test_a_removed_channel_costs_the_others_nothing(strip):
    gateways.remove_device(strip[2].pk)
    recorded = poll.poll_devices(force=True).asked.recorded
    assert (recorded.unknown, recorded.refused) == (0, 0)
    found = discover(strip[0].gateway_id)
    assert (len(found.known), found.left_out) == (3, [strip[2].vendor_id])


def test_a_light_that_rounds_its_color_temperature_is_confirmed(simulator):
    gateways.add("shelly", simulator.address(1))
    warmth = Attribute.objects.get(name="color_temperature")
    assert order(warmth, 3024) == State.CONFIRMED
    assert Attribute.objects.get(pk=warmth.pk).value == 3000


def test_what_a_light_does_not_do_is_not_confirmed(simulator):
    gateways.add("shelly", simulator.address(1))
    warmth = Attribute.objects.get(name="color_temperature")
    simulator.devices[1].adjust = lambda *_: None
    assert order(warmth, 4000) != State.CONFIRMED


# Homes from before


@pytest.fixture
def undivided(strip) -> Device:
    """The strip as it was stored before: one device, whose attributes have suffixes."""
    first, *others = strip
    with publishing() as outbox:
        for place, device in enumerate(others, 1):
            for attribute in device.attributes.all():
                attribute.device, attribute.name = first, f"{attribute.name}_{place}"
                attribute.save()
            device.delete()
        first.hardware = first.hardware_name = ""
        first.name, first.rule, first.options = "Cellar", "schedule", {"on": ALWAYS}
        first.place, first.held_at = "Down", timezone.now()
        first.save()
        outbox.changed(first)
    return first


@cache
def apps_then() -> Any:
    """The models as the migration sees them: saving them publishes nothing."""
    return MigrationLoader(None).project_state([("core", MIGRATION)]).apps


def part() -> None:
    import_module(f"core.migrations.{MIGRATION}").part_channels(apps_then(), None)


def test_a_stored_strip_is_parted_with_its_history(undivided):
    lathe = undivided.attributes.get(name="on_1")
    told = set(Observation.objects.filter(attribute=lathe).values_list("pk", flat=True))
    Silence.objects.create(
        attribute=lathe, starts_at=timezone.now() - timedelta(days=2), ends_at=timezone.now()
    )
    part()
    first, *others = Device.objects.order_by("pk")
    assert (first.pk, first.rule, first.name) == (undivided.pk, "schedule", "Cellar")
    assert first.held_at == undivided.held_at
    assert [device.vendor_id for device in others] == [
        f"{first.vendor_id}/switch:{number}" for number in (1, 2, 3)
    ]
    assert [(device.name, device.place, device.rule) for device in others] == [
        (f"Cellar {number}", "Down", "") for number in (2, 3, 4)
    ]
    assert {device.hardware_name for device in (first, *others)} == {"Cellar"}
    lathe.refresh_from_db()
    assert (lathe.device, lathe.name) == (others[0], "on")
    assert told and set(lathe.observations.values_list("pk", flat=True)) == told
    assert lathe.silences.count() == 1
    names = [set(one.attributes.values_list("name", flat=True)) for one in (first, *others)]
    assert names[0] == names[1] == names[2] == names[3]


def test_what_was_parted_goes_on_as_if_discovered_so(undivided, simulator):
    part()
    assert poll.poll_devices(force=True).asked.recorded.unknown == 0
    found = discover(undivided.gateway_id)
    assert (len(found.known), found.new, found.missing) == (4, [], [])
    assert Device.objects.get(pk=undivided.pk).hardware_name == "Workshop"
    assert order(switch(Device.objects.get(name="Cellar 3")), True) == State.CONFIRMED
    assert on(simulator) == [False, False, True, False]


def test_parting_twice_changes_nothing(undivided):
    part()
    before = list(Device.objects.order_by("pk").values())
    part()
    assert list(Device.objects.order_by("pk").values()) == before


def test_who_follows_the_log_starts_over(undivided):
    assert Event.objects.exists()
    part()
    assert not Event.objects.exists()
    with publishing():
        undivided.save()
    part()
    assert Event.objects.exists()


def test_a_rule_that_looks_at_a_channel_looks_at_its_device(undivided):
    undivided.rule, undivided.options = "when", {"attribute": "power_2", "limit": 5}
    with publishing():
        undivided.save()
    part()
    device = Device.objects.get(pk=undivided.pk)
    extractor = Device.objects.get(vendor_id__endswith="/switch:2")
    assert device.options == {"device": extractor.pk, "attribute": "power", "limit": 5}


def test_a_token_for_the_strip_is_one_for_its_channels(undivided, django_user_model):
    user = django_user_model.objects.create_user("owner")
    token = Token.objects.create(user=user, name="one", all_devices=False, digest="a" * 64)
    token.devices.add(undivided)
    part()
    assert token.devices.count() == 4


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("on", "brightness", "on_1", "brightness_1"), {"light:1"}),
        (("on", "color_temperature", "rgb_on", "rgb_color"), {"rgb:0"}),
        (("position", "state", "position_1", "state_1"), {"cover:1"}),
        (("on", "white", "on_1", "white_1"), {"rgbw:1"}),
        (("on", "power", "input_1", "temperature_1"), set()),
        (("on", "meter_power", "meter_power_1", "on (text)"), set()),
        (("power", "power_1"), set()),
        (("on_1", "power_1"), set()),
    ],
)
@pytest.mark.parametrize("vendor", ["shelly", "shelly_cloud", "home_assistant"])
def test_a_channel_is_known_by_what_it_has(names, keys, vendor):
    with publishing():
        device = Device.objects.create(gateway=make_gateway(vendor=vendor), vendor_id="hw")
    for name in names:
        Attribute.objects.create(device=device, name=name, kind=Kind.BOOLEAN, writable=True)
    part()
    found = set(Device.objects.exclude(pk=device.pk).values_list("vendor_id", flat=True))
    assert found == ({f"hw/{key}" for key in keys} if vendor.startswith("shelly") else set())
