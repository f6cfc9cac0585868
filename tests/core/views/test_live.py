"""What a page hands to its script."""

import re

import pytest
from django.test import AsyncClient

from core.live.follower import follower
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    return make_device(make_gateway("Hall hub"), "kettle")


def main(response):
    return re.search("<main[^>]*>", response.content.decode())[0]


def test_each_page_says_what_it_follows(client, plug):
    assert 'data-topic="changes"' in main(client.get("/"))
    assert 'data-topic="all"' in main(client.get("/gateways/"))
    assert 'data-topic="changes"' in main(client.get(f"/devices/{plug.pk}/"))
    assert "data-topic" not in main(client.get("/login/"))


def test_a_page_says_up_to_which_event_it_holds_everything(client, plug, monkeypatch):
    assert 'data-last=""' in main(
        client.get("/")
    )  # nobody follows here yet: the script fetches the page again
    monkeypatch.setattr(follower, "last", 118)
    for path in ("/", "/gateways/", f"/devices/{plug.pk}/"):
        assert 'data-last="118"' in main(client.get(path))


def test_a_server_without_sockets_names_none(client, plug):
    assert "data-socket" not in main(client.get("/"))


@pytest.mark.django_db(transaction=True)
def test_a_server_with_sockets_names_where_they_are(plug):
    import asyncio

    assert 'data-socket="/ws/events/"' in main(asyncio.run(AsyncClient().get("/")))
