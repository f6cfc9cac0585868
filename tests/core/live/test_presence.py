"""Who else is here, as sockets tell it to each other; and nobody who is not."""

import os
import signal
import subprocess
import sys
import time

import pytest
from django.db.models import F
from django.test import Client as Browser
from playwright.sync_api import expect

from core.live import presence as present_module
from core.models import Presence, Role
from core.models.presence import LASTS
from core.tasks import presence
from core.tasks.events.outbox import publishing
from tests.core.live.changes import log_in
from tests.core.live.socket_client import PATIENCE
from tests.core.live.web_server import ROOT, Web
from tests.core.tasks.homes import make_device, make_gateway


@pytest.fixture
def plug(transactional_db):
    with publishing():
        return make_device(make_gateway())


@pytest.fixture
def berta(transactional_db):
    return log_in(Browser(), username="berta")


@pytest.fixture
def at_once(monkeypatch):
    """Each change is told by itself."""
    monkeypatch.setattr(present_module, "PAUSE_SECONDS", 0)


def bodies(socket, count=1):
    return [event["body"] for event in socket.events(count)]


def at(body):
    """Who is there, those who change it with a star."""
    return [one["name"] + "*" * one["changing"] for one in body["present"]]


def come(socket, plug, **how):
    socket.begin({"device": plug.pk})
    socket.say(here={"device": plug.pk, **how})
    return socket


def gone(count=0):
    until = time.monotonic() + 60
    while Presence.objects.count() > count and time.monotonic() < until:
        time.sleep(0.02)
    return Presence.objects.count() == count


def test_who_comes_changes_and_goes_is_told_to_those_who_are_there(
    server, plug, anna, berta, at_once
):
    hers = come(server.open(anna), plug)
    assert at(bodies(hers)[0]) == ["anna"]
    other = come(server.open(berta), plug)
    assert [at(body) for body in bodies(hers) + bodies(other)] == [["anna", "berta"]] * 2
    other.say(here={"device": plug.pk, "changing": True})
    assert at(bodies(hers)[0]) == ["berta*", "anna"]
    other.say(away={})
    assert at(bodies(hers)[0]) == ["anna"]
    hers.leave()
    assert bodies(other, 3)[-1]["count"] == 0


def test_names_are_for_people_with_a_log_in(server, plug, anna, settings, at_once):
    settings.PUBLIC_STATUS = True
    stranger = server.open().begin({"device": plug.pk})
    hers = come(server.open(anna), plug, changing=True)
    told = {"device": plug.pk, "count": 1, "changing": 1}
    assert bodies(stranger) == [told]
    assert at(bodies(hers)[0]) == ["anna*"]
    stranger.say(here={"device": plug.pk, "changing": True})
    assert bodies(stranger) == [told | {"count": 2}]
    assert at(bodies(hers)[0]) == ["anna*", "somebody"]
    hers.leave()
    assert bodies(stranger)[0]["count"] == 1


def test_a_stranger_who_resumes_is_told_no_names_either(server, plug, anna, settings, at_once):
    settings.PUBLIC_STATUS = True
    before = server.open().hear_of("hello")["hello"]["last"]
    bodies(come(server.open(anna), plug))
    stranger = server.open().begin(after=before)
    assert all("present" not in body for body in bodies(stranger))


def test_many_who_come_together_are_told_in_few_events(server, plug, anna):
    watcher = server.open(anna).begin({"device": plug.pk})
    for count in range(20):
        come(server.open(log_in(Browser(), username=f"user-{count}")), plug)
    events = 0
    while bodies(watcher)[0]["count"] < 20:
        events += 1
    assert events < 10


@pytest.mark.parametrize(
    "wrong", [{}, {"device": "3"}, {"device": True}, {"device": 3, "changing": "yes"}]
)
def test_what_makes_no_sense_is_told(server, plug, anna, wrong):
    socket = server.open(anna)
    socket.say(here=wrong, ref=1)
    assert socket.hear_of("error")["ref"] == 1


def test_at_a_device_that_is_not_there_nobody_is(server, plug, anna):
    socket = server.open(anna).begin()
    socket.say(here={"device": plug.pk + 1})
    socket.say(here={"device": plug.pk})
    assert bodies(socket)[0]["device"] == plug.pk


def test_a_page_that_is_open_stays_and_one_whose_lease_was_lost_comes_back(
    server, plug, anna, settings, at_once
):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    socket = come(server.open(anna), plug)
    bodies(socket)
    Presence.objects.update(expires_at=F("expires_at") - LASTS)
    presence.forget()
    seen, until = [], time.monotonic() + PATIENCE
    while len(seen) < 2:
        assert time.monotonic() < until
        message = socket.hear()
        seen += [event["body"]["count"] for event in message] if isinstance(message, list) else []
        socket.say(pong={})
    assert seen == [0, 1]


def test_a_client_that_does_not_answer_any_more_is_not_there(server, plug, anna, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 0.2
    socket = come(server.open(anna), plug)
    assert socket.closes() == 4408
    assert gone()


def test_a_log_in_that_is_over_is_not_there(server, plug, anna, client, settings):
    settings.SOCKET_HEARTBEAT_SECONDS = 1.5
    socket = come(server.open(anna), plug)
    socket.events(1)
    client.logout()
    socket.say(pong={})
    assert socket.closes() == 4401
    assert gone()


# Through gunicorn


BROWSER = """
import json, sys
from websockets.sync.client import connect
site, cookie, device = sys.argv[1:]
headers = {"Cookie": f"sessionid={cookie}"}
address = f"ws{site[4:]}/ws/events/"
with connect(address, origin=site, proxy=None, additional_headers=headers) as socket:
    socket.send(json.dumps({"here": {"device": int(device)}}))
    for message in socket:
        if "ping" in message:
            socket.send('{"pong": {}}')
"""


@pytest.fixture
def own_web(database_url):
    webs = [Web(database_url, SOCKET_HEARTBEAT_SECONDS="1.5")]
    webs[0].start()
    yield webs[0]
    webs[0].end()


def test_a_browser_that_is_killed_leaves_no_ghost(web, plug, anna, berta):
    with web.open(anna) as hers:
        come(hers, plug)
        assert at(bodies(hers)[0]) == ["anna"]
        browser = subprocess.Popen(
            [sys.executable, "-c", BROWSER, web.site, berta, str(plug.pk)], cwd=ROOT
        )
        try:
            assert at(bodies(hers)[0]) == ["anna", "berta"]
        finally:
            os.kill(browser.pid, signal.SIGKILL)
            browser.wait()
        assert at(bodies(hers)[0]) == ["anna"]


def test_a_server_that_is_killed_leaves_no_ghost_longer_than_its_lease(own_web, plug, anna, berta):
    with own_web.open(anna) as hers:
        bodies(come(hers, plug))
        own_web.kill()
    assert Presence.objects.here().count() == 1
    own_web.start()
    with own_web.open(berta) as other:
        come(other, plug)
        assert at(bodies(other)[0]) == ["anna", "berta"]
        Presence.objects.filter(name="anna").update(
            expires_at=F("expires_at") - LASTS
        )  # the time passes
        assert at(bodies(other)[0]) == ["berta"]
    assert gone()


def test_a_server_that_is_stopped_takes_its_readers_off_the_list(own_web, plug, anna):
    with own_web.open(anna) as hers:
        bodies(come(hers, plug))
        own_web.stop()
    assert gone()


# On pages


@pytest.fixture
def visit(chromium, web):
    """Opens a path with that cookie; errors of scripts fail the test."""
    contexts, complaints = [], []

    def open_page(path, cookie=""):
        contexts.append(chromium.new_context(base_url=web.site))
        if cookie:
            contexts[-1].add_cookies([{"name": "sessionid", "value": cookie, "url": web.site}])
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.browser
def test_pages_say_who_else_is_there_and_who_is_about_to_change_it(visit, plug, anna):
    her_line = visit(f"/devices/{plug.pk}/", anna).locator("#present")
    expect(her_line).to_be_hidden()
    berta = visit(
        f"/devices/{plug.pk}/change/", log_in(Browser(), Role.ADMINISTRATOR, username="berta")
    )
    expect(her_line).to_have_text("Also here: berta (changing it).")
    expect(berta.locator("#present")).to_have_text("Also here: anna.")
    stranger = visit(f"/devices/{plug.pk}/")
    expect(stranger.locator("#present")).to_have_text("Also here: 2 people (1 changing it).")
    expect(her_line).to_have_text("Also here: berta (changing it), 1 other.")
    berta.goto(f"/devices/{plug.pk}/rule/")
    expect(berta.locator("#present")).to_have_text("Also here: anna, 1 other.")
    berta.goto("/")
    expect(her_line).to_have_text("Also here: 1 person.")
