"""The pages in a real browser: the script, the policy, the keyboard, and without any script at
all."""

import re
import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect

from core.models import Alert, Attribute, Observation, Plan, User
from core.simulator import Simulator
from core.tasks import gateways
from core.tasks.events.outbox import publishing
from core.tasks.forecasts import fetch
from core.views import status
from tests.core.live_page import call

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite,  # once: the script knows no database
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def simulator():
    with Simulator(devices=1) as running:
        running.devices[0].on = False
        yield running


@pytest.fixture
def visit(chromium, live_server, device):
    """Opens a path as somebody who may do everything; console errors fail the test."""
    contexts, complaints = [], []
    client = Client()
    client.force_login(User.objects.create(username="anna", is_superuser=True, is_staff=True))
    session = client.cookies["sessionid"].value

    def open_page(path, **options):
        context = chromium.new_context(
            base_url=live_server.url, timezone_id="Asia/Kolkata", **options
        )
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
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
    expect(page.locator("time[data-ago]").first).to_have_attribute(
        "title", re.compile(r"GMT\+5:30|IST")
    )


def test_no_label_of_time_lies_over_the_next_on_a_narrow_phone(visit, device):
    plan(device)
    page = visit(f"/devices/{device.pk}/", viewport={"width": 320, "height": 800})
    expect(page.locator(".chart.outside")).to_have_count(1)
    boxes = page.locator(".chart.outside .x text").evaluate_all("""(all) => all
        .map((text) => text.getBoundingClientRect()).filter((box) => box.width)
        .map(({ left, right }) => [left, right])""")
    assert len(boxes) > 1
    assert all(box[1] < after[0] for box, after in pairwise(sorted(boxes)))


def test_the_servers_clock_is_told_by_when_a_page_was_written(visit, device, monkeypatch):
    def take_long(now):
        time.sleep(3)
        return []

    monkeypatch.setattr(status, "forecasts_shown", take_long)
    page = visit("/")
    page.evaluate("Date.now = () => 0")
    skew = call(page, "clock", "script.clock()")
    began, written, arrived = page.evaluate("""() => [
        Number(document.querySelector("[data-now]").dataset.now) * 1000,
        Number(document.querySelector("[data-written]").dataset.written) * 1000,
        performance.timeOrigin + performance.getEntriesByType("navigation")[0].responseStart,
    ]""")
    assert skew == pytest.approx(written - arrived, abs=1)
    # Here it is the same clock: the nearer to zero, the better.
    assert abs(skew) < abs(began - arrived)


def test_ages_are_true_where_the_readers_clock_is_wrong(visit, device):
    """On a page that is not live too."""
    began = timezone.now() - timedelta(minutes=90)
    Alert.objects.create(
        key="x",
        title="Something",
        first_seen_at=began,
        last_seen_at=began,
        counted_at=began,
        opened_at=began,
    )
    page = visit("about:blank")
    page.add_init_script("""
        const now = Date.now.bind(Date);
        const origin = performance.timeOrigin;
        Date.now = () => now() - 3 * 3600000;
        Object.defineProperty(performance, "timeOrigin", { value: origin - 3 * 3600000 });
    """)
    page.goto("/alerts/")
    expect(page.locator("footer .zone")).to_have_text(re.compile("Asia"))
    expect(page.locator("td time[data-ago]")).to_have_text("1 h ago")


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
        f"/devices/{device.pk}/rule/?rule=cleanest_hours&guard=lightning_guard",
        "/gateways/",
        "/gateways/add/",
        f"/gateways/{device.gateway_id}/",
    ]
    plan(device)
    page = visit(paths[0], viewport={"width": width, "height": 800})
    for path in paths:
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_no_name_and_no_value_is_cut_in_the_list_on_a_phone(visit, device):
    device.attributes.exclude(name="on").delete()
    for name in ("color_temperature", "a_name_that_goes_on_for_longer_than_any", "x" * 60):
        Attribute.objects.create(device=device, name=name, kind="text", text="y" * 48)
    page = visit("/", viewport={"width": 390, "height": 800})
    expect(page.locator(".values dt")).to_have_count(3)
    cut = (
        "all => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.outerHTML)"
    )
    assert page.locator(".values dt, .values dd").evaluate_all(cut) == []


def test_a_long_value_leaves_room_for_its_name_on_a_phone(visit, device):
    Attribute.objects.create(device=device, name="mode", kind="text", text="y" * 255)
    page = visit(f"/devices/{device.pk}/", viewport={"width": 390, "height": 800})
    row = page.locator(".attribute", has_text="yyy")
    widths = row.evaluate("(one) => [one, one.querySelector('h3')].map((part) => part.clientWidth)")
    assert widths[1] > widths[0] / 4


def test_a_long_value_is_shortened_in_the_list_and_whole_on_hover(visit, device):
    text = "z" * 100
    mode = Attribute.objects.create(device=device, name="mode", kind="text", text=text)
    page = visit("/")
    value = page.locator(f"[data-value='{mode.pk}']")
    expect(value).to_have_text("z" * 47 + "…")
    expect(value).to_have_attribute("title", text)
    call(page, "render", f"script.showValue({mode.pk}, 'q'.repeat(60), true)")
    expect(value).to_have_text("q" * 47 + "…")
    expect(value).to_have_attribute("title", "q" * 60)
    call(page, "render", f"script.showValue({mode.pk}, 'short', true)")
    expect(value).to_have_text("short")
    assert value.get_attribute("title") is None


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_label_of_a_chart_reaches_over_its_card(visit, device, width):
    """Wherever the hour puts it: the last label of time is put where none is further right."""
    power = device.attributes.get(name="power")
    Observation.objects.create(
        attribute=power, observed_at=timezone.now() - timedelta(days=9), number=777.0
    )
    plan(device)
    path = f"/devices/{device.pk}/?attribute={power.pk}&span=month"
    page = visit(path, viewport={"width": width, "height": 800})
    expect(page.locator(".chart")).to_have_count(2)
    outside = page.locator(".chart").evaluate_all("""(charts) => charts.flatMap((chart) => {
        const last = [...chart.querySelectorAll(".x text:not([display])")].at(-1);
        last.textContent = "30 Nov";
        last.setAttribute("x", "100%");
        const card = chart.getBoundingClientRect();
        return [...chart.querySelectorAll("text:not([display])")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.width && (box.left < card.left + 1 || box.right > card.right - 1);
        }).map((text) => text.textContent);
    })""")
    assert outside == []


def plan(device):
    """A plan of three hours within a day, over the forecast and measurements of the replay feed."""
    now = timezone.now()
    gateways.set_rule(device.pk, "cleanest_hours", {"watts": 2000})
    fetch.fetch_forecasts(force=True)
    opens_at, deadline = now - timedelta(hours=6), now + timedelta(hours=18)
    windows = [
        [(now + timedelta(hours=hours)).timestamp(), (now + timedelta(hours=hours + 1)).timestamp()]
        for hours in (1, 3, 9)
    ]
    with publishing():
        Plan.objects.create(
            device=device,
            rule="cleanest_hours",
            signal="carbon_intensity",
            region="replay",
            opens_at=opens_at,
            deadline=deadline,
            job={"minutes": 180},
            windows=windows,
            unit="gCO2",
            made_at=opens_at,
            counted_until=now,
        )


def test_a_plan_is_read_with_the_arrow_keys_from_now_on(visit, device):
    plan(device)
    page = visit(f"/devices/{device.pk}/")
    chart = page.get_by_role("slider", name="Carbon intensity of the grid in gCO2/kWh over time")
    chart.focus()
    expect(chart).to_have_attribute("aria-valuenow", "60")
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"forecast \d+, planned$"))


def test_choosing_a_rule_brings_its_fields(visit, device):
    page = visit(f"/devices/{device.pk}/rule/")
    page.get_by_label("Which rule").select_option("cleanest_hours")
    expect(page.get_by_label("Watts")).to_be_visible()
    expect(page.get_by_label("Which rule")).to_be_focused()
    page.get_by_label("Watts").fill("2000")
    page.get_by_role("button", name="Save: cleanest hours as the rule").click()
    expect(page.get_by_role("status")).to_contain_text(
        "the rule cleanest hours decides from now on"
    )
    expect(page.get_by_text("2,000 W")).to_be_visible()


def test_a_rule_is_chosen_and_a_device_held_without_the_script(visit, device):
    page = visit(f"/devices/{device.pk}/rule/", java_script_enabled=False)
    page.get_by_label("Which rule").select_option("awesome")
    page.get_by_role("button", name="Choose this rule").click()
    page.get_by_role("button", name="Save: awesome as the rule").click()
    page.get_by_role("button", name="until released").click()
    expect(page.get_by_role("heading", name="Held until released")).to_be_visible()
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_contain_text("is released")
