"""Answers that are sent as they are made."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

from core.models.connections import release_connection

PIECE = 256 * 1024
"""Characters that are sent at once, at least."""


def streamed(
    request: HttpRequest, pieces: Iterator[str], content_type: str, filename: str
) -> StreamingHttpResponse:
    """Answer with pieces that are made one by one, as the client takes them."""
    given_back = _giving_back(_joined(pieces))
    # Of a plain iterator, Django would collect everything before the first byte is sent.
    content = _in_thread(given_back) if isinstance(request, ASGIRequest) else given_back
    response = StreamingHttpResponse(content, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _joined(pieces: Iterator[str]) -> Iterator[str]:
    """Join small pieces: of attributes with few values each, many are sent at once."""
    waiting, size = list[str](), 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield "".join(waiting)
            waiting, size = [], 0
    yield "".join(waiting)


def _giving_back(pieces: Iterator[str]) -> Iterator[str]:
    """Give the connection back to the pool before each piece is sent: that may take long."""
    for piece in pieces:
        release_connection()
        yield piece


async def _in_thread(pieces: Iterator[str]) -> AsyncIterator[str]:
    following: Any = sync_to_async(next)
    while (piece := await following(pieces, None)) is not None:
        yield piece
