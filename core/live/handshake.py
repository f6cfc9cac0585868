"""Whether a socket may be opened at all: on its own address, from one of our own pages, by somebody who may read."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain


def request_of(scope: dict[str, Any]) -> ASGIRequest:
    """The handshake as Django knows requests: host, scheme and cookies are read as for pages."""
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    return ASGIRequest({**scope, "type": "http", "method": "GET", "scheme": scheme}, None)  # type: ignore[arg-type]  # no body is read


def is_from_here(request: ASGIRequest) -> bool:
    """By the same rule as Django's protection of forms: our own address, or one of CSRF_TRUSTED_ORIGINS. A page of a
    neighbour whose name ALLOWED_HOSTS happens to match, such as another .herokuapp.com, is a stranger."""
    origin = request.headers.get("Origin", "")
    try:
        own = f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return False
    return origin == own or any(
        _matches(origin, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS
    )


def _matches(origin: str, trusted: str) -> bool:
    if "*" not in trusted:
        return origin == trusted
    try:
        told, known = urlsplit(origin), urlsplit(trusted)
    except ValueError:
        return False
    return told.scheme == known.scheme and is_same_domain(told.netloc, known.netloc.lstrip("*"))


def session_key(request: ASGIRequest) -> str:
    return request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
