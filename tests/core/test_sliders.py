"""Sliders in a real browser: keys, mouse and finger order; what the device tells moves them."""

import re

import pytest
from playwright.sync_api import expect

from core.models import Attribute, DeviceCommand
from core.simulator import BLIND, LAMP, Fault, Simulator
from core.tasks import gateways, poll
from tests.core.live_page import BLINK, live

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite,  # once: the script knows no database
    pytest.mark.django_db(transaction=True),
]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture
def simulator():
    with Simulator(devices=2, kinds=(LAMP, BLIND)) as running:
        yield running


@pytest.fixture
def lamp(transactional_db, simulator):
    gateways.add("shelly", simulator.address(0))
    poll.poll_devices(force=True)
    return Attribute.objects.get(name="brightness").device


def path(device):
    return f"/devices/{device.pk}/"


def slider(page, name="brightness"):
    return page.get_by_role("slider", name=f"New value of {name}")


def said(page, name="brightness"):
    item = page.locator("li.attribute", has=page.get_by_role("heading", name=name, exact=True))
    return item.locator("output")


def ordered():
    return list(DeviceCommand.objects.order_by("pk").values_list("number", flat=True))


def test_keys_move_it_and_order_once_they_rest(browse, web, lamp, simulator):
    page = live(browse(web.site, path(lamp)))
    slider(page).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(said(page)).to_have_text("63%")
    expect(slider(page)).to_have_attribute("aria-valuetext", "63%")
    expect(page.locator(".order")).to_contain_text("confirmed", timeout=BLINK)
    assert (ordered(), simulator.devices[0].brightness) == ([63], 63)
    page.keyboard.press("Home")
    expect(page.locator(".order")).to_contain_text("brightness 0%: confirmed", timeout=BLINK)


def test_what_the_device_tells_moves_it_in_every_browser(browse, web, lamp, simulator):
    pages = [live(browse(web.site, path(lamp))) for _ in range(2)]
    slider(pages[1]).focus()  # looked at, and not touched
    simulator.devices[0].adjust(25, 4500)
    poll.poll_devices(force=True)
    for page in pages:
        expect(slider(page)).to_have_value("25", timeout=BLINK)
        expect(said(page)).to_have_text("25%")
        expect(slider(page, "color temperature")).to_have_value("4500")
        expect(said(page, "color temperature")).to_have_text("4,500 K")


def test_what_one_browser_orders_moves_the_other(browse, web, lamp):
    one, other = (live(browse(web.site, path(lamp))) for _ in range(2))
    slider(one, "color temperature").focus()
    one.keyboard.press("ArrowRight")
    expect(slider(other, "color temperature")).to_have_value("3050", timeout=BLINK)


def test_a_finger_on_a_phone_moves_it(browse, web, lamp, simulator):
    page = live(browse(web.site, path(lamp), **PHONE))
    box = slider(page).bounding_box()
    assert box["height"] >= 44 and box["x"] + box["width"] <= 390
    page.touchscreen.tap(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    expect(page.locator(".order")).to_contain_text("confirmed", timeout=BLINK)
    [brightness] = ordered()
    assert 12 <= brightness <= 28 and simulator.devices[0].brightness == brightness


def test_it_stays_where_it_was_put_until_the_blind_is_there(browse, web, simulator, lamp):
    blind = gateways.add("shelly", simulator.address(1)).new[0]
    poll.poll_devices(force=True)
    page = live(browse(web.site, f"/devices/{blind}/"))
    slider(page, "position").focus()
    page.keyboard.press("Home")
    expect(page.locator(".order")).to_contain_text(re.compile("accepted|sent"), timeout=BLINK)
    poll.poll_devices(force=True)
    value = page.locator("li.attribute", has=slider(page, "position")).locator(".value")
    expect(value).not_to_have_text("100%", timeout=BLINK)
    expect(slider(page, "position")).to_have_value("0")
    simulator.devices[1]._left_at -= 60
    poll.poll_devices(force=True)
    expect(page.locator(".order")).to_contain_text("confirmed", timeout=BLINK)
    expect(said(page, "position")).to_have_text("0%")


def test_an_order_that_fails_brings_it_back(browse, web, lamp, simulator):
    page = live(browse(web.site, path(lamp)))
    simulator.devices[0].faults = [Fault("unauthorised")]
    slider(page).focus()
    page.keyboard.press("End")
    expect(page.locator(".order")).to_contain_text("failed", timeout=BLINK)
    expect(slider(page)).to_have_value("60")
    expect(said(page)).to_have_text("60%")


def test_without_the_script_its_button_orders(browse, web, lamp, simulator):
    page = browse(web.site, path(lamp), java_script_enabled=False)
    slider(page).press("ArrowLeft")
    page.get_by_role("button", name="Set brightness").click()
    expect(page.get_by_text("brightness 59%: confirmed").first).to_be_visible()
    assert simulator.devices[0].brightness == 59
