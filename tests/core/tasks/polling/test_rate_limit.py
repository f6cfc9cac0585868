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
from threading import Lock, Thread
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models.functions import Now

from core.models import Device, Gateway
from core.net import transport
from core.net.errors import ApiError
from core.net.http import Http
from core.tasks import gateways
from core.tasks.polling import ask, rate_limit
from core.tasks.polling.clients import client_for
from core.tasks.polling.rate_limit import pace_for
from core.vendors import RateLimit
from core.vendors.shelly_cloud import Client
from tests.core.raw_server import Request, Server, answer, serving
from tests.core.tasks.homes import make_device, make_gateway

QUICK = RateLimit(per=timedelta(seconds=0.3), devices_a_call=10)
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


def took(call) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_reads_leave_a_share_to_commands():
    quick = RateLimit(calls=2, per=timedelta(seconds=3), reserved=0.25, devices_a_call=10)
    assert (quick.between_calls, quick.between_reads) == (
        timedelta(seconds=1.5),
        timedelta(seconds=2),
    )
    assert [quick.lasts(devices).total_seconds() for devices in (0, 1, 10, 25)] == [0, 2, 2, 6]


def test_the_first_call_waits_for_nothing_and_the_next_for_its_moment(gateway):
    pace = pace_for(gateway.pk, QUICK, is_command=True)
    assert took(pace) < 0.2
    assert 0.25 < took(pace) < 0.6


def test_a_command_does_not_wait_for_what_only_reads_wait_for(gateway):
    put_off(gateway, next_read_at=15)
    assert took(pace_for(gateway.pk, QUICK, is_command=True)) < 0.2
    assert row(gateway).next_read_at - row(gateway).next_call_at > timedelta(seconds=10)


@pytest.mark.django_db(transaction=True)
def test_a_read_that_waits_holds_no_command_up(gateway):
    put_off(gateway, next_read_at=1)
    reading = Thread(target=pace_for(gateway.pk, QUICK, is_command=False))
    reading.start()
    time.sleep(0.2)
    assert took(pace_for(gateway.pk, QUICK, is_command=True)) < 0.2
    reading.join()


@pytest.mark.parametrize(("is_command", "seconds"), [(False, 25), (True, 5)])
def test_too_long_a_wait_is_an_error_that_may_pass_and_takes_nothing(gateway, is_command, seconds):
    put_off(gateway, next_call_at=seconds)
    before = row(gateway).next_call_at
    with pytest.raises(ApiError, match="no more calls for now") as failed:
        pace_for(gateway.pk, QUICK, is_command=is_command)()
    assert failed.value.status is None
    assert row(gateway).next_call_at == before


def test_the_calls_of_one_command_share_its_patience(gateway, monkeypatch):
    monkeypatch.setattr(rate_limit, "LONGEST_COMMAND_WAIT", 0.5)
    pace = pace_for(gateway.pk, QUICK, is_command=True)
    pace(), pace()
    with pytest.raises(ApiError):
        pace()


@pytest.mark.parametrize("is_command", [True, False])
def test_a_clock_that_ran_ahead_locks_nobody_out(gateway, is_command):
    put_off(gateway, next_call_at=86_400, next_read_at=86_400)
    assert took(pace_for(gateway.pk, QUICK, is_command=is_command)) < 0.2
    assert Gateway.objects.filter(
        pk=gateway.pk, next_call_at__lt=Now() + timedelta(seconds=5)
    ).exists()


def test_each_gateway_has_its_own_rate_limit(gateway):
    other = make_gateway("Other", address="http://127.0.0.1:2", vendor="shelly_cloud")
    pace_for(gateway.pk, QUICK, is_command=False)()
    assert took(pace_for(other.pk, QUICK, is_command=False)) < 0.2


@pytest.mark.django_db(transaction=True)
def test_threads_take_turns_and_keep_no_connection(gateway):
    called_at, left_open = [], []

    def call(is_command: bool) -> None:
        pace_for(gateway.pk, QUICK, is_command=is_command)()
        called_at.append(time.monotonic())
        left_open.append(connection.connection is not None)

    threads = [Thread(target=call, args=(number < 6,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    called_at.sort()
    gaps = [later - earlier for earlier, later in zip(called_at, called_at[1:], strict=False)]
    assert len(gaps) == 7 and min(gaps) > 0.3 - rate_limit.OVERSLEPT - 0.02
    assert left_open == [False] * 8


def test_without_its_rate_limit_the_cloud_refuses():
    with strict_cloud(1.0) as (cloud, server):
        with pytest.raises(ApiError, match="429"):
            list(Client(Http(server.address, credential="key", networks=LOOPBACK)).read(IDS))
        transport.close_idle_connections()
    assert (len(cloud.called_at), cloud.refused) == (2, 1)


READS = "from core.models import Gateway; from core.tasks.polling.clients import client_for"
READS += "; print(len(list(client_for(Gateway.objects.get()).read({ids!r}))))"


@pytest.mark.django_db(transaction=True)
def test_two_processes_and_a_command_together_stay_inside_the_rate_limit(database_url):
    with strict_cloud(1.0) as (cloud, server):
        gateway = make_gateway("Cloud", server.address, vendor="shelly_cloud", credential="key")
        environment = os.environ | {"DATABASE_URL": database_url, "DEBUG": "1"}
        command = [sys.executable, "manage.py", "shell", "-c", READS.format(ids=IDS)]
        reading = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        while not cloud.called_at and any(process.poll() is None for process in reading):
            time.sleep(0.05)
        client_for(gateway, 5, is_command=True).write(IDS[0], "on", False)
        counts = [process.communicate(timeout=60)[0].split()[-1] for process in reading]
    assert counts == ["50", "50"]
    assert (len(cloud.called_at), cloud.refused) == (8, 0)


@pytest.mark.django_db(transaction=True)
def test_a_gateway_is_added_within_its_rate_limit_although_it_has_no_row_yet(monkeypatch):
    monkeypatch.setattr(Client, "rate_limit", QUICK)
    with strict_cloud(0.25) as (cloud, server):
        found = gateways.add("shelly_cloud", server.address, "key")
    assert (len(found.new), len(cloud.called_at), cloud.refused) == (25, 5, 0)


@pytest.mark.django_db(transaction=True)
def test_a_poll_waits_for_the_rate_limit_and_is_not_written_off(monkeypatch, settings):
    """Three calls take longer than a gateway may take in all, because of the rate limit alone."""
    monkeypatch.setattr(Client, "rate_limit", QUICK)
    monkeypatch.setattr(ask, "GRACE_SECONDS", 0)
    settings.GATEWAY_TIMEOUT_SECONDS = 0.5
    with strict_cloud(0.25) as (cloud, server):
        gateway = make_gateway("Cloud", server.address, vendor="shelly_cloud", credential="key")
        for vendor_id in IDS:
            make_device(gateway, vendor_id)
        asked = ask.ask([gateway])
    assert (asked.failed, len(cloud.called_at)) == ([], 3)
    assert Device.objects.filter(available=True).count() == 25


def test_what_is_waited_for_the_rate_limit_is_not_counted_as_the_vendors_time():
    with serving(lambda request: answer(b"{}")) as server:
        http = Http(
            server.address, networks=LOOPBACK, timeout_seconds=0.3, pace=lambda: time.sleep(0.25)
        )
        assert [http.get("/") for _ in range(3)] == [{}, {}, {}]
        transport.close_idle_connections()


def test_each_try_of_a_call_is_paced():
    answers = iter([None, answer(b"{}")])
    paced = []
    with serving(lambda request: next(answers)) as server:
        assert Http(server.address, networks=LOOPBACK, pace=lambda: paced.append(1)).get("/") == {}
        transport.close_idle_connections()
    assert len(paced) == 2
