"""A rule that reacts decides when the device tells something new, and once."""

import sys
import threading
from datetime import timedelta
from time import monotonic

import pytest
from django.db import connection
from django.utils import timezone

from core import rules
from core.models import Device, DeviceCommand, Receipt
from core.models.device_command import State
from core.readings import Reading
from core.simulator import Simulator
from core.tasks import decide, gateways, react
from core.tasks.events.outbox import publishing
from core.tasks.listening import reactions
from core.tasks.listening.reactions import Reactions
from core.tasks.polling.record import GatewayAnswer, record
from core.vendors import _shelly_socket
from tests.core.tasks.listening.listeners import until as turns_until
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SAVER = '''"""Off when it draws too much."""

from dataclasses import dataclass

from core.rules import Decision

SIGNALS = ()
{react}

@dataclass(frozen=True)
class Options:
    pass


def decide(situation):
    if situation.values["power"] > 1000:
        return Decision(False, "it draws too much")
    return None
'''


@pytest.fixture(autouse=True)
def saver(monkeypatch, tmp_path):
    """The rule `saver`, and `sluggish`, which is the same and does not react."""
    (tmp_path / "saver.py").write_text(SAVER.format(react="REACT = True"))
    (tmp_path / "sluggish.py").write_text(SAVER.format(react=""))
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    yield
    rules.load.cache_clear()
    for name in ("saver", "sluggish"):
        sys.modules.pop(f"core.rules.{name}", None)


@pytest.fixture
def simulator():
    with Simulator(devices=1) as running:
        yield running


@pytest.fixture
def heater(simulator):
    [pk] = gateways.add("shelly", simulator.address(0)).new
    return gateways.change_device(pk, rule="saver")


def now_decided(device, ago=timedelta()):
    with publishing():
        Device.objects.filter(pk=device.pk).update(decided_at=timezone.now() - ago)


def decided():
    """How often a decision was stored."""
    return sum(Receipt.objects.values_list("times", flat=True))


def stored(device, power):
    """An answer that is stored, of a device that is on."""
    told = {"on": True, "power": power}
    readings = [Reading(device.vendor_id, name, said) for name, said in told.items()]
    answer = GatewayAnswer(device.gateway_id, timezone.now(), [device.vendor_id], readings)
    record([answer])
    return answer


def test_what_a_device_tells_switches_it_without_a_slot(simulator, heater, monkeypatch):
    monkeypatch.setattr(_shelly_socket, "LISTEN_SECONDS", 0.02)
    with turns_until() as until:
        until(lambda: simulator.devices[0].requests and Device.objects.get().gateway.listened_until)
        simulator.devices[0].on = True
        until(lambda: DeviceCommand.objects.filter(state=State.CONFIRMED).exists())
    assert simulator.devices[0].on is False
    assert "it draws too much" in Device.objects.get().decision


def test_a_rule_that_does_not_react_waits_for_its_slot(heater):
    gateways.change_device(heater.pk, rule="sluggish")
    reactions = Reactions(react.react_in_time)
    reactions.note([stored(heater, 2000.0)])
    reactions.look()
    assert not Receipt.objects.exists()
    [verdict] = decide.decide()
    assert verdict.decision is not None


def test_a_guard_reacts_too(heater):
    assert "saver" in rules.reacting()
    with publishing():
        Device.objects.filter(pk=heater.pk).update(rule="sluggish", guard="saver")
    assert react.worth_deciding([heater.pk]).exists()


def test_a_value_that_is_told_again_decides_nothing(heater):
    reactions = Reactions(react.react_in_time)
    reactions.note([stored(heater, 5.0)])
    reactions.look()
    now_decided(heater, ago=timedelta(hours=1))
    decided_at = Device.objects.get().decided_at
    reactions.note([stored(heater, 5.0)])
    reactions.look()
    assert Device.objects.get().decided_at == decided_at
    reactions.note([stored(heater, 6.0)])
    reactions.look()
    assert Device.objects.get().decided_at > decided_at


def test_within_a_minute_of_a_decision_it_waits_and_is_not_forgotten(heater):
    now_decided(heater)
    before = Device.objects.get().decided_at
    reactions = Reactions(react.react_in_time)
    reactions.note([stored(heater, 2000.0)])
    reactions.look()
    assert Device.objects.get().decided_at == before
    now_decided(heater, ago=timedelta(minutes=2))
    reactions.look()
    assert Device.objects.get().decided_at > before
    reactions.look()
    assert decided() == 1


def test_after_a_fault_it_pauses(monkeypatch, caplog):
    monkeypatch.setattr(reactions, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(reactions, "OVERDUE_SECONDS", 0)
    monkeypatch.setattr(reactions, "FAULT_PAUSE_SECONDS", 0.5)
    tried_at = []

    def fails(pks):
        tried_at.append(monotonic())
        raise RuntimeError("a fault")

    reacting = Reactions(fails, overdue=lambda: [1])
    reacting.start()
    wait_until(lambda: len(tried_at) > 1)
    reacting.stop(10)
    assert tried_at[1] - tried_at[0] >= 0.5
    assert "RuntimeError: a fault" in caplog.text


def test_a_round_that_knew_less_does_not_decide_after_a_reaction(heater, monkeypatch):
    """The round has made its verdicts; then the device tells something, and is decided about."""
    commit = decide._commit

    def commit_late(verdicts, now, lease, least_pause):
        monkeypatch.setattr(decide, "_commit", commit)
        decide.decide_again([heater.pk], react.LEAST_PAUSE)
        return commit(verdicts, now, lease, least_pause)

    monkeypatch.setattr(decide, "_commit", commit_late)
    stored(heater, 2000.0)
    decide.decide()
    assert decided() == 1


def test_two_that_react_at_once_decide_once(heater, monkeypatch):
    stored(heater, 2000.0)
    commit, both = decide._commit, threading.Barrier(2)

    def commit_together(*given):
        both.wait(60)
        return commit(*given)

    monkeypatch.setattr(decide, "_commit", commit_together)

    def work():
        decide.decide_again([heater.pk], react.LEAST_PAUSE)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decided() == 1
