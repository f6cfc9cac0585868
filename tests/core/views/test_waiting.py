"""A page that waits for a device holds up no other page."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.db import connection, connections
from django.test import Client

from core.models import Gateway, Role, User
from core.tasks import gateways
from tests.core.live.web_server import Web
from tests.core.raw_server import answer, serving
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import log_in

PLUG = {"id": "shellyplus1-aabbccddeeff", "mac": "AABBCCDDEEFF", "sys": {"mac": "AABBCCDDEEFF"}}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def held():
    """Yields an address whose calls note whether this thread held a database connection then."""
    page = connections["default"]  # of the thread that answers the page
    seen = []

    def note(request):
        seen.append(page.connection is not None)
        return answer(b"{}")

    with serving(note) as server:
        yield server.address, seen


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("/gateways/add/", {"vendor": "shelly", "address": "{address}/new"}),
        ("/gateways/{gateway}/", {"name": "Hub", "address": "{address}/moved"}),
        ("/gateways/{gateway}/discover/", {}),
        ("/devices/{device}/ask/", {}),
        ("/attributes/{attribute}/order/", {"value": "on"}),
    ],
)
def test_no_page_keeps_a_database_connection_while_it_waits_for_a_device(held, path, typed):
    address, seen = held
    device = make_device(make_gateway(address=address))
    names = {
        "address": address,
        "gateway": device.gateway_id,
        "device": device.pk,
        "attribute": device.attributes.get(name="on").pk,
    }
    typed = {name: text.format(**names) for name, text in typed.items()}
    log_in(Role.ADMINISTRATOR).post(path.format(**names), typed)
    assert seen and not any(seen)


@pytest.mark.parametrize(
    ("path", "expected"), [("/gateways/{gateway}/discover/", 404), ("/devices/{device}/ask/", 302)]
)
def test_what_is_removed_while_a_page_waits_is_no_error_of_ours(path, expected):
    def remove(request):
        if "GetStatus" in request.target:
            gateways.remove(device.gateway_id)
            connection.close()
        return answer(json.dumps(PLUG).encode())

    with serving(remove) as server:
        device = make_device(make_gateway(address=server.address))
        Gateway.objects.filter(pk=device.gateway_id).update(key=PLUG["id"])
        names = {"gateway": device.gateway_id, "device": device.pk}
        status = log_in(Role.ADMINISTRATOR).post(path.format(**names)).status_code
    assert status == expected


def test_hung_devices_hold_up_no_other_page(database_url):
    """More pages wait than there are database connections, and another page is answered."""
    waiting, goes_on = threading.Semaphore(0), threading.Event()

    def hang(request):
        waiting.release()
        goes_on.wait(120)
        return answer(b"{}")

    web = Web(database_url, DATABASE_POOL_SIZE="2", GATEWAY_TIMEOUT_SECONDS="120")
    with serving(hang) as hub, ThreadPoolExecutor(6) as people:
        paths = []
        for number in range(3):
            device = make_device(make_gateway(address=f"{hub.address}/{number}"))
            paths += [f"/gateways/{device.gateway_id}/discover/", f"/devices/{device.pk}/ask/"]
        try:
            web.start()
            asked = [people.submit(post, web.site, path, log_in_cookie()) for path in paths]
            assert all(waiting.acquire(timeout=60) for _ in paths)
            assert requests.get(f"{web.site}/gateways/", timeout=60).status_code == 200
            goes_on.set()
            assert [answered.result().status_code for answered in asked] == [302] * len(paths)
        finally:
            goes_on.set()
            web.end()


def log_in_cookie():
    client = Client()
    client.force_login(User.objects.get_or_create(username="anna", is_superuser=True)[0])
    return client.cookies["sessionid"].value


def post(site, path, session_id):
    cookies = {"sessionid": session_id, "csrftoken": "a" * 32}
    headers = {"X-CSRFToken": "a" * 32}
    return requests.post(
        site + path, cookies=cookies, headers=headers, timeout=180, allow_redirects=False
    )
