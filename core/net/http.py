"""The only door to the network: bytes in and out over requests, strict JSON on top.

`core.net.transport` holds the deadline and checks addresses, `core.net.auth` proves who we are,
`core.net.failures` says what went wrong, `core.net.strict_json` what JSON may hold.

No timeout covers looking up a name (`getaddrinfo`), which takes as long as the system's resolver
likes: callers that must not wait make their calls in the daemon threads of `core.net.threads` and
give them up.
"""

import http.client
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from ipaddress import ip_address
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import HTTPError

from core.net import failures, strict_json, transport
from core.net.addresses import Network
from core.net.auth import Credentials, basic, bearer, digest, in_query
from core.net.errors import ApiError, ApiRefused

__all__ = ["Http", "basic", "bearer", "digest", "in_query", "origin"]

PORTS = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883}
"""What an address may begin with. Brokers are spoken to by core/net/mqtt.py."""
LONGEST_RETRY_AFTER = 86_400.0  # seconds: a vendor that asks for more is asked again after a day
PAUSES = (0.0, 0.2)
"""Seconds before the second and third try: the first failure often is a connection gone stale."""
LARGEST_ERROR_BODY = 4_096  # bytes read of an answer that is only quoted
CHUNK = 65_536
LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}

_IP_ADDRESS = object()
_IN_PATH = "/%:@!$&'()*+,;=~"
_PLAIN_HEADERS = {"Accept", "Accept-Encoding", "User-Agent", "Content-Type"}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")

# It logs addresses with their query at DEBUG and at WARNING, and a query may hold a key.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Http:
    """Call one gateway. All calls share one deadline, which begins with the first.

    It is used by one thread.

    - `address` is the base URL and may have a path. ApiRefused is raised if it is no good.
    - `credential` is the secret for the vendor client to use; `renew` stores a rotated one.
    - `networks` are the non-public networks that may be reached.
    - `max_bytes` is the largest answer, decompressed.
    - `pace` is called before every call and returns when it may be made: that wait is not counted.
    - `headers` go with every call, so does what `auth` adds.

    Every method raises ApiError and ApiRefused, and only these; no message holds the credential.
    2xx is returned; 408, 425, 429 and 5xx are ApiError; 401, 403 and other 4xx are ApiRefused. So
    is a redirect, whose target is named.
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
        self._connection = _connection_token(self.address)
        self._store = renew
        self._pace = pace
        self._ends_at: float | None = None
        self._date = ""

    @property
    def date(self) -> datetime | None:
        """The time by the clock of who answered last; None if the answer did not tell it."""
        return _http_date(self._date)

    def __repr__(self) -> str:
        return f"<Http {self.address}>"

    def get(self, path: str, params: dict[str, str | int] | None = None) -> Any:
        """Return the JSON answer to a GET.

        It is tried again once or twice if the connection breaks, within the deadline. See
        `strict_json.parse` for what is refused, and what is replaced. An empty answer is an
        ApiError.
        """
        return self._parsed(self.fetch("GET", path, params=params), path)

    def post(self, path: str, body: Any = None) -> Any:
        """Return the JSON answer to a POST of JSON, None if it is empty.

        It is never tried again: nobody knows whether it was done. So an ApiError without a status
        leaves the outcome unknown, for instance when the other side closes a kept connection in the
        moment of sending.
        """
        return self._sent("POST", path, body)

    def put(self, path: str, body: Any = None) -> Any:
        """Return the JSON answer to a PUT of JSON, as post() does."""
        return self._sent("PUT", path, body)

    def post_form(self, path: str, fields: Mapping[str, str | int]) -> Any:
        """Return the JSON answer to a POST of form fields, as post() does.

        OAuth's token addresses want these.
        """
        content = urlencode(fields).encode()
        form = "application/x-www-form-urlencoded"
        answer = self.fetch("POST", path, body=content, content_type=form)
        return self._parsed(answer, path) if answer else None

    def _sent(self, method: str, path: str, body: Any) -> Any:
        if body is None:
            answer = self.fetch(method, path)
        else:
            content = json.dumps(body, allow_nan=False).encode()
            answer = self.fetch(method, path, body=content, content_type="application/json")
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
        """Return the bytes of an answer, for vendors that speak something else than JSON.

        `path` is appended to the address; characters that a path cannot hold are quoted. A query
        goes into `params`: one in the path is a ValueError. Ids that come from outside are to be
        quoted by the caller.
        """
        if not self.address.startswith("http"):
            raise ApiRefused(f"{self.address} is no http or https address.")
        call = (method, path, params, body, content_type)
        response, content = self._exchange(self._prepared(*call))
        if response.status_code == 401 and isinstance(self.auth, Credentials):
            challenge = response.headers.get("WWW-Authenticate", "")
            answerable = self.auth.answer(challenge)
            if answerable:
                response, content = self._exchange(self._prepared(*call))
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
        """Prepare a request.

        `PreparedRequest.prepare` would parse the URL that is put together here: a quarter of a
        call's cost.
        """
        if "?" in path or "#" in path:
            raise ValueError(f"{path!r} holds a query: hand it over as params")
        request = PreparedRequest()
        request.method = method
        request.url = f"{self.address}/{quote(path.lstrip('/'), safe=_IN_PATH)}"
        if params:
            request.url += f"?{urlencode(params)}"
        request.headers = CaseInsensitiveDict(self.headers)
        if content_type:
            request.headers["Content-Type"] = content_type
        request.prepare_body(body, None)
        if self.auth:
            request = self.auth(request)
        if not _is_sendable("".join(map(str, request.headers.values()))):
            mistake = "holds characters that cannot be sent: enter it again"
            raise ApiRefused(f"The credential of {self.address} {mistake}.")
        return request

    def _exchange(self, request: PreparedRequest) -> tuple[Response, bytes]:
        """Make one call and, for a GET whose connection breaks, two more."""
        pauses = iter(PAUSES if request.method == "GET" else ())
        while True:
            ends_at = self._paced()
            try:
                response = transport.send(
                    request, client=self._connection, ends_at=ends_at, networks=self.networks
                )
                self._date = response.headers.get("Date", "")
                return response, self._read(response)
            except transport.AddressRefused as error:
                raise ApiRefused(f"{self.address}: {error}") from None
            except (RequestException, HTTPError, http.client.HTTPException, OSError) as error:
                failure, reason = failures.classify(error)
                pause = next(pauses, None)
                if not failure.again or pause is None or monotonic() + pause >= ends_at:
                    sentence = failure.sentence.format(seconds=self.timeout_seconds, reason=reason)
                    raise failure.raises(f"{self.address} {sentence}") from None
            sleep(pause)

    def _paced(self) -> float:
        """Wait until the next call may be made. Returns when it has to be over."""
        began = monotonic()
        if self._pace:
            self._pace()
        ends_at = began + self.timeout_seconds if self._ends_at is None else self._ends_at
        self._ends_at = ends_at + (monotonic() - began)
        return self._ends_at

    def _read(self, response: Response) -> bytes:
        """Read the decompressed body; of an answer that is an error anyway, the beginning."""
        is_error = response.status_code >= 300
        most = LARGEST_ERROR_BODY if is_error else self.max_bytes
        chunks, size = [], 0
        # `read1` decompresses no more than it was asked for: a bomb ends at the limit, not in
        # memory.
        while chunk := response.raw.read1(min(CHUNK, most + 1), decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                response.raw.close()
                if is_error:
                    return b"".join(chunks)
                message = f"{self.address} answered more than {most:,} bytes (LARGEST_ANSWER_MB)."
                raise ApiError(message, status=response.status_code)
        transport.keep_connection()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _parsed(self, content: bytes, path: str) -> Any:
        if not content:
            raise ApiError(f"{self._where(path)} answered nothing.")
        try:
            return strict_json.parse(content)
        except ValueError:
            message = f"{self._where(path)} answered something that is not JSON"
            raise ApiError(f"{message}: {self._excerpt(content)}") from None

    def _raise(self, response: Response, content: bytes, path: str) -> None:
        status, where = response.status_code, self._where(path)
        if 300 <= status < 400 and (target := response.headers.get("Location")):
            target = self._safe(re.split("[?#]", target)[0])[:200]
            message = f"{where} redirects to {target}: if that is right, enter it as the address."
            raise ApiRefused(message, status=status)
        quoted = f" {self._excerpt(content)}" if content else ""
        if status in (401, 403):
            what = "refused the credential" if status == 401 else "does not allow this"
            raise ApiRefused(f"{where} {what} ({status}).{quoted}", status=status)
        message = f"{where} answered {status} {_phrase(status)}.{quoted}"
        if status < 200 or status >= 500 or status in LATER:
            wait = _retry_after(response.headers.get("Retry-After", ""))
            raise ApiError(message, status=status, retry_after=wait)
        raise ApiRefused(message, status=status)

    def _where(self, path: str) -> str:
        return f"{self.address}/{self._safe(path.lstrip('/'))[:200]}"

    def _excerpt(self, content: bytes, length: int = 60) -> str:
        text = self._safe(content[:2_000].decode(errors="replace"))
        return f"“{text[:length]}…”" if len(text) > length else f"“{text}”"

    def _safe(self, text: str) -> str:
        """Make one printable line of it, without any secret."""
        printable = (character if character.isprintable() else " " for character in text)
        text = " ".join("".join(printable).split())
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> list[str]:
        """List what no message may hold, longest first.

        Credentials, their parts (a user name, a token within a header), and how each looks in a URL
        or in JSON.
        """
        secrets = [self.credential]
        secrets += [part for part in self.credential.split(":") if len(part) >= 6]
        secrets += [value for name, value in self.headers.items() if name not in _PLAIN_HEADERS]
        parts = [part for secret in secrets for part in re.split(r"[^\w.~+/-]+", secret)]
        secrets += [part for part in parts if len(part) >= 6]
        if isinstance(self.auth, Credentials):
            secrets += self.auth.secrets
        forms: set[str] = set()
        for secret in filter(str.strip, secrets):
            forms |= {secret, quote(secret), quote(secret, ""), quote_plus(secret)}
            forms.add(json.dumps(secret)[1:-1])
        return sorted(forms, key=len, reverse=True)


def _connection_token(address: str) -> object:
    """Return what clients that may share a connection have in common.

    An IP address always leads to the same place; a name may lead elsewhere for the next client.
    """
    try:
        ip_address(urlsplit(address).hostname or "")
    except ValueError:
        return object()
    return _IP_ADDRESS


def origin(address: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an address: a credential belongs to these.

    Raises ApiRefused if it is no address.
    """
    parts = urlsplit(_checked(address))
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]


def _checked(address: str) -> str:
    """Return the address without a trailing slash; ApiRefused says what an address looks like."""
    example = "An address looks like http://192.168.1.20 or https://example.org:8123/path"
    try:
        parts = urlsplit(address.strip())
        port, host = parts.port, _checked_host(parts.hostname or "")
    except ValueError:
        raise ApiRefused(f"This is no address. {example}.") from None
    if parts.scheme not in PORTS or not host or port == 0:
        raise ApiRefused(f"This is no http or https address. {example}.")
    if _is_octal(host):
        mistake = "a number that begins with 0, which some read as octal: leave out the 0"
        raise ApiRefused(f"The address holds {mistake}. {example}.")
    if "@" in parts.netloc:
        mistake = "a user name or password: enter these as the credential"
        raise ApiRefused(f"The address holds {mistake}. {example}.")
    if "?" in address or "#" in address:
        mistake = "a query or a fragment: leave out what follows ? or #"
        raise ApiRefused(f"The address holds {mistake}. {example}.")
    if port:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{quote(parts.path.rstrip('/'), safe=_IN_PATH)}"


def _checked_host(host: str) -> str:
    """Return the host as it goes into a URL; empty if it cannot. Raises ValueError."""
    if ":" in host:
        return "" if "%" in host else f"[{ip_address(host)}]"
    host = host.encode("idna").decode()
    return host if _HOST.fullmatch(host) else ""


def _is_octal(host: str) -> bool:
    """Return whether it is an IPv4 address of which a part means one thing here, another there.

    inet_aton reads 010 as 8, and 0000127.0.0.1 as 87.0.0.1; browsers and people differ.
    """
    parts = host.lower().rstrip(".").split(".")
    is_number = all(part.isdecimal() or part.startswith("0x") for part in parts)
    return is_number and any(part[0] == "0" and part[1:2].isdecimal() for part in parts)


def _is_sendable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "(whatever that is)"


def _http_date(header: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(header)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)


def _retry_after(header: str) -> float | None:
    """Return the seconds to wait, from a number or an HTTP date; None if there is neither."""
    if re.fullmatch(r"[0-9]{1,20}", header.strip()):
        seconds = float(header)
    elif date := _http_date(header):
        seconds = (date - datetime.now(UTC)).total_seconds()
    else:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
