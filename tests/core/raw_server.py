"""A server for tests that does on the wire exactly what a test says, right or wrong."""

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    port: int
    scheme: str = "http"
    connections: int = 0
    requests: list[Request] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


Answer = bytes | Iterable[bytes] | None
"""What to send; an iterable is sent piece by piece, None resets the connection."""


def answer(body: bytes = b"{}", status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@contextmanager
def serving(reply: Callable[[Request], Answer], tls=None):
    """A server on the loopback address that answers each request with what `reply` makes of it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(listening.getsockname()[1], "https" if tls else "http")
    open_sockets, threads = set(), []

    def accept():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            server.connections += 1
            open_sockets.add(connection)
            # Those that ended are let go: each keeps its stack for as long as somebody can join it.
            threads[:] = [thread for thread in threads if thread.is_alive()]
            threads.append(threading.Thread(target=talk, args=(connection,)))
            threads[-1].start()

    def talk(connection):
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                open_sockets.add(stream)
                with stream.makefile("rb") as lines:
                    while request := read(lines):
                        server.requests.append(request)
                        if not send(stream, reply(request)):
                            return
        except OSError:
            return  # the client went away, as clients do

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield server
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for stream in list(open_sockets):
            shut(stream)
        for thread in threads:
            thread.join()


def read(lines) -> Request | None:
    first = lines.readline().decode("latin-1")
    if not first:
        return None
    method, target, _ = first.split(" ", 2)
    headers = {}
    while line := lines.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, lines.read(int(headers.get("content-length", 0))))


def send(stream, what: Answer) -> bool:
    """False when the connection is to be closed."""
    if what is None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        return False
    pieces = [what] if isinstance(what, bytes) else what
    for piece in pieces:
        stream.sendall(piece)
    return isinstance(what, bytes) and b"Connection: close" not in what


def shut(stream):
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was shut already
