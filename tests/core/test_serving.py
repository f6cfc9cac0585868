"""Pages, static files, the admin and /healthz through gunicorn, configured as in production."""

import select
import socket
from contextlib import suppress

import pytest
import requests
from django.contrib.staticfiles import finders

from tests.core.live.web_server import Web


@pytest.fixture(scope="module")
def webs():
    started = []
    yield started
    for web in started:
        web.end()


@pytest.fixture
def get(webs, database_url):
    if not webs:
        webs.append(Web(database_url))
        webs[0].start()
    with requests.Session() as session:
        session.trust_env = False
        yield lambda path, **headers: session.get(
            f"{webs[0].site}{path}", headers=headers, timeout=10
        )


def test_pages_are_served(get):
    assert "No devices yet" in get("/").text or get("/").status_code == 200
    assert get("/").headers["Content-Security-Policy"]
    assert get("/nothing/").status_code == 404


def test_the_admin_is_served(get):
    page = get("/admin/")
    assert page.url.endswith("/login/?next=/admin/")
    assert page.status_code == 200


def test_healthz_answers(get):
    assert get("/healthz").status_code in (200, 503)
    assert get("/healthz").headers["Content-Type"].startswith("text/plain")


def test_static_files_are_served_whole_in_part_and_without_a_warning(get, webs):
    path = "/static/admin/css/base.css"
    with open(finders.find("admin/css/base.css"), "rb") as file:
        content = file.read()
    assert get(path).content == content
    part = get(path, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, content[10:20])
    assert get(path, **{"If-Modified-Since": get(path).headers["Last-Modified"]}).status_code == 304
    assert "Warning" not in webs[0].log()


def test_a_plain_request_to_the_socket_is_not_found(get):
    """As plain `runserver` answers too, by which pages know that they must refresh themselves."""
    assert get("/ws/events/").status_code == 404


def test_no_control_socket_is_opened(get, webs):
    assert "control" not in webs[0].log().lower()


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 314572800", "Transfer-Encoding: chunked"],
    ids=["stated", "chunked"],
)
def test_300_megabytes_are_refused_before_2_arrived(get, webs, framing):
    get("/healthz")
    chunk = b"x" * 65_536
    piece = b"10000\r\n" + chunk + b"\r\n" if "chunked" in framing else chunk
    with socket.socket() as client:
        client.settimeout(10)
        # Little of what is counted as sent lies in buffers of our own.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        client.connect(("127.0.0.1", webs[0].port))
        head = f"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}\r\n\r\n"
        client.sendall(head.encode())
        sent = 0
        with suppress(ConnectionError):
            while sent < 20_000_000 and not select.select([client], [], [], 0)[0]:
                client.sendall(piece)
                sent += len(piece)
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert sent < 2_000_000
