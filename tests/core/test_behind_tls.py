"""A site behind nginx that ends TLS, as docs/production.md sets it up, in a browser."""

import pytest
import requests
from playwright.sync_api import expect

from core.models import User
from tests.core.live_page import BLINK, live
from tests.core.tasks.homes import make_device, make_gateway
from tests.deployment import (
    COMMANDS,
    NGINX,
    Process,
    answers,
    environment,
    free_port,
    make_image,
    nginx_with_tls,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def anna(transactional_db):
    return User.objects.create_superuser("anna", password="a long password")


@pytest.fixture
def secure_site(tmp_path, chromium, certificate, database_url):
    """The addresses by https and http of two servers, as they are unless told otherwise."""
    if not NGINX:
        pytest.skip("nginx is not installed: apt-get install nginx")
    image = make_image(tmp_path)
    env = environment(database_url)
    del env["HTTPS"]
    pages, sockets = free_port(), free_port()
    servers = [Process(COMMANDS["web"], image, env, port) for port in (pages, sockets)]
    try:
        pools = {"web": [pages], "api": [pages], "sockets": [sockets]}
        with nginx_with_tls(tmp_path, certificate, **pools) as ports:
            wait_until(lambda: answers(pages) and answers(sockets))
            yield f"https://localhost:{ports[0]}", f"http://localhost:{ports[1]}"
    finally:
        for server in servers:
            server.end()


def test_behind_tls_a_browser_logs_in_and_sees_changes(secure_site, chromium, anna):
    device = make_device(make_gateway())
    secure, plain = secure_site
    moved = requests.get(f"{plain}/login/?next=/", timeout=30, allow_redirects=False)
    assert moved.headers["Location"] == "https://localhost/login/?next=/"
    with chromium.new_context(ignore_https_errors=True, base_url=secure) as browser:
        page = browser.new_page()
        sockets = []
        page.on("websocket", lambda socket: sockets.append(socket.url))
        form = page.goto("/login/")
        assert form.header_value("Strict-Transport-Security").startswith("max-age=31536000")
        page.get_by_label("Username").fill("anna")
        page.get_by_label("Password").fill("a long password")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{secure}/")
        cookies = {cookie["name"]: cookie["secure"] for cookie in browser.cookies()}
        assert cookies == {"csrftoken": True, "sessionid": True}
        live(page)
        assert sockets == [f"wss{secure.removeprefix('https')}/ws/events/"]
        other = browser.new_page()
        other.goto(f"/devices/{device.pk}/change/")
        other.get_by_label("Name", exact=True).fill("Attic")
        other.get_by_role("button", name="Save").click()
        expect(page.get_by_role("link", name="Attic")).to_be_visible(timeout=BLINK)
