"""What rules are told of the last minutes: read in two queries, kept by receipts, never guessed."""

import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core import rules
from core.models import Attribute, Device, Observation, Receipt, Silence
from core.readings import Kind, Reading
from core.rules._past import Stretch
from core.tasks import decide, gateways, react
from core.tasks.decisions import recent_past as module
from core.tasks.decisions.recent_past import Wanted, recent_past
from core.tasks.decisions.situations import Round
from core.tasks.explain import explain
from core.tasks.listening.reactions import Reactions
from core.tasks.polling.record import GatewayAnswer, record
from tests.core.tasks.homes import make_device

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TEN = 10 * MINUTE


@pytest.fixture
def fan(hub, sensor):
    fan = make_device(hub, "fan")
    return gateways.set_rule(fan.pk, "when", {"device": "Sensor", "minutes": 10})


def tell(device, minute, **values):
    """So many minutes after noon."""
    readings = [Reading(device.vendor_id, name, value) for name, value in values.items()]
    at = NOON + minute * MINUTE
    record([GatewayAnswer(device.gateway_id, at, [device.vendor_id], readings)])


def past_of(attribute, minute, lasts=TEN):
    found = recent_past([Wanted(attribute, lasts)], NOON + minute * MINUTE)
    return found[attribute.pk, lasts].stretches


def in_minutes(stretches):
    """From when to when, in minutes after noon, and the values."""
    return [
        ((one.starts_at - NOON) / MINUTE, (one.ends_at - NOON) / MINUTE, one.lowest, one.highest)
        for one in stretches
    ]


@pytest.fixture
def temperature(sensor):
    return sensor.attributes.get(name="temperature")


def observe(attribute, *told):
    Observation.objects.bulk_create(
        Observation(attribute=attribute, observed_at=NOON + minute * MINUTE, number=number)
        for minute, number in told
    )


def test_a_value_from_before_holds_at_the_beginning(temperature):
    observe(temperature, (-300, 20.0), (-60, 24.0), (4, 26.0), (12, 99.0))
    assert in_minutes(past_of(temperature, 10)) == [(0, 4, 24.0, 24.0), (4, 10, 26.0, 26.0)]


def test_a_value_that_is_told_again_goes_on(temperature):
    observe(temperature, (-60, 24.0), (2, 24.0), (4, 26.0), (6, 26.0), (8, 26.0))
    assert in_minutes(past_of(temperature, 10)) == [(0, 4, 24.0, 24.0), (4, 10, 26.0, 26.0)]


def test_before_the_first_value_nothing_is_known(temperature):
    observe(temperature, (4, 26.0))
    assert in_minutes(past_of(temperature, 10)) == [(4, 10, 26.0, 26.0)]
    assert past_of(temperature, 3) == ()


def test_a_silence_is_a_gap(temperature):
    observe(temperature, (-60, 26.0))
    for first, last in ((-50, -40), (-5, 2), (5, 6)):
        times = {"starts_at": NOON + first * MINUTE, "ends_at": NOON + last * MINUTE}
        Silence.objects.create(attribute=temperature, **times)
    assert in_minutes(past_of(temperature, 10)) == [(2, 5, 26.0, 26.0), (6, 10, 26.0, 26.0)]


def test_a_word_and_a_switch_are_what_they_were(sensor):
    mode = Attribute.objects.create(device=sensor, name="mode", kind=Kind.TEXT)
    Observation.objects.create(attribute=mode, observed_at=NOON, text="heat")
    on = sensor.attributes.get(name="on")
    observe(on, (0, 1.0))
    assert in_minutes(past_of(mode, 10)) == [(0, 10, "heat", "heat")]
    assert past_of(on, 10)[0].lowest is True


def test_of_one_that_tells_much_the_older_values_are_one_stretch(temperature, monkeypatch):
    monkeypatch.setattr(module, "MOST_VALUES", 4)
    observe(temperature, *((minute, float(minute)) for minute in range(10)))
    older, *newest = in_minutes(past_of(temperature, 10))
    assert older == (0, 7, 0.0, 6.0)
    assert newest == [(7, 8, 7.0, 7.0), (8, 9, 8.0, 8.0), (9, 10, 9.0, 9.0)]


def test_queries_and_what_is_read_do_not_grow_with_devices(hub, fan, sensor, temperature):
    observe(temperature, (0, 26.0))
    for place in range(5):
        other = make_device(hub, f"sensor {place}")
        more = make_device(hub, f"fan {place}")
        options = {"device": other.pk, "attribute": "power", "minutes": 10 + place}
        gateways.set_rule(more.pk, "when", options)
    ruled = Device.objects.select_related("gateway").prefetch_related("attributes")
    one, many = list(ruled.filter(pk=fan.pk)), list(ruled.exclude(rule=""))
    for device in ruled:
        tell(device, 0, on=False, power=5.0)
    tell(sensor, 0, temperature=26.0)
    with CaptureQueriesContext(connection) as of_one:
        Round(one, NOON + MINUTE)
    with CaptureQueriesContext(connection) as of_many:
        states = Round(many, NOON + MINUTE).states
    assert (len(many), len(of_many)) == (6, len(of_one))
    assert all(len(state.situation.others) == 1 for state in states)


def test_two_that_look_back_differently_are_told_what_each_asks_for(hub, fan, sensor, temperature):
    other = make_device(hub, "other")
    gateways.set_rule(other.pk, "when", {"device": "Sensor", "minutes": 2})
    tell(sensor, 0, temperature=26.0)
    ruled = Device.objects.select_related("gateway").prefetch_related("attributes")
    states = Round(list(ruled.exclude(rule="").order_by("pk")), NOON + 5 * MINUTE).states
    past = [state.situation.others[sensor.pk].past["temperature"] for state in states]
    assert [one.looked_back for one in past] == [TEN, 2 * MINUTE]
    assert [in_minutes(one.stretches)[0][0] for one in past] == [0, 3]


def decided_at(fan, minute, time_machine):
    time_machine.move_to(NOON + minute * MINUTE, tick=False)
    [verdict] = decide.decide(fan.pk)
    return verdict.sentence


def test_ten_minutes_above_the_limit_switch_and_nine_do_not(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    tell(fan, 0, on=False)
    tell(sensor, 0, temperature=24.0)
    tell(sensor, 2, temperature=26.0)
    said = "off already, because the temperature of Sensor is 26, above 25 for 9 of 10 min"
    assert decided_at(fan, 11, time_machine) == said
    sentence = decided_at(fan, 12, time_machine)
    assert sentence.startswith("on, because the temperature of Sensor is 26, above 25 for 10 min")


def test_a_time_that_nobody_heard_does_not_count(fan, sensor, time_machine):
    """It is heard again after an hour, with the value it had before."""
    time_machine.move_to(NOON, tick=False)
    tell(sensor, 0, temperature=26.0)
    time_machine.move_to(NOON + 60 * MINUTE, tick=False)
    tell(fan, 60, on=False)
    tell(sensor, 60, temperature=26.0)
    assert "above 25 for 3 of 10 min" in decided_at(fan, 63, time_machine)
    assert "above 25 for 10 min" in decided_at(fan, 70, time_machine)


def test_the_receipt_holds_what_was_looked_at_and_decides_the_same_again(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    tell(fan, 0, on=False)
    tell(sensor, 0, temperature=24.0, power=5.0)
    tell(sensor, 2.5, temperature=26.0)
    decided_at(fan, 8, time_machine)
    tell(sensor, 9, temperature=3.0)
    Observation.objects.all().delete()
    explanation = explain(Receipt.objects.get().pk)
    assert explanation.agrees
    assert "above 25 for 5 of 10 min" in explanation.again.reason
    assert explanation.again.until == NOON + 12.5 * MINUTE
    words = explanation.in_words()
    assert f"  Sensor ({sensor.pk}), temperature of the last 10 min:\n" in words
    assert "    12:00:00 to 12:02:30: 24\n    12:02:30 to 12:08:00: 26\n" in words
    [stored] = explanation.as_json()["inputs"]["others"].values()
    stretches = [[480.0, 330.0, 24.0], [330.0, 0.0, 26.0]]
    assert stored["past"] == {"temperature": {"seconds": 600.0, "stretches": stretches}}


def test_of_an_earlier_time_it_is_the_past_of_then(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    tell(fan, 0, on=False)
    tell(sensor, 0, temperature=26.0)
    tell(sensor, 11, temperature=3.0)
    time_machine.move_to(NOON + 12 * MINUTE, tick=False)
    [verdict] = decide.decide(fan.pk, as_of=NOON + TEN)
    assert verdict.wanted
    assert not verdict.is_undecided


def test_a_rule_that_does_not_look_back_asks_for_nothing(fan, sensor):
    gateways.set_rule(fan.pk, "when", {"device": "Sensor"})
    ruled = Device.objects.select_related("gateway").prefetch_related("attributes")
    tell(sensor, 0, temperature=26.0)
    with CaptureQueriesContext(connection) as queries:
        [state] = Round(list(ruled.filter(pk=fan.pk)), NOON + MINUTE).states
    assert not [one for one in queries if "core_observation" in one["sql"]]
    assert not state.situation.others[sensor.pk].past


def test_the_own_past_is_told_where_no_other_device_is_named(fan, sensor, temperature):
    gateways.set_rule(sensor.pk, "when", {"minutes": 10})
    tell(sensor, 0, temperature=26.0, power=5.0)
    ruled = Device.objects.select_related("gateway").prefetch_related("attributes")
    [state] = Round(list(ruled.filter(pk=sensor.pk)), NOON + TEN).states
    [(name, past)] = state.situation.past.items()
    assert name == "temperature"
    assert past.stretches == (Stretch(NOON, NOON + TEN, 26.0, 26.0),)


def test_the_receipt_keeps_the_own_past_too(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    gateways.set_rule(sensor.pk, "when", {"minutes": 10})
    tell(sensor, 0, on=False, temperature=26.0, power=5.0)
    decided_at(sensor, 8, time_machine)
    Observation.objects.all().delete()
    explanation = explain(Receipt.objects.get().pk)
    assert explanation.agrees
    assert "above 25 for 8 of 10 min" in explanation.again.reason
    assert "  temperature of the last 10 min:\n    12:00:00 to 12:08:00: 26\n" in (
        explanation.in_words()
    )


STEADY = '''"""On once it has drawn much for two minutes."""

from dataclasses import dataclass

from core.rules import Decision

SIGNALS = ()
PAST_MINUTES = 2


@dataclass(frozen=True)
class Options:
    pass


def decide(situation):
    return Decision(situation.was("power", above=100, for_minutes=2), "it has drawn much")
'''


@pytest.fixture
def steady(monkeypatch, tmp_path):
    (tmp_path / "steady.py").write_text(STEADY)
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])
    yield "steady"
    rules.load.cache_clear()
    sys.modules.pop("core.rules.steady", None)


@pytest.mark.parametrize(("minute", "is_on"), [(1, False), (2, True)])
def test_a_rule_of_ones_own_says_how_far_it_looks_back(fan, steady, minute, is_on, time_machine):
    time_machine.move_to(NOON, tick=False)
    gateways.set_rule(fan.pk, steady, {})
    tell(fan, 0, on=False, power=150.0)
    assert decided_at(fan, minute, time_machine).startswith("on, " if is_on else "off already")
    assert list(Receipt.objects.get().inputs["past"]) == ["on", "power"]


# When nothing new is told


def test_when_its_time_is_over_it_is_decided_though_nothing_new_is_told(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    tell(fan, 0, on=False)
    tell(sensor, 0, temperature=26.0)
    reactions = Reactions(react.react_in_time, react.overdue)
    decided_at(fan, 1, time_machine)
    time_machine.move_to(NOON + 9 * MINUTE, tick=False)
    assert react.overdue() == []
    time_machine.move_to(NOON + TEN, tick=False)
    assert react.overdue() == [fan.pk]
    reactions._overdue_at = float("-inf")
    reactions.look()
    assert "above 25 for 10 min" in Device.objects.get(pk=fan.pk).decision
    assert react.overdue() == []


def test_a_rule_that_does_not_react_is_not_overdue(fan, sensor, time_machine):
    time_machine.move_to(NOON, tick=False)
    tell(fan, 0, on=False)
    tell(sensor, 0, temperature=26.0)
    decided_at(fan, 1, time_machine)
    Receipt.objects.update(rule="below")
    time_machine.move_to(NOON + TEN, tick=False)
    assert react.overdue() == []
