"""Pages of gateways whose devices push."""

import re

import pytest

from core.models import Device, Gateway, Right, Token
from core.tasks import discovery, gateways, poll, tokens
from core.tasks.receive_readings import receive_readings
from core.tasks.signed_messages import key_of

pytestmark = pytest.mark.django_db
NEW = {"vendor": "webhook", "name": "Sensors", "allow_new": "on"}


@pytest.fixture
def webhook():
    return gateways.add_pushing("webhook", "Sensors", allow_new=True).gateway


def push(gateway):
    receive_readings(gateway.pk, [{"device": "cellar", "attribute": "power", "value": 5}])
    return Device.objects.get(vendor_id="cellar")


def test_adding_shows_secret_and_token_once(owner):
    response = owner.post("/gateways/add/", NEW)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    gateway = Gateway.objects.get()
    assert (gateway.name, gateway.allow_new) == ("Sensors", True)
    shown = response.content.decode()
    [secret] = re.findall(r"whsec_[\w+/=]+", shown)
    [text] = re.findall(r"iot_\w{40,}", shown)
    assert gateway.credential.reveal() == secret
    assert len(key_of(secret)) == 32
    token = tokens.find(text)
    assert (token.rights, list(token.gateways.all())) == ([Right.INGEST], [gateway])
    again = owner.get(f"/gateways/{gateway.pk}/").content.decode()
    assert secret not in again and text not in again
    assert f"/api/v1/gateways/{gateway.pk}/readings/" in again
    assert "No message yet" in again


def test_another_vendor_still_needs_an_address(owner):
    shown = owner.post("/gateways/add/", {"vendor": "shelly"}).content.decode()
    assert "This field is required." in shown
    assert not Gateway.objects.exists()


def test_its_page_changes_what_it_allows(owner, webhook):
    fields = {"name": "Others", "enabled": "on", "version": 0}
    assert owner.post(f"/gateways/{webhook.pk}/", fields).status_code == 302
    webhook.refresh_from_db()
    assert (webhook.name, webhook.enabled, webhook.allow_new) == ("Others", True, False)


def test_a_new_secret_takes_the_place_of_the_old(owner, webhook):
    before = webhook.credential.reveal()
    shown = owner.post(f"/gateways/{webhook.pk}/secret/").content.decode()
    webhook.refresh_from_db()
    assert webhook.credential.reveal() != before
    assert webhook.credential.reveal() in shown
    assert not Token.objects.exists()


def test_only_administrators_get_a_secret(reader, webhook):
    assert reader.post(f"/gateways/{webhook.pk}/secret/").status_code == 403


def test_nobody_asks_it(webhook, transactional_db):
    device = push(webhook)
    Gateway.objects.filter(pk=webhook.pk).update(failures=0)
    summary = poll.poll_devices(force=True)
    assert (summary.asked.gateways, summary.asked.failed) == (0, [])
    found = discovery.discover(webhook.pk)
    assert (found.known, found.missing, found.unread) == ([device.pk], [], "")


def test_removed_devices_are_restored_on_its_page(owner, webhook, transactional_db):
    device = push(webhook)
    gateways.remove_device(device.pk)
    owner.post(f"/gateways/{webhook.pk}/discover/", {"restore": "1"})
    device.refresh_from_db()
    assert device.removed_at is None and device.enabled


def test_the_page_of_its_device_offers_nothing_to_order(owner, webhook, transactional_db):
    device = push(webhook)
    shown = owner.get(f"/devices/{device.pk}/").content.decode()
    assert "data-order" not in shown
    assert "data-silence" in shown
