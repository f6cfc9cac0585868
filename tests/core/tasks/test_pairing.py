"""Gateways that give or rotate a credential while they are added: it is never lost."""

import json
from io import StringIO
from textwrap import dedent

import pytest
from django.core.management import CommandError, call_command

from core import vendors
from core.models import Gateway, Role
from core.net.errors import ApiRefused
from core.tasks import discovery, gateways
from tests.core.raw_server import Request, answer, serving
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db

VENDOR = """
    from core.readings import AttributeSpec, DeviceSpec, Kind
    from core.vendors import Identity, Vendor

    class Client(Vendor):
        label = "Bridge"
        address_example = "http://192.168.1.30"
        credential_hint = "user:key, or none to pair"
        credential_fields = ("user", "key")
        pairing = "Press the button on the bridge."

        def identify(self):
            if not self.http.credential:
                self.http.renew("iotapp:" + self.http.post("/pair")["key"])
            elif self.credential_parts()["key"].startswith("refresh"):
                answer = self.http.post_form("/token", self.credential_parts())
                self.http.renew("iotapp:" + answer["key"])
            return Identity(self.got("/config")["id"], "Bridge")

        def devices(self):
            return [DeviceSpec(id, id, (AttributeSpec("on", Kind.BOOLEAN),))
                    for id in self.got("/lights")]

        def read(self, vendor_ids):
            return []

        def write(self, vendor_id, attribute, value, revert_after=None):
            self.http.put("/lights/" + vendor_id, {"on": value})

        def got(self, path):
            return self.http.get(path, self.credential_parts())
"""


class Bridge:
    """Pairs once, takes a refresh token once, and answers only to the newest key."""

    def __init__(self) -> None:
        self.key, self.failing, self.nonsense = "", "", ""
        self.pairings = 0

    def reply(self, request: Request) -> bytes:
        path, _, query = request.target.partition("?")
        if path == self.failing:
            self.failing = ""
            return answer(b"", "503 Service Unavailable")
        if path in ("/pair", "/token"):
            self.pairings += 1
            if self.pairings > 1:
                return answer(b"", "403 Forbidden")
            self.key = "given-by-the-bridge"
            return answer(json.dumps({"key": self.key}).encode())
        if f"key={self.key}" not in query or not self.key:
            return answer(b"", "401 Unauthorized")
        if path == self.nonsense:
            return answer(b"7")
        return answer(b'{"id": "bridge-1"}' if path == "/config" else b'["lamp"]')


@pytest.fixture
def bridge(monkeypatch, tmp_path):
    (tmp_path / "bridge_of_a_test.py").write_text(dedent(VENDOR))
    monkeypatch.setattr(vendors, "__path__", [*vendors.__path__, str(tmp_path)])
    bridge = Bridge()
    with serving(bridge.reply) as server:
        bridge.address = server.address
        yield bridge


def add(bridge: Bridge, credential: str = "") -> discovery.Discovered:
    return gateways.add("bridge_of_a_test", bridge.address, credential)


@pytest.mark.parametrize("entered", ["", "iotapp:refresh-once"])
def test_a_credential_given_while_a_gateway_is_added_is_stored_with_it(bridge, entered):
    assert len(add(bridge, entered).new) == 1
    assert Gateway.objects.get().credential.reveal() == "iotapp:given-by-the-bridge"


@pytest.mark.parametrize("failing", ["/config", "/lights"])
@pytest.mark.parametrize("entered", ["", "iotapp:refresh-once"])
def test_a_credential_given_before_a_gateway_failed_is_kept(bridge, failing, entered):
    bridge.failing = failing
    with pytest.raises(gateways.StoredUnfinished, match="503.*discover_devices --gateway") as said:
        add(bridge, entered)
    bridge.failing = ""
    found = discovery.discover(said.value.gateway.pk)
    assert (len(found.new), bridge.pairings) == (1, 1)
    stored = Gateway.objects.get()
    assert (stored.key, stored.credential.reveal()) == ("bridge-1", "iotapp:given-by-the-bridge")


def test_no_pairing_is_spent_on_a_gateway_that_is_there(bridge):
    add(bridge)
    with pytest.raises(gateways.AlreadyThere):
        add(bridge)
    assert bridge.pairings == 1


def test_a_credential_rotated_where_a_gateway_moves_to_is_stored_with_the_address(bridge):
    gateway = add(bridge).gateway
    bridge.pairings = 0
    moved = bridge.address.replace("127.0.0.1", "localhost")
    gateways.change(gateway.pk, address=moved, credential="iotapp:refresh-once")
    stored = Gateway.objects.get()
    assert (stored.address, bridge.pairings) == (moved, 1)
    assert stored.credential.reveal() == "iotapp:given-by-the-bridge"


def test_a_gateway_that_moved_is_paired_again(bridge, monkeypatch):
    gateway = add(bridge).gateway
    bridge.pairings, bridge.key = 0, ""
    monkeypatch.setattr("getpass.getpass", lambda question: "")
    moved, out = bridge.address.replace("127.0.0.1", "localhost"), StringIO()
    call_command("change_gateway", gateway.pk, address=moved, credential=True, stdout=out)
    assert out.getvalue().startswith("Press the button on the bridge.\n")
    assert Gateway.objects.get().credential.reveal() == "iotapp:given-by-the-bridge"


def test_a_credential_of_several_fields_says_how_it_is_written(bridge):
    with pytest.raises(ApiRefused, match="The credential is written user:key"):
        add(bridge, "only-a-key")
    assert not Gateway.objects.exists()


def test_who_adds_a_gateway_is_told_how_to_pair_it(bridge):
    shown = log_in(Role.ADMINISTRATOR).get("/gateways/add/").content.decode()
    assert "Press the button on the bridge." in shown
    out = StringIO()
    call_command("add_gateway", "bridge_of_a_test", bridge.address, stdout=out)
    assert out.getvalue().startswith("Press the button on the bridge.\nAdded Bridge")


def test_a_pairing_that_nobody_pressed_for_says_so(bridge):
    bridge.pairings = 1
    with pytest.raises(CommandError, match=r"does not allow this \(403\)"):
        call_command("add_gateway", "bridge_of_a_test", bridge.address, stdout=StringIO())
    assert not Gateway.objects.exists()


@pytest.mark.parametrize("path", ["/config", "/lights"])
def test_a_fault_in_a_vendors_client_is_named_and_loses_no_credential(bridge, path):
    bridge.nonsense = path
    with pytest.raises(gateways.StoredUnfinished, match="Error: .*a fault in the vendor's client"):
        add(bridge)
    assert Gateway.objects.get().credential.reveal() == "iotapp:given-by-the-bridge"


def test_a_fault_in_one_vendors_client_stops_no_other_discovery(bridge, simulator):
    add(bridge)
    gateways.add("shelly", simulator.address(0))
    bridge.nonsense = "/lights"
    found, failed = discovery.discover_devices()
    assert len(found) == len(failed) == 1
    assert "a fault in the vendor's client" in failed[0]
