"""Orders through a real vendor client to simulated devices: what is stored is what was done."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Attribute, DeviceCommand
from core.models.device_command import State
from core.readings import Source, Unacceptable
from core.simulator import Fault
from core.tasks import gateways, poll
from core.tasks.events.outbox import publishing
from core.tasks.orders import confirm, send
from core.tasks.runs import Terminated, running
from tests.core.tasks.homes import make_device, make_gateway, sigterm_when_asked

pytestmark = pytest.mark.django_db


@pytest.fixture
def switch(heater):
    return heater.attributes.get(name="on")


def order(switch, value=True, source=Source.HUMAN, **options):
    return send.order(switch.pk, value, source=source, reason="a test", **options)


def order_and_send(switch, value=True, **options):
    [command] = send.send([order(switch, value, **options).pk])
    return command


def let_time_pass(**span):
    """As if all that was done so far had been done earlier."""
    earlier = timedelta(**span)
    for command in DeviceCommand.objects.all():
        for field in (
            "requested_at",
            "expires_at",
            "claimed_until",
            "retry_at",
            "sent_at",
            "accepted_at",
            "settles_at",
            "confirm_by",
        ):
            if (at := getattr(command, field)) is not None:
                setattr(command, field, at - earlier)
        with publishing():
            command.save()


def test_an_order_is_sent_read_back_and_confirmed(simulator, switch):
    command = order_and_send(switch)
    assert command.state == State.CONFIRMED
    assert simulator.devices[0].on
    assert command.requested_at <= command.sent_at <= command.accepted_at <= command.finished_at
    assert Attribute.objects.get(pk=switch.pk).value is True


@pytest.mark.parametrize(
    ("ordered", "sent"), [(33.3, 33), (33.5, 34), (0.2, 0), (99.8, 100), (40, 40)]
)
def test_an_order_is_rounded_to_the_step_that_the_device_has(switch, ordered, sent):
    level = Attribute.objects.create(
        device=switch.device, name="level", kind="number", minimum=0, maximum=100, step=1,
        writable=True,
    )  # fmt: skip
    assert order(level, ordered).number == sent


@pytest.mark.parametrize(
    ("least", "most", "step", "ordered", "sent"),
    [
        (5, 30, 0.5, 20.3, 20.5),
        (0.1, 1, 0.2, 0.42, 0.5),
        (0, 10, 3, 10, 9),
        (None, None, 0.1, 0.30001, 0.3),
        (-10, 10, 4, -3, -2),
        (0, 10, None, 3.33, 3.33),
        (0, 10, 0, 3.33, 3.33),
    ],
)
def test_steps_are_counted_from_the_least(switch, least, most, step, ordered, sent):
    level = Attribute(kind="number", minimum=least, maximum=most, step=step)
    assert level.ordered_value(ordered) == sent


def test_an_order_for_what_is_so_already_is_confirmed_without_effect(simulator, switch):
    assert order_and_send(switch, False).state == State.CONFIRMED
    assert simulator.devices[0].effects == 0


def test_an_acknowledgement_that_lies_is_never_confirmed(simulator, switch):
    simulator.devices[0].faults = [Fault("lying")]
    command = order_and_send(switch)
    assert command.state == State.ACCEPTED
    let_time_pass(minutes=10)
    poll.poll_devices()
    command.refresh_from_db()
    assert command.state == State.UNCONFIRMED
    assert command.error == "Heater still says on is off."


def test_a_lost_command_is_read_back_and_sent_again(simulator, switch):
    simulator.devices[0].faults = [Fault("lost_command", count=1)]
    command = order_and_send(switch)
    assert (command.state, command.attempts) == (State.REQUESTED, 1)
    let_time_pass(seconds=60)
    send.carry_on()
    command.refresh_from_db()
    assert (command.state, command.attempts) == (State.CONFIRMED, 2)
    assert simulator.devices[0].effects == 1


def test_a_lost_answer_is_read_back_and_not_sent_again(simulator, switch):
    simulator.devices[0].faults = [Fault("lost_answer", count=1)]
    command = order_and_send(switch)
    assert (command.state, command.attempts) == (State.CONFIRMED, 1)
    assert (simulator.devices[0].writes, simulator.devices[0].effects) == (1, 1)


def test_a_command_that_expired_is_not_sent(simulator, switch):
    command = order(switch)
    let_time_pass(minutes=3)
    send.send()
    command.refresh_from_db()
    assert command.state == State.EXPIRED
    assert simulator.devices[0].writes == 0


def test_a_command_that_was_lost_and_then_expired_has_failed(simulator, switch):
    simulator.devices[0].faults = [Fault("lost_command")]
    command = order_and_send(switch)
    let_time_pass(minutes=3)
    send.carry_on()
    command.refresh_from_db()
    assert command.state == State.FAILED
    assert simulator.devices[0].writes == 1


def test_a_refusal_is_a_failure_at_once(simulator, switch):
    simulator.devices[0].faults = [Fault("unauthorised")]
    command = order_and_send(switch)
    assert command.state == State.FAILED
    assert command.error == "The device wants its admin password."


def test_a_device_that_is_away_leaves_the_outcome_open_until_it_is_known(simulator, switch):
    simulator.devices[0].faults = [Fault("unreachable")]
    command = order_and_send(switch)
    assert command.state == State.SENDING
    simulator.devices[0].faults = []
    let_time_pass(seconds=60)
    send.carry_on()
    let_time_pass(seconds=30)
    send.carry_on()
    command.refresh_from_db()
    assert command.state == State.CONFIRMED


def test_a_device_that_stays_away_is_given_up_loudly(simulator, switch):
    simulator.devices[0].faults = [Fault("unreachable")]
    command = order_and_send(switch)
    let_time_pass(hours=1)
    send.carry_on()
    command.refresh_from_db()
    assert command.state == State.FAILED
    assert command.error


def test_a_newer_order_takes_the_place_of_one_that_waits(switch):
    older, newer = order(switch, True), order(switch, False)
    older.refresh_from_db()
    assert (older.state, newer.state) == (State.SUPERSEDED, State.REQUESTED)


def test_a_newer_order_waits_while_an_older_one_is_being_sent(simulator, switch):
    older = order(switch, True)
    DeviceCommand.objects.update(
        state=State.SENDING,
        attempts=1,
        claimed_until=Now() + timedelta(minutes=1),
        settles_at=timezone.now(),
    )
    newer = order_and_send(switch, False)
    older.refresh_from_db()
    assert (older.state, newer.state) == (State.SENDING, State.REQUESTED)
    assert simulator.devices[0].writes == 0


def died_while_sending(switch):
    command = order(switch)
    now = timezone.now()
    DeviceCommand.objects.filter(pk=command.pk).update(
        state=State.SENDING,
        attempts=1,
        sent_at=now,
        settles_at=now,
        claimed_until=now - timedelta(seconds=1),
    )
    return command


def test_what_a_process_left_that_died_before_writing_is_sent(simulator, switch):
    command = died_while_sending(switch)
    send.carry_on()
    let_time_pass(seconds=30)
    send.carry_on()
    command.refresh_from_db()
    assert (command.state, command.attempts) == (State.CONFIRMED, 2)
    assert simulator.devices[0].writes == 1


def test_what_a_process_left_that_died_after_writing_is_confirmed_and_not_sent_again(
    simulator, switch
):
    command = died_while_sending(switch)
    simulator.devices[0].on = True
    send.carry_on()
    command.refresh_from_db()
    assert (command.state, command.attempts) == (State.CONFIRMED, 1)
    assert simulator.devices[0].writes == 0


def test_what_a_process_left_that_died_before_writing_never_undoes_a_newer_order(simulator, switch):
    older = died_while_sending(switch)
    newer = order_and_send(switch, False)
    assert newer.state == State.REQUESTED
    let_time_pass(seconds=30)
    send.carry_on()
    let_time_pass(seconds=60)
    send.carry_on()
    older.refresh_from_db()
    newer.refresh_from_db()
    assert (older.state, newer.state) == (State.SUPERSEDED, State.CONFIRMED)
    assert not simulator.devices[0].on
    assert simulator.devices[0].effects == 0


def test_what_a_process_left_is_not_sent_either_when_the_newer_order_has_expired(simulator, switch):
    older = died_while_sending(switch)
    DeviceCommand.objects.filter(pk=older.pk).update(expires_at=timezone.now() + timedelta(hours=1))
    newer = order(switch, False, expires_in=timedelta(seconds=10))
    for _ in range(2):
        let_time_pass(seconds=30)
        send.carry_on()
    older.refresh_from_db()
    newer.refresh_from_db()
    assert (older.state, newer.state) == (State.SUPERSEDED, State.EXPIRED)
    assert simulator.devices[0].writes == 0


def test_an_order_accepted_after_a_newer_one_was_committed_is_replaced_when_that_is_sent(
    simulator, switch
):
    older = died_while_sending(switch)
    newer = order(switch, False)
    now = timezone.now()
    fields = {
        "state": State.ACCEPTED,
        "accepted_at": now,
        "claimed_until": None,
        "confirm_by": now + timedelta(minutes=2),
    }
    DeviceCommand.objects.filter(pk=older.pk).update(**fields)
    send.send([newer.pk])
    older.refresh_from_db()
    newer.refresh_from_db()
    assert (older.state, newer.state) == (State.SUPERSEDED, State.CONFIRMED)


def test_a_read_before_the_device_settled_confirms_nothing(simulator, switch):
    command = died_while_sending(switch)
    DeviceCommand.objects.filter(pk=command.pk).update(
        settles_at=timezone.now() + timedelta(seconds=5)
    )
    poll.poll_devices()
    command.refresh_from_db()
    assert command.state == State.SENDING


def test_a_process_that_slept_past_its_claim_changes_nothing(switch):
    command = order(switch)
    [mine] = send._claim(None)
    DeviceCommand.objects.update(attempts=2)
    send._note(mine, None)
    command.refresh_from_db()
    assert command.state == State.SENDING


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("power", 5.0, "can only be read"),
        ("on", 1, "neither true nor false"),
        ("on", "on", "neither true nor false"),
        ("level", 101.0, "above the most"),
        ("level", float("nan"), "not finite"),
        ("mode", "boil", "none of"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(name, value, why):
    device = make_device(make_gateway())
    Attribute.objects.create(
        device=device, name="level", kind="number", minimum=0, maximum=100, writable=True
    )
    Attribute.objects.create(
        device=device, name="mode", kind="choice", choices=["heat", "off"], writable=True
    )
    with pytest.raises(Unacceptable, match=why):
        order(device.attributes.get(name=name), value)
    assert not DeviceCommand.objects.exists()


def test_a_rule_never_unlocks_but_a_person_may():
    lock = Attribute.objects.create(
        device=make_device(make_gateway()), name="locked", kind="boolean", writable=True
    )
    with pytest.raises(Unacceptable, match="never unlocks"):
        order(lock, False, Source.RULE)
    assert order(lock, True, Source.RULE).state == State.REQUESTED
    assert order(lock, False, Source.HUMAN).state == State.REQUESTED


def test_a_removed_or_disabled_device_takes_no_orders(heater, switch):
    gateways.change_device(heater.pk, enabled=False)
    with pytest.raises(Unacceptable, match="enable it first"):
        order(switch)
    gateways.remove_device(heater.pk)
    with pytest.raises(Unacceptable, match="was removed"):
        order(switch)


def test_one_gateway_that_hangs_does_not_stop_the_others(
    simulator, heater, switch, settings, monkeypatch
):
    monkeypatch.setattr(send, "WRITE_DEADLINE", timedelta(seconds=2))
    monkeypatch.setattr(send, "READS_AT_ONCE", 1)
    gateways.add("shelly", simulator.address(1))
    other = Attribute.objects.get(device__name="Car charger", name="on")
    simulator.devices[0].faults = [Fault("drip_headers")]
    settings.GATEWAY_TIMEOUT_SECONDS = 2
    commands = send.send([order(switch).pk, order(other).pk])
    assert [command.state for command in commands] == [State.SENDING, State.CONFIRMED]


def test_a_switch_that_was_changed_unheard_is_sent_again_by_the_next_process(
    simulator, switch, time_machine
):
    """It was on when last read, was switched off by hand, and the process died before it wrote."""
    simulator.devices[0].on = True
    poll.poll_devices(force=True)
    simulator.devices[0].on = False
    command = send.order(switch.pk, True, source=Source.RULE, reason="a test")
    send._claim([command.pk])
    DeviceCommand.objects.update(claimed_until=timezone.now())
    time_machine.move_to(timezone.now() + timedelta(minutes=1), tick=True)
    send.carry_on()
    time_machine.move_to(timezone.now() + timedelta(minutes=1), tick=True)
    send.carry_on()
    command.refresh_from_db()
    assert (command.state, command.attempts) == (State.CONFIRMED, 2)
    assert simulator.devices[0].on


def test_a_number_that_somebody_else_has_set_meanwhile_is_not_overruled(db):
    device = make_device(make_gateway())
    level = Attribute.objects.create(
        device=device, name="brightness", kind="number", writable=True, number=20.0
    )
    command = send.order(level.pk, 50.0, source=Source.RULE, reason="a test")
    [command] = send._claim([command.pk])
    now = timezone.now()
    DeviceCommand.objects.update(
        claimed_until=now - timedelta(minutes=1), settles_at=now - timedelta(seconds=2)
    )
    Attribute.objects.filter(pk=level.pk).update(number=30.0, heard_at=now)
    confirm.confirm_commands()
    command.refresh_from_db()
    assert (command.state, command.error) == (State.FAILED, "Plug still says brightness is 30.")


def test_sigterm_while_an_order_is_written_gives_its_claim_back(simulator, switch):
    """The device hangs; the next run need not wait for the claim to lapse, and does not guess."""
    simulator.devices[0].faults = [Fault("hang")]
    command = order(switch)
    with pytest.raises(Terminated), running("decide") as lease:
        sigterm_when_asked(simulator.devices[0])
        send.send(holding=lease)
    command.refresh_from_db()
    assert (command.state, command.claimed_until) == (State.SENDING, None)
    assert command.steps[-1][1:] == ["unknown", "Its process was told to end."]
    simulator.devices[0].faults = []
    let_time_pass(seconds=14)  # the claim would have lasted 15
    send.carry_on()
    command.refresh_from_db()
    assert command.state == State.REQUESTED  # read back: it had not arrived
    let_time_pass(seconds=30)
    send.carry_on()
    command.refresh_from_db()
    assert command.state == State.CONFIRMED
    assert simulator.devices[0].on


@pytest.mark.parametrize("ahead", [timedelta(hours=10), timedelta(days=4400)], ids=str)
def test_a_claim_of_an_order_from_the_future_does_not_hold_it_up(simulator, switch, ahead):
    """Its process was killed while the database's clock ran ahead."""
    died_while_sending(switch)
    let_time_pass(seconds=20)
    DeviceCommand.objects.update(claimed_until=Now() + ahead)
    send.carry_on()
    assert DeviceCommand.objects.get().state != State.SENDING


def test_what_was_read_before_the_clock_was_set_back_confirms_nothing(
    simulator, switch, time_machine
):
    poll.poll_devices(force=True)
    simulator.devices[0].faults = [Fault("503")]
    time_machine.move_to(timezone.now() - timedelta(hours=9), tick=True)
    assert order_and_send(switch, False).state == State.SENDING
