"""What may be said over a socket, from where, and how often: without a socket."""

import pytest

from core.live import actions, handshake, protocol, sessions
from core.live.actions import Refused
from core.live.protocol import TokenBucket
from core.models import Role
from core.tasks.events.outbox import publishing
from tests.core.live.changes import log_in
from tests.core.tasks.homes import make_device, make_gateway

SAYS = {
    "subscribe": protocol.parse_topics,
    "unsubscribe": protocol.parse_topics,
    "resume": protocol.parse_after,
}


def understood(text):
    message, ref = protocol.parse_message(text)
    verb, body = protocol.parse_request(message)
    return SAYS[verb](body) if verb in SAYS else verb


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "no JSON"),
        ('{"pong": NaN}', "no JSON"),
        ("[]", "an object"),
        ("{}", "one of subscribe"),
        ('{"pong": {}, "snapshot": {}}', "one of subscribe"),
        ('{"pong": 1}', "one of subscribe"),
        ('{"shout": {}}', "one of subscribe"),
        ('{"subscribe": {}}', "to must be"),
        ('{"subscribe": {"to": {"device": true}}}', "device must be a whole number"),
        ('{"subscribe": {"to": {"device": [3, "4"]}}}', "device must be a whole number"),
        ('{"subscribe": {"to": {"house": 1}}}', "to must be"),
        ('{"resume": {"after": -1}}', "number of an event"),
        ('{"resume": {"after": true}}', "number of an event"),
        ('{"pong": {}, "ref": 1.5}', "ref must be"),
    ],
)
def test_nonsense_is_answered_with_a_sentence(text, error):
    with pytest.raises(Refused, match=error):
        understood(text)


def test_topics_and_references_are_read():
    assert understood('{"subscribe": {"to": "all"}}') == {("all", 0)}
    assert understood('{"subscribe": {"to": {"device": [3, 4]}}}') == {("device", 3), ("device", 4)}
    assert understood('{"unsubscribe": {"to": {"gateway": 2}}}') == {("gateway", 2)}
    assert protocol.parse_message('{"pong": {}, "ref": 7}') == ({"pong": {}}, 7)


def is_from_here(origin):
    headers = [
        (b"host", b"testserver"),
        *([(b"origin", origin.encode())] if origin is not None else []),
    ]
    scope = {
        "type": "websocket",
        "path": "/ws/events/",
        "scheme": "ws",
        "headers": headers,
        "query_string": b"",
    }
    return handshake.is_from_here(handshake.request_of(scope))


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "https://testserver",
        "http://evil.example",
        "http://testserver.evil.example",
    ],
)
def test_only_our_own_pages_open_sockets(origin):
    assert is_from_here("http://testserver")
    assert not is_from_here(origin)


def test_trusted_sites_do_too(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["https://home.example.org", "https://*.wild.example.org"]
    assert is_from_here("https://home.example.org") and is_from_here("https://a.wild.example.org")
    assert not (
        is_from_here("https://b.example.org")
        or is_from_here("http://a.wild.example.org")
        or is_from_here("https://[")
    )


def test_a_bucket_gives_so_many_at_once_and_then_so_many_a_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr("core.live.protocol.monotonic", lambda: now)
    bucket = TokenBucket(a_second=2, at_once=3)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 101.0
    assert [bucket.take() for _ in range(2)] == [True, False]
    assert not bucket.is_deep_in_debt
    assert not any(bucket.take() for _ in range(3)) and bucket.is_deep_in_debt


@pytest.mark.parametrize(
    ("verb", "body", "error"),
    [
        ("order", {"attribute": 999_999, "value": True}, "no such attribute"),
        ("order", {"attribute": "on", "value": True}, "attribute must be a whole number"),
        ("order", {"attribute": "POWER", "value": 1}, "can only be read"),
        ("order", {"attribute": "ON", "value": 7}, "neither true nor false"),
        ("hold", {"device": 999_999}, "no such device"),
        ("hold", {"device": 1, "minutes": 0}, "minutes must be a whole number"),
        ("hold", {"device": 1, "minutes": 10_081}, "minutes must be a week of them at most"),
        ("release", {}, "device must be a whole number"),
    ],
)
def test_an_action_that_cannot_be_is_refused_with_a_sentence(db, client, verb, body, error):
    key = log_in(client, Role.OPERATOR)
    with publishing():
        plug = make_device(make_gateway())
    names = {name.upper(): pk for name, pk in plug.attributes.values_list("name", "pk")}
    with pytest.raises(Refused, match=error):
        actions.ACTIONS[verb](
            sessions.admit(key), {name: names.get(value, value) for name, value in body.items()}
        )
