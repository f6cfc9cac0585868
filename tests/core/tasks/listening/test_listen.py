"""What devices tell by themselves is stored, over real sockets of simulated devices."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
import time_machine
from django.db import OperationalError
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Attribute, Device, Gateway, Lease, Observation, Run
from core.models.run import Outcome
from core.simulator import Fault, Simulator
from core.tasks import gateways, listen, poll, runs
from core.tasks.listen import Listener
from core.tasks.listening import connection
from core.vendors import _shelly_socket
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def simulator():
    with Simulator(devices=2) as running:
        yield running


@pytest.fixture
def gateway(simulator):
    """Of a heater that is off."""
    return gateways.add("shelly", simulator.address(0)).gateway


@pytest.fixture
def listener(monkeypatch):
    """One that looks for gateways at each turn. Tests make its turns, in their own thread."""
    monkeypatch.setattr(listen, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(connection, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(_shelly_socket, "LISTEN_SECONDS", 0.02)
    made = Listener()
    yield made
    made._end()


@pytest.fixture
def until(listener):
    """Makes turns of the listener until a condition holds."""

    def turn_until(condition):
        def turned():
            listener.turn(0.05)
            return condition()

        return wait_until(turned)

    return turn_until


def switch(gateway):
    return Attribute.objects.get(device__gateway=gateway, name="on")


def is_listened_to(gateway):
    return Gateway.objects.filter(pk=gateway.pk, listened_until__gt=Now()).exists()


def test_what_a_device_tells_is_stored(simulator, gateway, until):
    until(lambda: is_listened_to(gateway))
    assert switch(gateway).value is False
    simulator.devices[0].on = True
    until(lambda: switch(gateway).value is True)
    assert Attribute.objects.get(name="power").value > 1000


def test_it_is_noted_since_when_a_gateway_is_listened_to(
    simulator, gateway, listener, until, monkeypatch
):
    def told():
        return Gateway.objects.with_hearing().get()

    assert told().listening_since is None
    until(lambda: told().listening_since)
    first = told()
    assert abs(first.listening_since - timezone.now()) < timedelta(minutes=1)
    assert first.heard_at == Device.objects.get().heard_at
    monkeypatch.setattr(listen, "NOTE_SECONDS", 0.0)
    until(lambda: told().listened_until > first.listened_until)
    assert told().listening_since == first.listening_since
    listener._end()
    assert told().listened_since is None


def test_the_first_that_is_told_is_everything(gateway, until):
    Attribute.objects.update(heard_at=None)
    until(lambda: is_listened_to(gateway))
    assert not Attribute.objects.filter(heard_at=None).exists()


def test_everything_is_told_again_each_interval(simulator, gateway, until, monkeypatch):
    monkeypatch.setattr(runs, "interval", lambda task: timedelta(seconds=0.2))
    until(lambda: is_listened_to(gateway))
    before = Attribute.objects.get(name="voltage").heard_at
    until(lambda: Attribute.objects.get(name="voltage").heard_at > before)


def test_a_new_gateway_is_listened_to_without_a_restart(simulator, gateway, until):
    until(lambda: is_listened_to(gateway))
    another = gateways.add("shelly", simulator.address(1)).gateway
    until(lambda: is_listened_to(another))


def test_a_gateway_that_is_removed_is_left(simulator, gateway, listener, until):
    until(lambda: is_listened_to(gateway))
    gateways.remove(gateway.pk)
    until(lambda: not listener.connections)
    wait_until(lambda: not any(one.socket for one in simulator.connections))
    assert not is_listened_to(gateway)


def test_a_disabled_gateway_is_left(gateway, listener, until):
    until(lambda: is_listened_to(gateway))
    gateways.change(gateway.pk, enabled=False)
    until(lambda: not is_listened_to(gateway))


def test_a_gateway_that_moved_is_listened_to_at_its_new_address(simulator, gateway, until):
    until(lambda: is_listened_to(gateway))
    with Simulator(devices=1) as elsewhere:
        gateways.change(gateway.pk, address=elsewhere.address(0))
        until(lambda: any(one.socket for one in elsewhere.connections))
        until(lambda: is_listened_to(gateway))
        elsewhere.devices[0].on = True
        until(lambda: switch(gateway).value is True)


def test_a_connection_that_breaks_is_opened_again(simulator, gateway, until):
    until(lambda: is_listened_to(gateway))
    for one in tuple(simulator.connections):
        simulator._loop.call_soon_threadsafe(one.transport.abort)
    simulator.devices[0].on = True
    until(lambda: switch(gateway).value is True)
    until(lambda: is_listened_to(gateway))


def test_a_lost_connection_counts_as_no_failure_and_gives_polls_back_their_pace(
    simulator, gateway, until
):
    until(lambda: is_listened_to(gateway))
    simulator.devices[0].faults = [Fault("unreachable")]
    for one in tuple(simulator.connections):
        simulator._loop.call_soon_threadsafe(one.transport.abort)
    until(lambda: not is_listened_to(gateway))
    gateway.refresh_from_db()
    assert (gateway.failures, gateway.refused) == (0, False)


def test_a_wrong_password_is_a_refusal_and_is_not_tried_again(until, listener):
    with Simulator(devices=1, password="right") as simulator:  # noqa: S106
        gateway = gateways.add("shelly", simulator.address(0), "right").gateway
        gateways.change(gateway.pk, credential="wrong")
        until(lambda: Gateway.objects.get().refused)
        until(lambda: not listener.connections)
        asked = simulator.devices[0].requests
        for _ in range(20):
            listener.turn(0.01)
        assert simulator.devices[0].requests == asked
        gateway.refresh_from_db()
        assert gateway.retry_at >= timezone.now() + timedelta(minutes=55)
        assert "password" in gateway.error


def test_a_password_that_was_put_right_is_tried_at_once(until):
    with Simulator(devices=1, password="right") as simulator:  # noqa: S106
        gateway = gateways.add("shelly", simulator.address(0), "right").gateway
        gateways.change(gateway.pk, credential="wrong")
        until(lambda: Gateway.objects.get().refused)
        gateways.change(gateway.pk, credential="right")
        until(lambda: is_listened_to(gateway))
        assert not Gateway.objects.get().refused


def test_a_device_that_offers_no_connection_is_polled_as_before(simulator, gateway, until, caplog):
    simulator.devices[0].faults = [Fault("503")]
    until(lambda: "opens no WebSocket" in caplog.text)
    simulator.devices[0].faults = []
    assert poll.poll_devices().asked.gateways == 1


# Polls are the net below


def polled(now):
    with time_machine.travel(now, tick=False):
        return poll.poll_devices().asked.gateways


def test_a_poll_leaves_what_is_listened_to_but_for_each_sixth(gateway):
    Gateway.objects.update(listened_until=Now() + timedelta(minutes=2))
    now = timezone.now().replace(microsecond=0)
    asked = [polled(now + number * timedelta(minutes=10)) for number in range(12)]
    assert asked.count(1) == 2
    assert asked[:6] == asked[6:]


def test_forced_it_asks_all(gateway):
    Gateway.objects.update(listened_until=Now() + timedelta(minutes=2))
    for _ in range(2):
        assert poll.poll_devices(force=True).asked.gateways == 1


@pytest.mark.parametrize("minutes", [-1, 60 * 24])
def test_a_note_that_is_over_or_of_a_wrong_clock_holds_no_poll_back(gateway, minutes):
    Gateway.objects.update(listened_until=Now() + timedelta(minutes=minutes))
    now = timezone.now()
    assert [polled(now + number * timedelta(minutes=10)) for number in range(6)] == [1] * 6


# What happens to servers


def test_while_the_database_is_away_what_is_told_waits(
    simulator, gateway, listener, until, monkeypatch
):
    until(lambda: is_listened_to(gateway))
    record, failures = listen.record, [OperationalError("gone")] * 2

    def fails_twice(*given):
        if failures:
            raise failures.pop()
        return record(*given)

    monkeypatch.setattr(listen, "record", fails_twice)
    simulator.devices[0].on = True
    until(lambda: switch(gateway).value is True)
    assert failures == []


def test_an_answer_that_cannot_be_stored_costs_no_other(
    simulator, gateway, listener, until, monkeypatch
):
    another = gateways.add("shelly", simulator.address(1)).gateway
    until(lambda: is_listened_to(gateway) and is_listened_to(another))
    record = listen.record

    def fails_for_one(answers, holding):
        if any(answer.gateway_pk == another.pk for answer in answers):
            raise ValueError("a fault of ours")
        return record(answers, holding)

    monkeypatch.setattr(listen, "record", fails_for_one)
    simulator.devices[1].on = simulator.devices[0].on = True
    until(lambda: switch(gateway).value is True)
    assert switch(another).value is False


def test_a_second_listener_waits_and_takes_over(gateway, listener, monkeypatch):
    holding = runs.begin(runs.LISTEN)
    with pytest.raises(runs.AlreadyRunning):
        runs.begin(runs.LISTEN)
    listener._holding = holding
    Lease.objects.update(token=99)
    monkeypatch.setattr(runs, "LEASE_SECONDS", 0)
    with pytest.raises(runs.LeaseLost):
        listener.turn(0.01)


@pytest.fixture
def process(database_url):
    """Starts `manage.py listen_devices`."""
    started = []

    def start():
        environment = {**os.environ, "DATABASE_URL": database_url, "DEBUG": "1"}
        command = [sys.executable, "manage.py", "listen_devices"]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()
        one.stderr.close()


def test_it_ends_on_sigterm_and_gives_polls_back_their_pace(simulator, gateway, process):
    running = process()
    wait_until(lambda: is_listened_to(gateway))
    simulator.devices[0].on = True
    wait_until(lambda: switch(gateway).value is True)
    running.send_signal(signal.SIGTERM)
    assert running.wait(PATIENCE_SECONDS) == 0
    assert not is_listened_to(gateway)
    assert Run.objects.get(task=runs.LISTEN).outcome == Outcome.DONE


def test_one_that_was_killed_is_followed_by_another(simulator, gateway, process):
    killed = process()
    wait_until(lambda: is_listened_to(gateway))
    killed.kill()
    killed.wait()
    # As a minute later: the lease of a killed process is over then.
    Lease.objects.filter(task=runs.LISTEN).update(expires_at=Now())
    process()
    simulator.devices[0].on = True
    wait_until(lambda: switch(gateway).value is True)
    assert set(Run.objects.values_list("outcome", flat=True)) == {
        Outcome.VANISHED,
        Outcome.RUNNING,
    }


def test_two_at_once_store_everything_once(simulator, gateway, process):
    process(), process()
    wait_until(lambda: is_listened_to(gateway))
    wait_until(lambda: switch(gateway).value is False)  # what it told first is stored
    before = Observation.objects.filter(attribute__name="on").count()
    simulator.devices[0].on = True
    wait_until(lambda: switch(gateway).value is True)
    assert Observation.objects.filter(attribute__name="on").count() == before + 1
    assert Device.objects.count() == 1
