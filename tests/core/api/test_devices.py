"""Devices over the API: the same as everywhere else, and only those that one may see."""

import pytest
from django.utils import timezone

from core import serializers
from core.models import Device, Site
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device


def ids(response):
    return [device["id"] for device in response.json()["results"]]


def test_a_device_is_told_as_the_socket_tells_it(viewer, device):
    there = Device.objects.get(pk=device.pk)
    attributes = there.attributes.order_by("pk")
    expected = serializers.public_device_json(there, attributes, timezone.now(), Site())
    assert viewer.get(f"/devices/{device.pk}/").json() == expected
    assert viewer.get("/devices/").json()["results"] == [expected]


def test_without_a_log_in_less_is_told(anonymous, device):
    told = anonymous.get(f"/devices/{device.pk}/").json()
    assert "vendor_id" not in told
    assert "latitude" not in told["place"]


def test_a_channel_tells_its_hardware(viewer, anonymous, device):
    assert viewer.get(f"/devices/{device.pk}/").json()["hardware"] is None
    device.hardware, device.hardware_name = "shellypro4pm-a8032abe54dc", "Workshop"
    with publishing():
        device.save()
    told = viewer.get(f"/devices/{device.pk}/").json()["hardware"]
    assert told == {"id": "shellypro4pm-a8032abe54dc", "name": "Workshop"}
    assert anonymous.get(f"/devices/{device.pk}/").json()["hardware"] == {"name": "Workshop"}


def test_an_administrator_is_told_where_it_is(administrator, device):
    assert "latitude" in administrator.get(f"/devices/{device.pk}/").json()["place"]


def test_who_is_limited_to_a_gateway_sees_its_devices_alone(limited, device, other):
    assert ids(limited.get("/devices/")) == [device.pk]
    assert limited.get(f"/devices/{other.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"q": "lamp other"}, ["other"]),
        ({"q": "plug other"}, []),
        ({"freshness": "never"}, ["device", "other"]),
        ({"freshness": "fresh"}, []),
        ({"rule": "awesome"}, []),
        ({"gateway": 2**62}, []),
    ],
)
def test_devices_are_found(viewer, device, other, parameters, found):
    by_name = {"device": device.pk, "other": other.pk}
    assert ids(viewer.get("/devices/", **parameters)) == [by_name[name] for name in found]


def test_of_one_gateway(viewer, device, other):
    assert ids(viewer.get("/devices/", gateway=other.gateway_id)) == [other.pk]


def test_with_a_rule_or_a_guard(viewer, gateway):
    ruled = make_device(gateway, "ruled", rule="awesome")
    guarded = make_device(gateway, "guarded", guard="lightning_guard")
    make_device(gateway, "free")
    assert ids(viewer.get("/devices/", rule="awesome")) == [ruled.pk]
    assert ids(viewer.get("/devices/", rule="lightning_guard")) == [guarded.pk]


def test_many_devices_cost_as_many_queries_as_one(viewer, gateway, django_assert_max_num_queries):
    for number in range(20):
        make_device(gateway, f"plug-{number}")
    with django_assert_max_num_queries(6):
        assert len(ids(viewer.get("/devices/"))) == 20
