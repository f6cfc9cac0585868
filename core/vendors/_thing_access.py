"""How a thing of the Web of Things is told who we are, by what its description wants."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from requests.auth import AuthBase

from core.net.errors import ApiRefused
from core.net.http import basic, bearer, digest, in_query
from core.vendors._thing_description import words

_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")
# A description must not set what every call sets for itself.
_TAKEN = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
}


@dataclass(frozen=True, slots=True)
class Access:
    """What goes along with every call. `auth` None: what its description was fetched with."""

    auth: AuthBase | None = None
    headers: dict[str, str] = field(default_factory=dict)


def access(description: dict[str, Any], credential: str) -> Access:
    """Find the way that the description wants. Raises ApiRefused if it is none of ours."""
    definitions = description.get("securityDefinitions")
    definitions = definitions if isinstance(definitions, dict) else {}
    found = Access()
    for name in words(description.get("security")):
        scheme = definitions.get(name)
        if isinstance(scheme, dict) and scheme.get("scheme") != "nosec":
            way = _way(scheme, credential)
            found = Access(way.auth or found.auth, found.headers | way.headers)
    return found


def _way(scheme: dict[str, Any], credential: str) -> Access:
    word = scheme.get("scheme")
    ways: dict[str, Callable[[], Access]] = {
        "basic": lambda: Access(basic(*pair(credential))),
        "digest": lambda: Access(digest(*pair(credential))),
        "bearer": lambda: Access(bearer(credential)),
        "oauth2": lambda: Access(bearer(_token(credential))),
        "apikey": lambda: _key(scheme, credential),
    }
    if not isinstance(word, str) or word not in ways:
        raise ApiRefused(f"The thing wants {word!r:.40}, which is not spoken here.", status=401)
    if not credential:
        wanted = "an access token (oauth2)" if word == "oauth2" else f"a credential ({word})"
        raise ApiRefused(f"The thing wants {wanted}.", status=401)
    return ways[word]()


def _token(credential: str) -> str:
    """Return the access token, which a person had the thing's own pages give."""
    if ":" in credential:
        raise ApiRefused("The thing wants an access token (oauth2), no password.", status=401)
    return credential


def _key(scheme: dict[str, Any], credential: str) -> Access:
    name, where = scheme.get("name"), scheme.get("in", "query")
    is_name = isinstance(name, str) and _HEADER.fullmatch(name.replace("_", "-"))
    if not isinstance(name, str) or not is_name or name.lower() in _TAKEN:
        raise ApiRefused("The thing does not say under which name it wants its key.")
    if where == "header":
        return Access(headers={name: credential})
    if where == "query":
        return Access(in_query(name, credential))
    raise ApiRefused(f"The thing wants its key in {where!r:.40}: not spoken here.")


def pair(credential: str) -> tuple[str, str]:
    user, colon, password = credential.partition(":")
    if not colon:
        raise ApiRefused("The thing wants a credential written user:password.", status=401)
    return user, password
