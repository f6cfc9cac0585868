"""The only door to the network: bytes in and out over requests, strict JSON on top."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from requests.auth import AuthBase

Network = IPv4Network | IPv6Network


class ApiError(Exception):
    """The vendor did not answer, or answered that it cannot now: try again later.

    `status` is the HTTP status if there was one; `retry_after` the seconds that the vendor asked us to wait.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ApiRefused(Exception):
    """The vendor, or our own rules, said no: a person must act. `status` is the HTTP status if there was one."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Http:
    """Calls to one gateway, all of them within one total deadline. Used by one thread.

    `address` is the base URL (may have a path); `credential` the secret for the vendor client to use; `networks` the
    non-public networks that may be reached; `renew` stores a rotated credential.
    """

    auth: AuthBase | None = None
    headers: dict[str, str]

    def __init__(
        self,
        address: str,
        *,
        credential: str = "",
        networks: Sequence[Network] = (),
        timeout_seconds: float = 10.0,
        max_bytes: int = 8_000_000,
        renew: Callable[[str], None] | None = None,
    ) -> None: ...

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        """The JSON answer to a GET. Tried again once or twice if the connection breaks, within the deadline."""

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON answer to a POST of JSON. Never tried again: nobody knows whether it was done."""

    def fetch(
        self, method: str, path: str, *, params: dict[str, str | int] | None = None, body: bytes = b"", content_type: str = ""
    ) -> bytes:
        """The bytes of an answer, for vendors that speak something else than JSON."""

    def renew(self, credential: str) -> None:
        """Hand over a rotated credential: stored first, used after."""


def basic(user: str, password: str) -> AuthBase: ...
def bearer(token: str) -> AuthBase: ...
def digest(user: str, password: str) -> AuthBase: ...
