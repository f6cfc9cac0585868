"""A Content-Security-Policy for every page, and static files through WhiteNoise.

The policy lets nothing but our own files run, load or frame, and pages connect to us and to the
hosted relay, where there is one. Static files are sent in blocks also
under ASGI, which WhiteNoise does not do by itself.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


def policy() -> str:
    relay = f" {settings.RELAY.socket}" if settings.RELAY else ""
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "font-src 'self'",
            f"connect-src 'self'{relay}",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        ]
    )


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Add the policy to each response that has none of its own."""
    content = policy()

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", content)
        return response

    return middleware


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # its base is untyped
    """Serve static files, in blocks also under ASGI."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> Any:
        response = WhiteNoiseMiddleware.serve(static_file, request)
        if isinstance(request, ASGIRequest):
            # Django would read the whole file at once, and warn that it does.
            response.streaming_content = in_blocks(response.streaming_content)
        return response


async def in_blocks(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in content:
        yield block
