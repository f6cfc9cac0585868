"""Pages that change by themselves: a real gunicorn, real browsers, other processes that poll, and a
server that is killed."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone
from playwright.sync_api import expect

from core.models import Attribute, Device, DeviceCommand, Event, Observation, User
from core.simulator import Fault
from core.tasks import gateways, poll
from tests.core.live.web_server import ROOT, Web
from tests.core.live_page import BLINK, call, live

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SEEN = """async () => {
    window.seen = [];
    const { handlers } = await import("/static/core/events.js");
    for (const [kind, handle] of Object.entries(handlers)) {
        handlers[kind] = (event, isNews) => {
            if (isNews !== false) seen.push(event.id);
            handle(event, isNews);
        };
    }
}"""


def manage(database_url, *command):
    """In a process of its own, as the scheduler does."""
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url, "DEBUG": "1"},
        check=True,
        capture_output=True,
    )


def rename(admin, device, name):
    """As a person does in the admin."""
    admin.goto(f"/admin/core/device/{device.pk}/change/")
    admin.get_by_label("Name:").fill(name)
    admin.get_by_role("button", name="Save", exact=True).click()
    expect(admin.get_by_text("was changed successfully")).to_be_visible()


def test_three_browsers_see_a_poll_an_edit_and_a_click(
    browse, web, device, simulator, database_url
):
    status, own = live(browse(web.site)), live(browse(web.site, f"/devices/{device.pk}/"))
    admin = browse(web.site, "/admin/")
    power = device.attributes.get(name="power")
    pages = (status, own)

    simulator.devices[0].on = True
    manage(database_url, "poll_devices")
    for page in pages:
        expect(page.locator(f"[data-value='{power.pk}']").first).to_have_text(
            re.compile(r"[1-9].* W"), timeout=BLINK
        )
        expect(page.get_by_role("button", name="Turn off")).to_be_visible(timeout=BLINK)

    rename(admin, device, "Big kettle")
    expect(status.get_by_role("link", name="Big kettle")).to_be_visible(timeout=BLINK)
    expect(own.get_by_role("heading", name="Big kettle")).to_be_visible(timeout=BLINK)

    status.get_by_role("button", name="Turn off").click()
    for page in pages:
        expect(page.locator("p.order")).to_contain_text("Ordered off: confirmed", timeout=BLINK)
        expect(page.get_by_role("button", name="Turn on")).to_be_visible(timeout=BLINK)
    expect(own.locator("[aria-labelledby=ordered] tbody tr")).to_contain_text(
        "confirmed", timeout=BLINK
    )
    expect(status.locator("#said")).to_contain_text("on: confirmed")
    admin.goto("/admin/core/devicecommand/")
    expect(admin.locator("#result_list")).to_contain_text("confirmed")
    assert all(page.evaluate("window.isSame") for page in pages)
    assert DeviceCommand.objects.count() == 1


def test_a_killed_server_loses_nothing_and_tells_nothing_twice(
    browse, web, device, simulator, database_url
):
    pages = [live(browse(web.site)), live(browse(web.site))]
    for page in pages:
        page.evaluate(SEEN)
    began = Event.objects.latest("pk").pk
    manage(database_url, "poll_devices")
    web.kill()
    simulator.devices[0].on = True
    for name in ("one", "two", "three"):
        gateways.change_device(device.pk, name=name)
        poll.poll_devices(device.gateway_id, force=True)
    for page in pages:
        expect(page.locator("#connection")).not_to_have_text("live", timeout=BLINK)
    web.start()
    for page in pages:
        expect(page.locator("#connection")).to_have_text("live", timeout=15_000)
    poll.poll_devices(device.gateway_id, force=True)
    expected = list(Event.objects.after(began).values_list("pk", flat=True))
    for page in pages:
        expect(page.get_by_role("link", name="three")).to_be_visible(timeout=BLINK)
        expect(page.get_by_role("button", name="Turn off")).to_be_visible(timeout=BLINK)
        page.wait_for_timeout(300)
        assert page.evaluate("seen") == expected
        assert page.evaluate("window.isSame")


def test_what_happened_before_the_socket_opened_is_shown(browse, web, device):
    live(browse(web.site))  # the follower runs

    def change_first(socket):
        gateways.change_device(device.pk, name="In between")
        connection.close()  # of this greenlet, which is a thread to Django
        socket.connect_to_server()

    page = browse(web.site, "about:blank")
    page.route_web_socket("**/ws/events/", change_first)
    page.goto("/")
    live(page)
    expect(page.get_by_role("link", name="In between")).to_be_visible(timeout=BLINK)


def test_a_silent_device_becomes_late_by_itself(browse, device, database_url, settings):
    server = Web(database_url, POLL_INTERVAL_MINUTES="0.05")
    server.start()
    try:
        poll.poll_devices(device.gateway_id, force=True)
        status, own = live(browse(server.site)), live(browse(server.site, f"/devices/{device.pk}/"))
        expect(status.locator(".device")).to_have_class(re.compile("state-fresh"))
        for page, place in ((status, ".device .state"), (own, ".about .state")):
            expect(page.locator(place)).to_have_text(re.compile("late"), timeout=12_000)
        expect(status.locator(".device .because")).to_have_text(
            "Not polled for more than two intervals"
        )
        expect(status.locator(".counts .state-late")).to_contain_text("1", timeout=6_000)
        poll.poll_devices(device.gateway_id, force=True)
        expect(status.locator(".device .state")).to_have_text(re.compile("fresh"), timeout=BLINK)
    finally:
        server.end()


def test_a_gateway_that_fails_and_recovers_is_told(browse, web, device, simulator):
    page = live(browse(web.site))
    simulator.devices[0].faults = [Fault("500")]
    poll.poll_devices(device.gateway_id, force=True)
    expect(page.get_by_role("heading", name="Failing gateways")).to_be_visible(timeout=BLINK)
    simulator.devices[0].faults = []
    poll.poll_devices(device.gateway_id, force=True)
    expect(page.get_by_role("heading", name="Failing gateways")).to_be_hidden(timeout=BLINK)
    assert page.evaluate("window.isSame")


def test_new_and_removed_devices_come_and_go(browse, web, device, simulator):
    page = live(browse(web.site))
    other = gateways.add("shelly", simulator.address(1)).gateway
    expect(page.locator(".device")).to_have_count(2, timeout=BLINK)
    page.wait_for_timeout(2000)  # what the page is fetched for is over
    page.route("**/*", lambda route: route.abort())
    simulator.devices[1].on = True
    poll.poll_devices(other.pk, force=True)
    expect(page.locator(f"#device-{other.devices.get().pk} .now")).to_have_text("on", timeout=BLINK)
    page.unroute("**/*")
    gateways.remove(other.pk)
    expect(page.locator(".device")).to_have_count(1, timeout=BLINK)


def test_a_page_is_told_the_readings_of_the_devices_that_it_shows(browse, web, device, simulator):
    page = browse(web.site)
    told = []
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda text: told.append(json.loads(text))),
    )
    page.goto(f"/?gateway={device.gateway_id}")
    live(page)
    other = gateways.add("shelly", simulator.address(1)).gateway
    poll.poll_devices(other.pk, force=True)
    simulator.devices[0].on = True
    poll.poll_devices(device.gateway_id, force=True)
    expect(page.locator(f"#device-{device.pk} .now")).to_have_text("on", timeout=BLINK)
    events = [event for message in told if isinstance(message, list) for event in message]
    heard = {(event["kind"], event["device"]) for event in events}
    new = other.devices.get().pk
    assert (
        ("readings", device.pk) in heard
        and ("device", new) in heard
        and ("readings", new) not in heard
    )


def test_the_gateways_page_tells_who_answers(browse, web, device, simulator):
    page = live(browse(web.site, "/gateways/"))
    before = page.locator(".answered time").get_attribute("datetime")
    page.wait_for_timeout(1000)
    poll.poll_devices(device.gateway_id)
    expect(page.locator(".answered time")).not_to_have_attribute("datetime", before, timeout=BLINK)
    simulator.devices[0].faults = [Fault("500")]
    poll.poll_devices(device.gateway_id)
    expect(page.get_by_text("failing")).to_be_visible(timeout=BLINK)


def test_a_page_of_what_was_removed_says_so(browse, web, device):
    page = live(browse(web.site, f"/devices/{device.pk}/"))
    gateways.remove_device(device.pk)
    expect(page.get_by_text("This was removed.").first).to_be_visible(timeout=BLINK)


def test_nothing_moves_away_under_the_hand(browse, web, device, simulator):
    other = gateways.add("shelly", simulator.address(1)).gateway
    gateways.change_device(other.devices.get().pk, name="Zebra")
    poll.poll_devices(other.pk)
    page = live(browse(web.site))
    page.locator(".device").nth(1).hover()
    simulator.devices[1].faults = [Fault("500")]
    Device.objects.filter(gateway=other).update(heard_at=timezone.now() - timedelta(days=1))
    poll.poll_devices(other.pk, force=True)
    expect(page.get_by_role("heading", name="Failing gateways")).to_be_visible(timeout=BLINK)
    expect(page.locator(".device h2")).to_have_text(["Heater", "Zebra"])
    page.mouse.move(0, 0)
    call(page, "refresh", "script.refreshIn(0)")
    expect(page.locator(".device h2")).to_have_text(["Zebra", "Heater"], timeout=BLINK)


def test_a_small_drawing_grows_as_the_server_would_draw_it(browse, web, device, simulator):
    power = device.attributes.get(name="power")
    for hours, number in ((10.2, 777.0), (5.1, 0.0)):
        Observation.objects.create(
            attribute=power, observed_at=timezone.now() - timedelta(hours=hours), number=number
        )
    spark = f"[data-spark='{power.pk}']"
    page = live(browse(web.site))
    simulator.devices[0].on = True
    poll.poll_devices(device.gateway_id)
    expect(page.locator(spark)).to_have_attribute(
        "aria-label", re.compile("0 W to 1,"), timeout=BLINK
    )
    drawn = [
        page.locator(f"{spark} path").get_attribute("d"),
        page.locator(spark).get_attribute("aria-label"),
    ]
    page.reload()
    numbers = [
        [float(number) for number in re.findall(r"[\d.]+", path)]
        for path in (drawn[0], page.locator(f"{spark} path").get_attribute("d"))
    ]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.2)  # it is drawn to a tenth
    assert page.locator(spark).get_attribute("aria-label") == drawn[1]


def test_what_was_typed_focused_and_opened_stays(browse, web, device):
    page = live(
        browse(
            web.site, f"/devices/{device.pk}/?attribute={device.attributes.get(name='power').pk}"
        )
    )
    details = page.locator("#history details")
    details.locator("summary").click()
    chart = page.get_by_role("slider", name="power over time")
    # Until the page has caught up with what happened before the socket opened: it may draw anew.
    page.wait_for_timeout(5000)
    chart.focus()
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "0")
    page.evaluate("window.scrollTo(0, 300)")
    gateways.change_device(device.pk, name="Elsewhere")
    expect(page.get_by_role("heading", name="Elsewhere")).to_be_visible(timeout=BLINK)
    expect(chart).to_be_focused()
    expect(chart).to_have_attribute("aria-valuenow", "0")
    assert details.evaluate("(one) => one.open")
    assert page.evaluate("window.scrollY") == 300


def test_a_search_that_is_typed_stays(browse, web, device):
    page = live(browse(web.site))
    field = page.get_by_role("searchbox")
    field.press_sequentially("ket")
    call(page, "refresh", "script.refreshIn(0)")
    gateways.change_device(device.pk, name="Elsewhere")
    expect(page.get_by_role("link", name="Elsewhere")).to_be_visible(timeout=BLINK)
    page.wait_for_timeout(1500)
    expect(field).to_have_value("ket")
    expect(field).to_be_focused()


def test_two_presses_are_one_order(browse, web, device):
    page = live(browse(web.site))
    page.get_by_role("button", name="Turn on").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("p.order")).to_contain_text("confirmed", timeout=BLINK)
    expect(page.get_by_role("button", name="Turn off")).to_be_focused()
    assert DeviceCommand.objects.count() == 1


def test_numbers_and_choices_are_ordered_over_the_socket(browse, web, device):
    target = Attribute.objects.create(
        device=device, name="target", kind="number", unit="°C", writable=True, number=20.0
    )
    mode = Attribute.objects.create(
        device=device,
        name="mode",
        kind="choice",
        choices=["off", "heat"],
        writable=True,
        text="off",
    )
    page = live(browse(web.site, f"/devices/{device.pk}/"))
    page.get_by_label("New value of target").fill("21.5")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-told='{target.pk}']")).to_contain_text(
        "Ordered target 21.5 °C: failed", timeout=BLINK
    )
    page.get_by_label("New value of mode").select_option("heat")
    page.get_by_role("button", name="Set mode").click()
    expect(page.locator(f"[data-told='{mode.pk}']")).to_contain_text(
        "Ordered mode heat: failed", timeout=BLINK
    )
    assert list(DeviceCommand.objects.order_by("pk").values_list("number", "text")) == [
        (21.5, None),
        (None, "heat"),
    ]
    assert page.evaluate("window.isSame")


def test_a_field_follows_its_value_until_somebody_types(browse, web, device):
    target = Attribute.objects.create(
        device=device, name="target", kind="number", writable=True, number=20.0
    )
    page = live(browse(web.site, f"/devices/{device.pk}/"))
    field = page.get_by_label("New value of target")
    call(page, "render", f"script.showValue({target.pk}, 22.25, true)")
    expect(field).to_have_value("22.25")
    field.fill("19")
    call(page, "render", f"script.showValue({target.pk}, 23, true)")
    call(page, "refresh", "script.refreshIn(0)")
    page.wait_for_timeout(1500)
    expect(field).to_have_value("19")


def test_an_order_that_is_refused_says_why(browse, web, device, anna):
    page = live(browse(web.site))
    User.objects.filter(pk=anna.pk).update(is_superuser=False)
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator("p.order.loud")).to_have_text(
        re.compile("Not ordered. Your account lacks the right")
    )
    expect(page.locator("#said")).to_have_text(re.compile("^Not ordered"))


def test_an_order_that_fails_says_why_in_every_browser(browse, web, device, simulator):
    pages = [live(browse(web.site)), live(browse(web.site, f"/devices/{device.pk}/"))]
    simulator.devices[0].faults = [Fault("unauthorised")]
    pages[0].get_by_role("button", name="Turn on").click()
    for page in pages:
        expect(page.locator("p.order.loud")).to_have_text(
            re.compile("Ordered on: failed.*The device wants its admin password"), timeout=BLINK
        )
        expect(page.locator("#said")).to_have_text(re.compile("failed"), timeout=BLINK)


def test_without_a_socket_a_press_is_a_form(browse, web, device, simulator):
    page = live(browse(web.site))
    call(page, "live", "script.hide()")
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("status")).to_contain_text("confirmed")
    assert simulator.devices[0].on


def test_a_log_in_that_ends_is_told(browse, web, device):
    page = live(browse(web.site))
    Session.objects.all().delete()
    expect(page.locator("#connection")).to_contain_text("Your log-in is over", timeout=BLINK)
    expect(page.get_by_role("link", name="log in again")).to_have_attribute(
        "href", "/login/?next=%2F"
    )


def test_a_proxy_that_strips_sockets_leaves_a_page_that_refreshes_itself(browse, web, device):
    page = browse(web.site, "about:blank")
    page.clock.install()
    page.route_web_socket("**/ws/events/", lambda socket: socket.close(code=1011))
    page.goto("/")
    for _ in range(3):
        page.clock.run_for(3000)
    expect(page.locator("#connection")).to_have_text("not live: refreshed each 30 s")
    gateways.change_device(device.pk, name="Told later")
    page.clock.run_for(34_000)
    expect(page.get_by_role("link", name="Told later")).to_be_visible()


def test_a_server_without_sockets_is_not_asked_for_one(browse, live_server, device):
    page = browse(live_server.url, "about:blank")
    page.clock.install()
    page.goto("/")
    expect(page.locator("#connection")).to_have_text("not live: refreshed each 30 s")
    gateways.change_device(device.pk, name="Told later")
    page.clock.run_for(34_000)
    expect(page.get_by_role("link", name="Told later")).to_be_visible()
