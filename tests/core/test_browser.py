"""The pages in a real browser: the script, the policy, the keyboard, and without any script at all."""

import re
import shutil
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect, sync_playwright

from core.models import Observation, User
from core.simulator import Simulator
from core.tasks import gateways, poll

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def chromium():
    # The browser's driver runs a loop in this thread until the last test's tables are empty again.
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def simulator():
    with Simulator(devices=1) as running:
        running.devices[0].on = False
        yield running


@pytest.fixture
def device(chromium, transactional_db, simulator):
    found = gateways.add("shelly", simulator.address(0))
    poll.poll(found.gateway.pk)
    return found.gateway.devices.get()


@pytest.fixture
def visit(chromium, live_server, device):
    """Opens a path as somebody who may do everything; console errors fail the test."""
    contexts, complaints = [], []
    client = Client()
    client.force_login(User.objects.create(username="anna", is_superuser=True, is_staff=True))
    session = client.cookies["sessionid"].value

    def open_page(path, **options):
        context = chromium.new_context(base_url=live_server.url, timezone_id="Asia/Kolkata", **options)
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def test_a_switch_is_pressed_with_the_keyboard(visit, simulator):
    page = visit("/")
    page.get_by_role("button", name="Turn on Heater").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Heater, on: confirmed")
    assert simulator.devices[0].on


def test_everything_works_without_the_script(visit, simulator, device):
    page = visit(f"/devices/{device.pk}/", java_script_enabled=False)
    expect(page.locator("time").first).to_have_attribute("title", re.compile("UTC$"))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("status")).to_contain_text("confirmed")
    assert simulator.devices[0].on


def test_times_are_in_the_readers_zone(visit, device):
    page = visit("/")
    expect(page.locator("time[data-ago]").first).to_have_attribute("title", re.compile(r"GMT\+5:30|IST"))


def test_a_chart_is_read_with_the_arrow_keys(visit, device):
    now = timezone.now()
    power = device.attributes.get(name="power")
    Observation.objects.create(attribute=power, observed_at=now - timedelta(hours=3), number=777.0)
    page = visit(f"/devices/{device.pk}/?attribute={power.pk}")
    chart = page.get_by_role("slider", name="power over time")
    chart.focus()
    page.keyboard.press("PageDown")
    expect(chart).to_have_attribute("aria-valuenow", "215")
    expect(page.locator(".told")).to_contain_text("777 W")


@pytest.mark.parametrize("width", [320, 1280])
def test_no_page_is_wider_than_the_screen(visit, device, width):
    paths = [
        "/",
        f"/devices/{device.pk}/",
        f"/devices/{device.pk}/change/",
        "/gateways/",
        "/gateways/add/",
        f"/gateways/{device.gateway_id}/",
    ]
    page = visit(paths[0], viewport={"width": width, "height": 800})
    for path in paths:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
