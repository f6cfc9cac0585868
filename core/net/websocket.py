"""A WebSocket to a gateway that is kept open, for vendors that tell what changes (RFC 6455).

The protocol itself is the library's, without its own input and output: this module adds what
core/net/http.py has for single calls. That is a check of every address, deadlines, a largest
message, strict JSON, and the two errors. `websockets` is an extra (requirements-listen.txt), which
only who listens loads.
"""

import json
import ssl
from collections import deque
from time import monotonic
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from core.net import failures, strict_json, transport
from core.net.errors import ApiError, ApiRefused, Unreachable
from core.net.http import Http

PING_SECONDS = 20.0
"""After so long without any message the other side is asked whether it is there."""
DEAD_SECONDS = 45.0
"""After so long without any sign of life the connection is given up. Ours notices nothing when a
plug is pulled: no packet comes, not even the one that says goodbye."""
CHUNK = 65_536
DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class WebSocket:
    """One open connection, used by one thread.

    Every method raises ApiError and ApiRefused, and only these.
    """

    def __init__(self, http: Http, path: str) -> None:
        """Connect within the time that one call may take, with the limits of `http`.

        What `http.auth` adds to calls is not sent.
        """
        self._http = http
        self._where = f"{http.address}{path}"
        self._messages: deque[Any] = deque()
        self._parts = bytearray()
        self._heard_at = self._pinged_at = monotonic()
        ends_at = monotonic() + http.timeout_seconds
        address = urlsplit(http.address)
        tls = address.scheme == "https"
        uri = f"{'wss' if tls else 'ws'}://{address.netloc}{address.path}{path}"
        self._protocol = ClientProtocol(parse_uri(uri), max_size=http.max_bytes)
        try:
            self._socket = transport.connect(
                address.hostname or "",
                address.port or (443 if tls else 80),
                tls=tls,
                ends_at=ends_at,
                networks=http.networks,
            )
        except transport.AddressRefused as error:
            raise ApiRefused(f"{http.address}: {error}") from None
        except OSError as error:
            raise self._failure(error) from None
        try:
            self._shake_hands(ends_at)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: Any) -> None:
        """Send a message in JSON."""
        self._protocol.send_text(json.dumps(message, allow_nan=False).encode())
        self._flush()

    def receive(self, seconds: float) -> Any:
        """Return the next message, or None if none comes in so many seconds.

        Whatever the wait, a connection that is dead is noticed within DEAD_SECONDS.
        """
        until = monotonic() + seconds
        while not self._messages:
            now = monotonic()
            self._look_alive(now)
            if now >= until:
                return None
            self._read(min(until, self._heard_at + DEAD_SECONDS, self._pinged_at + PING_SECONDS))
        return self._messages.popleft()

    def _look_alive(self, now: float) -> None:
        silent = now - self._heard_at
        if silent >= DEAD_SECONDS:
            raise Unreachable(f"{self._where} has not been heard for {silent:.0f} s.")
        if now - max(self._heard_at, self._pinged_at) >= PING_SECONDS:
            self._pinged_at = now
            self._protocol.send_ping(b"iotapp")
            self._flush()

    def _shake_hands(self, ends_at: float) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING and not self._protocol.handshake_exc:
            if monotonic() >= ends_at:
                raise self._failure(TimeoutError())
            self._read(ends_at)
        if error := self._protocol.handshake_exc:
            raise self._refusal(error)

    def _refusal(self, error: Exception) -> ApiError | ApiRefused:
        """Say what an answer means that opens no WebSocket."""
        if isinstance(error, InvalidStatus):
            status = error.response.status_code
            sentence = f"{self._where} answered {status} and opens no WebSocket."
            later = status >= 500 or status in (408, 425, 429)
            return (ApiError if later else ApiRefused)(sentence, status=status)
        if isinstance(error, InvalidHandshake):
            return ApiRefused(f"{self._where} opens no WebSocket.")
        return self._failure(error)

    def _read(self, until: float) -> None:
        """Take in what has come by then, if anything has."""
        if self._protocol.state in (State.CLOSING, State.CLOSED):
            raise self._ended()
        # A deadline that has passed must not become "do not block", which 0 means.
        self._socket.settimeout(max(until - monotonic(), 0.001))
        try:
            data = self._socket.recv(CHUNK)
        except (TimeoutError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise self._failure(error) from None
        if data:
            self._heard_at = monotonic()
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        for event in self._protocol.events_received():
            self._take(event)

    def _take(self, event: Frame | Response | Any) -> None:
        if not isinstance(event, Frame) or event.opcode not in DATA:
            return  # the handshake, pings and pongs
        self._parts += event.data
        if not event.fin:
            return
        content, self._parts = bytes(self._parts), bytearray()
        try:
            self._messages.append(strict_json.parse(content))
        except ValueError:
            raise ApiError(f"{self._where} sent something that is not JSON.") from None

    def _ended(self) -> ApiError | ApiRefused:
        if error := self._protocol.handshake_exc:
            return self._refusal(error)
        if self._protocol.close_sent and self._protocol.close_sent.code == 1009:
            most = f"{self._http.max_bytes:,} bytes (LARGEST_ANSWER_MB)"
            return ApiError(f"{self._where} sent a message of more than {most}.")
        said = self._protocol.close_rcvd
        why = f" ({said.code})" if said else ""
        return Unreachable(f"{self._where} closed the connection{why}.")

    def _flush(self) -> None:
        """Send what the protocol wants sent. An empty piece stands for the end of our side."""
        try:
            self._socket.settimeout(self._http.timeout_seconds)
            for data in self._protocol.data_to_send():
                if data:
                    self._socket.sendall(data)
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> ApiError | ApiRefused:
        failure, reason = failures.classify(error)
        sentence = failure.sentence.format(seconds=self._http.timeout_seconds, reason=reason)
        return failure.raises(f"{self._where} {sentence}")
