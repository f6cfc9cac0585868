from typing import Any

import pytest

from core.models import Device, Gateway
from core.tasks.events.outbox import publishing

pytestmark = pytest.mark.django_db


@pytest.fixture
def devices() -> list[Device]:
    ids = ("pump", 'quoted "1"', "Zähler 🌞")
    with publishing():
        gateway = Gateway.objects.create(vendor="shelly", name="Shed", address="http://shed")
        return [Device.objects.create(gateway=gateway, vendor_id=each, name=each) for each in ids]


def test_among_finds_the_rows_of_many_keys(devices: list[Device]) -> None:
    keys = {devices[0].pk, devices[2].pk, 999_999}
    assert set(Device.objects.filter(pk__among=keys)) == {devices[0], devices[2]}


def test_among_finds_text_as_it_is(devices: list[Device]) -> None:
    ids = [device.vendor_id for device in devices[1:]]
    assert set(Device.objects.filter(vendor_id__among=ids)) == set(devices[1:])


def test_among_finds_rows_by_the_key_of_another_without_a_join(devices: list[Device]) -> None:
    found = Device.objects.filter(gateway__pk__among=[devices[0].gateway_id])
    assert "JOIN" not in str(found.query)
    assert found.count() == 3


def test_among_nothing_is_nothing(devices: list[Device]) -> None:
    assert not Device.objects.filter(pk__among=[]).exists()


def test_among_has_one_parameter(devices: list[Device], django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1) as queries:
        list(Device.objects.filter(pk__among=range(1000)))
    [query] = queries.captured_queries
    assert query["sql"].count("999") == 1
    _, params = Device.objects.filter(pk__among=range(1000)).query.sql_with_params()
    assert len(params) == 1
