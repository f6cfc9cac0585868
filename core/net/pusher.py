"""A client of Pusher's HTTP API, and of services that speak the same: sends messages to channels.

https://pusher.com/docs/channels/library_auth_reference/rest-api/
https://pusher.com/docs/channels/library_auth_reference/auth-signatures/
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from time import monotonic, time
from typing import NamedTuple
from urllib.parse import urlsplit

from requests import PreparedRequest

from core.net.addresses import Network
from core.net.auth import Credentials
from core.net.http import Http

MOST_MESSAGES = 10
"""In one call."""
LARGEST_DATA = 10_000
"""Bytes of a message's data. The documentation says 10 kB, and not of which kind."""
TIMEOUT_SECONDS = 10.0
RENEWED_SECONDS = 5.0
"""How long one `Http` serves: all its calls share a deadline, and each should have half of it."""


class Message(NamedTuple):
    channel: str
    name: str
    data: str


class Pusher:
    """Send messages to an application of the service. It is used by one thread.

    `address` is that of the HTTP API. Raises what `Http` raises, without the secret.
    """

    def __init__(
        self, address: str, app: str, key: str, secret: str, networks: Sequence[Network] = ()
    ) -> None:
        self._address, self._path, self._networks = address, f"/apps/{app}/batch_events", networks
        self._auth = Signed(key, secret)
        self._http: Http | None = None
        self._made_at = 0.0

    def send(self, messages: Sequence[Message]) -> None:
        """Send at most MOST_MESSAGES. Those of one channel arrive in their order."""
        if self._http is None or monotonic() - self._made_at > RENEWED_SECONDS:
            self._http = Http(
                self._address, networks=self._networks, timeout_seconds=TIMEOUT_SECONDS
            )
            self._http.auth, self._made_at = self._auth, monotonic()
        content = json.dumps({"batch": [message._asdict() for message in messages]}).encode()
        try:
            self._http.fetch("POST", self._path, body=content, content_type="application/json")
        except Exception:
            self._http = None
            raise


class Signed(Credentials):
    """Sign method, path, query and body with the secret, for ten minutes."""

    def __init__(self, key: str, secret: str) -> None:
        self._key, self.secrets = key, (secret,)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        # MD5, because the service wants it: what is relied on is the signature over it.
        digest = hashlib.md5(request.body or b"", usedforsecurity=False)  # type: ignore[arg-type]
        query = (
            f"auth_key={self._key}&auth_timestamp={time():.0f}&auth_version=1.0"
            f"&body_md5={digest.hexdigest()}"
        )
        path = urlsplit(str(request.url)).path
        signature = sign(self.secrets[0], f"{request.method}\n{path}\n{query}")
        request.url = f"{request.url}?{query}&auth_signature={signature}"
        return request


def sign(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def channel_auth(key: str, secret: str, socket_id: str, channel: str) -> str:
    """Return what lets the client with this socket subscribe to a private channel."""
    return f"{key}:{sign(secret, f'{socket_id}:{channel}')}"
