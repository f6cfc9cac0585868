"""A vendor's rate limit holds for all threads and processes together, on the database's clock."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_network
from threading import Event, Lock, Thread, current_thread
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models.functions import Now

from core.models import Device, Gateway
from core.net import http, threads, transport
from core.net.errors import ApiError
from core.tasks import gateways
from core.tasks.polling import ask, rate_limit
from core.tasks.polling.clients import client_for
from core.tasks.polling.rate_limit import pace_for
from core.vendors import RateLimit
from core.vendors.shelly_cloud import Client
from tests.core.raw_server import Request, Server, answer, serving
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.tasks.polling.moments import CLOCKS_DIFFER, Moment, assert_apart, reserving

QUICK = RateLimit(per=timedelta(seconds=0.3), devices_a_call=10)
SLOW = RateLimit(per=timedelta(seconds=30), devices_a_call=10)
LOOPBACK = (ip_network("127.0.0.0/8"),)
IDS = [f"{number:012x}" for number in range(25)]


class StrictCloud:
    """A cloud that refuses a call within `seconds` of the last one, and counts those it refused."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.lock = Lock()
        self.called_at: list[float] = []
        self.refused = 0

    def __call__(self, request: Request) -> bytes:
        with self.lock:
            now = time.monotonic()
            too_soon = bool(self.called_at) and now - self.called_at[-1] < self.seconds
            self.called_at.append(now)
            self.refused += too_soon
        if too_soon:
            return answer(b"", "429 Too Many Requests")
        return answer(json.dumps(self.body(urlsplit(request.target).path, request.body)).encode())

    def body(self, path: str, sent: bytes) -> object:
        if path.endswith("/all_status"):
            return {"isok": True, "data": {"devices_status": {device: {} for device in IDS}}}
        if path.endswith("/get"):
            status = {"switch:0": {"id": 0, "output": True, "apower": 5.0}}
            return [
                {"id": device, "gen": "G2", "online": 1, "status": status}
                for device in json.loads(sent)["ids"]
            ]
        return None


@contextmanager
def strict_cloud(seconds: float) -> Iterator[tuple[StrictCloud, Server]]:
    cloud = StrictCloud(seconds)
    with serving(cloud) as server:
        yield cloud, server
        transport.close_idle_connections()


@pytest.fixture
def gateway(db: None) -> Gateway:
    return make_gateway("Cloud", vendor="shelly_cloud", credential="key")


def row(gateway: Gateway) -> Gateway:
    gateway.refresh_from_db()
    return gateway


def put_off(gateway: Gateway, **seconds: float) -> None:
    Gateway.objects.filter(pk=gateway.pk).update(
        **{name: Now() + timedelta(seconds=many) for name, many in seconds.items()}
    )


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that calls would have waited: nobody sleeps, however long it would be."""
    seconds: list[float] = []
    monkeypatch.setattr(rate_limit, "sleep", seconds.append)
    return seconds


@pytest.fixture
def patient(monkeypatch) -> None:
    """A busy machine may need longer than a caller would wait."""
    monkeypatch.setattr(rate_limit, "LONGEST_READ_WAIT", 120.0)
    monkeypatch.setattr(rate_limit, "LONGEST_COMMAND_WAIT", 120.0)


def test_reads_leave_a_share_to_commands():
    quick = RateLimit(calls=2, per=timedelta(seconds=3), reserved=0.25, devices_a_call=10)
    assert (quick.between_calls, quick.between_reads) == (
        timedelta(seconds=1.5),
        timedelta(seconds=2),
    )
    assert [quick.lasts(devices).total_seconds() for devices in (0, 1, 10, 25)] == [0, 2, 2, 6]


def test_the_first_call_waits_for_nothing_and_the_next_for_its_moment(gateway, waits, patient):
    pace = pace_for(gateway.pk, SLOW, is_command=True)
    pace(), pace()
    assert waits[0] == 0 and 0 < waits[1] <= 30


def test_a_call_waits_as_long_as_it_must(gateway):
    pace = pace_for(gateway.pk, QUICK, is_command=True)
    pace()
    began = time.monotonic()
    put_off(gateway, next_call_at=0.3)
    pace()
    assert time.monotonic() - began > 0.29


def test_a_command_does_not_wait_for_what_only_reads_wait_for(gateway, waits):
    put_off(gateway, next_read_at=15)
    pace_for(gateway.pk, QUICK, is_command=True)()
    assert waits == [0]
    assert row(gateway).next_read_at - row(gateway).next_call_at > timedelta(seconds=10)


@pytest.mark.django_db(transaction=True)
def test_a_read_that_waits_holds_no_command_up(gateway, monkeypatch, patient):
    waits, let_go, command_waited = Event(), Event(), []

    def sleep(seconds: float) -> None:
        if current_thread() is reading:
            waits.set()
            let_go.wait(60)
        else:
            command_waited.append(seconds)

    monkeypatch.setattr(rate_limit, "sleep", sleep)
    put_off(gateway, next_read_at=50)
    reading = Thread(target=pace_for(gateway.pk, QUICK, is_command=False))
    reading.start()
    assert waits.wait(60)
    pace_for(gateway.pk, QUICK, is_command=True)()
    assert command_waited == [0] and reading.is_alive()
    put_off(gateway, next_call_at=-1, next_read_at=-1)
    let_go.set()
    reading.join(60)
    assert not reading.is_alive()


@pytest.mark.parametrize(("is_command", "seconds"), [(False, 25), (True, 5)])
def test_too_long_a_wait_is_an_error_that_may_pass_and_takes_nothing(gateway, is_command, seconds):
    put_off(gateway, next_call_at=seconds)
    before = row(gateway).next_call_at
    with pytest.raises(ApiError, match="no more calls for now") as failed:
        pace_for(gateway.pk, QUICK, is_command=is_command)()
    assert failed.value.status is None
    assert row(gateway).next_call_at == before


def test_the_calls_of_one_command_share_its_patience(gateway, monkeypatch, waits):
    monkeypatch.setattr(rate_limit, "LONGEST_COMMAND_WAIT", 50)
    pace = pace_for(gateway.pk, SLOW, is_command=True)
    pace(), pace()
    with pytest.raises(ApiError):
        pace()
    assert len(waits) == 2


@pytest.mark.parametrize("is_command", [True, False])
def test_a_clock_that_ran_ahead_locks_nobody_out(gateway, is_command, waits):
    put_off(gateway, next_call_at=86_400, next_read_at=86_400)
    pace_for(gateway.pk, QUICK, is_command=is_command)()
    assert waits == [0]
    assert Gateway.objects.filter(
        pk=gateway.pk, next_call_at__lt=Now() + timedelta(seconds=5)
    ).exists()


def test_each_gateway_has_its_own_rate_limit(gateway, waits):
    other = make_gateway("Other", address="http://127.0.0.1:2", vendor="shelly_cloud")
    pace_for(gateway.pk, SLOW, is_command=False)()
    pace_for(other.pk, SLOW, is_command=False)()
    assert waits == [0, 0]


@pytest.mark.django_db(transaction=True)
def test_threads_take_turns_and_keep_no_connection(gateway, patient, monkeypatch):
    moments: dict[Thread, list[Moment]] = {}
    went_on_at, left_open = {}, []
    monkeypatch.setattr(
        rate_limit.Pace,
        "_reserve",
        reserving(lambda moment: moments.setdefault(current_thread(), []).append(moment)),
    )

    def call(is_command: bool) -> None:
        pace_for(gateway.pk, QUICK, is_command=is_command)()
        went_on_at[current_thread()] = time.monotonic()
        left_open.append(connection.connection is not None)

    callers = [Thread(target=call, args=(number < 6,)) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert left_open == [False] * 8
    assert_apart([moment for reserved in moments.values() for moment in reserved], 0.3)
    for thread, at in went_on_at.items():
        assert at > moments[thread][-1].earliest - CLOCKS_DIFFER


def test_without_its_rate_limit_the_cloud_refuses():
    with strict_cloud(60) as (cloud, server):
        with pytest.raises(ApiError, match="429"):
            list(Client(http.Http(server.address, credential="key", networks=LOOPBACK)).read(IDS))
        transport.close_idle_connections()
    assert (len(cloud.called_at), cloud.refused) == (2, 1)


READS = """
import json
from dataclasses import astuple
from datetime import timedelta
from core.models import Gateway
from core.tasks.polling import rate_limit
from core.tasks.polling.clients import client_for
from core.vendors import RateLimit
from core.vendors.shelly_cloud import Client
from tests.core.tasks.polling.moments import reserving

moments = []
rate_limit.LONGEST_READ_WAIT = 120.0
rate_limit.Pace._reserve = reserving(lambda moment: moments.append(astuple(moment)))
Client.rate_limit = RateLimit(per=timedelta(seconds=0.3), devices_a_call=10)
count = len(list(client_for(Gateway.objects.get()).read({ids!r})))
print(json.dumps([count, moments]))
"""


@pytest.mark.django_db(transaction=True)
def test_two_processes_and_a_command_together_stay_inside_the_rate_limit(
    database_url, monkeypatch, patient
):
    monkeypatch.setattr(Client, "rate_limit", QUICK)
    moments: list[Moment] = []
    monkeypatch.setattr(rate_limit.Pace, "_reserve", reserving(moments.append))
    with strict_cloud(0) as (cloud, server):
        gateway = make_gateway("Cloud", server.address, vendor="shelly_cloud", credential="key")
        environment = os.environ | {"DATABASE_URL": database_url, "DEBUG": "1"}
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", READS.format(ids=IDS)]
        reading = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        while not cloud.called_at and any(process.poll() is None for process in reading):
            time.sleep(0.05)
        client_for(gateway, 60, is_command=True).write(IDS[0], "on", False)
        said = [json.loads(process.communicate(timeout=120)[0]) for process in reading]
    assert len(moments) >= 2
    assert [count for count, _ in said] == [50, 50]
    moments += [Moment(*moment) for _, reserved in said for moment in reserved]
    assert len(cloud.called_at) == 8 <= len(moments)
    assert_apart(moments, 0.3)


@pytest.mark.django_db(transaction=True)
def test_a_gateway_is_added_within_its_rate_limit_although_it_has_no_row_yet(waits, monkeypatch):
    monkeypatch.setattr(Client, "rate_limit", SLOW)
    with strict_cloud(0) as (cloud, server):
        found = gateways.add("shelly_cloud", server.address, "key")
    assert (len(found.new), len(cloud.called_at)) == (25, 5)
    assert waits == [30] * 5


@pytest.mark.django_db(transaction=True)
def test_a_poll_waits_for_the_rate_limit_and_is_not_written_off(monkeypatch, patient, settings):
    """Three calls take longer than a gateway may take in all, because of the rate limit alone."""
    monkeypatch.setattr(Client, "rate_limit", SLOW)
    waits, deadlines = [], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if seconds:
            put_off(gateway, next_call_at=-1, next_read_at=-1)  # so long ago it is then

    def in_threads(*given, deadline_seconds, **options):
        deadlines.append(deadline_seconds)
        return threads.in_threads(*given, deadline_seconds=deadline_seconds, **options)

    monkeypatch.setattr(rate_limit, "sleep", sleep)
    monkeypatch.setattr(ask, "in_threads", in_threads)
    with strict_cloud(0) as (cloud, server):
        gateway = make_gateway("Cloud", server.address, vendor="shelly_cloud", credential="key")
        for vendor_id in IDS:
            make_device(gateway, vendor_id)
        asked = ask.ask([gateway])
    assert (asked.failed, len(cloud.called_at)) == ([], 3)
    assert Device.objects.filter(available=True).count() == 25
    own_seconds = settings.GATEWAY_TIMEOUT_SECONDS + ask.GRACE_SECONDS
    assert own_seconds < sum(waits) < deadlines[0] - own_seconds


def test_what_is_waited_for_the_rate_limit_is_not_counted_as_the_vendors_time(monkeypatch):
    waited = []

    def monotonic() -> float:
        return time.monotonic() + sum(waited)

    for module in (http, transport):
        monkeypatch.setattr(module, "monotonic", monotonic)
    with serving(lambda request: answer(b"{}")) as server:
        client = http.Http(
            server.address, networks=LOOPBACK, timeout_seconds=60, pace=lambda: waited.append(50)
        )
        assert [client.get("/") for _ in range(3)] == [{}, {}, {}]
        transport.close_idle_connections()


def test_each_try_of_a_call_is_paced():
    answers = iter([None, answer(b"{}")])
    paced = []
    with serving(lambda request: next(answers)) as server:
        assert (
            http.Http(server.address, networks=LOOPBACK, pace=lambda: paced.append(1)).get("/")
            == {}
        )
        transport.close_idle_connections()
    assert len(paced) == 2
