"""Each cause that is told of: orders, the relay, sleepers, and many as one."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db.models.functions import Now

from core.models import Alert, Device, DeviceCommand, Gateway, Relay
from core.models.device_command import State
from core.readings import Source
from core.tasks.events.outbox import publishing
from iotapp.environment import Relay as RelaySetting
from tests.core.tasks.alerts.rows import MINUTE, add_device, add_gateway, is_as, look

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def lamp(clock) -> Device:
    return add_device(add_gateway("Hub", NOW), "lamp", NOW)


def ordered(device: Device, state: State, at: datetime, source: Source = Source.RULE) -> None:
    with publishing():
        DeviceCommand.objects.create(
            attribute=device.attributes.get(name="on"),
            number=1,
            source=source,
            reason="the grid is clean",
            state=state,
            requested_at=at,
            expires_at=at + MINUTE,
        )


def heard(device: Device, at: datetime) -> None:
    is_as(device, heard_at=at, measured_at=at)


# Orders


@pytest.mark.parametrize("state", [State.EXPIRED, State.UNCONFIRMED, State.FAILED])
def test_an_order_without_effect_is_told_of_at_once_until_a_later_one_has_it(
    hook, clock, lamp, state
):
    ordered(lamp, state, NOW)
    for minutes in (0, 10):
        look(clock, NOW + minutes * MINUTE)
    assert hook.titles == [f"Lamp: an order for on is {state}"]
    assert "the grid is clean" in str(hook.bodies[0]["text"])
    ordered(lamp, State.CONFIRMED, NOW + 20 * MINUTE)
    look(clock, NOW + 20 * MINUTE)
    assert hook.titles[1:] == [f"Over: Lamp: an order for on is {state}"]


def test_an_order_that_had_its_effect_or_was_replaced_is_not_told_of(hook, clock, lamp):
    ordered(lamp, State.CONFIRMED, NOW)
    ordered(lamp, State.SUPERSEDED, NOW)
    look(clock, NOW)
    assert hook.requests == []


def test_one_that_was_replaced_leaves_the_one_before_it_told_of(hook, clock, lamp):
    ordered(lamp, State.FAILED, NOW)
    ordered(lamp, State.SUPERSEDED, NOW)
    look(clock, NOW)
    assert hook.titles == ["Lamp: an order for on is failed"]


def test_an_order_is_told_of_for_a_day(hook, clock, lamp):
    ordered(lamp, State.FAILED, NOW)
    look(clock, NOW)
    later = NOW + timedelta(days=1, minutes=1)
    heard(lamp, later)
    look(clock, later)
    assert not Alert.objects.unended().filter(key__startswith="order:").exists()


@pytest.mark.parametrize(
    ("source", "urgent"),
    [(Source.GUARD, True), (Source.FAIL_SAFE, True), (Source.RULE, False), (Source.HUMAN, False)],
)
def test_an_order_that_averts_harm_is_urgent(hook, clock, lamp, source, urgent):
    ordered(lamp, State.FAILED, NOW, source)
    look(clock, NOW)
    assert [body["urgent"] for body in hook.bodies] == [urgent]


def test_an_order_to_a_device_that_is_silent_is_no_alert_of_its_own(hook, clock, lamp):
    add_device(lamp.gateway, "fine", NOW)
    is_as(lamp, measured_at=NOW - timedelta(days=2))
    ordered(lamp, State.EXPIRED, NOW)
    look(clock, NOW)
    assert hook.titles == ["Lamp has told nothing new for long"]


def test_an_order_to_a_gateway_that_fails_is_no_alert_of_its_own(hook, clock, lamp):
    add_gateway("Other", NOW)
    is_as(lamp.gateway, failures=3)
    ordered(lamp, State.EXPIRED, NOW)
    look(clock, NOW)
    assert hook.titles == ["Hub does not answer"]


# The relay


@pytest.fixture
def relay(settings, db):
    settings.RELAY = RelaySetting("key", "secret", "app", "http://127.0.0.1:1", "ws://127.0.0.1:1")


def test_a_relay_that_nothing_sends_to_is_told_of_and_when_it_works(hook, clock, relay):
    Relay.objects.create(last_event=0, expires_at=Now() - timedelta(hours=1))
    look(clock, NOW)
    assert hook.titles == ["The hosted relay does not work"]
    assert "relay_events" in str(hook.bodies[0]["text"])
    Relay.objects.update(holder="somebody", expires_at=Now() + MINUTE)
    look(clock, NOW + 10 * MINUTE)
    assert hook.titles[1:] == ["Over: The hosted relay does not work"]


@pytest.mark.parametrize(
    ("minutes", "refused", "told"), [(1, False, False), (3, False, True), (0, True, True)]
)
def test_a_relay_that_fails_is_told_of_after_two_minutes_and_one_that_refuses_at_once(
    hook, clock, relay, minutes, refused, told
):
    Relay.objects.create(
        last_event=0,
        holder="somebody",
        expires_at=Now() + MINUTE,
        failing_since=Now() - minutes * MINUTE,
        refused=refused,
        error="answered 503",
    )
    look(clock, NOW)
    assert bool(hook.requests) is told


# Those on battery


def test_one_on_battery_is_told_of_after_three_times_the_time_after_which_it_wakes(hook, clock):
    add_gateway("Other", NOW)
    sleeper = add_gateway("Door", NOW)
    is_as(sleeper, wakes_every=timedelta(hours=2), failures=9, error="no answer")
    for hours in (1, 5):
        look(clock, NOW + timedelta(hours=hours))
    assert told_of(hook) == []
    look(clock, NOW + timedelta(hours=6))
    assert told_of(hook) == ["Door does not answer"]
    is_as(sleeper, failures=0, answered_at=NOW + timedelta(hours=6))
    look(clock, NOW + timedelta(hours=6, minutes=10))
    assert told_of(hook) == ["Door does not answer", "Over: Door does not answer"]


def told_of(hook) -> list[str]:
    """Return what was told, without the pauses between the polls of the test itself."""
    return [title for title in hook.titles if "polled" not in title]


def test_one_on_battery_says_nothing_of_the_network(hook, clock):
    for name in ("Door", "Window"):
        is_as(add_gateway(name, NOW), wakes_every=timedelta(hours=2), failures=3)
    look(clock, NOW)
    assert hook.requests == []


# Many as one


def test_many_devices_that_are_silent_are_one_alert_and_one_message_when_it_ends(hook, clock):
    for number in range(21):
        hub = add_gateway(f"Hub {number}", NOW)
        for name in ("fine", "also fine"):
            add_device(hub, f"{name} {number}", NOW)
        is_as(add_device(hub, f"lamp {number}", NOW), measured_at=NOW - timedelta(days=2))
    for minutes in (0, 10):
        look(clock, NOW + minutes * MINUTE)
    assert hook.titles == ["21 devices are silent"]
    Device.objects.update(heard_at=NOW + 20 * MINUTE, measured_at=NOW + 20 * MINUTE)
    look(clock, NOW + 20 * MINUTE)
    assert hook.titles == ["21 devices are silent", "Over: 21 devices are silent"]


def test_twenty_gateways_are_told_of_one_by_one_and_stay_so_when_more_fail(hook, clock):
    add_gateway("Fine", NOW)
    hubs = [add_gateway(f"G{number}", NOW) for number in range(22)]
    for hub in hubs[:20]:
        is_as(hub, failures=3)
    look(clock, NOW)
    assert len(hook.titles) == 20
    for hub in hubs[20:]:
        is_as(hub, failures=3)
    look(clock, NOW + 10 * MINUTE)
    # Those that were open stay open; what comes new is one about all.
    assert hook.titles[20:] == ["22 gateways fail"]
    Gateway.objects.update(failures=0)
    for minutes in (20, 30):  # an address is sent 20 messages at one time
        look(clock, NOW + minutes * MINUTE)
    assert len([title for title in hook.titles if title.startswith("Over: ")]) == 21


def test_polls_that_are_late_explain_late_decisions(hook, clock, lamp):
    with publishing():
        Device.objects.filter(pk=lamp.pk).update(rule="awesome")
    look(clock, NOW)
    for minutes in (40, 50):
        look(clock, NOW + minutes * MINUTE, poll=False)
    assert hook.titles == ["Polls are late"]


# Clocks


def test_the_end_of_an_outage_that_a_wrong_clock_wrote_ahead_explains_nothing(hook, clock):
    one, two = (add_gateway(name, NOW, f"https://{name}.example.org") for name in ("One", "Two"))
    Gateway.objects.update(failures=3)
    look(clock, NOW)
    is_as(two, failures=0)
    look(clock, NOW + 10 * MINUTE)
    title = "Nothing answers: is the network of this machine away?"
    assert hook.titles == [title, f"Over: {title}"]
    Alert.objects.filter(key="network").update(ended_at=NOW + timedelta(hours=10))
    is_as(one, asked_at=NOW + 20 * MINUTE)
    look(clock, NOW + 20 * MINUTE)
    assert hook.titles[2:] == ["One does not answer"]
