"""Events over HTTP: in pages, waited for, and as a stream, from a real server."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Timer

import pytest
import requests
from django.db import connection

from core.live.streams import LET_GO_SECONDS
from core.models import Event, Token, User
from core.models.access import Membership, Role
from core.models.token import digest_of, new_text
from core.tasks.events.outbox import publishing
from core.tasks.orders import holds
from tests.core.api.test_skeleton import expect_problem
from tests.core.live.changes import write_events
from tests.core.tasks.homes import make_device, make_gateway

PATH = "/api/v1/events/"
STREAM = "text/event-stream"
LONGEST = 25
"""Seconds that a poll may wait."""


def ids(response):
    return [event["id"] for event in response.json()["results"]]


def stored():
    return list(Event.objects.order_by("pk").values_list("pk", flat=True))


def change(device):
    holds.hold(device.pk, None, "held by anna")


def give_readings(device):
    with publishing() as outbox:
        outbox.readings(device.pk, device.gateway_id, {"at": 1.0, "values": {}})


# In pages


@pytest.mark.django_db
def test_a_reader_begins_now_and_goes_on_from_there(viewer, device):
    begin = viewer.get("/events/").json()
    assert begin["results"] == []
    change(device)
    change(device)
    page = viewer.get("/events/", after=begin["last"], limit=1).json()
    [event] = page["results"]
    assert (event["kind"], event["device"]) == ("device", device.pk)
    assert event["body"]["hold"]["reason"] == "held by anna"
    more = viewer.get("/events/", after=page["last"]).json()
    assert len(more["results"]) == 1
    assert viewer.get("/events/", after=more["last"]).json() == {
        "results": [],
        "last": more["last"],
    }


@pytest.mark.django_db
def test_what_nobody_may_see_is_passed_over_for_good(limited, device, other):
    begin = limited.get("/events/").json()["last"]
    for _ in range(5):
        change(other)
    page = limited.get("/events/", after=begin).json()
    assert page == {"results": [], "last": stored()[-1]}
    change(device)
    assert [one["device"] for one in limited.get("/events/", after=begin).json()["results"]] == [
        device.pk
    ]


@pytest.mark.django_db
def test_readers_without_a_log_in_get_the_anonymous_ones(anonymous, device):
    begin = anonymous.get("/events/").json()["last"]
    change(device)
    response = anonymous.get("/events/", after=begin)
    assert len(ids(response)) == 1
    assert b"anna" not in response.content


@pytest.mark.django_db
def test_events_of_one_device_of_a_gateway_or_without_readings(viewer, device, other):
    begin = viewer.get("/events/").json()["last"]
    change(device)
    change(other)
    give_readings(device)
    held, held_other, readings = stored()[-3:]
    assert ids(viewer.get("/events/", after=begin, device=device.pk)) == [held, readings]
    assert ids(viewer.get("/events/", after=begin, gateway=other.gateway_id)) == [held_other]
    assert ids(viewer.get("/events/", after=begin, readings="false")) == [held, held_other]
    expect_problem(viewer.get("/events/", device=1, gateway=2), 422)


@pytest.mark.django_db
def test_what_is_not_kept_any_more_is_gone(viewer, device):
    for _ in range(3):
        change(device)
    first, *_, last = stored()
    Event.objects.filter(pk__lt=last).delete()
    expect_problem(viewer.get("/events/", after=first), 410)
    expect_problem(viewer.get("/events/", after=last + 1000), 410)
    assert viewer.get("/events/", after=last - 1).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("after", ["-1", "x", "9" * 30, "1.5", ""])
def test_a_number_that_is_none_is_refused(viewer, after):
    expect_problem(viewer.get("/events/", after=after), 400)


@pytest.mark.django_db
def test_a_server_without_asgi_says_that_it_cannot_stream(viewer):
    body = expect_problem(viewer.get("/events/", headers={"Accept": STREAM}), 503)
    assert "ASGI" in body["detail"]


# From a real server


@pytest.fixture
def web(started, database_url):
    return started(database_url, SOCKET_HEARTBEAT_SECONDS="0.5", SOCKETS_A_PROCESS="8")


@pytest.fixture
def lamp(transactional_db):
    return make_device(make_gateway())


def token(role=Role.VIEWER, name="anna", **fields):
    user = User.objects.create(username=name)
    Membership.objects.create(user=user, role=role)
    text = new_text()
    made = Token.objects.create(
        user=user, name="a program", digest=digest_of(text), rights=["read"], **fields
    )
    return made, {"Authorization": f"Bearer {text}"}


class Followed:
    """The blocks of a stream, each as a dict of its fields."""

    def __init__(self, response):
        self._lines = response.iter_lines(chunk_size=1)

    def block(self):
        found = {}
        for line in self._lines:
            if not line:
                return found
            name, _, value = line.decode().partition(":")
            found[name] = value.strip()
        raise EOFError

    def event(self):
        """The next block that has data: pings and the beginning are passed by."""
        while "data" not in (block := self.block()):
            pass
        return int(block["id"]), block.get("event"), json.loads(block["data"])


@contextmanager
def follow(web, headers=None, **parameters):
    headers = {"Accept": STREAM, **(headers or {})}
    with requests.get(
        web.site + PATH, headers=headers, params=parameters, stream=True, timeout=60
    ) as response:
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield Followed(response)


def test_a_stream_tells_each_event_as_it_happens(web, lamp):
    with follow(web, token()[1]) as stream:
        assert stream.block().keys() == {"retry", "id"}
        for _ in range(3):
            change(lamp)
            id, kind, event = stream.event()
            assert (id, kind) == (event["id"], None)
            assert event["body"]["hold"]["reason"] == "held by anna"


def test_a_stream_goes_on_after_the_last_event(web, lamp):
    for _ in range(3):
        change(lamp)
    *_, second, third = stored()
    with follow(web, {"Last-Event-ID": str(second)}) as stream:
        assert stream.event()[0] == third
    with follow(web, after=second) as stream:
        assert stream.event()[0] == third


def test_a_gap_older_than_the_log_is_told_and_the_stream_goes_on(web, lamp):
    with follow(web, {"Last-Event-ID": str(2**62)}) as stream:
        id, kind, body = stream.event()
        assert (kind, body) == ("over", {"reason": "that event is newer than the newest"})
        change(lamp)
        assert stream.event()[0] == stored()[-1] > id


def test_a_heartbeat_moves_on_what_a_client_resumes_from(web, lamp):
    other = make_device(make_gateway("Other", "http://127.0.0.1:2"), "other")
    with follow(web, device=other.pk) as stream:
        stream.block()
        change(lamp)
        last, until = stored()[-1], time.monotonic() + 60
        while stream.block().get("id") != str(last):
            assert time.monotonic() < until


def test_without_a_log_in_a_stream_is_anonymous(web, lamp):
    with follow(web) as stream:
        stream.block()
        change(lamp)
        assert "anna" not in str(stream.event())


def test_a_stream_of_a_token_for_one_device_tells_of_no_other(web, lamp):
    made, headers = token(all_devices=False)
    made.devices.add(lamp)
    other = make_device(lamp.gateway, "other")
    with follow(web, headers) as stream:
        stream.block()
        change(other)
        change(lamp)
        assert stream.event()[2]["device"] == lamp.pk


def test_a_stream_ends_when_its_token_is_revoked(web, lamp):
    made, headers = token()
    with follow(web, headers) as stream:
        stream.block()
        Token.objects.update(revoked_at="2026-01-01T00:00:00Z")
        until = time.monotonic() + 60
        with pytest.raises((EOFError, requests.exceptions.ChunkedEncodingError)):
            while time.monotonic() < until:
                stream.block()


def test_places_are_few_and_given_back(web, lamp):
    with follow(web), follow(web), follow(web):
        expect_refused(ask_for_stream(web))
    until = time.monotonic() + 60
    while (answer := ask_for_stream(web)).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    answer.close()


def expect_refused(response):
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "5"


def test_a_poll_waits_for_the_next_event(web, lamp):
    begin = requests.get(web.site + PATH, timeout=60).json()["last"]
    timer = Timer(0.5, lambda: (change(lamp), connection.close()))
    began = time.monotonic()
    timer.start()
    page = requests.get(web.site + PATH, params={"after": begin, "wait": LONGEST}, timeout=60)
    took = time.monotonic() - began
    timer.join()
    page = page.json()
    assert [event["kind"] for event in page["results"]] == ["device"]
    assert page["last"] == page["results"][-1]["id"]
    assert 0.5 < took < LONGEST


def test_a_poll_ends_without_an_event_when_its_time_is_over(web, lamp):
    begin = requests.get(web.site + PATH, timeout=60).json()["last"]
    began = time.monotonic()
    answer = requests.get(web.site + PATH, params={"after": begin, "wait": 1}, timeout=60)
    assert answer.json() == {"results": [], "last": begin}
    assert time.monotonic() - began > 0.9


def test_a_poll_holds_no_thread_and_no_connection(web, lamp):
    """Four may wait without a log-in, and others are answered at once."""
    begin = requests.get(web.site + PATH, timeout=60).json()["last"]
    parameters = {"after": begin, "wait": LONGEST}
    with ThreadPoolExecutor(12) as pool:
        polls = [
            pool.submit(requests.get, web.site + PATH, params=parameters, timeout=60)
            for _ in range(12)
        ]
        try:
            time.sleep(0.2)
            assert requests.get(f"{web.site}/api/v1/devices/", timeout=60).status_code == 200
            assert not all(poll.done() for poll in polls)
        finally:
            change(lamp)
        assert all(poll.result().status_code == 200 for poll in polls)


def test_who_reads_nothing_loses_the_stream_and_its_place(web, lamp):
    log_before = len(web.log())
    deaf = []
    for _ in range(3):
        client = socket.create_connection(("127.0.0.1", web.port))
        client.sendall(
            f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: {STREAM}\r\n\r\n".encode()
        )
        assert client.recv(12) == b"HTTP/1.1 200"
        deaf.append(client)
    for _ in range(6):
        write_events(500, text="x" * 2000)
    until = time.monotonic() + 60
    while (answer := ask_for_stream(web)).status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.2)
    answer.close()
    time.sleep(LET_GO_SECONDS + 0.5)
    for client in deaf:
        received = 0
        with client, suppress(ConnectionResetError):
            client.settimeout(60)
            while piece := client.recv(65536):
                received += len(piece)
        assert received < 1_000_000
    assert "Traceback" not in web.log()[log_before:]


def ask_for_stream(web):
    return requests.get(web.site + PATH, headers={"Accept": STREAM}, stream=True, timeout=60)
