"""The browser of the tests that need one, and a server for pages that change by themselves."""

import shutil
import time

import pytest
from django.db import connection
from django.test import Client

from core.models import Presence, User
from tests.core.live.web_server import Web

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def chromium():
    if not CHROMIUM:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    # The browser's driver runs a loop in this thread until the last test's tables are empty again.
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def started():
    webs = []
    yield webs
    for web in webs:
        web.end()


@pytest.fixture
def web(started, chromium, database_url):
    """A gunicorn that all tests of a module share."""
    if not started:
        started.append(Web(database_url, SOCKET_HEARTBEAT_SECONDS="1"))
        started[0].start()
    return started[0]


@pytest.fixture
def anna(transactional_db):
    return User.objects.create(username="anna", is_superuser=True, is_staff=True)


@pytest.fixture
def browse(chromium, anna):
    """Opens a path in a browser of its own, as anna, who may do everything, or as somebody else."""
    contexts = []
    complaints = []

    def open_page(site, path="/", user=anna, browser=chromium, **options):
        client = Client()
        client.force_login(user)
        context = browser.new_context(base_url=site, **options)
        context.add_cookies(
            [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}]
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if "Content Security Policy" in said.text else None
            ),
        )
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    wait_for_the_server()
    assert complaints == []


def wait_for_the_server():
    """Until it has done what pages asked last, and stored a moment later that their readers left:
    emptying tables in the middle of that would be a deadlock on PostgreSQL."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state <> 'idle' AND pid <> pg_backend_pid()"
    )
    until, quiet = time.monotonic() + 10, 0
    while connection.vendor == "postgresql" and quiet < 5 and time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(busy)
            quiet = quiet + 1 if cursor.fetchone() == (0,) and not Presence.objects.exists() else 0
        time.sleep(0.02)
