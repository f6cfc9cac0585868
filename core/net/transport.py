"""Send one request through an adapter of requests that adds what it lacks.

That is a deadline for the whole call, a check of every address, and one TLS context a process.
There is no Session: it would read the environment, keep cookies, follow redirects, and cost a third
more a call. There is no pool of connections either, as HTTPAdapter has it: that one finds its
connection anew for each call, and cost a sixth of it.

A thread keeps one adapter, and in it the connection to one host: a thread asks one gateway at a
time, and many small devices allow few connections. A connection to a name serves only the client
that opened it. The next one looks the name up again: no credential goes on to where it led before.
A connection idle for longer than IDLE_SECONDS is closed before the next call, not used: the other
side may be closing it, which for a POST would leave its outcome unknown.
"""

import http.client
import io
import os
import socket
import ssl
import threading
from contextlib import suppress
from functools import cache
from ipaddress import ip_address
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import certifi
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from core.net.addresses import Network, refusal

IDLE_SECONDS = 4.0
PIECE = 16_384  # bytes sent under one timeout
LONGEST_LINE = 8192  # bytes of a header's line, as web servers have it; there are at most 100
SLACK_SECONDS = 0.01  # how much later than its deadline a call may end


class AddressRefused(Exception):
    """Our own rules or settings forbid the call.

    Not a RequestException: it is no failure of the network, and never tried again.
    """


def send(
    request: PreparedRequest, *, client: object, ends_at: float, networks: tuple[Network, ...]
) -> Response:
    """Return the answer with its headers.

    Its body is to be read from `raw`, in the same thread, before the next call; then
    `keep_connection()`. Everything, reading included, raises TimeoutError (or what urllib3 makes of
    it) at `ends_at` (monotonic). Raises AddressRefused. `client` stands for those that may share a
    connection.
    """
    is_idle = monotonic() - _here.used_at > IDLE_SECONDS
    # A connection that wider networks allowed is never used under stricter ones.
    if is_idle or client is not _here.client or networks != _here.networks:
        close_idle_connections()
    _here.client, _here.ends_at, _here.networks = client, ends_at, networks
    try:
        return _here.adapter.send(request)
    finally:
        _here.used_at = monotonic()


def keep_connection() -> None:
    """Let the next call use the connection: the answer on it was read to its end."""
    _here.adapter.is_free = True


def close_idle_connections() -> None:
    """Close what this thread keeps open, as it does by itself when it ends."""
    _here.adapter.close()


def _remaining() -> float:
    remaining = _here.ends_at - monotonic()
    if remaining <= 0:
        raise TimeoutError("the deadline has passed")
    return remaining


class _Socket(socket.socket):
    """Leaves a timeout as it is for a few milliseconds.

    Setting it is a system call, which four layers make for each answer, and in each of them two
    hundred other threads may take Python's lock.
    """

    def settimeout(self, value: float | None) -> None:
        current = self.gettimeout()
        if current is None or value is None or not 0 <= current - value <= SLACK_SECONDS:
            super().settimeout(value)


class _Reader(io.RawIOBase):
    """Read the bytes of a socket.

    Each read may take what remains of the deadline, so no drip of bytes outlasts it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # The connection may close the socket before we have read it.
        self._held_open = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_remaining())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held_open.close()
        super().close()


class _Lines(io.BufferedReader):
    """Read lines of a bounded length: http.client takes 64 KiB for each of a hundred headers."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        return line


class _Files:
    """What http.client asks a socket for when it reads a response."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return _Lines(_Reader(self._sock), PIECE)


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        # A `makefile` is all that it needs of a socket.
        super().__init__(_Files(sock), *arguments, **options)  # type: ignore[arg-type]


class _Connection(HTTPConnection):
    response_class = _TimedResponse

    def _new_conn(self) -> socket.socket:
        try:
            return _connected(self._dns_host, self.port)
        except (socket.gaierror, UnicodeError) as error:
            # Only the text of the error is used.
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        for start in range(0, len(data), PIECE):
            self.sock.settimeout(_remaining())
            super().send(data[start : start + PIECE])


class _TlsConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        self.ssl_context = tls_context()
        super().connect()


class _Adapter(BaseAdapter):
    """Keep one connection to one host. No second tries, no proxies, no cookies."""

    def __init__(self) -> None:
        super().__init__()
        self.origin: tuple[str, str] | None = None
        self.connection: HTTPConnection | None = None
        self.is_free = False

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        scheme, _, place, target = str(request.url).split("/", 3)
        connection = self._connection_to(scheme, place)
        self.is_free = False
        try:
            answer = _answer(connection, request, f"/{target}")
        except BaseException:
            self.close()
            raise
        response = Response()
        response.status_code = answer.status
        response.headers = answer.headers  # type: ignore[assignment]  # it ignores case as well
        response.raw = answer
        return response

    def _connection_to(self, scheme: str, place: str) -> HTTPConnection:
        """Return the connection that is there, or another one, which is not open yet."""
        if self.connection and self.origin == (scheme, place) and self.is_free:
            # What can be read before we asked is the end of the connection, or nonsense.
            if not self.connection.is_connected:
                self.connection.close()
            return self.connection
        self.close()
        host = urlsplit(f"{scheme}//{place}")
        kind = _TlsConnection if scheme == "https:" else _Connection
        self.origin, self.connection = (scheme, place), kind(host.hostname or "", host.port)
        return self.connection

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None

    def __del__(self) -> None:
        self.close()  # its thread has ended


def _answer(connection: HTTPConnection, request: PreparedRequest, target: str) -> BaseHTTPResponse:
    # For the layers between; each read and write sets what then remains.
    connection.timeout = _remaining()
    if connection.is_closed:
        connection.connect()
    # An answer may come, and the connection end, before all of a body was sent.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.request(
            str(request.method),
            target,
            body=request.body,
            headers=request.headers,
            preload_content=False,
            decode_content=False,
        )
    return connection.getresponse()


class _Thread(threading.local):
    """What the call at hand in this thread is bound by, and its connection."""

    def __init__(self) -> None:
        self.client: object = None
        self.ends_at = 0.0
        self.networks: tuple[Network, ...] = ()
        self.used_at = 0.0
        self.adapter = _Adapter()


_here = _Thread()

_tls_lock = threading.Lock()


def connect(
    host: str, port: int, *, tls: bool, ends_at: float, networks: tuple[Network, ...]
) -> socket.socket:
    """Open a connection that is not for HTTP, to an address that may be connected to.

    It is the caller's to close. Raises AddressRefused, OSError (of which ssl.SSLError is one).
    """
    _here.ends_at, _here.networks = ends_at, networks
    sock = _connected(host, port)
    if not tls:
        return sock
    try:
        return tls_context().wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def tls_context() -> ssl.SSLContext:
    # Two hundred threads begin at once, and reading the authorities takes a while.
    with _tls_lock:
        return _tls_context()


@cache
def _tls_context() -> ssl.SSLContext:
    """Trust certifi's authorities and the system's.

    A home's own can be added there, or with SSL_CERT_FILE.
    """
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    if own := os.environ.get("SSL_CERT_FILE"):
        try:
            context.load_verify_locations(own)  # what is wrong with it is ignored above
        except OSError as error:
            why = f"cannot be read as certificates ({error.strerror or error})"
            raise AddressRefused(f"SSL_CERT_FILE={own} {why}.") from error
    return context


def _connected(host: str, port: int) -> socket.socket:
    """Connect to one of the host's addresses that may be connected to.

    It is the very address that was checked: the name is not looked up a second time.
    A dead address may take its share of the time that remains, not all of it. Raises
    AddressRefused, OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refusals = [refusal(ip_address(where[0]), _here.networks) for *_, where in found]
    permitted = [entry for entry, refused in zip(found, refusals, strict=True) if not refused]
    if not permitted:
        raise AddressRefused(refusals[0] if refusals else f"{host} has no address")
    # So many addresses are left, this one included, and share the time equally.
    for left in range(len(permitted), 0, -1):
        family, kind, protocol, _, where = permitted[-left]
        sock = _Socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(_remaining() / left)
            sock.connect(where)
            sock.settimeout(_remaining())
            return sock
        except OSError:
            sock.close()
            if left == 1:
                raise
    raise OSError("there was no address to try")  # pragma: no cover (the loop returns or raises)
