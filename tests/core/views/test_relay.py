"""Who may subscribe to which channel of the hosted relay."""

import hashlib
import hmac

import pytest
import time_machine

from core.live import channels
from core.models import Gateway, Membership, Role, User
from core.models.access import Access, Right
from iotapp import environment
from tests.core.live.changes import log_in
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db
ID = "123.456"
SECRET = "canary-of-the-relay"


@pytest.fixture(autouse=True)
def chosen(settings, monkeypatch):
    monkeypatch.setenv("RELAY_URL", f"pusher://somekey:{SECRET}@eu/4711")
    settings.RELAY = environment.relay("RELAY_URL")
    settings.PUBLIC_STATUS = True
    return settings


@pytest.fixture
def homes():
    with quietly():
        return make_gateway(), make_gateway("Other", "http://127.0.0.1:2")


@pytest.fixture
def vera(client, homes):
    """A viewer of the first gateway alone."""
    user = User.objects.create(username="vera")
    Membership.objects.create(user=user, role=Role.VIEWER, everywhere=False).gateways.add(homes[0])
    client.force_login(user)
    return client


def asked(client, **body):
    return client.post("/relay/", {"socket_id": ID} | body)


def gateways_of(response):
    return [name.rpartition("-")[2] for name in response.json()["channels"]]


@time_machine.travel(1_800_000_010, tick=False)
def test_a_page_may_subscribe_to_all_gateways_that_its_person_may_see(client, homes):
    log_in(client)
    response = asked(client)
    assert gateways_of(response) == ["home", *(str(one.pk) for one in homes)]
    for name, auth in response.json()["channels"].items():
        signature = hmac.new(SECRET.encode(), f"{ID}:{name}".encode(), hashlib.sha256)
        assert auth == f"somekey:{signature.hexdigest()}"
    assert SECRET not in response.text


def test_who_may_see_one_gateway_gets_no_other(vera, homes):
    assert set(gateways_of(asked(vera))) == {"home", str(homes[0].pk)}
    named = asked(vera, gateway=[one.pk for one in homes])
    assert set(gateways_of(named)) == {"home", str(homes[0].pk)}


def test_the_channel_of_another_gateway_is_refused(vera, homes):
    own, other = (channels.channel_of(one.pk, channels.now()) for one in homes)
    assert asked(vera, channel_name=own).json().keys() == {"auth"}
    refused = asked(vera, channel_name=other)
    assert refused.status_code == 403 and "auth" not in refused.json()


@pytest.mark.parametrize("name", ["private-x-1-home", "home", "presence-home", "a-" + 30 * "9"])
def test_other_channels_are_refused(vera, name):
    assert asked(vera, channel_name=name).status_code == 403


def test_a_channel_of_an_earlier_or_later_time_is_refused(vera, homes):
    for seconds in (-channels.PERIOD_SECONDS, 2 * channels.PERIOD_SECONDS):
        name = channels.channel_of(homes[0].pk, channels.now() + seconds)
        assert asked(vera, channel_name=name).status_code == 403


def test_the_next_channels_are_told_before_they_are_used(homes):
    access = Access(frozenset(Right))
    begins = 1_800_000_000 // channels.PERIOD_SECONDS * channels.PERIOD_SECONDS
    ends = begins + channels.PERIOD_SECONDS
    early, late = begins + 10, ends - channels.LEAD_SECONDS + 1
    assert channels.again_seconds(early) == ends - channels.LEAD_SECONDS - early
    assert channels.again_seconds(late) == channels.PERIOD_SECONDS - 1
    assert len(channels.channels_of(access, [], early)) == 3
    told = channels.channels_of(access, [], late)
    assert set(channels.channels_of(access, [], early)) < set(told)
    assert set(told) > set(channels.channels_of(access, [], ends + 1))


@time_machine.travel(1_800_000_010, tick=False)
def test_of_many_gateways_a_page_gets_those_that_it_shows(client, homes, monkeypatch):
    monkeypatch.setattr(channels, "MOST_GATEWAYS", 1)
    log_in(client)
    assert gateways_of(asked(client)) == ["home"]
    assert gateways_of(asked(client, gateway=[homes[1].pk, "x", 10**30])) == [
        "home",
        str(homes[1].pk),
    ]
    assert Gateway.objects.count() == 2


def test_a_site_with_another_key_has_other_channels(settings):
    before = channels.channel_of(1, 0)
    settings.SECRET_KEY = "another key of more than thirty-two characters"
    assert channels.channel_of(1, 0) != before


def test_without_a_log_in_nothing_is_signed(client, homes):
    assert asked(client).status_code == 401


@pytest.mark.parametrize("socket_id", ["", "1", "1.2:private-x", "a.b", "1.2\n", "١.٢"])
def test_a_socket_id_is_checked(vera, socket_id):
    assert vera.post("/relay/", {"socket_id": socket_id}).status_code == 400


def test_where_there_is_no_relay_there_is_nothing(vera, settings):
    settings.RELAY = None
    assert asked(vera).status_code == 404


def test_a_page_of_another_site_is_not_believed(homes):
    from django.test import Client

    strict = Client(enforce_csrf_checks=True)
    log_in(strict)
    assert asked(strict).status_code == 403
