"""One site of several processes: the Procfile, started by its runner, behind a real nginx."""

import http.client
import json
import random
import re
import select
import signal
import socket
import time
from contextlib import contextmanager, suppress

import pytest
import requests
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from core.models import Gateway, Lease, Relay, Run, User
from core.models.access import Right
from core.models.run import Outcome
from core.simulator import Fault, Simulator
from core.tasks import runs, tokens
from tests.core.live.pusher_server import PusherServer
from tests.core.live.web_server import Client
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.workers import RABBITMQ, site
from tests.core.workers import answers as broker_answers
from tests.deployment import (
    COMMANDS,
    FRONT_PROXY,
    NGINX,
    Process,
    answers,
    environment,
    free_port,
    listens,
    make_image,
    nginx,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
STRANGER = "127.0.0.1"
STOPS_WITHIN_SECONDS = 10


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("image"))


def first_port(count):
    """Of so many free ones at the distances a Procfile runner gives its processes."""
    for _ in range(100):
        port = random.randrange(15_000, 30_000, 1000)
        if not any(listens(port + 100 * place + n) for place in range(count) for n in range(3)):
            return port
    raise AssertionError("there is no free port")


@pytest.fixture(scope="module")
def honchos():
    started = []
    yield started
    for process in started:
        process.end()


class Pools:
    """One `web` and two `sockets`, and the proxy in front of them."""

    def __init__(self, image, folder, database_url):
        port = first_port(2)
        command = f"honcho start --port {port} --concurrency web=1,sockets=2 web sockets"
        self.honcho = Process(command, image, environment(database_url))
        self.web, self.sockets = [port], [port + 100, port + 101]
        self.front = nginx(folder, web=self.web, api=self.web, sockets=self.sockets)
        self.port = self.front.__enter__()
        for each in self.web + self.sockets:
            wait_until(lambda each=each: answers(each))

    @property
    def address(self):
        return f"http://localhost:{self.port}"

    def end(self):
        self.front.__exit__(None, None, None)
        self.honcho.end()


@pytest.fixture(scope="module")
def running():
    made = []
    yield made
    for pools in made:
        pools.end()


@pytest.fixture
def pools(running, image, tmp_path_factory, database_url):
    if not NGINX:
        pytest.skip("nginx is not installed: apt-get install nginx")
    if not running:
        running.append(Pools(image, tmp_path_factory.mktemp("nginx"), database_url))
    return running[0]


@pytest.fixture
def anna(transactional_db):
    anna = User.objects.create(username="anna", is_superuser=True)
    anna.set_password("a long password")
    anna.save()
    return anna


@pytest.fixture
def browser(pools, anna):
    """Logged in through the proxy, by the form."""
    with requests.Session() as session:
        session.trust_env = False
        form = session.get(f"{pools.address}/login/", timeout=30)
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        session.headers["Referer"] = form.url
        answer = session.post(
            form.url,
            {"csrfmiddlewaretoken": token, "username": "anna", "password": "a long password"},
            timeout=30,
        )
        assert "Log out" in answer.text
        yield session


@contextmanager
def open_socket(address, cookie, origin):
    with connect(
        f"ws{address[4:]}/ws/events/",
        origin=origin,
        compression=None,
        proxy=None,
        additional_headers={"Cookie": f"sessionid={cookie}"},
    ) as socket:
        yield Client(socket)


def test_pages_the_api_and_static_files_are_one_site(pools, browser):
    page = browser.get(f"{pools.address}/", timeout=30)
    assert "No devices yet" in page.text
    [style] = re.findall(r'href="(/static/core/style\.[0-9a-f]+\.css)"', page.text)
    assert (
        "immutable" in browser.get(f"{pools.address}{style}", timeout=30).headers["Cache-Control"]
    )
    assert browser.get(f"{pools.address}/api/v1/devices/", timeout=30).json()["results"] == []


def ask(port, source, token, **headers):
    """One request from an address of this machine."""
    asked = http.client.HTTPConnection("127.0.0.1", port, 30, source_address=(source, 0))
    sent = {"Host": f"localhost:{port}", "Authorization": f"Bearer {token}"}
    asked.request("GET", "/api/v1/runs/?limit=1", headers=sent | headers)
    answer = asked.getresponse()
    body = answer.read()
    asked.close()
    return answer.status, body


def test_where_a_request_comes_from_only_the_proxy_in_front_may_say(pools):
    forged = [
        ask(pools.port, STRANGER, "wrong", **{"X-Forwarded-For": f"203.0.113.{n}"})[0]
        for n in range(20)
    ]
    assert forged == [401] * 19 + [429]
    for n in range(2):
        told = ask(pools.port, FRONT_PROXY, "wrong", **{"X-Forwarded-For": f"198.51.100.{n}"})
        assert told[0] == 401


def test_by_which_scheme_a_request_came_only_the_proxy_in_front_may_say(pools, anna):
    Run.objects.bulk_create(Run(task="poll", outcome=Outcome.DONE) for _ in range(2))
    token = tokens.issue(anna, "a program", [Right.READ]).text
    https = {"X-Forwarded-Proto": "https"}
    for source, scheme in {"127.0.0.3": "http", FRONT_PROXY: "https"}.items():
        status, body = ask(pools.port, source, token, **https)
        assert status == 200
        assert json.loads(body)["next"].startswith(f"{scheme}://localhost")


def test_a_large_body_is_refused_before_it_was_sent(pools):
    with socket.create_connection(("127.0.0.1", pools.port), 30) as client:
        head = "POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.fixture
def broker():
    if not broker_answers(RABBITMQ):
        pytest.skip(f"RabbitMQ does not answer at {RABBITMQ}")
    return RABBITMQ


def test_the_runner_of_the_procfile_starts_every_process(image, broker, database_url):
    with site(database_url, broker) as ours:
        port = first_port(4)
        env = environment(database_url, CELERY_BROKER_URL=broker, CELERY_QUEUE=ours.queue)
        command = f"honcho start --port {port} web sockets worker beat"
        honcho = Process(command, image, env)
        try:
            wait_until(lambda: answers(port) and answers(port + 100))
            # What beat sent a worker did.
            done = Run.objects.filter(outcome=Outcome.DONE)
            wait_until(lambda: {"poll", "decide"} <= set(done.values_list("task", flat=True)))
            assert honcho.process.poll() is None
            honcho.process.send_signal(signal.SIGTERM)
            honcho.process.wait(60)
        finally:
            honcho.end()


def test_the_release_process_makes_the_tables(image, tmp_path):
    env = environment(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    release = Process(COMMANDS["release"], image, env)
    try:
        assert release.process.wait(60) == 0, release.said()
        assert "Applying core.0001_initial... OK" in release.said()
    finally:
        release.end()


def begin_a_request(connection):
    """It waits for the rest of its body: "100 Continue" says that it is being worked at."""
    connection.sendall(
        b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n"
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")


@contextmanager
def kept_connection(port):
    """As a proxy keeps it for its next request."""
    asked = http.client.HTTPConnection("127.0.0.1", port, 60)
    asked.request("GET", "/healthz", headers={"Host": "localhost"})
    asked.getresponse().read()
    asked.sock.settimeout(5)
    yield asked.sock
    asked.close()


def test_what_web_changes_is_heard_at_every_socket_process(pools, browser):
    device = make_device(make_gateway())
    cookie = browser.cookies["sessionid"]
    with (
        open_socket(pools.address, cookie, pools.address) as one,
        open_socket(pools.address, cookie, pools.address) as other,
    ):
        both = [client.begin() for client in (one, other)]
        address = f"{pools.address}/devices/{device.pk}/change/"
        form = browser.get(address, timeout=30).text
        given = dict(re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', form))
        changed = given | {"name": "Attic", "fail_safe": "off"}
        browser.post(address, changed, headers={"Referer": address}, timeout=30)
        device.refresh_from_db()
        assert device.name == "Attic"
        for client in both:
            assert client.events(1)


def test_clients_that_drip_are_ended(pools):
    """Each byte comes in time for the next, and never the last."""
    with (
        socket.create_connection(("127.0.0.1", pools.port), 30) as header,
        socket.create_connection(("127.0.0.1", pools.port), 30) as body,
    ):
        header.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        body.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n")
        open_ones, ended = {header, body}, {}

        def drip():
            for client in select.select(open_ones, [], [], 0.5)[0]:
                try:
                    ended[client] = client.recv(1000)
                except ConnectionResetError:
                    ended[client] = b""
                open_ones.discard(client)
            for client in open_ones:
                with suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(b"x")
            return not open_ones

        wait_until(drip)
        assert ended[header] == b""  # nginx
        assert ended[body].startswith(b"HTTP/1.1 408 ")  # the application


@pytest.fixture
def hanging():
    """A gateway that takes a connection and never answers."""
    with Simulator(devices=1) as simulator:
        make_device(make_gateway(address=simulator.address(0)))
        simulator.devices[0].faults = [Fault("hang")]
        yield Gateway.objects.get()


def test_each_process_that_is_told_to_stop_ends_what_it_began_within_ten_seconds(
    image, broker, database_url, anna, hanging
):
    client = Browser()
    client.force_login(anna)
    cookie = client.cookies["sessionid"].value
    with site(database_url, broker) as ours, PusherServer() as pusher:
        env = environment(
            database_url,
            CELERY_BROKER_URL=broker,
            CELERY_QUEUE=ours.queue,
            GATEWAY_NETWORKS="loopback",
            GATEWAY_TIMEOUT_SECONDS="60",
        )
        names = set(COMMANDS) - {"release"}  # which ends by itself
        ports = {"web": free_port(), "sockets": free_port()}
        more = {"relay": {"RELAY_URL": pusher.url}}
        processes = {
            name: Process(COMMANDS[name], image, env | more.get(name, {}), ports.get(name, 0))
            for name in names
        }
        try:
            for port in ports.values():
                wait_until(lambda port=port: answers(port))
            wait_until(lambda: Run.objects.filter(outcome=Outcome.DONE, task="decide").exists())
            for task in (runs.LISTEN, runs.POLL):
                held = Lease.objects.filter(task=task).exclude(holder="")
                wait_until(held.exists)
            wait_until(lambda: Relay.objects.exclude(holder="").exists())
            is_asked = Gateway.objects.exclude(claimed_until=None)
            wait_until(is_asked.exists)
            address = f"http://localhost:{ports['sockets']}"
            with (
                open_socket(address, cookie, address) as listener,
                socket.create_connection(("127.0.0.1", ports["web"]), 60) as asked,
                kept_connection(ports["web"]) as idle,
            ):
                listener.begin()
                begin_a_request(asked)
                told_at = time.monotonic()
                for process in processes.values():
                    process.process.send_signal(signal.SIGTERM)
                with pytest.raises(ConnectionClosed) as closed:
                    while True:
                        listener.hear()
                assert closed.value.rcvd.code == 1012
                wait_until(lambda: not listens(ports["web"]))
                asked.sendall(b"x=1")
                assert asked.recv(1000).startswith(b"HTTP/1.1 403 ")  # without a CSRF token
                assert idle.recv(1) == b""
            until = told_at + STOPS_WITHIN_SECONDS
            codes = {
                name: process.process.wait(max(0, until - time.monotonic()))
                for name, process in processes.items()
            }
            assert codes == dict.fromkeys(names, 0)
            assert not Lease.objects.filter(task=runs.LISTEN).exclude(holder="").exists()
            assert not is_asked.exists()
        finally:
            for process in processes.values():
                process.end()
