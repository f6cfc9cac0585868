"""Asks the API as a program does: with a log-in's cookie, or without one."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.test import Client

from core.api import limits
from core.models import Device, Gateway, User
from core.models.access import Membership, Right, Role
from core.simulator import Simulator
from core.tasks import decide, gateways, poll, tokens, usage
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region
from tests.core.live.web_server import Web
from tests.core.tasks.conftest import heater, simulator  # noqa: F401
from tests.core.tasks.homes import make_device, make_gateway

HERE = "/api/v1"


class Api:
    """Sends requests as one person, or as nobody. Server errors are answers, not exceptions."""

    def __init__(self, user=None, **headers):
        self._client = Client(raise_request_exception=False, headers=headers)
        if user:
            self._client.force_login(user)

    def get(self, path, headers=None, **parameters):
        asked = f"?{urlencode(parameters)}" if parameters else ""
        return self._client.get(f"{HERE}{path}{asked}", headers=headers or {})

    def send(self, method, path, body=None, headers=None):
        data = b"" if body is None else json.dumps(body)
        return self._client.generic(
            method, f"{HERE}{path}", data, content_type="application/json", headers=headers or {}
        )

    def post(self, path, body=None, headers=None):
        return self.send("POST", path, body, headers)


@pytest.fixture
def api(db):
    """Makes one who asks: `api()` is anonymous, `api(user)` has a log-in."""
    return Api


@pytest.fixture
def anonymous(db, settings):
    settings.PUBLIC_STATUS = True
    return Api()


def person(name, role, *gateways):
    user = User.objects.create(username=name)
    membership = Membership.objects.create(user=user, role=role, everywhere=not gateways)
    membership.gateways.set(gateways)
    return user


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    """What earlier tests asked and used does not count, and nothing of it is written at the end."""
    limits.forget()
    usage.forget()
    cache.clear()
    yield
    usage.forget()


@pytest.fixture
def token(db):
    """Makes a token and gives its text: `token("read", gateways=[...])`.

    Its person is an administrator unless another is named.
    """

    def make(*rights, user=None, **limits):
        if user is None:
            count = User.objects.count()
            user = person(f"owner-{count}", Role.ADMINISTRATOR)
        return tokens.issue(user, "test", [Right(right) for right in rights], **limits).text

    return make


@pytest.fixture
def with_token(token):
    """Makes one who asks with a token: `with_token("read")`."""

    def make(*rights, **more):
        return Api(authorization=f"Bearer {token(*rights, **more)}")

    return make


@pytest.fixture
def viewer(db):
    return Api(person("vera", Role.VIEWER))


@pytest.fixture
def operator(db):
    return Api(person("otto", Role.OPERATOR))


@pytest.fixture
def administrator(db):
    return Api(person("ada", Role.ADMINISTRATOR))


@pytest.fixture
def gateway(db):
    return make_gateway()


@pytest.fixture
def device(gateway):
    return make_device(gateway)


@pytest.fixture
def other(db):
    """A device behind another gateway."""
    return make_device(make_gateway("Other", "http://127.0.0.1:2"), "lamp")


@pytest.fixture
def limited(gateway):
    """Somebody who may see the first gateway alone."""
    return Api(person("lena", Role.VIEWER, gateway))


EVENING = datetime(2026, 11, 17, 18, 3, tzinfo=UTC)


@pytest.fixture
def planned(heater, time_machine):  # noqa: F811
    """A device whose rule has planned its night: with a decision, a command, a plan, forecasts."""
    time_machine.move_to(EVENING, tick=True)
    gateways.set_rule(heater.pk, "cleanest_hours", {"minutes": 180, "before": "07:00"})
    poll.poll_devices(force=True)
    decide.decide()
    return heater


@dataclass
class Served:
    site: str
    device: Device
    gateway: int
    """What readings are pushed to."""
    token: str
    simulated: object


@pytest.fixture
def served(database_url):
    """A real server with one simulated plug behind it, and a token for a program."""
    user = User.objects.create(username="anna", is_superuser=True)
    token = tokens.issue(user, "a program", list(Right)).text
    fetch_regions([Region("replay", "")])
    pushed = make_gateway("Sensors", "push:1", "webhook")
    Gateway.objects.filter(pk=pushed.pk).update(allow_new=True)
    web = Web(database_url, FEEDS="replay", API_REQUESTS_A_MINUTE="100000")
    with Simulator(devices=1) as home:
        [pk] = gateways.add("shelly", home.address(0)).new
        device = Device.objects.get(pk=pk)
        try:
            web.start()
            yield Served(web.site, device, pushed.pk, token, home.devices[0])
        finally:
            web.end()
