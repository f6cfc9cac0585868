"""Holds over the API."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Device
from core.models.access import Role
from tests.core.api.conftest import Api, person
from tests.core.api.test_skeleton import expect_problem

pytestmark = pytest.mark.django_db


def hold_path(device):
    return f"/devices/{device.pk}/hold/"


def test_a_device_is_held_and_released(operator, device):
    held = operator.send("PUT", hold_path(device), {"minutes": 60})
    assert held.status_code == 200
    assert held.json()["hold"]["reason"] == "held by otto"
    left = Device.objects.get(pk=device.pk).held_until - timezone.now()
    assert timedelta(minutes=59) < left <= timedelta(minutes=60)
    assert operator.get(hold_path(device)).json() == held.json()
    for _ in range(2):
        assert operator.send("DELETE", hold_path(device)).json() == {"hold": None}
    assert operator.get(hold_path(device)).json() == {"hold": None}


@pytest.mark.parametrize("body", [{}, {"minutes": None}])
def test_without_minutes_it_is_held_until_it_is_released(operator, device, body):
    assert operator.send("PUT", hold_path(device), body).json()["hold"]["held_until"] is None
    assert Device.objects.get(pk=device.pk).is_held(timezone.now() + timedelta(days=365))


@pytest.mark.parametrize("minutes", [0, -5, 10081, "long", 1.5, True, [60]])
def test_a_length_that_makes_no_sense_is_refused(operator, device, minutes):
    body = expect_problem(operator.send("PUT", hold_path(device), {"minutes": minutes}), 400)
    assert body["errors"][0]["field"] == "minutes"
    assert Device.objects.get(pk=device.pk).held_at is None


def test_who_may_hold_and_release(anonymous, viewer, operator, gateway, device, other):
    limited = Api(person("olga", Role.OPERATOR, gateway))
    for method in ("PUT", "DELETE"):
        expect_problem(anonymous.send(method, hold_path(device), {}), 401)
        expect_problem(viewer.send(method, hold_path(device), {}), 403)
        expect_problem(limited.send(method, hold_path(other), {}), 404)
        assert limited.send(method, hold_path(device), {}).status_code == 200


def test_readers_without_a_log_in_do_not_see_who_holds(anonymous, operator, device):
    operator.send("PUT", hold_path(device), {})
    response = anonymous.get(hold_path(device))
    assert response.json()["hold"].keys() == {"held_at", "held_until"}


def test_a_removed_device_cannot_be_held(operator, device):
    Device.objects.update(removed_at=timezone.now())
    expect_problem(operator.send("PUT", hold_path(device), {}), 404)
