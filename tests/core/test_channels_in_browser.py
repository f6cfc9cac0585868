"""Channels of one hardware in a real browser: they stand together, and change by themselves."""

import pytest
from playwright.sync_api import expect

from core.models import Device
from core.simulator import STRIP, Simulator
from core.tasks import gateways, poll
from tests.core.live_page import BLINK, live

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite,  # once: the script knows no database
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def simulator():
    with Simulator(devices=1, kinds=(STRIP,)) as running:
        yield running


@pytest.fixture
def strip(transactional_db, simulator):
    gateways.add("shelly", simulator.address(0))
    poll.poll_devices(force=True)
    return list(Device.objects.order_by("pk"))


def test_a_change_of_one_leaves_them_together(browse, web, strip, simulator):
    page = live(browse(web.site))
    expect(page.locator(".housing")).to_have_text("Workshop Pro4PM")
    expect(page.locator(".device.part h2")).to_have_text([device.name for device in strip])
    gateways.change_device(strip[1].pk, name="Saw", place="Bench")
    row = page.locator(f"#device-{strip[1].pk}")
    expect(row.locator("h2")).to_have_text("Saw", timeout=BLINK)
    expect(row.locator(".where")).to_have_text("Bench")
    simulator.devices[0].channels[2].on = True
    poll.poll_devices(force=True)
    expect(page.locator(f"#device-{strip[2].pk} .now")).to_have_text("on", timeout=BLINK)
    expect(page.locator(".housing")).to_have_count(1)
    assert page.evaluate("isSame")


def test_the_page_of_one_shows_the_others_live(browse, web, strip, simulator):
    page = live(browse(web.site, f"/devices/{strip[0].pk}/"))
    parts = page.get_by_role("navigation", name="Devices of Workshop")
    expect(parts.get_by_role("link")).to_have_text([device.name for device in strip])
    expect(parts.get_by_role("link", name="Bench light")).to_have_attribute("aria-current", "page")
    simulator.devices[0].channels[3].on = True
    poll.poll_devices(force=True)
    expect(page.locator(f"#part-{strip[3].pk} b")).to_have_text("on", timeout=BLINK)
    expect(page.locator(f"#part-{strip[0].pk} b")).to_have_text("off")
