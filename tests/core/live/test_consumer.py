"""What a client says and hears, at the ASGI interface. Through a real server: test_served.py."""

import queue
import time

import pytest
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from core.live import connections, consumer, follower, snapshots
from core.live.sessions import LogIn, still_there
from core.models import Device, Event, Membership, Role, User
from core.models.event import EventKind
from core.tasks.events.outbox import publishing
from tests.core.live.changes import log_in, write_events
from tests.core.tasks.homes import make_device, make_gateway


@pytest.fixture
def plug(transactional_db):
    with publishing():
        return make_device(make_gateway())


# Opening


def test_a_page_of_another_site_is_refused(server):
    assert server.open(origin="http://evil.example").closes() == 403
    assert server.open(origin=None).closes() == 403


def test_a_host_that_is_not_ours_is_refused(server, settings):
    settings.ALLOWED_HOSTS = ["example.org"]
    assert server.open().closes() == 403


def test_there_is_no_other_socket(server):
    assert server.open(path="/ws/other/").closes() == 403


def test_nobody_in_particular_reads_only_where_pages_are_public(server, settings):
    settings.PUBLIC_STATUS = False
    assert server.open().closes() == 403
    settings.PUBLIC_STATUS = True
    assert server.open().hear_of("hello")


def test_a_session_that_is_over_is_refused_even_where_pages_are_public(
    server, anna, client, settings
):
    settings.PUBLIC_STATUS = True
    client.logout()
    assert server.open(anna).closes() == 403
    assert server.open("nonsense").closes() == 403


def test_a_log_in_reads_where_pages_are_not_public(server, anna, settings):
    settings.PUBLIC_STATUS = False
    assert server.open(anna).hear_of("hello")


def test_a_process_takes_so_many_sockets_and_says_that_it_is_full(server, settings):
    settings.SOCKETS_A_PROCESS = 1
    first = server.open().begin()
    assert server.open().closes() == 1013
    first.leave()
    assert _eventually(lambda: not connections.sockets.open)
    assert server.open().hear_of("hello")


def test_one_address_without_a_log_in_leaves_places_for_others_and_for_log_ins(
    server, anna, settings
):
    settings.SOCKETS_A_PROCESS = 8  # 2 for log-ins, 3 for one address
    there = [server.open().begin() for _ in range(3)]
    assert server.open().closes() == 1013  # a fourth one without a log-in
    there += [server.open(anna).begin() for _ in range(5)]
    assert server.open(anna).closes() == 1013
    assert len(there) == 8


def _eventually(holds):
    until = time.monotonic() + 60
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.01)
    return held


def test_a_process_that_ends_closes_all_and_takes_no_more(server, monkeypatch):
    socket = server.open().begin()
    monkeypatch.setattr(connections.sockets, "is_closing", False)
    server.loop.call_soon_threadsafe(connections.sockets.close_all)
    assert socket.closes() == 1012
    assert server.open().closes() == 1012


# Following


def test_an_event_comes_to_all_that_want_it_and_no_other(server):
    topics = ("all", "changes", {"device": [3, 5]}, {"gateway": 2}, {"device": 4})
    everything, changes, device, gateway, other = (server.open().begin(to) for to in topics)
    [first] = write_events(kind=EventKind.READINGS, device=3, gateway=2, value=1)
    [second] = write_events(kind=EventKind.GATEWAY, gateway=2, error="")
    told = {"id": first, "kind": "readings", "device": 3, "gateway": 2, "body": {"value": 1}}
    assert everything.events(2)[0] == told
    assert [event["id"] for event in gateway.events(2)] == [first, second]
    assert device.events(1) == [told]
    assert [event["id"] for event in changes.events(1)] == [second]
    with pytest.raises(queue.Empty):
        other.hear(0.1)


def test_what_was_unsubscribed_is_not_told_any_more(server):
    socket = server.open().begin("all")
    socket.say(subscribe={"to": {"device": 3}})
    socket.say(unsubscribe={"to": "all"})
    socket.say(ref=1)
    socket.hear_of("error")
    write_events()
    [pk] = write_events(device=3)
    assert [event["id"] for event in socket.events(1)] == [pk]


def test_events_of_one_transaction_come_together_and_in_order(server):
    socket = server.open().begin()
    keys = write_events(700)
    assert [event["id"] for event in socket.events(700)] == keys


def test_nothing_is_told_before_the_client_says_from_where(server):
    socket = server.open()
    socket.hear_of("hello")
    socket.say(subscribe={"to": "all"})
    write_events()
    with pytest.raises(queue.Empty):
        socket.hear(0.2)


def test_who_resumes_hears_what_was_missed_and_then_what_comes(server):
    first, *missed = write_events(5)
    socket = server.open().begin(after=first)
    assert [event["id"] for event in socket.events(4)] == missed
    [new] = write_events()
    assert [event["id"] for event in socket.events(1)] == [new]


def test_who_resumes_from_before_what_is_kept_in_memory_misses_nothing(server, monkeypatch):
    monkeypatch.setattr(follower, "RECENT", 10)
    monkeypatch.setattr(follower, "BATCH", 20)
    first, *missed = write_events(75)
    socket = server.open().begin(after=first)
    assert [event["id"] for event in socket.events(74)] == missed


@pytest.mark.parametrize("after", [0, 10**9])
def test_who_resumes_from_what_is_not_known_is_told_to_start_over(server, after, monkeypatch):
    """0: pruned; the other: newer than the newest, as after a backup was restored."""
    monkeypatch.setattr(follower, "RECENT", 2)
    monkeypatch.setattr(follower, "NEWER_WAIT_SECONDS", 0.1)
    keys = write_events(5)
    Event.objects.filter(pk__lte=keys[1]).delete()
    socket = server.open().begin(after=after)
    assert "event" in socket.hear_of("over")["over"]["reason"]


def test_who_missed_too_much_starts_over(server, monkeypatch):
    monkeypatch.setattr(follower, "RECENT", 2)
    monkeypatch.setattr(follower, "RESUME_AT_MOST", 3)
    first, *_ = write_events(6)
    assert "more than 3" in server.open().begin(after=first).hear_of("over")["over"]["reason"]


def test_a_snapshot_holds_what_was_subscribed_to_and_then_comes_what_happened_since(server, plug):
    [before] = write_events()
    socket = server.open()
    socket.hear_of("hello")
    socket.say(subscribe={"to": {"device": plug.pk}})
    socket.say(snapshot={})
    told = socket.hear_of("snapshot")["snapshot"]
    assert (told["last"], told["page"], told["pages"]) == (before, 1, 1)
    [device] = told["devices"]
    assert (device["id"], [one["name"] for one in device["attributes"]]) == (
        plug.pk,
        ["on", "power"],
    )
    [after] = write_events(device=plug.pk)
    assert [event["id"] for event in socket.events(1)] == [after]


def test_a_snapshot_of_everything_comes_in_pages_and_costs_many_clients_one(
    server, plug, monkeypatch
):
    with publishing():
        make_device(plug.gateway, "lamp")
    made, make = [], snapshots.snapshot

    def counted(*given):
        made.append(given)
        return make(*given, page=1)

    monkeypatch.setattr(snapshots, "snapshot", counted)
    # One that an earlier test asked for may still be fresh.
    monkeypatch.setattr(snapshots.snapshots, "_kept", {})
    opened = [server.open() for _ in range(5)]
    for socket in opened:
        socket.hear_of("hello")
        socket.say(subscribe={"to": "all"})
        socket.say(snapshot={})
    for socket in opened:
        pages = [socket.hear_of("snapshot")["snapshot"] for _ in range(2)]
        assert [device["name"] for page in pages for device in page["devices"]] == ["Plug", "Lamp"]
    assert len(made) == 1


# Limits


def test_an_error_carries_the_reference_of_its_message(server):
    socket = server.open()
    socket.say(shout={}, ref="mine")
    assert socket.hear_of("error")["ref"] == "mine"


def test_subscriptions_are_limited(server, monkeypatch):
    monkeypatch.setattr(consumer, "MOST_TOPICS", 1)
    socket = server.open()
    socket.say(subscribe={"to": {"device": 1}})
    socket.say(subscribe={"to": {"device": 2}})
    assert "At most 1" in socket.hear_of("error")["error"]


def test_a_message_of_more_than_four_kibibytes_closes(server):
    socket = server.open()
    socket.say(pong={"padding": "x" * 4096})
    assert socket.closes() == 1009


def test_too_many_messages_are_an_error_and_then_the_end(server):
    socket = server.open()
    for _ in range(50):
        socket.say(pong={})
    assert "Too many messages" in socket.hear_of("error")["error"]
    assert socket.closes() == 4429


def test_who_does_not_read_is_dropped_and_the_others_notice_nothing(server):
    deaf, others = server.open(reads=False), [server.open().begin() for _ in range(3)]
    deaf.say(subscribe={"to": "all"})
    deaf.say(resume={"after": 0})
    deaf.say_text("[]")
    keys = []
    for _ in range(5):
        keys += write_events(600)
        for socket in others:
            assert [event["id"] for event in socket.events(600)] == keys[-600:]
    assert deaf.closes() == 4413


# Heartbeats


def test_a_ping_says_up_to_where_everything_was_told(server, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    socket = server.open()
    assert socket.hear_of("ping")["ping"]["last"] is None
    [pk] = write_events()
    socket.say(resume={"after": pk})
    socket.say(pong={})
    assert socket.hear_of("ping")["ping"]["last"] in (None, pk)


def test_who_does_not_answer_pings_is_closed(server, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 0.2
    assert server.open().closes() == 4408


def test_not_all_are_asked_at_once(server, settings, monkeypatch):
    settings.SOCKET_HEARTBEAT_SECONDS = 0.8
    monkeypatch.setattr(connections, "ASKED_AT_ONCE", 1)
    asked = []
    for socket in [server.open() for _ in range(4)]:
        socket.hear_of("ping")
        asked.append(time.monotonic())
    assert asked[-1] - asked[0] > 0.2


def test_heartbeats_go_on_while_the_database_is_away(server, settings, monkeypatch, caplog):
    def away(log_ins):
        raise OperationalError("the connection is closed")

    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    monkeypatch.setattr(connections, "still_there", away)
    socket = server.open()
    for _ in range(3):
        socket.hear_of("ping")
        socket.say(pong={})
    assert "heartbeat of the sockets failed (OperationalError" in caplog.text


@pytest.mark.parametrize("ending", ["logged out", "password", "inactive", "expired"])
def test_a_log_in_that_ends_closes_its_sockets_within_a_heartbeat(
    server, anna, client, settings, ending
):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    other = server.open(log_in(Client(), username="bert"))
    socket = server.open(anna)
    socket.hear_of("ping")
    end(ending, client)
    for _ in range(2):
        other.say(pong={})
        socket.say(pong={})
    assert socket.closes() == 4401
    assert other.hear_of("ping")


def end(ending, client):
    if ending == "logged out":
        client.logout()
    elif ending == "expired":
        Session.objects.filter(session_key=client.session.session_key).update(
            expire_date=timezone.now()
        )
    else:
        user = User.objects.get(username="anna")
        user.password, user.is_active = (
            ("other", True) if ending == "password" else (user.password, False)
        )
        user.save()


def test_a_heartbeat_asks_the_database_twice_for_all(server, anna, django_assert_num_queries):
    user = User.objects.get()
    log_ins = {
        LogIn(anna, user.pk, user.password),
        LogIn("gone", user.pk, user.password),
        LogIn(),
    }
    with django_assert_num_queries(2):
        there = still_there(log_ins)
    assert there == {LogIn(anna, user.pk, user.password), LogIn()}


# Orders


def test_who_is_not_logged_in_or_not_permitted_orders_nothing(server, plug, client):
    body = {"attribute": plug.attributes.get(name="on").pk, "value": True}
    for cookie, error in (("", "Log in first."), (log_in(client), "the right to switch devices")):
        socket = server.open(cookie)
        socket.say(order=body, ref=1)
        told = socket.hear_of("error")
        assert (error in told["error"], told["ref"]) == (True, 1)


def test_a_permission_that_was_taken_counts_at_once(server, plug, anna):
    socket = server.open(anna)
    socket.say(hold={"device": plug.pk})
    assert socket.hear_of("held")
    Membership.objects.update(role=Role.VIEWER)
    socket.say(release={"device": plug.pk})
    assert "lacks the right" in socket.hear_of("error")["error"]


def test_a_device_is_held_and_released(server, plug, anna):
    socket = server.open(anna)
    socket.say(hold={"device": plug.pk, "minutes": 60}, ref="h")
    assert socket.hear_of("held") == {"held": {"device": plug.pk}, "ref": "h"}
    assert Device.objects.get().hold_reason == "held by anna"
    socket.say(release={"device": plug.pk})
    assert socket.hear_of("released")
    assert Device.objects.get().held_at is None


def test_an_order_is_answered_and_its_states_follow_without_a_subscription(server, plug, anna):
    """The plug's address answers nothing: the outcome stays open. One in test_served.py does."""
    socket = server.open(anna)
    socket.say(resume={"after": socket.hear_of("hello")["hello"]["last"]})
    socket.say(order={"attribute": plug.attributes.get(name="on").pk, "value": True}, ref=1)
    ordered = socket.hear_of("ordered")["ordered"]
    assert (ordered["state"], ordered["value"]) == ("requested", True)
    write_events(kind=EventKind.COMMAND, device=plug.pk, id=ordered["id"], state="confirmed")
    told = [event["body"]["state"] for event in socket.events(1)]
    assert told[-1] in ("requested", "sending", "confirmed")
