"""The events that tasks write: each change once, in the transaction that makes it."""

from datetime import UTC, datetime

import pytest

from core.models import Attribute, Event
from core.models.event import EventKind
from core.readings import Source
from core.simulator import Fault
from core.tasks import decide, gateways, poll
from core.tasks.orders import holds, send

pytestmark = pytest.mark.django_db
EVENING = datetime(2026, 11, 25, 20, tzinfo=UTC)


@pytest.fixture
def new_events(heater):
    """Return a function that gives the events since it was last called: (kind, body)."""
    last = [0]

    def since():
        events = list(Event.objects.after(last[0]))
        last[0] = events[-1].pk if events else last[0]
        return [(event.kind, event.body) for event in events]

    since()
    return since


def kinds(events):
    return [kind for kind, _ in events]


def test_a_new_gateway_is_told_with_its_devices_and_what_they_have(simulator, db):
    gateways.add("shelly", simulator.address(0))
    gateway, device = Event.objects.all()
    assert (gateway.kind, gateway.body["name"]) == (EventKind.GATEWAY, "Heater")
    assert (device.kind, device.gateway) == (EventKind.DEVICE, gateway.gateway)
    assert [attribute["name"] for attribute in device.body["attributes"]][:2] == ["on", "power"]


def test_a_poll_tells_one_event_a_device_with_all_its_values(heater, new_events, simulator):
    poll.poll_devices(force=True)
    events = new_events()
    assert kinds(events) == [EventKind.RUN, EventKind.READINGS, EventKind.RUN]
    on, power = Attribute.objects.filter(device=heater, name__in=["on", "power"]).order_by("pk")
    body = events[1][1]
    assert body["values"][str(on.pk)] is False and body["values"][str(power.pk)] == 0
    assert abs(body["at"] - on.heard_at.timestamp()) < 0.01
    assert [run["outcome"] for kind, run in events if kind == EventKind.RUN] == ["running", "done"]


def test_a_gateway_that_begins_to_fail_and_ceases_to_is_told_once_each(
    heater, new_events, simulator
):
    simulator.devices[0].faults = [Fault("503")]
    for _ in range(3):
        poll.poll_devices(heater.gateway_id)
    [(kind, body)] = new_events()
    assert kind == EventKind.GATEWAY and body["failures"] == 1
    simulator.devices[0].faults = []
    for _ in range(2):
        poll.poll_devices(heater.gateway_id)
    assert sorted(kinds(new_events())) == [
        EventKind.GATEWAY,
        EventKind.READINGS,
        EventKind.READINGS,
    ]


def test_an_order_is_told_at_every_step(heater, new_events):
    poll.poll_devices(heater.gateway_id)
    new_events()
    command = send.order(
        Attribute.objects.get(device=heater, name="on").pk,
        True,
        source=Source.HUMAN,
        reason="pressed",
    )
    send.send([command.pk])
    states = [body["state"] for kind, body in new_events() if kind == EventKind.COMMAND]
    assert states == ["requested", "sending", "accepted", "confirmed"]


def test_a_hold_is_told_and_so_is_its_end(heater, new_events):
    holds.hold(heater.pk, None, "mine")
    holds.release(heater.pk)
    assert [body["hold"] and body["hold"]["reason"] for _, body in new_events()] == ["mine", None]


def test_a_decision_and_its_plan_are_told_and_the_same_decision_again_is_not(
    heater, new_events, time_machine
):
    """In the evening: the cleanest hour is not now, so the second decision is like the first."""
    time_machine.move_to(EVENING)
    gateways.set_rule(heater.pk, "cleanest_hours", {"minutes": 60})
    poll.poll_devices(force=True)
    new_events()
    decide.decide(heater.pk)
    events = new_events()
    assert {EventKind.DEVICE, EventKind.PLAN} <= set(kinds(events))
    decide.decide(heater.pk)
    assert EventKind.DEVICE not in kinds(new_events())


def test_removal_is_told(heater, new_events):
    gateways.remove_device(heater.pk)
    gateways.remove(heater.gateway_id)
    assert kinds(new_events()) == [EventKind.DEVICE_REMOVED, EventKind.GATEWAY_REMOVED]
