"""The hosted relay: one process sends every event at least once, whatever happens to it or to the
service."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta

import psutil
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from core.live import relay as live_relay
from core.live.log import EventRow
from core.live.relay import Batch, EventRelay, batches
from core.models import Event, Relay
from core.net.pusher import LARGEST_DATA
from core.tasks import relay, status
from core.tasks.events.outbox import CHANNEL
from core.tasks.runs import running
from iotapp import environment
from tests.core.live.pusher_server import SECRET, PusherServer
from tests.core.live.web_server import ROOT
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

PATIENCE = 20.0
"""Seconds that a busy machine may take for what takes a tenth."""


def until(is_so, what=""):
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, what or is_so
        time.sleep(0.01)


@pytest.fixture
def server():
    with PusherServer() as running:
        yield running


@pytest.fixture
def chosen(server, settings, monkeypatch):
    """The settings as with RELAY_URL, and pauses that a test can wait for."""
    monkeypatch.setenv("RELAY_URL", server.url)
    settings.RELAY = environment.relay("RELAY_URL")
    monkeypatch.setattr(live_relay, "TAKE_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(live_relay, "FIRST_PAUSE_SECONDS", 0.05)
    return settings


@contextmanager
def relaying():
    """A relay in a thread of this process, which has begun to send."""
    running = EventRelay()
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        until(lambda: Relay.objects.running().exists())
        yield running
    finally:
        running.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def process(server, database_url):
    """A relay in a process of its own, as the Procfile starts it."""
    started = subprocess.Popen(
        [sys.executable, "manage.py", "relay_events"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url, "DEBUG": "1", "RELAY_URL": server.url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.kill()
        started.communicate()


def add_events(count, gateway=1, size=10):
    rows = [
        Event(kind="readings", device=1, gateway=gateway, body={"text": size * "x"})
        for _ in range(count)
    ]
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
        Event.objects.bulk_create(rows)
    return list(Event.objects.order_by("-pk").values_list("pk", flat=True)[:count])[::-1]


def rows_of(*sizes, kind="readings", gateway=1):
    """Rows of the log whose texts are so long."""
    for number, size in enumerate(sizes, 1):
        spare = size - len(f'{{"id":{number},"kind":"{kind}","device":1,"gateway":1,"body":""}}')
        yield EventRow(number, kind, 1, gateway, f'"{max(0, spare) * "x"}"')


# How events are packed


def parts(rows):
    return [
        [(gateway, name, len(texts)) for gateway, name, texts in batch.parts]
        for batch in batches(rows)
    ]


def test_events_of_a_gateway_that_come_together_are_one_message():
    assert parts(rows_of(100, 100, 100)) == [[(1, "events", 3)]]


def test_a_message_is_no_longer_than_the_service_takes():
    rows = list(rows_of(*[3000] * 10))
    assert parts(rows) == [[(1, "events", 3)] * 3 + [(1, "events", 1)]]
    for batch in batches(rows):
        assert all(len(one.data.encode()) <= LARGEST_DATA for one in batch.messages())


def test_an_event_that_is_too_long_becomes_a_note_to_fetch_it():
    [batch] = batches(rows_of(100, 20_000, 100))
    assert [name for _, name, _ in batch.parts] == ["events", "fetch", "events"]
    assert batch.messages()[1].data == '{"id": 2}'


def test_a_call_has_no_more_messages_than_the_service_takes():
    rows = [EventRow(number, "readings", 1, number, '""') for number in range(1, 26)]
    packed = list(batches(rows))
    assert [len(batch.parts) for batch in packed] == [10, 10, 5]
    assert [batch.last for batch in packed] == [10, 20, 25]


def test_a_gateway_that_may_be_new_is_told_to_everybody_without_what_it_is():
    rows = [EventRow(number, "gateway", None, number, '{"a":1}') for number in range(1, 12)]
    packed = list(batches(rows))
    assert all(len(batch.parts) <= 10 for batch in packed)
    notes = [texts for batch in packed for gateway, _, texts in batch.parts if gateway is None]
    assert notes[-1] == ['{"id": 11}']


def test_every_event_of_a_mixture_is_sent_once_and_in_order():
    rows = [
        EventRow(number, "gateway" if number % 7 == 0 else "readings", 1, number % 3, '{"a":"é"}')
        for number in range(1, 500)
    ]
    sent = {0: [], 1: [], 2: []}
    for batch in batches(rows):
        assert len(batch.parts) <= 10
        for gateway, name, texts in batch.parts:
            if name == "events":
                sent[gateway] += [json.loads(text)["id"] for text in texts]
    for gateway, ids in sent.items():
        assert ids == [row.id for row in rows if row.gateway == gateway]


def test_an_empty_batch_has_no_messages():
    assert Batch().messages() == []


# How they are sent


@pytest.mark.django_db(transaction=True)
def test_a_change_reaches_the_channel_of_its_gateway_and_no_other(chosen, server):
    with quietly():
        one, other = make_gateway(), make_gateway("Other", "http://127.0.0.1:2")
    with relaying():
        make_device(one)
        until(lambda: server.taken)
    [channel] = {message["channel"] for message in server.taken}
    assert channel.endswith(f"-{one.pk}") and other.pk != one.pk
    assert not Relay.objects.running().exists()  # the next one need not wait


@pytest.mark.django_db(transaction=True)
def test_what_happened_before_the_first_relay_is_not_sent(chosen, server):
    add_events(3)
    with relaying():
        wanted = add_events(3)
        until(lambda: server.events == wanted)


@pytest.mark.django_db(transaction=True)
def test_an_outage_loses_nothing_and_status_tells_of_it(chosen, server):
    with relaying():
        first = add_events(2)
        until(lambda: server.events == first)
        server.stop()
        second = add_events(30)
        until(relay.problem)
        assert "is tried again" in status.overview().in_words()
        assert "is tried again" in status.overview().as_json()["relay"]
        server.start()
        until(lambda: server.events == first + second)
        until(lambda: not relay.problem())


@pytest.mark.django_db(transaction=True)
def test_a_service_that_refuses_us_is_told_and_not_asked_again_and_again(chosen, server, caplog):
    with relaying():
        server.fault = 401
        add_events(1)
        until(lambda: Relay.objects.filter(refused=True).exists())
        add_events(20)
        time.sleep(0.2)
        assert "Look at RELAY_URL" in relay.problem()
    assert len(server.calls) == 1
    assert SECRET not in caplog.text and "Tried again" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_service_that_takes_less_gets_notes(chosen, server):
    server.largest_data = 200
    with relaying():
        [*_, last] = add_events(5, size=100)
        until(lambda: server.taken)
    assert [(one["name"], one["data"]) for one in server.taken] == [("fetch", f'{{"id": {last}}}')]


@pytest.mark.django_db(transaction=True)
def test_the_rate_that_the_service_asks_for_is_kept(chosen, server, monkeypatch):
    waits = []
    monkeypatch.setattr(live_relay.logger, "warning", lambda *said: waits.append(said[-1]))
    with relaying():
        server.fault = 503
        add_events(1)
        until(lambda: len(waits) >= 4)
        server.fault = None
        until(lambda: server.events)
    assert waits[:4] == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.django_db(transaction=True)
def test_of_two_relays_one_sends_and_the_other_takes_over(chosen, server):
    with relaying() as first, relaying():
        wanted = add_events(50)
        until(lambda: server.events == wanted)
        holder = Relay.objects.get().token
        first.stop()
        until(lambda: Relay.objects.get().token != holder)
        wanted += add_events(50)
        until(lambda: server.events == wanted)


@pytest.mark.django_db(transaction=True)
def test_a_relay_that_was_away_too_long_sends_nothing_more(chosen, server):
    held = relay.take()
    assert held and relay.take() is None
    Relay.objects.update(expires_at=Now())
    later = relay.take()
    assert later.token > held.token
    assert not relay.renew(held.token) and not relay.advance(held.token, 99)
    assert not relay.fail(held.token, "late", refused=True)
    relay.give_back(held.token)
    assert Relay.objects.get().error == "" and relay.take() is None


@pytest.mark.django_db
def test_a_lease_of_the_future_is_free():
    relay.take()
    Relay.objects.update(expires_at=Now() + timedelta(days=400))
    assert relay.take()


@pytest.mark.django_db(transaction=True)
def test_pages_read_all_again_where_the_log_was_pruned(chosen, server):
    add_events(3)
    with relaying():
        pass
    gone = add_events(10)
    Event.objects.filter(pk__lt=gone[-1]).delete()
    with relaying():
        until(lambda: server.events == gone[-1:])
    assert [one["name"] for one in server.taken] == ["over", "events"]


@pytest.mark.django_db(transaction=True)
def test_a_log_that_began_anew_is_followed_from_there(chosen, server):
    [*_, newest] = add_events(3)
    with relaying():
        pass
    Relay.objects.update(last_event=newest + 1000)
    with relaying():
        until(lambda: server.taken)
        wanted = add_events(1)
        until(lambda: server.events == wanted)
    assert [one["name"] for one in server.taken] == ["over", "events"]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_when_it_is_killed_between_batches(chosen, server, database_url):
    with process(server, database_url) as killed:
        until(lambda: Relay.objects.running().exists())
        wanted = add_events(400, size=3000)
        until(lambda: len(server.calls) >= 3)
        killed.kill()
        killed.wait()
    assert 0 < len(set(server.events)) < 400
    Relay.objects.update(expires_at=Now())  # as after half a minute
    with relaying():
        until(lambda: set(server.events) == set(wanted))
    # In order but for what was repeated: at most what one call holds.
    repeated = len(server.events) - len(wanted)
    assert 0 <= repeated <= 40
    assert list(dict.fromkeys(server.events)) == wanted


@pytest.mark.django_db(transaction=True)
def test_a_process_ends_when_asked_and_shows_its_secret_nowhere(chosen, server, database_url):
    with process(server, database_url) as running:
        until(lambda: Relay.objects.running().exists())
        server.fault = 401
        add_events(1)
        until(lambda: Relay.objects.filter(refused=True).exists())
        assert SECRET not in " ".join(psutil.Process(running.pid).cmdline())
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 0
        log = running.stderr.read()
    assert "refused the credential" in log and SECRET not in log
    assert SECRET not in Relay.objects.get().error
    assert not Relay.objects.running().exists()


@pytest.mark.django_db
def test_without_a_setting_there_is_nothing_to_do(settings):
    settings.RELAY = None
    assert relay.problem() == ""
    with pytest.raises(CommandError, match="RELAY_URL is not set"):
        call_command("relay_events")


@pytest.mark.django_db
def test_a_relay_that_nobody_runs_is_told(chosen):
    assert "relay_events" in relay.problem()
    assert "relay_events" in status.overview().in_words()


@pytest.mark.django_db
def test_a_monitor_is_told_of_what_lasts(chosen, client):
    with running("poll"):
        pass
    assert "hosted relay" in client.get("/healthz").text  # nobody sends
    held = relay.take()
    relay.fail(held.token, f"{SECRET} is wrong", refused=False)
    assert client.get("/healthz").status_code == 200
    Relay.objects.update(failing_since=timezone.now() - 2 * relay.PATIENCE)
    told = client.get("/healthz")
    assert told.status_code == 503 and SECRET not in told.text
    relay.advance(held.token, 0)
    assert client.get("/healthz").status_code == 200
    relay.fail(held.token, "a wrong key", refused=True)
    assert client.get("/healthz").status_code == 503
    relay.advance(held.token, 0)
    relay.give_back(held.token)
    assert client.get("/healthz").status_code == 200
    Relay.objects.update(expires_at=Now() - 2 * relay.PATIENCE)
    assert client.get("/healthz").status_code == 503


def test_a_canary_is_hidden_where_settings_are_shown(chosen):
    assert SECRET not in repr(chosen.RELAY)
    assert logging.getLogger("urllib3").level == logging.ERROR
