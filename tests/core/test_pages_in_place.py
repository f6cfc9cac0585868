"""Forms that leave the page where it is, and pages that nobody looks at for a while."""

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from core.models import Attribute, DeviceCommand, Event, User
from core.simulator import Fault, Simulator
from core.tasks import gateways, poll
from tests.core.conftest import CHROMIUM
from tests.core.live_page import BLINK, call, live

pytestmark = [
    pytest.mark.browser,
    pytest.mark.sqlite,  # once: the script knows no database
    pytest.mark.django_db(transaction=True),
]
PHONE = {"width": 390, "height": 700}
LOOK_AWAY = """(isHidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def simulator():
    with Simulator(devices=1) as running:
        running.devices[0].on = False
        yield running


@pytest.fixture
def device(chromium, transactional_db, simulator):
    """That a rule decides for."""
    found = gateways.add("shelly", simulator.address(0))
    poll.poll_devices(found.gateway.pk)
    return gateways.set_rule(found.gateway.devices.get().pk, "awesome", {})


@pytest.fixture
def remembering(chromium):
    """A browser that keeps pages one went away from, as people's do."""
    browser = chromium.browser_type.launch(
        executable_path=CHROMIUM,
        args=["--no-sandbox"],
        ignore_default_args=["--disable-back-forward-cache"],
    )
    yield browser
    browser.close()


def own(device, query=""):
    return f"/devices/{device.pk}/{query}"


def posted(page):
    """Every form that the page sends from now on."""
    sent = []
    page.on(
        "request", lambda request: sent.append(request.url) if request.method == "POST" else None
    )
    return sent


def message(page):
    return page.locator("#messages li")


def test_a_hold_and_its_release_leave_the_page_where_it_is(browse, web, device):
    page = live(browse(web.site, own(device), viewport=PHONE))
    other = live(browse(web.site, own(device)))
    page.evaluate("window.scrollTo(0, 120)")
    page.get_by_role("button", name="for 1 h").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Held until")).to_be_visible(timeout=BLINK)
    expect(message(page)).to_contain_text("Heater is held for 1 h.", timeout=BLINK)
    expect(message(page)).to_be_in_viewport()
    expect(page.locator("#said")).to_have_text("Heater is held for 1 h.")
    expect(page.locator(".holding")).to_be_focused()
    expect(other.get_by_role("heading", name="Held until")).to_be_visible(timeout=BLINK)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Release")).to_be_focused()
    page.keyboard.press("Enter")
    for each in (page, other):
        expect(each.get_by_role("button", name="until released")).to_be_visible(timeout=BLINK)
    expect(message(page).last).to_contain_text("Heater is released.")
    assert page.evaluate("[window.isSame, window.scrollY]") == [True, 120]
    assert other.evaluate("window.isSame")


def test_asking_now_leaves_the_page_where_it_is(browse, web, device, simulator):
    page = live(browse(web.site, own(device, "?span=week"), viewport=PHONE))
    page.evaluate("window.scrollTo(0, 60)")
    simulator.devices[0].on = True
    simulator.devices[0].faults = [Fault("latency", 0.5)]
    button = page.get_by_role("button", name="Poll now")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-busy", "true")
    expect(message(page)).to_contain_text("answered.", timeout=BLINK)
    expect(button).not_to_have_attribute("aria-busy", "true")
    expect(button).to_be_focused()
    expect(page.get_by_role("button", name="Turn off")).to_be_visible()
    assert page.evaluate("[window.isSame, window.scrollY]") == [True, 60]
    assert page.url.endswith("?span=week")


def test_a_double_press_is_one_request(browse, web, device, simulator):
    page = live(browse(web.site, own(device)))
    sent = posted(page)
    simulator.devices[0].faults = [Fault("latency", 0.5)]
    page.get_by_role("button", name="Poll now").dblclick()
    expect(message(page)).to_contain_text("answered.", timeout=BLINK)
    page.wait_for_timeout(500)
    assert len(sent) == 1


def test_a_hold_that_is_refused_says_why(browse, web, device, anna):
    page = live(browse(web.site, own(device)))
    # Fetched again, it would have no such button any more.
    page.evaluate(LOOK_AWAY, True)
    User.objects.filter(pk=anna.pk).update(is_superuser=False)
    page.get_by_role("button", name="for 1 h").click()
    expect(message(page)).to_contain_text(
        "Not allowed. Your account lacks the right to switch devices.", timeout=BLINK
    )
    expect(page.locator("#said")).to_have_text(re.compile("^Not allowed"))
    page.evaluate(LOOK_AWAY, False)
    expect(page.get_by_role("button", name="for 1 h")).to_be_hidden(timeout=BLINK)
    device.refresh_from_db()
    assert device.held_at is None


def test_what_the_server_finds_wrong_is_said_and_stays_until_it_is_closed(browse, web, device):
    page = browse(web.site, own(device))
    page.clock.install()
    page.get_by_role("button", name="for 1 h").evaluate("(button) => (button.value = 'long')")
    page.get_by_role("button", name="for 1 h").click()
    expect(message(page)).to_contain_text(
        "Heater is not held: for how long must be a number of minutes", timeout=BLINK
    )
    page.clock.run_for(60_000)
    page.get_by_role("button", name="Close").click()
    expect(message(page)).to_have_count(0)


def test_good_news_goes_when_it_was_read_and_is_lost_by_no_refresh(browse, web, device):
    page = live(browse(web.site, own(device)))
    page.clock.install()
    page.get_by_role("button", name="until released").click()
    expect(message(page)).to_have_count(1, timeout=BLINK)
    call(page, "refresh", "script.refreshNow()")
    page.evaluate(LOOK_AWAY, True)
    page.clock.run_for(30_000)
    page.evaluate(LOOK_AWAY, False)
    expect(message(page)).to_have_count(1)
    page.clock.run_for(11_000)
    expect(message(page)).to_have_count(0)


def test_messages_do_not_pile_up(browse, web, device):
    page = live(browse(web.site, own(device)))
    for _ in range(3):
        page.get_by_role("button", name="until released").click()
        expect(message(page).last).to_contain_text("is held", timeout=BLINK)
        page.get_by_role("button", name="Release").click()
        expect(message(page).last).to_contain_text("is released", timeout=BLINK)
    expect(message(page)).to_have_count(2)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda route: route.abort(),
            "No answer came. Look whether it took effect before you press again.",
        ),
        (
            lambda route: route.fulfill(status=500, body="<h1>Oh</h1>"),
            "The server's answer was no page (500).",
        ),
        (
            lambda route: route.fulfill(status=200, body="Pay for this network"),
            "The server's answer was no page (200).",
        ),
    ],
    ids=["no network", "a broken server", "a gate before the network"],
)
def test_an_answer_that_is_no_page_is_told(browse, web, device, answer, said):
    page = live(browse(web.site, own(device)))
    page.route("**/ask/", answer)
    button = page.get_by_role("button", name="Poll now")
    button.click()
    expect(message(page)).to_contain_text(said, timeout=BLINK)
    expect(button).not_to_have_attribute("aria-busy", "true")
    page.unroute("**/ask/")
    button.click()
    expect(message(page).last).to_contain_text("answered.", timeout=BLINK)


def test_an_answer_that_never_comes_is_not_waited_for(browse, web, device):
    page = live(browse(web.site, own(device)))
    page.evaluate(
        "() => { const signal = AbortSignal.timeout; AbortSignal.timeout = (most) => "
        "signal.call(AbortSignal, most / 100); }"
    )
    page.route("**/hold/", lambda route: None)
    page.get_by_role("button", name="for 1 h").click()
    expect(message(page)).to_contain_text("No answer came.", timeout=BLINK)


def test_a_log_in_that_is_over_is_told_at_the_press(browse, live_server, device):
    page = browse(live_server.url, own(device))
    Session.objects.all().delete()
    page.get_by_role("button", name="for 1 h").click()
    expect(page.locator("#connection")).to_contain_text("Your log-in is over", timeout=BLINK)
    expect(page.get_by_role("button", name="for 1 h")).not_to_have_attribute("aria-busy", "true")
    device.refresh_from_db()
    assert device.held_at is None


def test_an_older_page_that_arrives_later_takes_nothing_back(browse, live_server, device):
    page = browse(live_server.url, own(device))
    late = []
    page.route(f"**{own(device)}", lambda route: late.append((route, route.fetch())), times=1)
    call(page, "refresh", "void script.refreshNow()")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="until released").click()
    expect(page.get_by_role("heading", name="Held until released")).to_be_visible(timeout=BLINK)
    ((route, response),) = late
    route.fulfill(response=response)
    page.wait_for_timeout(500)
    expect(page.get_by_role("heading", name="Held until released")).to_be_visible()


def test_without_sockets_everything_is_in_place_too(browse, live_server, device, simulator):
    page = browse(live_server.url, own(device))
    expect(page.locator("#connection")).to_have_text("not live: refreshed each 30 s")
    page.evaluate("() => { window.isSame = true; }")
    page.get_by_role("button", name="until released").click()
    expect(page.get_by_role("heading", name="Held until released")).to_be_visible(timeout=BLINK)
    page.get_by_role("button", name="Poll now").click()
    expect(message(page).last).to_contain_text("answered.", timeout=BLINK)
    page.get_by_role("button", name="Turn on").click()
    expect(message(page).last).to_contain_text("Heater, on: confirmed", timeout=BLINK)
    expect(page.get_by_role("button", name="Turn off")).to_be_focused()
    assert simulator.devices[0].on
    assert page.evaluate("window.isSame")
    assert DeviceCommand.objects.count() == 1


def test_without_sockets_what_was_typed_stays_where_it_was_refused(browse, live_server, device):
    target = Attribute.objects.create(
        device=device, name="target", kind="number", maximum=30, writable=True, number=20.0
    )
    page = browse(live_server.url, own(device))
    field = page.get_by_label("New value of target")
    field.evaluate("(field) => field.removeAttribute('max')")
    field.fill("99")
    page.get_by_role("button", name="Set target").click()
    expect(message(page)).to_contain_text("30", timeout=BLINK)
    expect(field).to_have_value("99")
    assert not DeviceCommand.objects.filter(attribute=target).exists()


def test_who_is_here_is_not_said_while_nobody_tells(browse, web, device):
    page = live(browse(web.site, own(device)))
    berta = User.objects.create(username="berta", is_superuser=True)
    live(browse(web.site, own(device), user=berta))
    present = page.locator("#present")
    expect(present).to_have_text("Also here: berta.", timeout=BLINK)
    page.route_web_socket("**/ws/events/", lambda socket: socket.close(code=1011))
    call(page, "socket", "script.link.socket.close()")
    expect(present).to_be_hidden(timeout=BLINK)
    assert call(page, "events", "(script.applyAgain(0), present.hidden)")
    page.unroute_all()
    page.route_web_socket("**/ws/events/", lambda socket: socket.connect_to_server())
    expect(page.locator("#connection")).to_have_text("live", timeout=20_000)
    expect(present).to_have_text("Also here: berta.", timeout=BLINK)
    expect(present).to_be_visible()


def test_a_page_that_nobody_looks_at_hangs_up_and_catches_up(browse, web, device):
    page = browse(web.site, "about:blank")
    page.clock.install()
    sockets = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.goto("/")
    live(page)
    call(
        page, "socket", "script.link.heartbeat = 3600"
    )  # a clock that jumps is silence to the page
    page.wait_for_timeout(2000)
    page.evaluate(LOOK_AWAY, True)
    page.clock.run_for(295_000)
    assert not sockets[0].is_closed()
    page.clock.run_for(6_000)
    page.wait_for_timeout(500)
    assert sockets[0].is_closed()
    gateways.change_device(device.pk, name="Meanwhile")
    page.wait_for_timeout(500)
    expect(page.get_by_role("link", name="Meanwhile")).to_be_hidden()
    assert len(sockets) == 1
    page.evaluate(LOOK_AWAY, False)
    expect(page.get_by_role("link", name="Meanwhile")).to_be_visible(timeout=BLINK)
    expect(page.locator("#connection")).to_have_text("live")
    assert page.evaluate("window.isSame")
    assert call(page, "socket", "script.link.last") == Event.objects.latest("pk").pk


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "not kept"])
def test_a_page_that_one_comes_back_to_is_as_it_is_now(
    browse, web, device, remembering, chromium, is_kept
):
    page = live(browse(web.site, own(device), browser=remembering if is_kept else chromium))
    page.goto("/gateways/")
    gateways.change_device(device.pk, name="Meanwhile")
    page.evaluate(
        "setTimeout(() => history.back())"
    )  # go_back() waits for a load, which there is none of
    expect(page.get_by_role("heading", name="Meanwhile")).to_be_visible(timeout=BLINK)
    assert bool(page.evaluate("window.isSame")) == is_kept
    expect(page.locator("#connection")).to_have_text("live", timeout=BLINK)
    gateways.change_device(device.pk, name="Afterwards")
    expect(page.get_by_role("heading", name="Afterwards")).to_be_visible(timeout=BLINK)


@pytest.mark.parametrize(("wish", "animations"), [("reduce", 0), ("no-preference", 1)])
def test_nothing_moves_for_those_who_do_not_want_it(
    browse, web, device, simulator, wish, animations
):
    page = live(browse(web.site, reduced_motion=wish))
    call(
        page, "refresh", "script.page.isLeaving = true"
    )  # it is not written anew while it is looked at
    simulator.devices[0].on = True
    poll.poll_devices(device.gateway_id, force=True)
    now = page.locator(".now")
    expect(now).to_have_text("on", timeout=BLINK)
    expect(now).to_have_class(re.compile("changed"))
    assert now.evaluate("(element) => element.getAnimations().length") == animations
