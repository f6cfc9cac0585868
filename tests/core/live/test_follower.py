"""How a process follows the log when the database does not behave."""

import shutil
import time

import pytest
from django.db import connection

from core.live import follower, log, subscriber
from core.models import Event
from core.models.event import EventKind
from tests.core.live.changes import write_events
from tests.core.live.socket_client import AsgiServer


@pytest.fixture
def quick(monkeypatch):
    """A second's look takes a tenth."""
    monkeypatch.setattr(log, "LOOK_SECONDS", 0.2)


def ids(events):
    return [event["id"] for event in events]


def test_a_log_that_began_anew_is_told_to_everybody(quick, server):
    write_events(5)
    socket = server.open().begin()
    write_events()
    socket.events(1)
    with connection.cursor() as cursor:  # as restoring a backup does
        cursor.execute("DELETE FROM core_event WHERE id > %s", [Event.objects.first().pk])
    assert "anew" in socket.hear_of("over")["over"]["reason"]


def test_a_log_that_was_pruned_empty_is_followed_on(quick, server):
    socket = server.open().begin()
    write_events()
    socket.events(1)
    Event.objects.all().delete()
    time.sleep(0.5)
    [pk] = write_events()
    assert ids(socket.events(1)) == [pk]


def test_who_was_told_of_an_empty_log_resumes_from_it_however_high_the_ids_are(server):
    Event.objects.create(pk=20_000, kind=EventKind.RUN, body={}).delete()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT setval('core_event_id_seq', 20000)")
    socket = server.open()
    assert socket.hear_of("hello")["hello"]["last"] == 0
    written = write_events(3)
    server.open().begin(after=0).events(3)  # they are handed out
    socket.say(subscribe={"to": "all"})
    socket.say(resume={"after": 0})
    assert [event["id"] for event in socket.events(3)] == written
    assert written[0] > 20_000


def test_a_client_that_knows_a_newer_event_than_its_process_waits_for_it(server):
    socket = server.open()
    newest = socket.hear_of("hello")["hello"]["last"]
    socket.say(subscribe={"to": "all"})
    [first] = write_events()
    socket.say(resume={"after": max(first, newest)})
    [second] = write_events()
    assert ids(socket.events(1)) == [second]


@pytest.mark.postgresql
def test_a_connection_that_is_lost_is_made_again_and_nothing_is_missed(quick, server):
    socket = server.open().begin()
    keys = write_events()
    assert ids(socket.events(1)) == keys
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE '%%core_event%%' "
            "AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1
    keys = write_events(3)
    assert ids(socket.events(3)) == keys


@pytest.mark.postgresql
def test_where_notifications_do_not_arrive_the_log_is_read_each_second(
    quick, monkeypatch, transactional_db
):
    """As through a pooler, which gives the connection that listens to others."""
    monkeypatch.setattr(log, "_notify", lambda word: None)
    with AsgiServer() as server:
        socket = server.open().begin()
        keys = write_events()
        assert ids(socket.events(1)) == keys


@pytest.mark.postgresql
def test_the_log_is_read_where_live_database_url_says(settings, database_url):
    settings.LIVE_DATABASE_URL = f"{database_url}?application_name=here"
    with AsgiServer() as server:
        assert server.open().hear_of("hello")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'here'")
            assert cursor.fetchone() == (1,)


@pytest.mark.postgresql
def test_a_web_process_listens_over_one_connection_beside_its_pool(server):
    for _ in range(5):
        server.open().hear_of("hello")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query ~ 'LISTEN|core_event' "
            "AND pid <> pg_backend_pid()"
        )
        # The other is the listener of the gunicorn that tests share.
        assert cursor.fetchone()[0] <= 2


@pytest.mark.sqlite
def test_a_database_file_that_is_replaced_is_opened_again(
    quick, server, tmp_path, transactional_db
):
    """As `rm db.sqlite3` and a new `migrate` do under a running server."""
    path = tmp_path / "moved.sqlite3"
    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(connection.settings_dict["NAME"], path)

    async def look():
        opened = log.SqliteLog(path)
        await opened.open()
        shutil.copy(path, tmp_path / "copy")
        (tmp_path / "copy").rename(path)
        try:
            await opened.wait()
        finally:
            await opened.close()

    with pytest.raises(FileNotFoundError, match="replaced"):
        server.do(look)


def test_a_log_that_cannot_be_read_is_tried_again(server, monkeypatch, caplog):
    opened = []

    class Broken(log.SqliteLog):
        async def open(self):
            opened.append(self)
            raise OSError("away")

    works = follower.change_log
    monkeypatch.setattr(follower, "change_log", lambda: works() if opened else Broken(None))
    assert server.open().hear_of("hello")
    assert "again in 0.1 s" in caplog.text


def test_a_subscriber_that_more_waits_for_than_may_overflows():
    dropped = []
    slow = subscriber.Subscriber(overflow=lambda: dropped.append(True))
    for _ in range(subscriber.QUEUE_EVENTS + 1):
        slow.enqueue("[]")
    assert dropped == [True]
    slow.is_caught_up = True
    slow.enqueue("x" * subscriber.QUEUE_CHARACTERS, is_event=True)
    assert len(dropped) == 1
    slow.enqueue("x", is_event=True)
    assert len(dropped) == 2
