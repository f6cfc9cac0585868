"""What a device is can change: unit, kind, choices and range follow the vendor, history is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from core.models import Attribute, Event, Observation
from core.models.event import EventKind
from core.readings import AttributeSpec, Kind, Reading, Unacceptable, clean_value
from core.tasks.polling.description import clean_spec
from core.tasks.polling.record import GatewayAnswer, record
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WATTS = AttributeSpec("power", Kind.NUMBER, "W")
KILOWATTS = AttributeSpec("power", Kind.NUMBER, "kW", minimum=0, maximum=5)
DEGREES = AttributeSpec("power", Kind.NUMBER, "°C")
WORDS = AttributeSpec("power", Kind.TEXT)
HEATING = AttributeSpec("mode", Kind.CHOICE, choices=("heat", "off"), writable=True)
COOLING = AttributeSpec("mode", Kind.CHOICE, choices=("cool", "off"), writable=True)


@pytest.fixture
def device():
    return make_device(make_gateway())


@pytest.fixture(autouse=True)
def noon(time_machine):
    time_machine.move_to(NOON, tick=False)


def polled(device, spec, value, minutes=0):
    at = NOON - timedelta(hours=1) + timedelta(minutes=minutes)
    reading = Reading("plug", spec.name, value, spec=spec)
    return record([GatewayAnswer(device.gateway_id, at, ("plug",), [reading])])


def attribute(device, name="power"):
    return device.attributes.get(name=name)


def history(found):
    rows = Observation.objects.filter(attribute=found).order_by("observed_at")
    return [row.number if row.text is None else row.text for row in rows]


def test_a_unit_of_the_same_quantity_is_converted_to_the_stored_one(device):
    polled(device, WATTS, 1500)
    recorded = polled(device, KILOWATTS, 1.6, minutes=10)
    power = attribute(device)
    assert (power.unit, power.value, power.minimum, power.maximum) == ("W", 1600, 0, 5000)
    assert history(power) == [1500, 1600]
    assert (recorded.refused, recorded.changes) == (0, [])
    assert list(device.attributes.values_list("name", flat=True)) == ["on", "power"]


def test_a_value_beyond_the_vendors_own_range_is_refused_in_its_unit(device):
    recorded = polled(device, KILOWATTS, 6)
    assert (recorded.stored, recorded.refused) == (0, 1)
    assert "6 is above the most, 5" in recorded.complaints[0]


def test_a_unit_of_another_quantity_is_stored_apart_with_a_sentence(device):
    polled(device, WATTS, 1500)
    before = attribute(device)
    recorded = polled(device, DEGREES, 21.5, minutes=10)
    now = attribute(device)
    assert (now.unit, now.value, history(now)) == ("°C", 21.5, [21.5])
    before.refresh_from_db()
    assert (before.name, before.unit, history(before)) == ("power (W)", "W", [1500])
    assert not before.available
    [sentence] = recorded.changes
    assert sentence == (
        "plug power is a number in °C now, which does not go with a number in W: "
        "it is stored apart, and the earlier values are kept as 'power (W)'."
    )
    assert polled(device, DEGREES, 22, minutes=20).changes == []
    assert history(now) == [21.5, 22]


def test_a_unit_that_comes_back_goes_on_with_its_own_history(device):
    polled(device, WATTS, 1500)
    power = attribute(device)
    polled(device, DEGREES, 21.5, minutes=10)
    polled(device, WATTS, 1400, minutes=20)
    polled(device, DEGREES, 22, minutes=30)
    polled(device, WATTS, 1300, minutes=40)
    assert attribute(device) == power
    assert attribute(device).available
    assert history(power) == [1500, 1400, 1300]
    assert history(attribute(device, "power (°C)")) == [21.5, 22]
    assert device.attributes.count() == 3


def test_a_text_that_becomes_a_number_and_back_is_followed(device):
    text = Attribute.objects.create(device=device, name="rain", kind=Kind.TEXT)
    as_text = AttributeSpec("rain", Kind.TEXT)
    as_number = AttributeSpec("rain", Kind.NUMBER, "mm")
    polled(device, as_text, "3.4")
    recorded = polled(device, as_number, 3.5, minutes=10)
    assert (recorded.stored, recorded.refused) == (1, 0)
    assert (attribute(device, "rain").kind, attribute(device, "rain").value) == ("number", 3.5)
    polled(device, as_text, "dry", minutes=20)
    assert attribute(device, "rain") == text
    assert history(text) == ["3.4", "dry"]
    assert history(attribute(device, "rain (mm)")) == [3.5]


def test_of_thousands_of_choices_none_is_kept_and_any_is_taken():
    words = tuple(f"effect {number}" for number in range(5000))
    spec = clean_spec(AttributeSpec("effect", Kind.CHOICE, choices=words))
    assert spec.choices == ()
    assert clean_value("effect 4999", spec.kind, choices=spec.choices) == "effect 4999"
    few = clean_spec(AttributeSpec("effect", Kind.CHOICE, choices=words[:500])).choices
    assert few == words[:500]
    with pytest.raises(Unacceptable) as refused:
        clean_value("effect 4999", Kind.CHOICE, choices=few)
    assert len(str(refused.value)) < 400


def test_choices_follow_and_a_word_that_is_gone_stays_in_the_history(device):
    mode = Attribute.objects.create(
        device=device, name="mode", kind=Kind.CHOICE, choices=["heat", "off"], writable=True
    )
    polled(device, HEATING, "heat")
    seen = Event.objects.latest("pk").pk
    recorded = polled(device, COOLING, "cool", minutes=10)
    assert (recorded.stored, recorded.refused) == (1, 0)
    mode.refresh_from_db()
    assert (mode.choices, mode.value, history(mode)) == (["cool", "off"], "cool", ["heat", "cool"])
    kinds = list(Event.objects.after(seen).values_list("kind", flat=True))
    assert kinds.count(EventKind.DEVICE) == 1


def test_what_is_ordered_stays_in_the_devices_own_unit(device):
    celsius = AttributeSpec("target", Kind.NUMBER, "°C", 5, 30, writable=True)
    fahrenheit = AttributeSpec("target", Kind.NUMBER, "°F", 41, 86, writable=True)
    Attribute.objects.create(
        device=device, name="target", kind=Kind.NUMBER, unit="°C", minimum=5, maximum=30,
        writable=True,
    )  # fmt: skip
    polled(device, celsius, 20)
    polled(device, fahrenheit, 68, minutes=10)
    target = attribute(device, "target")
    assert (target.unit, target.value, target.maximum) == ("°F", 68, 86)
    assert target.ordered_value(70) == 70
    assert not attribute(device, "target (°C)").writable


def test_nothing_is_followed_on_a_value_that_is_nonsense_or_none(device):
    for value in ("hot", float("inf"), True, 10**400, None):
        polled(device, DEGREES, value)
        polled(device, KILOWATTS, value)
    assert (attribute(device).unit, device.attributes.count()) == ("W", 2)


def test_units_without_end_make_attributes_up_to_the_limit(device, settings):
    settings.MOST_ATTRIBUTES = 4
    complaints = []
    for number in range(6):
        spec = AttributeSpec("power", Kind.NUMBER, f"u{number}")
        complaints += polled(device, spec, 1.0, minutes=number).complaints
    assert device.attributes.count() == 4
    assert len(complaints) == 4
    assert "MOST_ATTRIBUTES" in complaints[0]
