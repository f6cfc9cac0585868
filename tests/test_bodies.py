"""Limits of a request's body, before Django reads it."""

import asyncio
import json
from contextlib import suppress

import pytest

from iotapp import bodies

HEADERS = [(b"host", b"example.org")]


def asked(messages, *headers, path="/"):
    """Hand these messages to the application; after them nothing comes. Return what it saw and
    sent."""
    seen, sent, left = [], [], list(messages)

    async def receive():
        if left:
            return left.pop(0)
        return await asyncio.Future()

    async def send(message):
        sent.append(message)

    async def pages(scope, receive, send):
        seen.append(await receive())

    scope = {"type": "http", "path": path, "headers": [*HEADERS, *headers]}
    asyncio.run(bodies.bounded(pages)(scope, receive, send))
    return seen, sent


def piece(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_arrives_whole():
    seen, sent = asked([piece(b"one "), piece(b""), piece(b"two", more=False)])
    assert seen == [piece(b"one two", more=False)]
    assert not sent


def test_as_large_as_the_limit_is_not_too_large():
    [message], sent = asked([piece(b"x" * bodies.LARGEST_BODY, more=False)])
    assert len(message["body"]) == bodies.LARGEST_BODY
    assert not sent


@pytest.mark.parametrize(
    ("messages", "headers"),
    [
        ([piece(b"x" * bodies.LARGEST_BODY), piece(b"x")], []),
        ([], [(b"content-length", b"314572800")]),
        ([piece(b"x" * 600_000), piece(b"x" * 600_000)], [(b"content-length", b"10")]),
    ],
    ids=["counted", "stated", "stated wrongly"],
)
def test_a_body_that_is_too_large_is_answered_413_and_reaches_no_page(messages, headers):
    seen, sent = asked(messages, *headers)
    assert not seen
    assert sent[0]["status"] == 413
    assert sent[1]["body"] == b"The body is larger than 1,048,576 bytes.\n"


def test_a_cancellation_that_is_lost_ends_a_body_that_drips(monkeypatch):
    """As asyncio.wait_for of Python 3.11 loses it, in gunicorn, when a piece comes just then."""
    monkeypatch.setattr(bodies, "LONGEST_SECONDS", 0.05)
    seen, sent, given = [], [], []

    async def receive():
        given.append("x")
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        return piece(b"x", more=len(given) < 3)

    async def send(message):
        sent.append(message)

    async def pages(scope, receive, send):
        seen.append(await receive())

    scope = {"type": "http", "path": "/", "headers": HEADERS}
    asyncio.run(bodies.bounded(pages)(scope, receive, send))
    assert given == ["x"]
    assert not seen
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("messages", [[], [piece(b"x")]], ids=["nothing", "a beginning"])
def test_a_body_that_stalls_is_answered_408(messages, monkeypatch):
    monkeypatch.setattr(bodies, "LONGEST_SECONDS", 0.05)
    seen, sent = asked(messages)
    assert not seen
    assert sent[0]["status"] == 408


def test_a_client_that_goes_away_gets_no_answer():
    assert asked([piece(b"x"), {"type": "http.disconnect"}]) == ([], [])


def test_after_the_body_the_page_hears_of_the_end():
    gone = {"type": "http.disconnect"}
    heard = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        heard.append(message)

    async def pages(scope, receive, send):
        heard.extend([await receive(), await receive()])

    messages = [piece(b"x", more=False), gone]
    asyncio.run(bodies.bounded(pages)({"type": "http", "headers": HEADERS}, receive, send))
    assert heard == [piece(b"x", more=False), gone]


def test_the_api_says_so_in_a_problem():
    _, (start, body) = asked([], (b"content-length", b"314572800"), path="/api/v1/commands/")
    assert (start["status"], dict(start["headers"])[b"content-type"]) == (
        413,
        b"application/problem+json",
    )
    assert json.loads(body["body"])["status"] == 413
