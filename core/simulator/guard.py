"""Digest authentication as a Shelly does it: RFC 7616 with SHA-256, qop auth, the only user admin,
the realm its id."""

import hashlib
import hmac
import secrets
import time
from urllib.request import parse_http_list, parse_keqv_list

NONCE_SECONDS = 3600


class Guard:
    """Knows a nonce of its own by a signature, so that it keeps no list. Replays within the hour
    are let through."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._secret = secrets.token_bytes(16)

    def challenge(self, realm: str) -> str:
        """The value of WWW-Authenticate."""
        issued = f"{int(time.time()):x}"
        nonce = f"{issued}{self._sign(issued)}"
        return f'Digest qop="auth", realm="{realm}", nonce="{nonce}", algorithm=SHA-256'

    def admits(self, authorization: str, method: str, target: str, realm: str) -> bool:
        """Whether this header is a right answer to a challenge of the last hour, for this very
        request."""
        scheme, _, rest = authorization.partition(" ")
        if scheme.lower() != "digest":
            return False
        fields = parse_keqv_list([item for item in parse_http_list(rest) if "=" in item])
        nonce = fields.get("nonce", "")
        issued, signature = nonce[:-32], nonce[-32:]
        if not _same(signature, self._sign(issued)):
            return False
        if time.time() - int(issued, 16) > NONCE_SECONDS:
            return False
        ha1, ha2 = _sha256(f"admin:{realm}:{self.password}"), _sha256(f"{method}:{target}")
        parts = (nonce, fields.get("nc", ""), fields.get("cnonce", ""), fields.get("qop", ""))
        expected = _sha256(":".join((ha1, *parts, ha2)))
        return fields.get("uri") == target and _same(fields.get("response", ""), expected)

    def frame_challenge(self, realm: str) -> dict[str, object]:
        """What the message of an error 401 holds for a frame."""
        issued = f"{int(time.time()):x}"
        nonce = f"{issued}{self._sign(issued)}"
        return {
            "auth_type": "digest",
            "nonce": nonce,
            "nc": 1,
            "realm": realm,
            "algorithm": "SHA-256",
        }

    def admits_frame(self, auth: object, realm: str) -> bool:
        """Whether the `auth` of a frame is a right answer to a challenge of the last hour."""
        if not isinstance(auth, dict):
            return False
        nonce = str(auth.get("nonce", ""))
        issued, signature = nonce[:-32], nonce[-32:]
        if not _same(signature, self._sign(issued)):
            return False
        ha1, ha2 = _sha256(f"admin:{realm}:{self.password}"), _sha256("dummy_method:dummy_uri")
        parts = (nonce, str(auth.get("nc", 1)), str(auth.get("cnonce", "")), "auth")
        expected = _sha256(":".join((ha1, *parts, ha2)))
        is_young = time.time() - int(issued, 16) <= NONCE_SECONDS
        return is_young and _same(str(auth.get("response", "")), expected)

    def _sign(self, issued: str) -> str:
        return hmac.new(self._secret, issued.encode(), hashlib.sha256).hexdigest()[:32]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
