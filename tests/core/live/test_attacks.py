"""What a client may try, and what a database may do, without harm to the others."""

import base64
import os
import socket
import sqlite3
import struct
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta

import psutil
import pytest
from django.db import OperationalError, connection

from core.live import consumer, follower, snapshots
from core.models import DeviceCommand, Event, Presence
from core.models.device_command import State
from core.net import threads
from core.simulator import Simulator
from core.tasks import gateways, presence
from core.tasks.events.outbox import publishing
from core.tasks.orders import send
from tests.core.live.changes import write_events
from tests.core.live.socket_client import AsgiServer
from tests.core.live.web_server import Web
from tests.core.tasks.homes import make_device, make_gateway

TEXT, CONTINUATION, PING = 1, 0, 9


@contextmanager
def serving(database_url, **environment):
    web = Web(database_url, **environment)
    try:
        web.start()
        yield web
    finally:
        web.end()


@pytest.fixture
def own_web(database_url):
    with serving(database_url, SOCKET_HEARTBEAT_SECONDS="20") as web:
        yield web


@pytest.fixture
def worker(own_web):
    return psutil.Process(own_web._process.pid).children()[0]


def frame(opcode, payload=b"", last=True):
    """Masked with zeros, which leaves the payload as it is."""
    return bytes([last << 7 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


def handshake(web):
    """A socket after its handshake; it takes in next to nothing by itself."""
    bare = socket.socket()
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    bare.settimeout(60)
    bare.connect(("127.0.0.1", web.port))
    lines = [
        "GET /ws/events/ HTTP/1.1",
        f"Host: 127.0.0.1:{web.port}",
        f"Origin: {web.site}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
    ]
    bare.sendall("\r\n".join([*lines, "", ""]).encode())
    assert bare.recv(12) == b"HTTP/1.1 101"
    return bare


def more_of(bare):
    """What comes next. EOFError if the server has closed: `recv` would say so for ever."""
    if piece := bare.recv(4096):
        return piece
    raise EOFError


def test_a_client_that_pings_and_never_reads_costs_little(own_web, worker):
    with own_web.open() as other:
        other.hear()
        before, files = worker.memory_info().rss, worker.num_fds()
        with handshake(own_web) as bare:
            flood, until = frame(PING, b"x" * 125) * 400, time.monotonic() + 60
            bare.settimeout(1)
            with pytest.raises(TimeoutError):  # it is not read either
                while time.monotonic() < until:
                    bare.sendall(flood)
            assert worker.memory_info().rss - before < 2 * 2**20
        until = time.monotonic() + 60
        while worker.num_fds() > files and time.monotonic() < until:
            time.sleep(0.1)
        assert worker.num_fds() <= files


def test_a_client_that_reads_gets_all_its_pongs(own_web):
    with handshake(own_web) as bare:
        heard = b""
        for number in range(20):
            bare.sendall(frame(PING, b"ping %02d" % number) * 50)
            while heard.count(b"ping %02d" % number) < 50:
                heard += more_of(bare)


def test_a_message_in_endless_fragments_is_the_end(own_web):
    with handshake(own_web) as bare:
        bare.sendall(frame(TEXT, b"[", last=False) + frame(CONTINUATION, last=False) * 200)
        heard = b""
        while b"Too many fragments" not in heard:
            heard += more_of(bare)
        assert struct.pack("!H", 1008) in heard


def test_a_handshake_that_is_never_finished_is_ended(database_url):
    with serving(database_url, GUNICORN_CMD_ARGS="--keep-alive 1") as web, socket.socket() as slow:
        slow.settimeout(60)
        slow.connect(("127.0.0.1", web.port))
        slow.sendall(b"GET /ws/events/ HTTP/1.1\r\nHost: 127")
        assert slow.recv(1) == b""


def test_a_cookie_that_no_database_takes_is_refused(server):
    assert server.open(cookie='"\\000bcdefghijklmnop"').closes() == 403


def test_who_resumes_from_before_what_was_pruned_is_told_so_also_by_a_process_that_just_began(
    transactional_db,
):
    keys = write_events(10)
    Event.objects.filter(pk__lt=keys[5]).delete()
    with AsgiServer() as server:
        assert "pruned" in server.open().begin(after=keys[1]).hear_of("over")["over"]["reason"]
        assert [event["id"] for event in server.open().begin(after=keys[5]).events(4)] == keys[6:]


def test_what_is_pruned_while_it_is_read_is_not_missed_in_silence(transactional_db):
    keys, queries = write_events(10), []

    def pruning(execute, *given):
        queries.append(given)
        if len(queries) == 2:
            Event.objects.filter(pk__lt=keys[5]).delete()
        return execute(*given)

    with connection.execute_wrapper(pruning):
        try:
            told = [told.id for told in follower._stored_after(keys[0])]
        except follower.StartOver:
            return
    assert told == keys[1:]


@pytest.fixture
def plug(transactional_db):
    with publishing():
        return make_device(make_gateway())


@pytest.fixture
def failing(monkeypatch):
    """A database that is away as often as a test says."""
    left = []
    move = presence.move

    def moving(entering, leaving):
        if left:
            left.pop()
            raise OperationalError("the server closed the connection unexpectedly")
        move(entering, leaving)

    monkeypatch.setattr(presence, "move", moving)
    return left


@contextmanager
def answering(socket):
    """Answers pings in a thread."""
    ended = threading.Event()

    def answer():
        while not ended.wait(0.1):
            socket.say(pong={})

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield socket
    finally:
        ended.set()
        thread.join()


def at_pages():
    return sorted(Presence.objects.values_list("device", "is_changing"))


def until_at(wanted):
    until = time.monotonic() + 60
    while at_pages() != wanted and time.monotonic() < until:
        time.sleep(0.02)
    return at_pages() == wanted


def test_who_went_to_another_page_while_the_database_was_away_is_there_afterwards(
    server, plug, anna, failing, settings
):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    with publishing():
        other = make_device(plug.gateway, vendor_id="another")
    with answering(server.open(anna).begin()) as socket:
        socket.say(here={"device": plug.pk})
        assert until_at([(plug.pk, False)])
        failing.append(1)
        socket.say(here={"device": other.pk, "changing": True})
        assert until_at([(other.pk, True)])


def test_who_left_while_the_database_was_away_is_gone_at_the_next_heartbeat(
    server, plug, anna, failing, settings
):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    with answering(server.open(anna).begin()), answering(server.open(anna).begin()) as leaving:
        leaving.say(here={"device": plug.pk})
        assert until_at([(plug.pk, False)])
        failing.append(1)
        leaving.say(away={})
        assert until_at([])


# One does not hold up the others


@pytest.fixture
def silent():
    """Addresses that take a connection and never answer."""
    with ExitStack() as stack:
        listening = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(8)]
        yield [f"http://127.0.0.1:{one.getsockname()[1]}" for one in listening]


def test_orders_to_gateways_that_hang_hold_up_no_other_order_and_no_page(
    server, anna, silent, monkeypatch, client
):
    """More of them than there are connections in the pool."""
    monkeypatch.setattr(threads, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(send, "WRITE_LASTS", timedelta(seconds=6))
    hung = [
        make_device(make_gateway(f"Hub {number}", address)) for number, address in enumerate(silent)
    ]
    with Simulator(devices=1) as simulator:
        works = gateways.add("shelly", simulator.address(0)).gateway.devices.get()
        ons = {device.pk: device.attributes.get(name="on").pk for device in (*hung, works)}
        asking, other = server.open(anna), server.open(anna).begin({"device": works.pk})
        for device in hung:
            asking.say(order={"attribute": ons[device.pk], "value": True})
        for _ in hung:
            asking.hear_of("ordered")
        time.sleep(0.5)
        other.say(order={"attribute": ons[works.pk], "value": True})
        states, until = [], time.monotonic() + 60
        while "accepted" not in states:
            assert time.monotonic() < until
            states += [
                event["body"]["state"] for event in other.events(1) if event["kind"] == "command"
            ]
        assert client.get("/").status_code == 200
        hung_on = DeviceCommand.objects.exclude(attribute=ons[works.pk])
        assert set(hung_on.values_list("state", flat=True)) <= {State.REQUESTED, State.SENDING}


def test_orders_of_one_socket_are_committed_in_the_order_in_which_they_came(
    server, anna, plug, monkeypatch
):
    is_first = threading.Event()
    order = consumer.ACTIONS["order"]

    def slow_at_first(*given):
        if not is_first.is_set():
            is_first.set()
            time.sleep(0.3)
        return order(*given)

    monkeypatch.setitem(consumer.ACTIONS, "order", slow_at_first)
    attribute = plug.attributes.get(name="on")
    anna = server.open(anna)
    for number, value in enumerate((True, False)):
        anna.say(order={"attribute": attribute.pk, "value": value}, ref=number)
    assert [anna.hear_of("ordered")["ref"] for _ in range(2)] == [0, 1]
    assert DeviceCommand.objects.latest("pk").value is False


def test_snapshots_that_are_asked_for_and_given_up_hold_up_nobody(server, monkeypatch):
    made = []

    def slow(*given):
        made.append(given)
        time.sleep(0.2)
        return [["{}"]]

    monkeypatch.setattr(snapshots, "snapshot", slow)
    greedy = server.open()
    for number in range(1, 10):
        greedy.say(subscribe={"to": {"device": number}})
        greedy.say(snapshot={})
    assert greedy.hear_of("snapshot")
    assert server.open().hear_of("hello")
    assert len(made) <= 3


@pytest.mark.sqlite
def test_while_another_process_writes_sockets_are_opened_and_read(server, anna, plug):
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            first = server.open(anna)
            first.say(here={"device": plug.pk})
            time.sleep(0.2)
            second = server.open(anna)
            second.say(subscribe={"to": "all"})
            second.say(snapshot={})
            assert second.hear_of("snapshot")
        finally:
            other.execute("ROLLBACK")


def test_who_goes_from_page_to_page_too_fast_is_told_to_wait(server, plug):
    socket = server.open()
    for number in range(6):
        socket.say(here={"device": plug.pk if number % 2 else plug.pk + 1})
    assert "too fast" in socket.hear_of("error")["error"]
