"""Holds: given here, or noticed at the device, through a real vendor client and the simulator."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand
from core.models.device_command import State
from core.readings import Source
from core.tasks import decide, gateways, poll
from core.tasks.orders import holds, send

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def ruled(heater):
    gateways.change_device(heater.pk, rule="awesome")
    poll.poll_devices(force=True)
    return heater


def switch(device):
    return Attribute.objects.get(device=device, name="on")


def later(time_machine, span):
    time_machine.move_to(timezone.now() + span, tick=True)


def order(device, value, source=Source.RULE, **more):
    command = send.order(switch(device).pk, value, source=source, reason="a test", **more)
    [command] = send.send([command.pk])
    holds.notice()
    return command


def is_held(device):
    return Device.objects.get(pk=device.pk).is_held(timezone.now())


def test_a_change_at_the_device_itself_counts_as_a_persons(ruled, simulator):
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    device = Device.objects.get(pk=ruled.pk)
    assert device.is_held(timezone.now())
    assert device.hold_reason == "changed at the device itself: off to on"


def test_an_order_of_ours_is_no_persons_change(ruled, simulator):
    assert order(ruled, True).state == State.CONFIRMED
    assert not is_held(ruled)


def test_an_order_whose_answer_was_lost_is_no_persons_change_either(ruled, simulator):
    from core.simulator import Fault

    simulator.devices[0].faults = [Fault("lost_answer", 0, count=1)]
    order(ruled, True)
    poll.poll_devices(force=True)
    assert simulator.devices[0].on and not is_held(ruled)


def test_an_older_order_whose_effect_is_seen_last_is_no_persons_change(
    ruled, simulator, time_machine
):
    """A newer one was being sent, and never arrived, when its process died."""
    order(ruled, True)
    for on in (False, True):
        send.order(
            switch(ruled).pk, on, source=Source.RULE, reason="", expires_in=timedelta(minutes=5)
        )
        [claimed] = send._claim(None)
        if not on:
            send._note(claimed, send._write_one(claimed))
    DeviceCommand.objects.open().update(claimed_until=None)
    later(time_machine, timedelta(minutes=10))
    poll.poll_devices(force=True)
    assert not simulator.devices[0].on and not DeviceCommand.objects.open().exists()
    assert not is_held(ruled)
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    assert is_held(ruled)


def test_an_older_order_that_was_lost_hides_no_change_by_hand(ruled, simulator):
    """A newer one was confirmed since: what is as the older one wanted it comes from a person."""
    order(ruled, True)
    lost = send.order(switch(ruled).pk, False, source=Source.RULE, reason="a test")
    send._claim([lost.pk])
    DeviceCommand.objects.filter(pk=lost.pk).update(state=State.UNCONFIRMED)
    assert order(ruled, True).state == State.CONFIRMED
    simulator.devices[0].on = False
    poll.poll_devices(force=True)
    assert is_held(ruled)


def test_after_our_order_showed_the_same_change_by_hand_is_a_persons(ruled, simulator):
    order(ruled, True)
    for on in (False, True):
        simulator.devices[0].on = on
        holds.release(ruled.pk)
        poll.poll_devices(force=True)
        assert is_held(ruled)


def test_what_a_timer_brought_back_is_no_persons_change(ruled, simulator):
    order(ruled, True, revert_after=timedelta(seconds=0.3))
    for _ in range(50):
        if not simulator.devices[0].on:
            break
        poll.poll_devices(force=True)
    poll.poll_devices(force=True)
    assert simulator.devices[0].reverts == 1 and not is_held(ruled)


def test_a_restart_is_no_persons_change(ruled, simulator):
    order(ruled, True)
    simulator.devices[0].on, simulator.devices[0].source = False, "init"
    poll.poll_devices(force=True)
    assert not is_held(ruled)


def test_a_device_that_nobody_decides_for_is_never_held(heater, simulator):
    poll.poll_devices(force=True)
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    assert not is_held(heater)


def test_a_pressed_button_holds_for_as_long_as_the_device_says(ruled, time_machine):
    gateways.change_device(ruled.pk, hold_minutes=30)
    order(ruled, True, Source.HUMAN)
    assert is_held(ruled)
    later(time_machine, timedelta(minutes=31))
    assert not is_held(ruled)


def test_no_minutes_no_hold(ruled):
    gateways.change_device(ruled.pk, hold_minutes=0)
    order(ruled, True, Source.HUMAN)
    assert not is_held(ruled)


def test_a_longer_hold_stays(ruled):
    until = timezone.now() + 24 * HOUR
    holds.hold(ruled.pk, until, "we are away")
    order(ruled, True, Source.HUMAN)
    assert Device.objects.get(pk=ruled.pk).held_until == until
    holds.hold(ruled.pk, None, "for good")
    order(ruled, False, Source.HUMAN)
    assert Device.objects.get(pk=ruled.pk).held_until is None


def test_a_hold_takes_back_what_a_rule_ordered_and_nobody_has_sent(ruled):
    command = send.order(switch(ruled).pk, True, source=Source.RULE, reason="a test")
    holds.hold(ruled.pk, None, "mine")
    assert DeviceCommand.objects.get(pk=command.pk).state == State.SUPERSEDED


def test_a_rule_touches_nothing_that_is_held_and_says_what_it_would(ruled, simulator):
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    holds.hold(ruled.pk, None, "pressed by anna")
    [verdict] = decide.decide()
    assert verdict.source is Source.HUMAN and verdict.command is None
    assert verdict.sentence.startswith(
        "held until it is released: pressed by anna; awesome would say "
    )
    assert simulator.devices[0].writes == 0


def test_release_lets_the_rule_decide_again(ruled, simulator):
    holds.hold(ruled.pk, None, "mine")
    holds.release(ruled.pk)
    [verdict] = decide.decide()
    assert verdict.source is Source.RULE


def test_noticing_twice_finds_nothing_new(ruled, simulator):
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    assert holds.notice() == []


def test_an_order_after_the_clock_was_set_back_is_no_persons_change(ruled, simulator, time_machine):
    """What was read before carries a later time than the order."""
    poll.poll_devices(force=True)
    true = timezone.now()
    time_machine.move_to(true - 9 * HOUR, tick=True)
    send.send([send.order(switch(ruled).pk, True, source=Source.RULE, reason="a test").pk])
    time_machine.move_to(true + timedelta(minutes=20), tick=True)
    poll.poll_devices(force=True)
    assert switch(ruled).value is True
    assert not is_held(ruled)
    simulator.devices[0].on = False
    poll.poll_devices(force=True)
    simulator.devices[0].on = True
    later(time_machine, HOUR)
    poll.poll_devices(force=True)
    assert is_held(ruled)
