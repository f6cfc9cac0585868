"""Checks whether a socket may be opened: on our own address and from one of our own pages."""

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain

from core.net.addresses import client_address


def request_of(scope: dict[str, Any]) -> ASGIRequest:
    """The handshake as Django knows requests: host, scheme and cookies are read as for pages."""
    scheme = "https" if scope.get("scheme") == "wss" else "http"
    http_scope = {**scope, "type": "http", "method": "GET", "scheme": scheme}
    return ASGIRequest(http_scope, BytesIO())


def is_from_here(request: ASGIRequest) -> bool:
    """Return whether the Origin is our own address or one of CSRF_TRUSTED_ORIGINS.

    This is the rule of Django's CSRF protection. ALLOWED_HOSTS is not enough: it may match the page
    of a neighbour, such as another .herokuapp.com.
    """
    # Every browser sends an Origin when it opens a socket; without one it is refused.
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
        given, pattern = urlsplit(origin), urlsplit(trusted)
    except ValueError:
        return False
    # "*.example.org" becomes ".example.org", which also matches example.org itself.
    is_same_scheme = given.scheme == pattern.scheme
    return is_same_scheme and is_same_domain(given.netloc, pattern.netloc.lstrip("*"))


def session_key(request: ASGIRequest) -> str:
    return request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")


def address_of(request: ASGIRequest) -> str:
    """Return where the socket comes from: what counts as one client."""
    is_trusted = settings.SECURE_PROXY_SSL_HEADER is not None
    forwarded = request.headers.get("X-Forwarded-For") if is_trusted else None
    return client_address(str(request.META.get("REMOTE_ADDR", "")), forwarded)
