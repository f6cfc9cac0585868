"""The way out, over urllib3, with what it lacks: a total deadline, a check of every address, one TLS context a process.

A thread keeps one transport and in it the connections to one host: a thread asks one gateway at a time, and many small
devices allow few connections. Connections idle for longer than IDLE_SECONDS are closed before the next call, not used: the
other side may be closing them, which for a POST would leave its outcome unknown.
"""

import http.client
import io
import socket
import ssl
import threading
from functools import cache
from ipaddress import ip_address
from time import monotonic
from typing import Any

import certifi
from requests import PreparedRequest, Response
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

from core.net.addresses import Network, refusal

IDLE_SECONDS = 4.0
PIECE = 16_384  # bytes sent under one timeout
NEVER = Retry(False)
SLACK_SECONDS = 0.01
"""How much later than its deadline a call may end."""


class AddressRefused(Exception):
    """Our own rules forbid the address. Not a RequestException: it is no failure of the network, and never tried again."""


class _Thread(threading.local):
    """What the call at hand in this thread is bound by, and its connections."""

    ends_at: float = 0.0
    networks: tuple[Network, ...] = ()
    transport: "_Transport | None" = None
    used_at: float = 0.0


_here = _Thread()


def send(request: PreparedRequest, *, ends_at: float, networks: tuple[Network, ...]) -> Response:
    """The answer with its headers; its body is to be read from `raw` in the same thread before the next call.

    Everything, reading included, raises TimeoutError (or what urllib3 makes of it) at `ends_at` (monotonic).
    Raises AddressRefused.
    """
    _here.ends_at, _here.networks = ends_at, networks
    transport = _here.transport
    if transport is None or transport.networks != networks:
        # A connection that wider networks allowed is never used under stricter ones.
        close_idle_connections()
        transport = _here.transport = _Transport(networks)
    elif monotonic() - _here.used_at > IDLE_SECONDS:
        transport.clear()
    try:
        return transport.send(request)
    finally:
        _here.used_at = monotonic()


def close_idle_connections() -> None:
    """Close what this thread keeps open. Threads that end do so by themselves; those that live on may be asked to."""
    if _here.transport:
        _here.transport.clear()


def _remaining() -> float:
    remaining = _here.ends_at - monotonic()
    if remaining <= 0:
        raise TimeoutError("the deadline has passed")
    return remaining


class _Socket(socket.socket):
    """Leaves a timeout as it is for a few milliseconds: setting it is a system call, which four layers make for each answer,
    and in each two hundred other threads may take Python's lock."""

    def settimeout(self, value: float | None) -> None:
        current = self.gettimeout()
        if current is None or value is None or not 0 <= current - value <= SLACK_SECONDS:
            super().settimeout(value)


class _Reader(io.RawIOBase):
    """The bytes of a socket. Each read may take what remains of the deadline, so no drip of bytes outlasts it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held_open = sock.makefile(
            "rb", buffering=0
        )  # the connection may close the socket before we have read it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_remaining())
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held_open.close()
        super().close()


class _Files:
    """What http.client asks a socket for when it reads a response."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock), PIECE)


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(_Files(sock), *arguments, **options)  # type: ignore[arg-type]  # all it needs of a socket


class _Connection(HTTPConnection):
    response_class = _TimedResponse

    def _new_conn(self) -> socket.socket:
        try:
            return _connected(self._dns_host, self.port)
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]  # only its text is used
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


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Transport(PoolManager):
    """Never tries again, never asks a proxy, keeps one connection to one host.

    In place of requests' HTTPAdapter, which does a quarter as much again for proxies, authorities and cookies.
    """

    def __init__(self, networks: tuple[Network, ...]) -> None:
        super().__init__(num_pools=1, maxsize=1)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self.networks = networks

    def send(self, request: PreparedRequest) -> Response:
        pool = self.connection_from_url(str(request.url))
        answer = pool.urlopen(
            str(request.method),
            request.path_url,
            body=request.body,
            headers=request.headers,
            retries=NEVER,
            redirect=False,
            assert_same_host=False,
            timeout=_remaining(),
            preload_content=False,
            decode_content=False,
        )
        response = Response()
        response.status_code = answer.status
        response.headers = answer.headers  # type: ignore[assignment]  # a mapping that ignores case as well
        response.raw = answer
        return response


_tls_lock = threading.Lock()


def tls_context() -> ssl.SSLContext:
    with _tls_lock:  # two hundred threads begin at once, and reading the authorities takes a while
        return _tls_context()


@cache
def _tls_context() -> ssl.SSLContext:
    """Trusts certifi's authorities and the system's: a home's own can be added there, or with SSL_CERT_FILE."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


def _connected(host: str, port: int) -> socket.socket:
    """A socket to one of the host's addresses that may be connected to: the very address that was checked.

    A dead address may take its share of the time that remains, not all of it. Raises AddressRefused, OSError.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    refusals = [refusal(ip_address(where[0]), _here.networks) for *_, where in found]
    permitted = [entry for entry, refused in zip(found, refusals, strict=True) if not refused]
    if not permitted:
        raise AddressRefused(refusals[0] if refusals else f"{host} has no address")
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
