"""Through gunicorn, over a real network, with events that other processes commit."""

import os
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.models import Event, Role
from core.simulator import Simulator
from core.tasks import gateways
from tests.core.live.changes import log_in, write_events
from tests.core.live.web_server import ROOT, Client, Web


@pytest.fixture
def own_web(database_url):
    """A gunicorn that a test may kill and start."""
    webs = []

    def start(**environment):
        webs.append(Web(database_url, **environment))
        webs[-1].start()
        return webs[-1]

    yield start
    for web in webs:
        web.end()


@pytest.fixture
def heater(transactional_db):
    with Simulator(devices=1) as simulator:
        yield gateways.add("shelly", simulator.address(0)).gateway.devices.get()


def ids(events):
    return [event["id"] for event in events]


def closing(client, hear=Client.hear):
    """The code and reason with which the server closes."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            hear(client)
    return caught.value.rcvd.code, caught.value.rcvd.reason


def test_what_another_process_commits_arrives(web, database_url, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("DEBUG", "1")
    with web.open() as client:
        client.begin()
        program = "from tests.core.live.changes import write_events; write_events(3)"
        with subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", program], cwd=ROOT
        ) as other:
            told = ids(client.events(3))
        assert (told, other.returncode) == (list(Event.objects.values_list("pk", flat=True)), 0)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_a_page_of_another_site_is_refused(web, origin):
    with pytest.raises(InvalidStatus) as caught, web.open(origin=origin):
        pass
    assert caught.value.response.status_code == 403


def test_a_log_in_that_is_over_is_refused_and_one_that_ends_is_closed_within_a_heartbeat(
    web, client
):
    cookie = log_in(client)
    with web.open(cookie) as ours:
        ours.hear()
        client.logout()
        assert closing(ours) == (4401, "the log-in is over")
    with pytest.raises(InvalidStatus), web.open(cookie):
        pass


def test_a_server_that_is_killed_and_started_loses_and_repeats_nothing(own_web):
    web = own_web()
    with web.open() as client:
        client.begin()
        expected = write_events(2)
        told = ids(client.events(2))
        web.kill()
        with pytest.raises(ConnectionClosed):
            client.hear()
    expected += write_events(600)
    web.start()
    with web.open() as client:
        client.begin(after=told[-1])
        expected += write_events(5)
        told += ids(client.events(605))
    assert told == expected


def test_a_server_that_is_stopped_closes_its_sockets_at_once_and_ends_soon(own_web):
    web = own_web()
    with ExitStack() as stack:
        clients = [stack.enter_context(web.open()).begin() for _ in range(5)]
        web._process.terminate()
        assert {closing(client) for client in clients} == {(1012, "restart: come again and resume")}
        # Gunicorn waits for what is open for 10 s.
        assert web.stop() < 10
    web.start()


def test_a_client_that_ignores_pings_is_closed(web):
    with web.open() as client:
        assert closing(client, hear=lambda client: client.socket.recv(60)) == (4408, "no pong came")


def test_an_order_takes_effect_and_its_states_are_told(web, heater, client):
    with web.open(log_in(client, Role.OPERATOR)) as ours:
        ours.begin()
        ours.say(order={"attribute": heater.attributes.get(name="on").pk, "value": True}, ref=1)
        heard = [ours.hear()]
        while not told_states(heard) or told_states(heard)[-1] != "confirmed":
            heard.append(ours.hear())
        [answer] = [message for message in heard if isinstance(message, dict)]
        assert (answer["ordered"]["state"], answer["ref"]) == ("requested", 1)
        assert told_states(heard) == ["requested", "sending", "accepted", "confirmed"]


def told_states(heard):
    events = [event for message in heard if isinstance(message, list) for event in message]
    return [event["body"]["state"] for event in events if event["kind"] == "command"]


def test_too_many_messages_close(web):
    with web.open() as client:
        with suppress(ConnectionClosed):  # which may come before all are sent
            for _ in range(50):
                client.say(pong={})
        assert closing(client)[0] == 4429


def test_the_example_follows_and_orders(web, heater, django_user_model):
    user = django_user_model.objects.create_superuser("demo", password="tea at five")
    assert user
    attribute = heater.attributes.get(name="on").pk
    example = [
        sys.executable,
        "docs/follow.py",
        web.site,
        "--user",
        "demo",
        "--order",
        str(attribute),
        "true",
    ]
    environment = os.environ | {"PASSWORD": "tea at five", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        example, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "confirmed" in done.stdout
