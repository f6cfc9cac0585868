"""Discovery: what is stored of what a vendor lists."""

import pytest

from core.models import Attribute, Observation
from core.readings import AttributeSpec, DeviceSpec, Kind
from core.tasks.discovery import store
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def device():
    return make_device(make_gateway())


def discovered(device, *specs):
    with publishing() as outbox:
        return store(device.gateway, [DeviceSpec("plug", "Plug", specs)], False, outbox)


def test_a_device_with_too_many_attributes_gets_as_many_as_fit_and_a_sentence(device, settings):
    specs = [AttributeSpec(f"a{number}") for number in range(1000)]
    on = AttributeSpec("on", Kind.BOOLEAN, writable=True)
    for _ in range(2):
        found = discovered(device, *specs, on)
        assert device.attributes.count() == settings.MOST_ATTRIBUTES == 200
        assert "Plug has 802 attributes more than a device may have (200, MOST_ATTRIBUTES)" in (
            found.in_words()
        )
    assert device.attributes.filter(name="on").exists()


def test_discovering_again_mixes_no_units_in_one_history(device):
    power = device.attributes.get(name="power")
    discovered(device, AttributeSpec("power", Kind.NUMBER, "kW", maximum=5))
    power.refresh_from_db()
    assert (power.unit, power.maximum) == ("W", 5000)
    found = discovered(device, AttributeSpec("power", Kind.NUMBER, "°C"))
    assert "power is a number in °C now" in found.in_words()
    power.refresh_from_db()
    assert power.name == "power (W)"
    assert device.attributes.get(name="power").unit == "°C"


def test_discovering_again_follows_the_kind(device):
    mode = Attribute.objects.create(device=device, name="mode", kind=Kind.TEXT)
    discovered(device, AttributeSpec("mode", Kind.CHOICE, choices=("heat", "off"), writable=True))
    mode.refresh_from_db()
    assert (mode.kind, mode.choices, mode.writable) == ("choice", ["heat", "off"], True)
    assert not Observation.objects.exists()


def test_names_and_choices_that_cannot_be_printed_are_cleaned(device):
    discovered(device, AttributeSpec("a\x1b[2Jb", Kind.CHOICE, "k\nW", choices=("x\x1b", "y")))
    found = device.attributes.get(name="a[2Jb")
    assert (found.unit, found.choices) == ("kW", ["y"])
