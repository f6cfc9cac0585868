"""Read the body of each request before Django does, within limits of size and time.

Django writes whatever comes to disk before any view or log-in check, and waits for it as long as
bytes drip in. Nothing here takes uploads: the largest form is a few kilobytes.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

LARGEST_BODY = 1024 * 1024
"""Bytes, counted as they arrive: a Content-Length may be missing or wrong."""
LONGEST_SECONDS = 10.0
"""For the whole body, however steadily it comes."""


class TooLarge(Exception):
    """Says that a body is larger than LARGEST_BODY."""


class Gone(Exception):
    """Says that the client went away before the end of its body."""


def bounded(pages: Application) -> Application:
    """Answer 413 to a body that is too large, and 408 to one that takes too long."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(LONGEST_SECONDS) as limit:
                body = await _read(scope, receive, limit)
        except TooLarge:
            await _answer(scope, send, 413, f"The body is larger than {LARGEST_BODY:,} bytes.")
        except TimeoutError:
            await _answer(scope, send, 408, f"The body took longer than {LONGEST_SECONDS:g} s.")
        except Gone:
            pass
        else:
            await pages(scope, _again(body, receive), send)

    return application


async def _read(scope: Message, receive: Receive, limit: asyncio.Timeout) -> bytes:
    """Return the whole body. Raises TooLarge, Gone, TimeoutError."""
    if _stated_length(scope) > LARGEST_BODY:
        raise TooLarge
    pieces, size = list[bytes](), 0
    while True:
        message = await receive()
        # gunicorn waits with asyncio.wait_for, which loses a cancellation on Python 3.11 when a
        # piece arrives in the same moment.
        if limit.expired():
            raise TimeoutError
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        if size > LARGEST_BODY:
            raise TooLarge
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _stated_length(scope: Message) -> int:
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    # What is no number the server has refused.
    return int(stated) if stated.isdigit() else 0


def _again(body: bytes, receive: Receive) -> Receive:
    """Make a `receive` that gives the body as one message, and then what else comes."""
    is_first = True

    async def from_the_start() -> Message:
        nonlocal is_first
        if not is_first:
            return await receive()
        is_first = False
        return {"type": "http.request", "body": body, "more_body": False}

    return from_the_start


async def _answer(scope: Message, send: Send, status: int, sentence: str) -> None:
    # The server closes the connection by itself: what is left of the body is no next request.
    content_type, body = b"text/plain; charset=utf-8", f"{sentence}\n"
    if scope["path"].startswith("/api/"):
        # As core/api/problems.py writes it, which needs Django set up.
        content_type = b"application/problem+json"
        title = HTTPStatus(status).phrase
        problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence}
        body = json.dumps(problem)
    headers = [(b"content-type", content_type)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
