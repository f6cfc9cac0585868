"""A connection to an MQTT broker (3.1.1), with the checks that core/net/http.py has for calls.

The protocol is paho's, an extra (requirements-listen.txt). Of it `loop()` is used, in the caller's
thread. A message larger than `max_bytes` ends the connection before it is read.
"""

import socket
from collections import deque
from time import monotonic
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from core.net import failures, transport
from core.net.errors import ApiError, ApiRefused, Unreachable
from core.net.http import Http, origin

KEEPALIVE_SECONDS = 20
"""How often a silent broker is asked whether it is there; it is given up after as long again."""
NOT_ALLOWED = {134, 135}
"""Reason codes, in which paho also tells those of 3.1.1: bad user name or password, not
authorized."""
LONGEST_TOPIC = 200


class Message(NamedTuple):
    """`is_retained`: the broker kept it, and nobody knows for how long."""

    topic: str
    payload: bytes
    is_retained: bool


class Broker:
    """One open connection, used by one thread.

    Every method raises ApiError and ApiRefused, and only these.
    """

    def __init__(self, http: Http, user: str = "", password: str = "") -> None:
        """Connect within the time that one call may take, with the limits of `http`."""
        self._http = http
        self._messages: deque[Message] = deque()
        self._subscribed: set[int] = set()
        self._reasons: list[Any] = []
        """What the broker said to our wish to connect, once it has."""
        self._client = _Client(http)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        if user:
            self._client.username_pw_set(user, password)
        try:
            _, host, port = origin(http.address)
            self._client.connect(host, port, KEEPALIVE_SECONDS)
        except transport.AddressRefused as error:
            raise ApiRefused(f"{http.address}: {error}") from None
        except OSError as error:
            raise self._failure(error) from None
        try:
            self._until(lambda: self._reasons, "let us in")
        except BaseException:
            self._client.close()
            raise
        reason = self._reasons[0]
        if reason.is_failure:
            self._client.close()
            refused = reason.value in NOT_ALLOWED
            sentence = f"{http.address} refuses the connection: {reason}."
            raise (ApiRefused(sentence, status=401) if refused else ApiError(sentence))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.disconnect()
        self._client.close()

    def subscribe(self, topics: list[str]) -> None:
        """Subscribe, and return when the broker has confirmed it. What is retained follows."""
        _, number = self._client.subscribe([(topic, 1) for topic in topics])
        self._until(lambda: number in self._subscribed, "confirm subscriptions")

    def publish(self, topic: str, payload: str) -> None:
        """Publish with QoS 1: it returns when the broker has it."""
        sent = self._client.publish(topic, payload, qos=1)
        self._until(sent.is_published, f"take what was published to {topic[:80]}")

    def receive(self, seconds: float) -> Message | None:
        """Return the next message, or None if none comes in so many seconds."""
        until = monotonic() + seconds
        while not self._messages:
            if (left := until - monotonic()) <= 0:
                return None
            self._loop(left)
        return self._messages.popleft()

    def _until(self, is_done: Any, what: str) -> None:
        ends_at = monotonic() + self._http.timeout_seconds
        while not is_done():
            if (left := ends_at - monotonic()) <= 0:
                raise Unreachable(f"{self._http.address} did not {what} in time.")
            self._loop(left)

    def _loop(self, seconds: float) -> None:
        # Not longer than a second: paho looks at its keepalive between two calls.
        outcome = self._client.loop(min(seconds, 1.0))
        if self._client.too_large:
            most = f"{self._http.max_bytes:,} bytes (LARGEST_ANSWER_MB)"
            raise ApiError(f"{self._http.address} sent a message of more than {most}.")
        is_refused = bool(self._reasons and self._reasons[0].is_failure)
        if outcome != MQTTErrorCode.MQTT_ERR_SUCCESS and not is_refused:
            raise Unreachable(f"{self._http.address} broke off the connection.")

    def _failure(self, error: Exception) -> ApiError | ApiRefused:
        failure, reason = failures.classify(error)
        sentence = failure.sentence.format(seconds=self._http.timeout_seconds, reason=reason)
        return failure.raises(f"{self._http.address} {sentence}")

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, more: Any) -> None:
        self._reasons.append(reason)

    def _on_subscribe(self, client: Any, data: Any, number: int, reasons: Any, more: Any) -> None:
        self._subscribed.add(number)

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if len(topic) <= LONGEST_TOPIC:
            self._messages.append(Message(topic, bytes(message.payload), bool(message.retain)))


class _Client(paho.Client):
    """paho's client on a socket of ours. It has no public door for that, hence the upper bound of
    its version in requirements-listen.txt; tests/core/net/test_mqtt.py shows that it is used."""

    def __init__(self, http: Http) -> None:
        super().__init__(CallbackAPIVersion.VERSION2)
        self._http = http
        self.too_large = False

    def close(self) -> None:
        self._sock_close()

    def _create_socket_connection(self) -> socket.socket:
        address = urlsplit(self._http.address)
        _, host, port = origin(self._http.address)
        ends_at = monotonic() + self._http.timeout_seconds
        tls = address.scheme == "mqtts"
        networks = self._http.networks
        return transport.connect(host, port, tls=tls, ends_at=ends_at, networks=networks)

    def _sock_recv(self, bufsize: int) -> bytes:
        # paho asks for all that is missing of a packet at once, and makes room for it.
        if bufsize > self._http.max_bytes:
            self.too_large = True
            raise ConnectionError("too large")
        return super()._sock_recv(bufsize)
