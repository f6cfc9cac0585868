"""The client of Pusher's HTTP API, against worked examples and a server that checks signatures."""

from ipaddress import ip_network

import pytest
import time_machine
from requests import PreparedRequest

from core.net.errors import ApiError, ApiRefused
from core.net.pusher import Message, Pusher, Signed, channel_auth
from tests.core.live.pusher_server import APP, KEY, SECRET, PusherServer

LOOPBACK = [ip_network("127.0.0.0/8")]
HELLO = Message("private-a", "events", "[]")


@pytest.fixture(scope="module")
def server():
    with PusherServer() as running:
        yield running


@pytest.fixture(autouse=True)
def healed(server):
    server.fault = None
    del server.taken[:], server.refused[:]


def client(server, secret=SECRET):
    return Pusher(f"http://127.0.0.1:{server.port}", APP, KEY, secret, LOOPBACK)


def test_a_request_is_signed_as_in_the_service_s_own_library():
    request = PreparedRequest()
    request.method, request.url = "POST", "http://somehost/some/obscure/api"
    request.body = b'{"foo": "bar"}'
    with time_machine.travel(1000, tick=False):
        signed = Signed("key", "secret")(request)
    assert signed.url == (
        "http://somehost/some/obscure/api?auth_key=key&auth_timestamp=1000&auth_version=1.0"
        "&body_md5=94232c5b8fc9272f6f73a1e36eb68fcf"
        "&auth_signature=e05fa4cafee86311746ee3981d5581a5e4e87c27bbab0aeb1059e2df5c90258b"
    )


def test_a_channel_is_signed_as_in_the_documentation():
    key, secret = "278d425bdf160c739803", "7ad3773142a6692b25b8"
    assert channel_auth(key, secret, "1234.1234", "private-foobar") == (
        f"{key}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
    )


def test_messages_arrive_in_their_order(server):
    messages = [Message("private-a", "events", f"[{number}]") for number in range(10)]
    client(server).send(messages)
    assert server.taken == [message._asdict() for message in messages]


def test_a_wrong_secret_is_refused_and_not_told(server):
    with pytest.raises(ApiRefused, match="refused the credential") as refused:
        client(server, "another-secret").send([HELLO])
    assert "another-secret" not in str(refused.value) and server.taken == []


def test_an_outage_is_no_refusal(server):
    server.fault = 503
    with pytest.raises(ApiError):
        client(server).send([HELLO])


def test_a_client_goes_on_after_an_error(server):
    ours = client(server)
    server.fault = 503
    with pytest.raises(ApiError):
        ours.send([HELLO])
    server.fault = None
    ours.send([HELLO])
    assert len(server.taken) == 1


def test_nobody_else_s_network_is_reached_unasked(server):
    ours = Pusher(f"http://127.0.0.1:{server.port}", APP, KEY, SECRET)
    with pytest.raises(ApiRefused, match="GATEWAY_NETWORKS"):
        ours.send([HELLO])
