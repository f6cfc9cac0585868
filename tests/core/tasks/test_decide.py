"""From a situation to a device that does it, through a real vendor client and the simulator."""

from datetime import UTC, datetime, timedelta

import pytest

from core import rules
from core.feeds import Signal, Slot
from core.feeds.replay import Feed
from core.models import Attribute, DeviceCommand, Run
from core.models.device_command import State
from core.planning.forecast import Outlook
from core.rules import Situation
from core.rules.awesome import Options
from core.rules.awesome import decide as awesome
from core.simulator import Fault
from core.tasks import decide, gateways, poll

pytestmark = pytest.mark.django_db
CLEAN = datetime(2026, 11, 16, 4, 10, tzinfo=UTC)
DIRTY = datetime(2026, 11, 18, 4, 10, tzinfo=UTC)


@pytest.fixture
def ruled(heater):
    gateways.change_device(heater.pk, rule="awesome")
    return heater


def at(time_machine, moment):
    time_machine.move_to(moment, tick=True)
    poll.poll_devices(force=True)


def test_clean_hours_switch_on_and_the_reason_is_a_sentence(ruled, simulator, time_machine):
    at(time_machine, CLEAN)
    [verdict] = decide.decide()
    clean = f"the grid is clean: {intensity(CLEAN):g} gCO2/kWh"
    assert verdict.sentence == f"on, because {clean} (replayed data): confirmed"
    assert simulator.devices[0].on
    ruled.refresh_from_db()
    assert ruled.decision == f"on, because {clean} (replayed data)"


def intensity(moment):
    slots = Feed().fetch("", moment, moment + timedelta(seconds=1))
    [value] = [
        slot.value for slot in slots if slot.signal is Signal.CARBON_INTENSITY and slot.issued_at
    ]
    return value


def test_dirty_hours_leave_it_off_and_order_nothing(ruled, simulator, time_machine):
    at(time_machine, DIRTY)
    [verdict] = decide.decide()
    assert verdict.sentence.startswith("off already, because the grid is not clean")
    assert not DeviceCommand.objects.exists()


def test_a_dry_run_stores_and_sends_nothing(ruled, simulator, time_machine):
    at(time_machine, CLEAN)
    [verdict] = decide.decide(dry_run=True)
    assert verdict.sentence.startswith("on, because")
    assert simulator.devices[0].writes == 0
    assert not DeviceCommand.objects.exists()
    assert not Run.objects.filter(task="decide").exists()


def test_no_fresh_reading_no_decision(ruled, simulator, time_machine):
    at(time_machine, CLEAN)
    time_machine.move_to(CLEAN + timedelta(hours=1))
    [verdict] = decide.decide()
    assert verdict.problem
    assert verdict.sentence == (
        "no decision: no fresh reading, last heard 2026-11-16 04:10 (times: UTC)"
    )


def test_a_device_without_rule_is_left_alone(heater):
    assert decide.decide() == []


def test_one_device_on_request_needs_a_rule(heater):
    with pytest.raises(LookupError, match="set_rule"):
        decide.decide(heater.pk)


def test_a_rule_that_fails_costs_its_own_device_alone(ruled, simulator, time_machine, monkeypatch):
    gateways.add("shelly", simulator.address(1))
    charger = Attribute.objects.get(device__name="Car charger", name="on").device
    gateways.change_device(charger.pk, rule="awesome")
    at(time_machine, CLEAN)

    def stumbles(situation: Situation):
        return {}["missing"] if situation.device == "Heater" else awesome(situation)

    monkeypatch.setattr("core.rules.awesome.decide", stumbles)
    monkeypatch.setattr("core.rules.load", rules.load.__wrapped__)
    bad, good = sorted(decide.decide(), key=lambda verdict: verdict.device.pk)
    assert bad.sentence == "no decision: the rule awesome failed: KeyError: 'missing'"
    assert good.command.state == State.CONFIRMED


def test_what_is_under_way_is_not_ordered_again(ruled, simulator, time_machine):
    at(time_machine, CLEAN)
    simulator.devices[0].faults = [Fault("lying")]
    decide.decide()
    decide.decide()
    assert DeviceCommand.objects.count() == 1


@pytest.mark.parametrize(("value", "on"), [(179.0, True), (180.0, False), (0.0, True)])
def test_awesome_switches_on_below_its_limit(value, on):
    slot = Slot(CLEAN, CLEAN + timedelta(minutes=30), value, "gCO2/kWh", CLEAN)
    decision = awesome(
        Situation(
            CLEAN, "Heater", {}, "on", {slot.signal: Outlook(slot.signal, (slot,))}, Options()
        )
    )
    assert decision.value is on
