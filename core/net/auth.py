"""How a call proves who we are: basic, bearer, digest, a key in the query.

What is secret stays out of `repr`.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

from requests import PreparedRequest
from requests.auth import AuthBase

LONGEST_CHALLENGE = 4096
"""Characters of a WWW-Authenticate header. Real ones have some hundred."""
# A name begins where no name goes on, and what was matched is never given back (++, *+): else the
# time grows with the square of the length.
_PARAMETER = re.compile(r"""(?<![\w-])([\w-]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s,"]++))""")


class Credentials(AuthBase):
    """Add to each request what proves who we are. `secrets` are kept out of error messages."""

    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def answer(self, challenge: str) -> bool:
        """Take a WWW-Authenticate header and return whether the call is worth sending again."""
        return False


class Fixed(Credentials):
    """Send the same Authorization header with every call."""

    def __init__(self, header: str, *also_secret: str) -> None:
        self.header = header
        self.secrets = (header.partition(" ")[2], *also_secret)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = self.header
        return request


class InQuery(Credentials):
    """Send the same parameter in the query of every call.

    For vendors that take their key nowhere else.
    """

    def __init__(self, name: str, key: str) -> None:
        self.query = urlencode({name: key})
        self.secrets = (key,)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        separator = "&" if "?" in str(request.url) else "?"
        request.url = f"{request.url}{separator}{self.query}"
        return request


class Digest(Credentials):
    """Answer a digest challenge (RFC 7616) with MD5, SHA-256 or SHA-512-256.

    A nonce serves until the other side refuses it. The strongest algorithm offered is taken.
    `qop=auth-int`, which covers the body, is not spoken. Shelly Gen2 asks for SHA-256, counts
    strictly, and has nonces that end in `==`.

    This is not requests' HTTPDigestAuth, because of what it does with challenges:
    - of several, or of one beside a Basic one, it mixes the parameters; so the weakest may win
    - one without a realm or nonce is a KeyError
    - for an algorithm or a qop that it cannot speak, it sends the call again without an answer
    - quotes and backslashes in a realm are sent back unescaped, an empty opaque is not sent back
    - it reads all of the 401's body, however large, and sends the second call outside our limits
    """

    HASHES: dict[str, Callable[[bytes], Any]] = {
        "SHA-512-256": partial(hashlib.new, "sha512_256"),
        "SHA-256": hashlib.sha256,
        "MD5": partial(hashlib.md5, usedforsecurity=False),
    }

    def __init__(self, user: str, password: str) -> None:
        self.user = user
        self.secrets = (password,)
        self.challenge: dict[str, str] = {}
        self.count = 0

    def answer(self, challenge: str) -> bool:
        offers: list[dict[str, str]] = []
        # Parts of it have to be sent back, and a device may send anything.
        is_sane = len(challenge) <= LONGEST_CHALLENGE
        if is_sane and challenge.isascii() and challenge.isprintable():
            # Challenges arrive joined with commas: Digest realm="a", algorithm=SHA-256, Digest
            # realm=...
            digests = re.split(r"(?i)(?:^|,)\s*+digest\s+", challenge)[1:]
            offers = [offer for offer in map(_parameters, digests) if self._is_spoken(offer)]
        self.challenge = min(offers, key=self._rank, default={})
        self.count = 0
        return bool(self.challenge)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if self.challenge:
            request.headers["Authorization"] = self._header(str(request.method), request.path_url)
        return request

    def _is_spoken(self, offer: dict[str, str]) -> bool:
        qop = [word.strip() for word in offer.get("qop", "auth").lower().split(",")]
        if not {"realm", "nonce"} <= offer.keys():
            return False
        return self._algorithm(offer) in self.HASHES and "auth" in qop

    def _rank(self, offer: dict[str, str]) -> int:
        return list(self.HASHES).index(self._algorithm(offer))

    def _algorithm(self, offer: dict[str, str]) -> str:
        return offer.get("algorithm", "MD5").upper().removesuffix("-SESS")

    def _header(self, method: str, uri: str) -> str:
        challenge, realm, nonce = self.challenge, self.challenge["realm"], self.challenge["nonce"]
        make_hash = self.HASHES[self._algorithm(challenge)]
        self.count += 1
        count, our_nonce = f"{self.count:08x}", token_hex(8)

        def hashed(*parts: str) -> str:
            return str(make_hash(":".join(parts).encode()).hexdigest())

        secret = hashed(self.user, realm, *self.secrets)
        if challenge.get("algorithm", "").upper().endswith("-SESS"):
            secret = hashed(secret, nonce, our_nonce)
        between = (count, our_nonce, "auth") if challenge.get("qop") else ()
        quoted = {"username": self.user, "realm": realm, "nonce": nonce, "uri": uri}
        quoted["response"] = hashed(secret, nonce, *between, hashed(method, uri))
        plain = {}
        if "opaque" in challenge:
            quoted["opaque"] = challenge["opaque"]
        if "algorithm" in challenge:
            plain["algorithm"] = challenge["algorithm"]
        if challenge.get("qop"):
            quoted["cnonce"] = our_nonce
            plain |= {"qop": "auth", "nc": count}
        # `qop`, `nc` and `algorithm` stand without quotes (RFC 7616, section 3.4): strict devices
        # refuse others.
        fields = [f'{name}="{_escaped(value)}"' for name, value in quoted.items()]
        fields += [f"{name}={value}" for name, value in plain.items()]
        return "Digest " + ", ".join(fields)


def _parameters(text: str) -> dict[str, str]:
    """Read `name=value` and `name="quoted value"`, by names in lower case."""
    found = _PARAMETER.findall(text)
    return {name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in found}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def basic(user: str, password: str) -> AuthBase:
    token = b64encode(f"{user}:{password}".encode()).decode()
    return Fixed(f"Basic {token}", password)


def bearer(token: str) -> AuthBase:
    return Fixed(f"Bearer {token.strip()}")


def digest(user: str, password: str) -> AuthBase:
    return Digest(user, password)


def in_query(name: str, key: str) -> AuthBase:
    return InQuery(name, key)
