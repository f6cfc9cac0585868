"""Pages of gateways: added only after they answered, changed, removed."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Device, Gateway, Observation, Role, Secret
from core.simulator import Simulator
from core.tasks import gateways
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def hub():
    return make_gateway("Hall hub", credential="old secret")


def page(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_the_empty_list_tells_what_to_type(client):
    assert "manage.py add_gateway" in page(client, "/gateways/")


def test_the_list_tells_how_each_does(reader, hub):
    make_device(hub)
    Gateway.objects.filter(pk=hub.pk).update(failures=2, error="401: no entry", refused=True)
    shown = page(reader, "/gateways/")
    for words in ("Hall hub", "refused", "401: no entry", "2 times in a row", "Needs attention"):
        assert words in shown


@pytest.mark.parametrize("path", ["/gateways/", "/gateways/{pk}/"])
def test_it_is_told_since_when_a_gateway_is_listened_to(owner, hub, path):
    make_device(hub, heard_at=timezone.now() - timedelta(minutes=2))
    hour, note = Now() - timedelta(hours=1, seconds=1), Now() + timedelta(minutes=2)
    told = {"listened_since": hour, "listened_until": note, "answered_at": Now()}
    Gateway.objects.filter(pk=hub.pk).update(**told)
    shown = page(owner, path.format(pk=hub.pk))
    assert "listened to" in shown
    assert ">1 h ago</time>" in shown
    assert ">2 min ago</time>" in shown


def test_a_note_of_a_listener_that_died_is_not_told(owner, hub):
    Gateway.objects.filter(pk=hub.pk).update(listened_since=Now(), listened_until=Now())
    assert "listened to" not in page(owner, f"/gateways/{hub.pk}/")


def test_addresses_are_only_for_people_who_are_logged_in(client, reader, hub):
    assert hub.address not in page(client, "/gateways/")
    assert hub.address in page(reader, "/gateways/")


def test_the_list_has_pages_and_a_bounded_number_of_queries(client, django_assert_max_num_queries):
    for number in range(60):
        make_gateway(f"hub {number}", f"http://127.0.0.1:{number + 1}")
    with django_assert_max_num_queries(2):
        assert "Page 2 of 2" in page(client, "/gateways/?page=9")


def test_adding_shows_an_example_for_each_vendor(owner):
    shown = page(owner, "/gateways/add/")
    for words in ("Shelly", "Home Assistant", "Address such as <code>http"):
        assert words in shown


def test_a_gateway_that_answers_is_added_with_its_devices_and_asked_for_values(owner, simulator):
    response = owner.post(
        "/gateways/add/",
        {"vendor": "shelly", "address": simulator.address(0), "name": "Bath"},
        follow=True,
    )
    gateway = Gateway.objects.get()
    assert response.redirect_chain == [(f"/?gateway={gateway.pk}", 302)]
    assert gateway.name == "Bath"
    assert "Bath was added. 1 device found." in response.content.decode()
    assert Observation.objects.exists()


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"vendor": "toaster", "address": "http://127.0.0.1:9"}, "vendor"),
        ({"vendor": "shelly", "address": ""}, "address"),
        ({"vendor": "shelly", "address": "nonsense"}, "address"),
        ({"vendor": "shelly", "address": "http://127.0.0.1:9"}, "address"),
        ({"vendor": "shelly", "address": "http://169.254.169.254"}, "address"),
    ],
)
def test_what_does_not_answer_is_told_at_the_field_and_not_stored(owner, typed, field):
    shown = owner.post("/gateways/add/", typed).content.decode()
    assert f'id="id_{field}_error"' in shown
    assert not Gateway.objects.exists()


def test_a_wrong_credential_is_told_at_the_credential_and_never_rendered_back(owner):
    with Simulator(devices=1, password="right") as protected:
        typed = {"vendor": "shelly", "address": protected.address(0), "credential": "wrong-secret"}
        shown = owner.post("/gateways/add/", typed).content.decode()
    assert 'id="id_credential_error"' in shown
    assert "wrong-secret" not in shown


def test_the_same_gateway_twice_is_told(owner, heater, simulator):
    shown = owner.post(
        "/gateways/add/", {"vendor": "shelly", "address": simulator.address(0)}
    ).content.decode()
    assert "already stored" in shown
    assert Gateway.objects.count() == 1


def test_a_gateway_is_renamed_and_disabled_and_keeps_its_credential(owner, hub):
    shown = page(owner, f"/gateways/{hub.pk}/")
    assert "old secret" not in shown
    owner.post(
        f"/gateways/{hub.pk}/", {"name": "Attic hub", "address": hub.address, "credential": ""}
    )
    hub.refresh_from_db()
    assert (hub.name, hub.enabled, hub.credential.reveal()) == ("Attic hub", False, "old secret")


def test_a_new_credential_takes_the_place_of_the_old(owner, hub):
    owner.post(
        f"/gateways/{hub.pk}/",
        {"name": "Hub", "address": hub.address, "credential": "new secret", "enabled": "on"},
    )
    hub.refresh_from_db()
    assert hub.credential.reveal() == "new secret"


def test_a_credential_that_cannot_be_read_breaks_no_page(owner, hub):
    Gateway.objects.filter(pk=hub.pk).update(credential=Secret("garbage"))
    page(owner, "/gateways/")
    page(owner, f"/gateways/{hub.pk}/")
    assert (
        "Enter the credential again"
        in owner.post(f"/gateways/{hub.pk}/discover/", follow=True).content.decode()
    )


def test_a_gateway_moves_only_to_where_it_answers_itself(owner, heater, simulator):
    gateway = heater.gateway
    typed = {"name": gateway.name, "address": simulator.address(1), "enabled": "on"}
    assert 'id="id_address_error"' in owner.post(f"/gateways/{gateway.pk}/", typed).content.decode()
    typed["address"] = simulator.address(0).replace("127.0.0.1", "localhost")
    assert owner.post(f"/gateways/{gateway.pk}/", typed).status_code == 302
    gateway.refresh_from_db()
    assert gateway.address == typed["address"]


def test_a_save_over_a_newer_change_is_refused_once_with_both_versions(owner, hub):
    gateways.change(hub.pk, name="Attic hub", enabled=False)
    typed = {
        "name": "Cellar hub",
        "address": hub.address,
        "enabled": "on",
        "credential": "new secret",
    }
    refused = owner.post(f"/gateways/{hub.pk}/", {**typed, "version": hub.version})
    told = {row.label: (row.theirs, row.yours) for row in refused.context["seen"].differences}
    assert told == {
        "Name": ("Attic hub", "Cellar hub"),
        "Enabled": ("no", "yes"),
        "New credential": ("(never shown)", "(a new one: type it again)"),
    }
    assert "new secret" not in refused.content.decode()
    hub.refresh_from_db()
    assert (hub.name, hub.credential.reveal()) == ("Attic hub", "old secret")
    assert owner.post(f"/gateways/{hub.pk}/", {**typed, "version": hub.version}).status_code == 302
    assert Gateway.objects.get().name == "Cellar hub"


def test_who_saved_but_for_the_address_is_not_refused_for_their_own_change(owner, heater):
    gateway = heater.gateway
    typed = {
        "name": "Hall",
        "address": "http://127.0.0.1:9",
        "enabled": "on",
        "version": gateway.version,
    }
    again = owner.post(f"/gateways/{gateway.pk}/", typed)
    assert 'id="id_address_error"' in again.content.decode()
    typed |= {"address": gateway.address, "version": again.context["seen"]["version"].value()}
    assert owner.post(f"/gateways/{gateway.pk}/", typed).status_code == 302


def test_discovering_again_tells_what_is_new_and_what_was_left_out(owner, heater):
    Device.objects.filter(pk=heater.pk).update(removed_at=timezone.now())
    address = f"/gateways/{heater.gateway_id}/discover/"
    assert "1 removed earlier, skipped" in owner.post(address, follow=True).content.decode()
    owner.post(address, {"restore": "1"})
    assert Device.objects.present().exists()


def test_discovering_again_tells_what_is_no_longer_there(owner, heater):
    make_device(heater.gateway, "unplugged")
    shown = owner.post(f"/gateways/{heater.gateway_id}/discover/", follow=True).content.decode()
    assert "0 devices new, 1 known. 1 no longer listed by it: unplugged." in shown


def test_discovering_at_one_that_is_away_is_told(owner, hub):
    assert (
        "could not be reached"
        in owner.post(f"/gateways/{hub.pk}/discover/", follow=True).content.decode()
    )


def test_removing_asks_first_and_wipes_the_credential(owner, hub):
    assert "Remove Hall hub?" in page(owner, f"/gateways/{hub.pk}/remove/")
    owner.post(f"/gateways/{hub.pk}/remove/")
    hub.refresh_from_db()
    assert (hub.removed_at is not None, bool(hub.credential)) == (True, False)


@pytest.mark.parametrize("path", ["add/", "{}/", "{}/discover/", "{}/remove/"])
def test_each_page_needs_an_administrator(client, reader, hub, path):
    address = f"/gateways/{path.format(hub.pk)}"
    assert client.post(address).headers["Location"].startswith("/login/")
    assert reader.post(address).status_code == 403
    assert log_in(Role.OPERATOR).post(address).status_code == 403
    assert log_in(Role.ADMINISTRATOR).post(address).status_code in (200, 302)
