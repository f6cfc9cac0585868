"""A page that waits for a device holds up no other page."""

import pytest
from django.db import connections

from tests.core.raw_server import answer, serving
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import ALL, log_in

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
    log_in(*ALL).post(path.format(**names), typed)
    assert seen and not any(seen)
