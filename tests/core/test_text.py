"""Text that people type: what cannot be printed is replaced before it is stored."""

import pytest

from core.models import Attribute, Device, DeviceCommand, Gateway, User
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
TYPED = "Kettle\x1b[2J\u202e"
STORED = "Kettle\ufffd[2J\ufffd"


@pytest.fixture
def plug():
    return make_device(make_gateway("Hub"), "kettle")


@pytest.fixture
def staff(client):
    client.force_login(User.objects.create(username="anna", is_superuser=True, is_staff=True))
    return client


@pytest.mark.parametrize(
    ("model", "address"),
    [
        (Device, "/devices/{}/change/"),
        (Device, "/admin/core/device/{}/change/"),
        (Gateway, "/gateways/{}/"),
        (Gateway, "/admin/core/gateway/{}/change/"),
    ],
)
def test_what_cannot_be_printed_is_replaced_in_a_typed_name(staff, plug, model, address):
    row = plug if model is Device else plug.gateway
    limits = {"min_on_minutes": 0, "min_off_minutes": 0, "most_switches_an_hour": 12}
    fail_safe = {"fail_safe": "off", "fail_safe_minutes": 60, "hold_minutes": 120}
    sent = {"name": TYPED, "address": plug.gateway.address}
    assert staff.post(address.format(row.pk), sent | limits | fail_safe).status_code == 302
    row.refresh_from_db()
    assert row.name == STORED


def test_what_cannot_be_printed_is_replaced_in_an_ordered_text(staff, plug):
    note = Attribute.objects.create(device=plug, name="note", kind="text", writable=True)
    staff.post(f"/attributes/{note.pk}/order/", {"value": TYPED})
    assert DeviceCommand.objects.get().text == STORED
