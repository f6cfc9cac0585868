"""What a Shelly tells by itself over its own WebSocket, `ws://device/rpc`.

After https://shelly-api-docs.shelly.cloud/gen2/General/RPCProtocol, .../Notifications and
.../Authentication. A device begins to tell with the first request that names a source.

Notifications carry the device's own time. It is not used, as in `read()`: the device's clock may be
wrong, and what it tells is on its way for some milliseconds.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import timedelta
from secrets import token_hex
from time import monotonic
from typing import Any

from core.net import strict_json
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.net.websocket import WebSocket
from core.readings import Reading
from core.vendors import LISTEN_SECONDS, Update
from core.vendors._shelly import changed_readings, hardware_of, overlay, readings

SOURCE = "iotapp"
GET_STATUS = "Shelly.GetStatus"
NOT_ALLOWED = 401
NOBODY = hashlib.sha256(b"dummy_method:dummy_uri").hexdigest()
"""What stands in a frame's digest for the method and address of an HTTP request."""

Owner = Callable[[dict[str, Any]], str]
"""Tells of which hardware a whole status is. Raises ApiRefused if another device answers."""


def listen(
    http: Http, owner: Owner, vendor_ids: Collection[str], whole_every: timedelta
) -> Iterator[Update]:
    with WebSocket(http, "/rpc") as socket:
        listener = _Listener(http, socket, owner, vendor_ids, whole_every.total_seconds())
        yield from listener.updates()


class _Listener:
    def __init__(
        self,
        http: Http,
        socket: WebSocket,
        owner: Owner,
        vendor_ids: Collection[str],
        whole_every: float,
    ) -> None:
        self.http = http
        self.socket = socket
        self.owner = owner
        self.vendor_ids = vendor_ids
        self.whole_every = whole_every
        self.hardware = ""
        self.status: dict[str, Any] = {}
        self.asked = 0
        self.asked_at: float | None = None
        self.whole_at = 0.0
        self.has_answered_challenge = False

    def updates(self) -> Iterator[Update]:
        while True:
            self._ask_if_due(monotonic())
            message = self.socket.receive(LISTEN_SECONDS)
            update = self._update(message) if isinstance(message, dict) else None
            yield update or Update()

    def _ask_if_due(self, now: float) -> None:
        """Ask for the whole status at first, and now and then: what did not change is not told."""
        if self.asked_at is not None:
            if now - self.asked_at > self.http.timeout_seconds:
                raise ApiError(f"{self.http.address} does not answer {GET_STATUS}.")
        elif not self.hardware or now - self.whole_at >= self.whole_every:
            self.asked_at, self.has_answered_challenge = now, False
            self._ask()

    def _ask(self, **auth: Any) -> None:
        # Also when it is asked again with a password: an answer to the first one counts no more.
        self.asked += 1
        self.socket.send({"id": self.asked, "src": SOURCE, "method": GET_STATUS, **auth})

    def _update(self, message: dict[str, Any]) -> Update | None:
        method, params = message.get("method"), message.get("params")
        # What names a method is no answer, whatever its number.
        if self.asked_at is not None and message.get("id") == self.asked and method is None:
            return self._answer(message)
        # Before the first whole status there is nothing to lay a change over.
        if not isinstance(params, dict) or not self.hardware:
            return None
        if method == "NotifyFullStatus":
            return self._whole(params)
        if method == "NotifyStatus":
            overlay(self.status, params)
            changed = self._wanted(changed_readings(self.hardware, self.status, params))
            # Only channels with a reading: one that is named without any would count as gone.
            told = {reading.vendor_id for reading in changed}
            return Update(changed, told) if changed else None
        return None

    def _answer(self, message: dict[str, Any]) -> Update | None:
        if (error := message.get("error")) is not None:
            self._answer_challenge(error)
            return None
        self.asked_at = None
        status = message.get("result")
        if not isinstance(status, dict):
            raise ApiError(f"The answer of {self.http.address} to {GET_STATUS} is no object.")
        return self._whole(status)

    def _whole(self, status: dict[str, Any]) -> Update:
        self.hardware, self.status = self.owner(status), status
        self.whole_at = monotonic()
        found = self._wanted(readings(self.hardware, status))
        told = [one for one in self.vendor_ids if hardware_of(one) == self.hardware]
        return Update(found, told, is_whole=True)

    def _wanted(self, found: Iterable[Reading]) -> list[Reading]:
        return [reading for reading in found if reading.vendor_id in self.vendor_ids]

    def _answer_challenge(self, error: Any) -> None:
        """Ask again with the digest that the device wants. Raises what its other errors mean."""
        code = error.get("code") if isinstance(error, dict) else None
        words = error.get("message") if isinstance(error, dict) else error
        if code != NOT_ALLOWED:
            raise ApiError(f"The device answers {GET_STATUS} with an error: {str(words):.200}.")
        if not self.http.credential:
            raise ApiRefused("The device wants its admin password.", status=NOT_ALLOWED)
        # It asks again where the password is wrong, and would do so for ever.
        if self.has_answered_challenge:
            raise ApiRefused("The device does not accept this password.", status=NOT_ALLOWED)
        self.has_answered_challenge = True
        self._ask(auth=_digest(_challenge(words), self.http.credential))


def _challenge(words: Any) -> dict[str, Any]:
    """The challenge that stands, as JSON, in the message of the error."""
    try:
        challenge = strict_json.parse(str(words).encode())
    except ValueError:
        challenge = None
    if (
        not isinstance(challenge, dict)
        or not isinstance(challenge.get("realm"), str)
        or not isinstance(challenge.get("nonce"), str | int)
        or challenge.get("algorithm", "SHA-256") != "SHA-256"
    ):
        raise ApiError("The device asks for a password in a way that we do not know.")
    return challenge


def _digest(challenge: dict[str, Any], password: str) -> dict[str, Any]:
    count = challenge.get("nc", 1)
    nonce, our_nonce = challenge["nonce"], token_hex(8)
    secret = _sha256("admin", challenge["realm"], password)
    response = _sha256(secret, nonce, count, our_nonce, "auth", NOBODY)
    return {
        "realm": challenge["realm"],
        "username": "admin",
        "nonce": nonce,
        "nc": count,
        "cnonce": our_nonce,
        "response": response,
        "algorithm": "SHA-256",
    }


def _sha256(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()
