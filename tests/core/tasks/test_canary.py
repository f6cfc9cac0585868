"""No stored credential goes to another address than the one it was stored for.

A canary is stored as the credential, and what arrives elsewhere is counted: nothing.
"""

import json
import socket
from base64 import b64decode
from contextlib import suppress

import pytest

from core import vendors
from core.models import Gateway, Role, Secret
from core.net import transport
from core.net.errors import ApiError, ApiRefused
from core.tasks import discovery, gateways, poll
from core.tasks.events.outbox import publishing
from core.tasks.polling.clients import client_for
from tests.core.raw_server import Request, answer, serving
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db

CANARY = "canary-0123456789-abcdefgh"
DIGEST = 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'
BAIT = {"id": "shellyplus1-aabbccddeeff", "mac": "AABBCCDDEEFF", "gen": 2, "auth_en": True}
each_vendor = pytest.mark.parametrize(
    # One whose devices push is never called.
    "vendor",
    [name for name in vendors.names() if not vendors.load(name).pushes],
)
each_vendor_over_http = pytest.mark.parametrize(
    "vendor",
    [name for name in vendors.names() if not vendors.load(name).pushes and name != "mqtt"],
)


def bait(request: Request) -> bytes:
    """Ask for the password first, then answer whatever gets a client to go on."""
    if "GetStatus" in request.target and "authorization" not in request.headers:
        return answer(b"", "401 Unauthorized", DIGEST)
    return answer(json.dumps(BAIT).encode())


@pytest.fixture
def elsewhere():
    transport.close_idle_connections()
    with serving(bait) as server:
        yield server
    transport.close_idle_connections()


def holds_canary(request: Request) -> bool:
    """Whether it carries the canary, plain or in base64, or a digest made from it."""
    sent = f"{request.target} {request.headers} {request.body!r}"
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind == "Basic":
        sent += b64decode(token).decode()
    return CANARY in sent or kind == "Digest"


def arrivals(server) -> int:
    return sum(holds_canary(request) for request in server.requests)


def stored_at(address: str, vendor: str) -> Gateway:
    gateway = make_gateway("Hub", address, vendor, credential=CANARY)
    make_device(gateway, BAIT["id"])
    return gateway


def changed(address: str, part: str, port: int) -> str:
    """An address of `elsewhere` that differs from the stored one in this part."""
    if part == "scheme":
        return address.replace("http:", "https:")
    return f"http://{'localhost' if part == 'host' else '127.0.0.1'}:{port}"


@each_vendor
@pytest.mark.parametrize("part", ["scheme", "host", "port"])
def test_a_changed_address_gets_nothing_that_is_stored(elsewhere, vendor, part):
    port = elsewhere.port if part != "port" else 1
    gateway = stored_at(f"http://127.0.0.1:{port}", vendor)
    address = changed(gateway.address, part, elsewhere.port)
    with pytest.raises(gateways.CredentialNeeded, match="Enter the credential for the new address"):
        gateways.change(gateway.pk, address=address)
    assert (elsewhere.connections, arrivals(elsewhere)) == (0, 0)
    assert Gateway.objects.get().address == gateway.address


@each_vendor
def test_the_page_asks_for_the_credential_again(elsewhere, vendor):
    gateway = stored_at("http://127.0.0.1:1", vendor)
    typed = {"name": "Hub", "address": elsewhere.address, "credential": "", "enabled": "on"}
    shown = log_in(Role.ADMINISTRATOR).post(f"/gateways/{gateway.pk}/", typed).content.decode()
    assert 'id="id_credential_error"' in shown
    assert (elsewhere.connections, arrivals(elsewhere)) == (0, 0)


@each_vendor_over_http
def test_a_new_address_is_tested_with_the_new_credential_alone(elsewhere, vendor):
    gateway = stored_at("http://127.0.0.1:1", vendor)
    with pytest.raises((ApiRefused, ApiError)):
        gateways.change(gateway.pk, address=elsewhere.address, credential="typed-for-there")
    assert elsewhere.requests
    assert CANARY not in str(elsewhere.requests)
    stored = Gateway.objects.get()
    assert (stored.address, stored.credential.reveal()) == (gateway.address, CANARY)


@each_vendor_over_http
def test_a_redirect_is_followed_by_no_credential(elsewhere, vendor):
    def redirecting(request: Request) -> bytes:
        return answer(b"", "307 Temporary Redirect", f"Location: {elsewhere.address}/")

    with serving(redirecting) as home:
        gateway = stored_at(home.address, vendor)
        poll.poll_devices(gateway.pk)
        with pytest.raises(ApiRefused, match="redirects to"):
            discovery.discover(gateway.pk)
        with pytest.raises(ApiRefused):
            client_for(gateway).write(BAIT["id"], "on", True)
    assert home.requests
    assert (elsewhere.connections, arrivals(elsewhere)) == (0, 0)


@each_vendor_over_http
def test_a_kept_connection_does_not_outlive_what_its_name_meant(elsewhere, vendor, monkeypatch):
    """The name leads to `elsewhere` no more: nothing goes on to it over a connection it kept."""
    ports = []

    def resolve(*name, **options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", ports[-1]))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    ports.append(elsewhere.port)
    client_for(make_gateway("Other", "http://hub.test/a", vendor)).http.fetch("GET", "/")
    before = len(elsewhere.requests)
    with serving(lambda request: answer(b"{}")) as home:
        ports.append(home.port)
        gateway = make_gateway("Hub", "http://hub.test/b", vendor, credential=CANARY)
        with suppress(ApiError, ApiRefused):
            client_for(gateway).identify()
    assert home.requests
    assert (len(elsewhere.requests) - before, arrivals(elsewhere)) == (0, 0)


def test_a_credential_renewed_by_a_call_under_way_does_not_follow_a_move():
    gateway = stored_at("http://127.0.0.1:1", "shelly")
    under_way = client_for(gateway)
    with publishing():
        there = Gateway.objects.get()
        there.address, there.credential = "http://127.0.0.1:2", Secret.seal("of-there")
        there.save()
    under_way.http.renew(CANARY)
    assert Gateway.objects.get().credential.reveal() == "of-there"


def test_a_credential_renewed_by_a_call_under_way_does_not_come_back_after_a_removal():
    gateway = stored_at("http://127.0.0.1:1", "shelly")
    under_way = client_for(gateway)
    gateways.remove(gateway.pk)
    under_way.http.renew(CANARY)
    assert not Gateway.objects.get().credential


def test_a_credential_stored_while_an_address_is_tested_does_not_go_along(simulator):
    """It had none when the test began, so nothing was asked for."""
    gateway = gateways.add("shelly", simulator.address(0)).gateway
    moved = simulator.address(0).replace("127.0.0.1", "localhost")
    original = socket.getaddrinfo

    def resolve(host, *rest, **options):
        if host == "localhost":
            gateways.change(gateway.pk, credential=CANARY)
        return original(host, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        with pytest.raises(gateways.CredentialNeeded):
            gateways.change(gateway.pk, address=moved)
    assert Gateway.objects.get().address == gateway.address


def test_the_same_host_written_another_way_keeps_the_credential(simulator):
    gateway = gateways.add("shelly", simulator.address(0), "password").gateway
    written = simulator.address(0).replace("http:", "HTTP:")
    assert gateways.change(gateway.pk, address=written).credential.reveal() == "password"
