"""Who is limited to some gateways sees and switches no others: on pages and over the socket."""

import pytest
from django.test import Client

from core.live.actions import Refused, hold, order
from core.live.sessions import LogIn, admit, limits_of, still_there
from core.live.snapshots import snapshot
from core.live.subscriber import ALL, SerializedEvent, Subscriber
from core.models import Device, DeviceCommand, Gateway, Membership, Role, User
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def shed() -> Gateway:
    return make_gateway("Shed", "http://shed")


@pytest.fixture
def ours(shed: Gateway) -> Device:
    return make_device(shed, "pump")


@pytest.fixture
def theirs() -> Device:
    return make_device(make_gateway("House", "http://house"), "heater")


@pytest.fixture
def lena(shed: Gateway) -> User:
    """An administrator of the shed alone."""
    user = User.objects.create(username="lena")
    role = Membership.objects.create(user=user, role=Role.ADMINISTRATOR, everywhere=False)
    role.gateways.add(shed)
    return user


@pytest.fixture
def browser(lena: User) -> Client:
    client = Client()
    client.force_login(lena)
    return client


def test_lists_leave_out_what_is_of_other_gateways(
    browser: Client, ours: Device, theirs: Device
) -> None:
    Gateway.objects.update(failures=3, error="timed out")
    for path in ("/", "/gateways/", f"/?gateway={theirs.gateway_id}", "/?q=heater"):
        shown = browser.get(path).content.decode()
        assert "House" not in shown, path
        assert "Heater" not in shown, path
    assert "Pump" in browser.get("/").content.decode()
    assert "Shed" in browser.get("/gateways/").content.decode()


@pytest.mark.parametrize(
    "path",
    ["", "change/", "rule/", "remove/", "hold/", "release/", "ask/"],
)
def test_a_device_of_another_gateway_is_not_there(
    browser: Client, ours: Device, theirs: Device, path: str
) -> None:
    if path not in ("hold/", "release/", "ask/"):
        assert browser.get(f"/devices/{ours.pk}/{path}").status_code == 200
        assert browser.get(f"/devices/{theirs.pk}/{path}").status_code == 404
    if path:
        assert browser.post(f"/devices/{theirs.pk}/{path}").status_code == 404
    assert Device.objects.present().get(pk=theirs.pk).held_at is None


def test_an_attribute_of_another_gateway_is_not_there(browser: Client, theirs: Device) -> None:
    switch = theirs.attributes.get(name="on")
    assert browser.post(f"/attributes/{switch.pk}/order/", {"value": "on"}).status_code == 404
    assert not DeviceCommand.objects.exists()


@pytest.mark.parametrize("path", ["", "discover/", "remove/"])
def test_another_gateway_is_not_there(browser: Client, theirs: Device, path: str) -> None:
    address = f"/gateways/{theirs.gateway_id}/{path}"
    assert browser.post(address).status_code == 404


@pytest.mark.parametrize("path", ["/gateways/add/", "/home/"])
def test_what_is_of_all_is_for_administrators_of_all(browser: Client, path: str) -> None:
    assert browser.get(path).status_code == 403


def test_pages_lead_to_nothing_that_is_refused(browser: Client, ours: Device) -> None:
    shown = browser.get("/").content.decode() + browser.get("/gateways/").content.decode()
    for address in ("/home/", "/people/", "/gateways/add/"):
        assert f'href="{address}"' not in shown
    assert f'href="/gateways/{ours.gateway_id}/"' in shown


def test_the_admin_is_for_administrators_of_all(browser: Client, lena: User) -> None:
    User.objects.update(is_staff=True)
    assert browser.get("/admin/core/device/").status_code in (302, 403)
    Membership.objects.update(everywhere=True)
    assert browser.get("/admin/core/gateway/").status_code == 200


def log_in_of(user: User) -> LogIn:
    client = Client()
    client.force_login(user)
    return admit(client.cookies["sessionid"].value)


def test_a_socket_acts_on_no_device_of_another_gateway(lena: User, theirs: Device) -> None:
    log_in = log_in_of(lena)
    switch = theirs.attributes.get(name="on")
    with pytest.raises(Refused, match="There is no such attribute"):
        order(log_in, {"attribute": switch.pk, "value": True})
    with pytest.raises(Refused, match="There is no such device"):
        hold(log_in, {"device": theirs.pk})
    assert not DeviceCommand.objects.exists()
    assert Device.objects.get(pk=theirs.pk).held_at is None


def test_a_snapshot_leaves_out_other_gateways(lena: User, ours: Device, theirs: Device) -> None:
    [[shown]] = snapshot(True, has_log_in=True, limit=log_in_of(lena).gateways)
    assert f'"id":{ours.pk},' in shown
    [asked_for] = snapshot(
        False, [theirs.pk], [theirs.gateway_id], has_log_in=True, limit=log_in_of(lena).gateways
    )
    assert asked_for == []


def test_a_subscriber_gets_no_event_of_another_gateway(shed: Gateway) -> None:
    def event(gateway: int | None) -> SerializedEvent:
        return SerializedEvent(1, gateway, frozenset([ALL]), 7, "{}", "{}")

    limited = Subscriber(overflow=lambda: None, gateways=frozenset({shed.pk}), topics={ALL})
    limited.commands.append(7)
    assert limited.matches(event(shed.pk))
    assert limited.matches(event(None))
    assert not limited.matches(event(shed.pk + 1))


def test_a_log_in_is_over_when_its_gateways_change(lena: User, theirs: Device) -> None:
    log_in = log_in_of(lena)
    assert still_there([log_in]) == {log_in}
    Membership.objects.get().gateways.add(theirs.gateway)
    assert still_there([log_in]) == set()
    Membership.objects.update(everywhere=True)
    assert still_there([log_in]) == set()
    assert still_there([log_in_of(lena)])


def test_who_is_limited_to_no_gateway_sees_none(lena: User) -> None:
    Membership.objects.get().gateways.clear()
    assert limits_of([lena.pk]) == {lena.pk: frozenset()}
    log_in = log_in_of(lena)
    assert (log_in.gateways, still_there([log_in])) == (frozenset(), {log_in})
