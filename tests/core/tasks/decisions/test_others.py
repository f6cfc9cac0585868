"""Rules that look at another device: what they are told, what receipts keep, when they decide."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import rules
from core.models import Access, Attribute, Device, Receipt, Right
from core.readings import Kind, Reading
from core.rules import Rule, attribute_option, device_option
from core.tasks import decide, gateways, react
from core.tasks.decisions.situations import Round
from core.tasks.events.outbox import publishing
from core.tasks.explain import explain
from core.tasks.polling.record import GatewayAnswer, record
from tests.core.tasks.homes import make_device

pytestmark = pytest.mark.django_db


@pytest.fixture
def fan(hub, sensor):
    fan = make_device(hub, "fan")
    return gateways.set_rule(fan.pk, "when", {"device": "Sensor"})


def tell(device, at=None, **values):
    readings = [Reading(device.vendor_id, name, value) for name, value in values.items()]
    answer = GatewayAnswer(device.gateway_id, at or timezone.now(), [device.vendor_id], readings)
    record([answer])


def decided(device, **how):
    [verdict] = decide.decide(device.pk, **how)
    return verdict


def test_another_devices_value_decides(fan, sensor):
    tell(fan, on=False)
    tell(sensor, temperature=26.0)
    verdict = decided(fan, dry_run=True)
    assert verdict.sentence == "on, because the temperature of Sensor is 26, above 25"
    assert verdict.wanted


def test_a_silent_device_is_not_guessed_at(fan, sensor):
    tell(sensor, temperature=26.0, at=timezone.now() - timedelta(days=1))
    tell(fan, on=False)
    verdict = decided(fan, dry_run=True)
    assert verdict.is_undecided
    assert verdict.sentence == ("no decision: no fresh value of temperature is known of Sensor")


def test_a_device_that_was_removed_is_told_of(fan, sensor):
    tell(fan, on=False)
    with publishing():
        Device.objects.filter(pk=sensor.pk).update(removed_at=timezone.now())
    problem = f"device {sensor.pk}, which it looks at, is not there any more"
    assert decided(fan, dry_run=True).sentence == f"no decision: {problem}"


def test_the_receipt_keeps_what_was_looked_at_and_decides_the_same_again(fan, sensor):
    tell(fan, on=True)
    tell(sensor, temperature=26.0)
    decided(fan)
    tell(sensor, temperature=3.0, at=timezone.now() + timedelta(seconds=1))
    explanation = explain(Receipt.objects.get().pk)
    assert explanation.agrees
    assert f"Sensor ({sensor.pk}), temperature: 26, measured" in explanation.in_words()
    other = explanation.as_json()["inputs"]["others"][str(sensor.pk)]
    assert (other["name"], other["values"]["temperature"][0]) == ("Sensor", 26.0)


def test_as_of_an_earlier_time_the_other_device_has_its_value_of_then(fan, sensor):
    now = timezone.now()
    then = now - timedelta(minutes=2)
    for device, values in ((fan, {"on": False}), (sensor, {"temperature": 26.0})):
        tell(device, at=then, **values)
    tell(sensor, temperature=3.0, at=now)
    assert decided(fan, dry_run=True).sentence.startswith("off already")
    assert decided(fan, as_of=then + timedelta(minutes=1)).wanted


def test_renaming_changes_nothing(fan, sensor):
    gateways.change_device(sensor.pk, name="Kitchen")
    tell(fan, on=False)
    tell(sensor, temperature=26.0)
    assert "temperature of Kitchen is 26" in decided(fan, dry_run=True).sentence


def test_queries_do_not_grow_with_devices(hub, fan, sensor):
    for place in range(5):
        other = make_device(hub, f"sensor {place}")
        more = make_device(hub, f"fan {place}")
        gateways.set_rule(more.pk, "when", {"device": other.pk, "attribute": "power"})
    ruled = Device.objects.select_related("gateway").prefetch_related("attributes")
    one, many = list(ruled.filter(pk=fan.pk)), list(ruled.exclude(rule=""))
    with CaptureQueriesContext(connection) as of_one:
        Round(one, timezone.now())
    with CaptureQueriesContext(connection) as of_many:
        Round(many, timezone.now())
    assert (len(many), len(of_many)) == (6, len(of_one))


def test_a_name_becomes_a_number(fan, sensor):
    assert fan.options == {"device": sensor.pk}


@pytest.mark.parametrize("wanted", ["Nobody", "999999"])
def test_a_device_that_is_not_there_is_refused(fan, wanted):
    with pytest.raises(ValueError, match=f"device: there is no device '{wanted}'"):
        gateways.set_rule(fan.pk, "when", {"device": wanted})


def test_a_name_that_two_have_is_refused_with_their_numbers(fan, sensor, hub):
    twin = make_device(hub, "twin")
    gateways.change_device(twin.pk, name="Sensor")
    with pytest.raises(ValueError, match=f"'Sensor': {sensor.pk}, {twin.pk}. Give the number"):
        gateways.set_rule(fan.pk, "when", {"device": "Sensor"})


def test_it_reacts_to_what_the_other_device_tells(fan, sensor, hub):
    stranger = make_device(hub, "stranger")
    assert [device.pk for device in react.worth_deciding([sensor.pk])] == [fan.pk]
    assert [device.pk for device in react.worth_deciding([fan.pk])] == [fan.pk]
    assert not react.worth_deciding([stranger.pk]).exists()


@pytest.mark.parametrize("typed", ["rain_sensor", "rain sensor", " Rain Sensor "])
def test_an_attribute_is_stored_by_its_own_name(fan, sensor, typed):
    Attribute.objects.create(device=sensor, name="rain_sensor", kind=Kind.BOOLEAN)
    there = gateways.set_rule(fan.pk, "when", {"device": sensor.pk, "attribute": typed})
    assert there.options["attribute"] == "rain_sensor"


def test_an_attribute_that_the_device_does_not_have_is_refused_with_those_it_has(fan, sensor):
    with pytest.raises(ValueError) as refused:
        gateways.set_rule(fan.pk, "when", {"device": "Sensor", "attribute": "wet"})
    assert str(refused.value) == ("attribute: Sensor has no 'wet'. It has: on, power, temperature.")


def test_the_default_attribute_is_checked_too_also_of_the_device_itself(fan):
    with pytest.raises(ValueError, match="attribute: Fan has no 'temperature'. It has: on, power"):
        gateways.set_rule(fan.pk, "when", {})


def test_a_device_of_which_nothing_was_read_yet_is_told_of(fan, sensor):
    sensor.attributes.all().delete()
    with pytest.raises(ValueError, match="It has: nothing yet"):
        gateways.set_rule(fan.pk, "when", {"device": sensor.pk})


def test_only_devices_that_may_be_seen_are_named(fan, sensor):
    limited = Access(frozenset(Right), devices=frozenset({fan.pk}))
    for wanted in ("Sensor", sensor.pk):
        with pytest.raises(ValueError, match=f"device: there is no device '{wanted}'"):
            gateways.set_rule(fan.pk, "when", {"device": wanted}, access=limited)


def test_the_receipt_holds_the_attribute_that_was_looked_at_and_no_other(fan, sensor):
    tell(fan, on=True)
    tell(sensor, temperature=26.0, on=True, power=40.0)
    decided(fan)
    [receipt] = Receipt.objects.all()
    assert list(receipt.inputs["others"][str(sensor.pk)]["values"]) == ["temperature"]
    assert explain(receipt.pk).agrees


@dataclass(frozen=True)
class Options:
    meter: int = device_option("Whose power")
    power: str = attribute_option("power", "Of the meter", of="meter")
    sensor: int = device_option("All of which is looked at")
    again: int = device_option("Whose warmth")
    warmth: str = attribute_option("temperature", "Of it", of="again")


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({}, {}),
        ({"meter": 0}, {}),
        ({"meter": "7"}, {7: {"power"}}),
        ({"meter": 7, "power": "w"}, {7: {"w"}}),
        ({"sensor": 7}, {7: set()}),
        ({"meter": 7, "again": 7}, {7: {"power", "temperature"}}),
        ({"meter": 7, "sensor": 7}, {7: set()}),
        ({"sensor": 7, "again": 7}, {7: set()}),
        ({"meter": 7, "again": 8, "sensor": "x"}, {7: {"power"}, 8: {"temperature"}}),
    ],
)
def test_what_options_name_is_all_that_is_loaded(written, named):
    rule = Rule("kettle", Options, lambda situation: None, "1", (), False)
    assert rule.named(written) == named


def test_a_rule_and_a_guard_that_look_at_one_device_are_told_what_either_needs(fan, sensor):
    tell(sensor, temperature=26.0, on=True, power=40.0)
    with publishing():
        fan.guard, fan.guard_options = "when", {"device": sensor.pk, "attribute": "power"}
        fan.save()
    devices = Device.objects.select_related("gateway").prefetch_related("attributes")
    [state] = Round(list(devices.filter(pk=fan.pk)), timezone.now()).states
    assert dict(state.situation.others[sensor.pk].values) == {"temperature": 26.0, "power": 40.0}


def test_where_nobody_may_be_named_the_attribute_of_nobody_is_not_asked_for(hub, sensor):
    lamp = make_device(hub, "lamp")
    lamp.attributes.filter(name="power").delete()
    there = gateways.set_rule(lamp.pk, "surplus", {"watts": 60, "power": "whatever"})
    assert there.options == {"watts": 60, "power": "whatever"}
    surplus = rules.load("surplus")
    assert (surplus.named(there.options), surplus.remembered(there.options)) == ({}, {})
    with pytest.raises(ValueError, match="power: Sensor has no 'whatever'"):
        gateways.set_rule(lamp.pk, "surplus", {"meter": "Sensor", "power": "whatever"})
