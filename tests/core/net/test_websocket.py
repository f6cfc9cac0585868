"""The WebSocket to a gateway, against real servers that behave and misbehave."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import pytest
from websockets.sync.server import ServerConnection

from core.net import transport, websocket
from core.net.errors import ApiError, ApiRefused, Unreachable
from core.net.http import Http
from core.net.websocket import WebSocket
from core.simulator import Fault, Simulator
from tests.core.net.socket_server import SocketServer, hear, tell
from tests.waiting import wait_until

LOOPBACK = (ip_network("127.0.0.0/8"),)


def http(address: str, **options: object) -> Http:
    given = {"networks": LOOPBACK, "timeout_seconds": 30, **options}
    return Http(address, **given)  # type: ignore[arg-type]


@contextmanager
def connected(
    conversation: Callable[[ServerConnection], None], **options: object
) -> Iterator[WebSocket]:
    with (
        SocketServer(conversation) as server,
        WebSocket(http(server.address, **options), "/rpc") as socket,
    ):
        yield socket


def stay(connection: ServerConnection) -> None:
    """Until the other side leaves."""
    for _ in connection:
        pass


def test_what_is_sent_arrives_and_is_answered() -> None:
    def echo(connection: ServerConnection) -> None:
        tell(connection, {"said": hear(connection)})
        stay(connection)

    with connected(echo) as opened:
        opened.send({"id": 1})
        assert opened.receive(30) == {"said": {"id": 1}}


def test_messages_that_come_together_are_given_one_by_one() -> None:
    def talk(connection: ServerConnection) -> None:
        for number in range(3):
            tell(connection, number)
        stay(connection)

    with connected(talk) as opened:
        assert [opened.receive(30) for _ in range(3)] == [0, 1, 2]


def test_a_message_in_pieces_is_one() -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(iter(['{"a', '":', "1}"]))
        stay(connection)

    with connected(talk) as opened:
        assert opened.receive(30) == {"a": 1}


def test_without_a_message_the_wait_ends() -> None:
    with connected(stay) as opened:
        assert opened.receive(0.01) is None


@pytest.mark.parametrize("content", ["<html>", '{"a": NaN}', "[" * 100, b"\xff", '{"a": 1e999}'])
def test_what_is_no_strict_json_is_an_error(content: str | bytes) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(content)
        stay(connection)

    # It may come together with the answer to the handshake.
    with pytest.raises(ApiError, match="not JSON|closed"), connected(talk) as opened:
        opened.receive(30)


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_message_that_is_too_large_is_an_error(pieces: int) -> None:
    def talk(connection: ServerConnection) -> None:
        connection.send(iter(["x" * (20_000 // pieces)] * pieces))
        stay(connection)

    with (
        pytest.raises(ApiError, match="more than 10,000 bytes"),
        connected(talk, max_bytes=10_000) as opened,
    ):
        opened.receive(30)


def test_a_connection_that_is_closed_says_so() -> None:
    with (
        pytest.raises(Unreachable, match=r"closed the connection \(1000\)"),
        connected(lambda connection: None) as opened,
    ):
        opened.receive(30)


def test_what_came_before_the_end_is_given_first() -> None:
    with connected(lambda connection: tell(connection, "last words")) as opened:
        assert opened.receive(30) == "last words"
        with pytest.raises(Unreachable):
            opened.receive(30)


def test_one_that_answers_pings_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.01)
    with connected(stay) as opened:
        heard_at = opened._heard_at

        def has_answered() -> bool:
            assert opened.receive(0.05) is None
            return opened._heard_at > heard_at

        wait_until(has_answered)


@contextmanager
def silent_after_the_handshake() -> Iterator[str]:
    """A server whose plug is pulled: nothing comes any more, not even an end."""
    server = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        from websockets.http11 import Request
        from websockets.server import ServerProtocol

        connection, _ = server.accept()
        kept.append(connection)
        protocol = ServerProtocol()
        while True:
            protocol.receive_data(connection.recv(65_536))
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                    connection.sendall(b"".join(protocol.data_to_send()))
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}"
    thread.join()
    for connection in kept:
        connection.close()
    server.close()


def test_one_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_SECONDS", 0.05)
    monkeypatch.setattr(websocket, "DEAD_SECONDS", 0.2)
    with (
        silent_after_the_handshake() as address,
        WebSocket(http(address), "/rpc") as opened,
        pytest.raises(Unreachable, match="not been heard"),
    ):
        opened.receive(30)


def test_a_server_that_does_not_answer_the_handshake_costs_its_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"within 0\.2 s"):
            WebSocket(http(address, timeout_seconds=0.2), "/rpc")


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(Unreachable, match="refused the connection"):
        WebSocket(http(address), "/rpc")


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [("503", ApiError, 503), ("429", ApiError, 429), ("500", ApiError, 500)],
)
def test_an_answer_that_opens_nothing_says_why(
    fault: str, kind: type[Exception], status: int
) -> None:
    with Simulator(devices=1) as simulator:
        simulator.devices[0].faults = [Fault(fault)]
        with pytest.raises(kind, match=f"answered {status} and opens no WebSocket") as caught:
            WebSocket(http(simulator.address(0)), "/rpc")
        assert caught.value.status == status  # type: ignore[attr-defined]


def test_a_page_in_place_of_a_websocket_is_a_refusal() -> None:
    with Simulator(devices=1) as simulator, pytest.raises(ApiRefused) as caught:
        WebSocket(http(simulator.address(0)), "/elsewhere")
    assert caught.value.status == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_that_is_not_granted_is_refused(host: str) -> None:
    with pytest.raises(ApiRefused, match="GATEWAY_NETWORKS|no address|cannot be looked up"):
        WebSocket(http(f"http://{host}:1", networks=()), "/rpc")


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "100.100.100.200"])
def test_metadata_and_link_local_are_refused_whatever_is_granted(host: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    with pytest.raises(ApiRefused, match="never connected to"):
        WebSocket(http(f"http://{host}", networks=everything), "/rpc")


def test_it_is_also_spoken_over_tls(tls: ssl.SSLContext) -> None:
    def talk(connection: ServerConnection) -> None:
        tell(connection, "hello")
        stay(connection)

    with SocketServer(talk, tls) as server, WebSocket(http(server.address), "/rpc") as opened:
        assert opened.receive(30) == "hello"


def test_a_certificate_that_nobody_vouches_for_is_refused(untrusted_tls: ssl.SSLContext) -> None:
    transport._tls_context.cache_clear()
    with (
        SocketServer(stay, untrusted_tls) as server,
        pytest.raises(ApiRefused, match="not trusted"),
    ):
        WebSocket(http(server.address), "/rpc")
