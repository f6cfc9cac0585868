"""The only door to the network: bytes in and out over requests, strict JSON on top.

`core.transport` holds the deadline and the addresses, `core.credentials` who we are, `core.strict_json` what JSON may hold.
There is no requests Session: it would read the environment, keep cookies, and follow a redirect or read all of its body.

No timeout covers looking up a name (`getaddrinfo`), which takes as long as the system's resolver likes: callers that must
not wait make their calls in the daemon threads of `core.threads` and give them up.
"""

import http.client
import json
import logging
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import DecodeError, HTTPError, IncompleteRead, ReadTimeoutError

from core.net import strict_json, transport
from core.net.addresses import Network
from core.net.auth import Credentials, basic, bearer, digest, in_query
from core.net.errors import ApiError, ApiRefused

__all__ = ["ApiError", "ApiRefused", "Http", "Network", "basic", "bearer", "digest", "in_query"]

LONGEST_RETRY_AFTER = 86_400.0  # seconds: a vendor that asks for more is asked again after a day
PAUSES = (
    0.0,
    0.2,
)  # seconds before the second and the third try: the first failure often is a connection gone stale
LARGEST_ERROR_BODY = 4_096  # bytes read of an answer that is only quoted
CHUNK = 65_536
LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

# It logs addresses with their query at DEBUG and at WARNING, and a query may hold a key.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Http:
    """Calls to one gateway, all of them within one total deadline, counted from the first. Used by one thread.

    `address` is the base URL (may have a path); `credential` the secret for the vendor client to use; `networks` the
    non-public networks that may be reached; `max_bytes` the largest answer, decompressed; `renew` stores a rotated
    credential; `pace` is called before every call and returns when it may be made: what it waits is not counted. `headers` go
    with every call, so does what `auth` adds. Raises ApiRefused if the address is no good.

    Every method raises ApiError and ApiRefused, and only these; no message holds the credential. Answers: 2xx is returned;
    401, 403 and other 4xx are ApiRefused; 408, 425, 429, 5xx are ApiError. A redirect is ApiRefused and names where to.
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
        pace: Callable[[], None] | None = None,
    ) -> None:
        self.address = _checked(address)
        self.credential = credential
        self.networks = tuple(networks)
        self.timeout_seconds = timeout_seconds
        self.max_bytes = max_bytes
        self.headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": "iotapp",
        }
        self._store = renew
        self._pace = pace
        self._ends_at: float | None = None

    def __repr__(self) -> str:
        return f"<Http {self.address}>"

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        """The JSON answer to a GET. Tried again once or twice if the connection breaks, within the deadline.

        See `strict_json.parse` for what is refused, and what is replaced. An empty answer is an ApiError.
        """
        return self._parsed(self.fetch("GET", path, params=params), path)

    def post(self, path: str, body: Any = None) -> Any:
        """The JSON answer to a POST of JSON, None if it is empty. Never tried again: nobody knows whether it was done.

        So an ApiError without a status leaves the outcome unknown, for instance when the other side closes a kept
        connection in the moment of sending.
        """
        content = b"" if body is None else json.dumps(body, allow_nan=False).encode()
        answer = self.fetch(
            "POST", path, body=content, content_type="application/json" if content else ""
        )
        return self._parsed(answer, path) if answer else None

    def fetch(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str | int] | None = None,
        body: bytes = b"",
        content_type: str = "",
    ) -> bytes:
        """The bytes of an answer, for vendors that speak something else than JSON.

        `path` is appended to the address; characters that a path cannot hold are quoted. A query goes into `params`: one in
        the path is a ValueError. Ids that come from outside are to be quoted by the caller.
        """
        response, content = self._exchange(self._prepared(method, path, params, body, content_type))
        challenge = response.headers.get("WWW-Authenticate", "")
        if (
            response.status_code == 401
            and isinstance(self.auth, Credentials)
            and self.auth.answer(challenge)
        ):
            response, content = self._exchange(
                self._prepared(method, path, params, body, content_type)
            )
        if not 200 <= response.status_code < 300:
            self._raise(response, content, path)
        return content

    def renew(self, credential: str) -> None:
        """Hand over a rotated credential: stored first, used after."""
        if self._store:
            self._store(credential)
        self.credential = credential

    def _prepared(
        self,
        method: str,
        path: str,
        params: dict[str, str | int] | None,
        body: bytes,
        content_type: str,
    ) -> PreparedRequest:
        """As requests prepares it, without the parsing of what we have just put together."""
        if "?" in path or "#" in path:
            raise ValueError(f"{path!r} holds a query: hand it over as params")
        request = PreparedRequest()
        request.method = method
        request.url = f"{self.address}/{quote(path.lstrip('/'), safe=_IN_PATH)}" + (
            f"?{urlencode(params)}" if params else ""
        )
        request.headers = CaseInsensitiveDict(self.headers)
        if body:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
        if content_type:
            request.headers["Content-Type"] = content_type
        if self.auth:
            request = self.auth(request)
        if not _is_sendable("".join(request.headers.values())):
            raise ApiRefused(
                f"The credential of {self.address} holds characters that cannot be sent: enter it again."
            )
        return request

    def _exchange(self, request: PreparedRequest) -> tuple[Response, bytes]:
        """One call and, for a GET whose connection breaks, two more."""
        pauses = iter(PAUSES if request.method == "GET" else ())
        while True:
            ends_at = self._paced()
            try:
                response = transport.send(request, ends_at=ends_at, networks=self.networks)
                return response, self._read(response)
            except transport.AddressRefused as error:
                raise ApiRefused(f"{self.address}: {error}") from None
            except (RequestException, HTTPError, http.client.HTTPException, OSError) as error:
                failure, reason = _failure(error)
                pause = next(pauses, None)
                if not failure.again or pause is None or monotonic() + pause >= ends_at:
                    message = f"{self.address} {failure.sentence.format(seconds=self.timeout_seconds, reason=reason)}"
                    raise failure.raises(message) from None
            sleep(pause)

    def _paced(self) -> float:
        """Wait until the next call may be made. Returns when it has to be over."""
        began = monotonic()
        if self._pace:
            self._pace()
        self._ends_at = began + self.timeout_seconds if self._ends_at is None else self._ends_at
        self._ends_at += monotonic() - began
        return self._ends_at

    def _read(self, response: Response) -> bytes:
        """The decompressed body. Of an answer that is an error anyway, the beginning."""
        is_error = response.status_code >= 300
        most = LARGEST_ERROR_BODY if is_error else self.max_bytes
        chunks, size = [], 0
        while chunk := response.raw.read1(min(CHUNK, most + 1), decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                response.raw.close()
                if is_error:
                    break
                raise ApiError(
                    f"{self.address} answered more than {most:,} bytes.",
                    status=response.status_code,
                )
        response.raw.release_conn()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _parsed(self, content: bytes, path: str) -> Any:
        if not content:
            raise ApiError(f"{self._where(path)} answered nothing.")
        try:
            return strict_json.parse(content)
        except ValueError:
            raise ApiError(
                f"{self._where(path)} answered something that is not JSON: {self._excerpt(content)}"
            ) from None

    def _raise(self, response: Response, content: bytes, path: str) -> None:
        status, where = response.status_code, self._where(path)
        if 300 <= status < 400 and (target := response.headers.get("Location")):
            target = self._safe(re.split("[?#]", target)[0])[:200]
            raise ApiRefused(
                f"{where} redirects to {target}: if that is right, enter it as the address.",
                status=status,
            )
        said = f" {self._excerpt(content)}" if content else ""
        if status in (401, 403):
            what = "refused the credential" if status == 401 else "does not allow this"
            raise ApiRefused(f"{where} {what} ({status}).{said}", status=status)
        message = f"{where} answered {status} {_phrase(status)}.{said}"
        if status < 200 or status >= 500 or status in LATER:
            raise ApiError(
                message,
                status=status,
                retry_after=_retry_after(response.headers.get("Retry-After", "")),
            )
        raise ApiRefused(message, status=status)

    def _where(self, path: str) -> str:
        return f"{self.address}/{self._safe(path.lstrip('/'))[:200]}"

    def _excerpt(self, content: bytes, length: int = 60) -> str:
        text = self._safe(content[:2_000].decode(errors="replace"))
        return f"“{text[:length]}…”" if len(text) > length else f"“{text}”"

    def _safe(self, text: str) -> str:
        """One printable line without any secret."""
        text = " ".join(
            "".join(character if character.isprintable() else " " for character in text).split()
        )
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> list[str]:
        """What no message may hold, longest first: credentials, their parts, and how they look in a URL or in JSON."""
        known = [
            self.credential,
            *(value for name, value in self.headers.items() if name not in _PLAIN_HEADERS),
        ]
        known += [
            part for secret in known for part in re.split(r"[^\w.~+/-]+", secret) if len(part) >= 6
        ]
        known += self.auth.secrets if isinstance(self.auth, Credentials) else ()
        spelled = {
            form
            for secret in known
            for form in (
                secret,
                quote(secret),
                quote(secret, ""),
                quote_plus(secret),
                json.dumps(secret)[1:-1],
            )
        }
        return sorted((secret for secret in spelled if secret.strip()), key=len, reverse=True)


_IN_PATH = "/%:@!$&'()*+,;=~"
_PLAIN_HEADERS = {"Accept", "Accept-Encoding", "User-Agent", "Content-Type"}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


def _checked(address: str) -> str:
    """The address without a trailing slash, or ApiRefused that says what an address looks like."""
    example = "An address looks like http://192.168.1.20 or https://example.org:8123/path"
    try:
        parts = urlsplit(address.strip())
        port, host = parts.port, _checked_host(parts.hostname or "")
    except ValueError:
        raise ApiRefused(f"This is no address. {example}.") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ApiRefused(f"This is no http or https address. {example}.")
    if "@" in parts.netloc:
        raise ApiRefused(
            f"The address holds a user name or password: enter these as the credential. {example}."
        )
    if "?" in address or "#" in address:
        raise ApiRefused(
            f"The address holds a query or a fragment: leave out what follows ? or #. {example}."
        )
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{quote(parts.path.rstrip('/'), safe=_IN_PATH)}"


def _checked_host(host: str) -> str:
    """As it goes into a URL; empty if it cannot. Raises ValueError."""
    if ":" in host:
        return "" if "%" in host else f"[{ip_address(host)}]"
    host = host.encode("idna").decode()
    return host if _HOST.fullmatch(host) else ""


def _is_sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(whatever that is)"


def _retry_after(header: str) -> float | None:
    """Seconds to wait, from a number of them or from an HTTP date; None if there is neither."""
    if re.fullmatch(r"[0-9]{1,20}", header.strip()):
        seconds = float(header)
    else:
        try:
            date = parsedate_to_datetime(header)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


class _Failure(NamedTuple):
    """A way for a call to fail. `again`: a GET is tried again."""

    kinds: tuple[type[BaseException], ...]
    sentence: str
    again: bool = False
    raises: type[ApiError] | type[ApiRefused] = ApiError


# The first row that fits any of the errors behind the error.
_FAILURES = (
    _Failure((TimeoutError, ReadTimeoutError), "did not answer within {seconds:g} s."),
    _Failure((DecodeError,), "answered something that cannot be decompressed."),
    _Failure((socket.gaierror, UnicodeError), "has a name that cannot be looked up ({reason})."),
    _Failure(
        (ssl.SSLCertVerificationError,),
        "has a certificate that is not trusted ({reason}).",
        raises=ApiRefused,
    ),
    _Failure((ConnectionRefusedError,), "refused the connection.", again=True),
    _Failure(
        (ConnectionError, IncompleteRead, http.client.IncompleteRead, ssl.SSLEOFError),
        "broke off the connection.",
        again=True,
    ),
    _Failure(
        (ssl.SSLError,), "does not speak TLS as we do ({reason}): is it http rather than https?"
    ),
    _Failure((OSError,), "cannot be reached ({reason})."),
)
_NOT_HTTP = _Failure((), "answered something that is not HTTP.")


def _failure(error: BaseException) -> tuple[_Failure, str]:
    """What kind of failure this is, and the system's words for it."""
    behind = list(_behind(error))
    for failure in _FAILURES:
        for cause in behind:
            if isinstance(cause, failure.kinds):
                return failure, str(
                    getattr(cause, "verify_message", "")
                    or getattr(cause, "strerror", "")
                    or "no details"
                )
    return _NOT_HTTP, ""


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, without requests' own, which are all OSErrors, and without those of earlier calls."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, ApiError | ApiRefused):
        if not isinstance(cause, RequestException):
            yield cause
        cause = cause.__cause__ or cause.__context__
