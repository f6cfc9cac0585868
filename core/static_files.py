"""WhiteNoise, which knows no ASGI, under both kinds of server."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> Any:
        """Under ASGI Django would read the whole file at once, and warn that it does."""
        response = WhiteNoiseMiddleware.serve(static_file, request)
        if isinstance(request, ASGIRequest):
            response.streaming_content = in_blocks(response.streaming_content)
        return response


async def in_blocks(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in content:
        yield block
