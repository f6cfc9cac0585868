"""Holding a device on its page, and letting it go."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Device
from core.tasks.orders import holds
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    return make_device(make_gateway("Hall hub"), "kettle", rule="awesome")


def post(client, device, verb, **typed):
    return client.post(f"/devices/{device.pk}/{verb}/", typed, follow=True).content.decode()


def lasts(device):
    """For how many minutes it is held from now on; None: until released."""
    device = Device.objects.get(pk=device.pk)
    assert device.is_held(timezone.now())
    return device.held_until and round((device.held_until - timezone.now()) / timedelta(minutes=1))


@pytest.mark.parametrize(
    ("minutes", "held", "says"),
    [("60", 60, "for 1 h"), ("240", 240, "for 4 h"), ("", None, "until released")],
)
def test_a_device_is_held(owner, plug, minutes, held, says):
    shown = post(owner, plug, "hold", minutes=minutes)
    assert f"Kettle is held {says}." in shown
    assert "Held by user-administrator" in shown
    assert lasts(plug) == held


def test_the_buttons_are_those_of_a_device_that_something_decides_for(owner, plug):
    assert "until released</button>" in owner.get(f"/devices/{plug.pk}/").content.decode()
    Device.objects.filter(pk=plug.pk).update(rule="")
    assert "until released</button>" not in owner.get(f"/devices/{plug.pk}/").content.decode()


@pytest.mark.parametrize("minutes", ["0", "-5", "soon", "99999999999"])
def test_nonsense_is_told_and_holds_nothing(owner, plug, minutes):
    assert "is not held" in post(owner, plug, "hold", minutes=minutes)
    assert not Device.objects.get(pk=plug.pk).is_held(timezone.now())


def test_a_held_device_says_who_why_and_until_when_and_is_released(owner, reader, plug):
    holds.hold(plug.pk, timezone.now() + timedelta(hours=2), "pressed by anna")
    shown = reader.get(f"/devices/{plug.pk}/").content.decode()
    assert "Held until" in shown
    assert "Pressed by anna" in shown
    assert "Release" not in shown
    assert "Release" in owner.get(f"/devices/{plug.pk}/").content.decode()
    assert "Its rule decides again" in post(owner, plug, "release")
    assert not Device.objects.get(pk=plug.pk).is_held(timezone.now())


def test_a_hold_is_never_a_get(owner, plug):
    assert owner.get(f"/devices/{plug.pk}/hold/").status_code == 405
    assert owner.get(f"/devices/{plug.pk}/release/").status_code == 405
