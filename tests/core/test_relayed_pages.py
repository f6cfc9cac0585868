"""Pages that follow events through a hosted relay: a real gunicorn, a real relay process, a server
that speaks the service's protocols, and browsers."""

import os
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from core.models import Attribute, DeviceCommand, Gateway, Membership, Relay, Role, User
from core.tasks.events.outbox import publishing
from tests.core.live.pusher_server import KEY, SECRET, PusherServer
from tests.core.live.test_relay import until
from tests.core.live.web_server import ROOT
from tests.core.live_page import BLINK, live
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def service(chromium):
    with PusherServer() as running:
        yield running


@pytest.fixture
def web(started, service, database_url):
    return started(database_url, RELAY_URL=service.url)


@pytest.fixture
def relay(service, database_url):
    """Starts a relay process; ends all that were started."""
    processes = []

    def start():
        Relay.objects.all().delete()
        processes.append(
            subprocess.Popen(
                [sys.executable, "manage.py", "relay_events"],
                cwd=ROOT,
                env=os.environ
                | {"DATABASE_URL": database_url, "DEBUG": "1", "RELAY_URL": service.url},
            )
        )
        until(lambda: Relay.objects.running().exists())
        return processes[-1]

    service.fault = None
    yield start
    for process in processes:
        process.kill()
        process.wait()


def rename(device, name):
    with publishing():
        device.name = name
        device.save()


def test_pages_see_a_change_and_give_orders(browse, web, relay, device, simulator):
    relay()
    status, own = live(browse(web.site)), live(browse(web.site, f"/devices/{device.pk}/"))
    rename(device, "Heater")
    expect(status.get_by_role("link", name="Heater")).to_be_visible(timeout=BLINK)
    expect(own.get_by_role("heading", name="Heater")).to_be_visible(timeout=BLINK)
    status.get_by_role("button", name="on").click()
    until(lambda: DeviceCommand.objects.filter(state="confirmed").exists())
    assert simulator.devices[0].on
    switch = Attribute.objects.get(device=device, name="on")
    shown = own.locator(f'[data-value="{switch.pk}"]').first
    expect(shown).to_have_text("on", timeout=BLINK)
    assert own.evaluate("window.isSame")


def test_its_secret_is_in_no_page(browse, web, service, device):
    page = browse(web.site)
    assert KEY in page.content() and SECRET not in page.content()
    policy = page.request.get(web.site).headers["content-security-policy"]
    assert f"connect-src 'self' ws://127.0.0.1:{service.port};" in policy
    assert SECRET not in policy


def test_what_happened_while_a_page_was_away_is_fetched(browse, web, relay, service, device):
    relay()
    page = live(browse(web.site))
    service.stop()
    expect(page.locator("#connection")).not_to_have_text("live", timeout=BLINK)
    rename(device, "Boiler")
    service.start()
    expect(page.locator("#connection")).to_have_text("live", timeout=20_000)
    expect(page.get_by_role("link", name="Boiler")).to_be_visible(timeout=20_000)
    assert page.evaluate("window.isSame")


def test_a_page_asks_again_and_again_which_channels_are_its_own(browse, web, device):
    page = browse(web.site, "/gateways/")
    page.add_init_script(HURRIED)
    asked = []

    def answer_late(route):
        """As early in a period: near its end the pause is too short for HURRIED to notice."""
        response = route.fetch()
        asked.append(response.status)
        route.fulfill(response=response, json=response.json() | {"again_seconds": 480})

    page.route("**/relay/", answer_late)
    page.reload()
    until(lambda: page.evaluate("1") and len(asked) >= 3)
    assert set(asked) == {200}
    live(page)
    # An answer still under way would fail, when the page closes, in the test that comes next.
    page.unroute_all(behavior="wait")


def test_what_the_relay_lost_is_fetched_when_it_is_quiet(browse, web, device):
    page = live(browse(web.site))  # and no relay process
    rename(device, "Kettle")
    page.evaluate("""() => {
        const now = performance.now.bind(performance);
        performance.now = () => now() + 61000;
    }""")
    expect(page.get_by_role("link", name="Kettle")).to_be_visible(timeout=20_000)
    assert page.evaluate("window.isSame")


def test_an_event_that_comes_twice_is_shown_once(browse, web, relay, service, device):
    relay()
    page = live(browse(web.site))
    page.evaluate(SEEN)
    rename(device, "Oven")
    expect(page.get_by_role("link", name="Oven")).to_be_visible(timeout=BLINK)
    again = [one for one in service.taken if one["name"] == "events"][-1]
    for _ in range(3):
        repeat(service, again)
    rename(device, "Stove")
    expect(page.get_by_role("link", name="Stove")).to_be_visible(timeout=BLINK)
    seen = page.evaluate("seen")
    assert len(seen) == len(set(seen)) == 2


def test_a_page_follows_a_gateway_that_is_added(browse, web, relay, device):
    relay()
    page = live(browse(web.site))
    added = make_device(make_gateway("Cellar", "http://127.0.0.1:9"), "pump")
    expect(page.get_by_role("link", name="Pump")).to_be_visible(timeout=20_000)
    rename(added, "Drain")
    expect(page.get_by_role("link", name="Drain")).to_be_visible(timeout=BLINK)


def test_who_is_limited_to_a_gateway_hears_of_no_other(browse, web, relay, service, device):
    relay()
    vera = User.objects.create(username="vera")
    mine = make_device(make_gateway("Mine", "http://127.0.0.1:9"), "pump")
    membership = Membership.objects.create(user=vera, role=Role.VIEWER, everywhere=False)
    membership.gateways.add(mine.gateway)
    del service.subscribed[:]
    page = live(browse(web.site, user=vera))
    page.evaluate(SEEN)
    ends = {name.rpartition("-")[2] for name in service.subscribed}
    assert ends == {"home", str(mine.gateway_id)}
    rename(device, "Hidden")
    rename(mine, "Well")
    expect(page.get_by_role("link", name="Well")).to_be_visible(timeout=BLINK)
    assert len(page.evaluate("seen")) == 1
    assert Gateway.objects.count() == 2


def test_without_a_log_in_pages_keep_our_own_socket(chromium, web, device):
    context = chromium.new_context(base_url=web.site)
    page = context.new_page()
    page.goto("/")
    assert page.locator("#main").get_attribute("data-socket") == "/ws/events/"
    live(page)
    context.close()


HURRIED = """
    const wait = setTimeout;
    setTimeout = (what, pause, ...given) => wait(what, pause > 100000 ? 100 : pause, ...given);
"""
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


def repeat(service, message):
    for socket in list(service._subscribers.get(message["channel"], ())):
        text = (message["name"], message["data"])
        service._loop.call_soon_threadsafe(
            lambda one=socket, text=text: one.say(*text, channel=message["channel"])
        )
