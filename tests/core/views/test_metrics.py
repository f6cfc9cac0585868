"""/metrics: who may read it, what it tells, and that it does not grow."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.api import limits
from core.models import Alert, DeviceCommand, Gateway, Right, Run, User
from core.models.run import Outcome
from core.models.token import new_text
from core.tasks import tokens, usage
from core.tasks.events.outbox import publishing
from tests.core.tasks.alerts.rows import add_device, add_gateway, is_as

pytestmark = pytest.mark.django_db
LINE = re.compile(r'iotapp_(\w+)(?:\{(\w+)="([\w ]+)"\})? (\S+)')


@pytest.fixture(autouse=True)
def forgetful():
    limits.forget()
    yield
    limits.forget()
    usage.forget()


@pytest.fixture
def anna(db):
    return User.objects.create(username="anna", is_superuser=True)


def with_token(user, *rights, **limits):
    text = tokens.issue(user, "prometheus", rights, **limits).text
    return Client(headers={"authorization": f"Bearer {text}"})


@pytest.fixture
def scrape(anna):
    """Read the metrics: a dictionary from name, or name and label, to number."""
    client = with_token(anna, Right.READ)

    def read():
        response = client.get("/metrics")
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = {}
        for line in response.content.decode().splitlines():
            if not line.startswith("#"):
                name, _, word, number = LINE.fullmatch(line).groups()
                found[(name, word) if word else name] = float(number)
        return found

    return read


def ran(task, at, outcome=Outcome.DONE, **fields):
    with publishing():
        Run.objects.create(task=task, outcome=outcome, started_at=at, **fields)


def test_it_takes_a_token_that_may_read_everything(anna):
    assert Client().get("/metrics").status_code == 401
    wrong = Client(headers={"authorization": "Bearer iot_wrong"}).get("/metrics")
    assert wrong.status_code == 401
    assert wrong.headers["WWW-Authenticate"].startswith("Bearer")
    hub = add_gateway("Hub", timezone.now())
    assert with_token(anna, Right.INGEST).get("/metrics").status_code == 403
    assert with_token(anna, Right.READ, gateways=[hub]).get("/metrics").status_code == 403
    assert with_token(anna, Right.READ).get("/metrics").status_code == 200
    assert with_token(anna, Right.READ).post("/metrics").status_code == 405


def test_wrong_tokens_are_limited_by_address_and_a_known_one_is_let_in(anna):
    known = with_token(anna, Right.READ)
    assert known.get("/metrics").status_code == 200
    answers = [
        Client(headers={"authorization": f"Bearer {new_text()}"}).get("/metrics")
        for _ in range(limits.WRONG_TOKENS + 1)
    ]
    assert [answer.status_code for answer in answers] == [401] * limits.WRONG_TOKENS + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert with_token(anna, Right.READ).get("/metrics").status_code == 429
    assert known.get("/metrics").status_code == 200


def test_an_empty_site_has_metrics(scrape):
    found = scrape()
    assert found[("devices", "fresh")] == 0
    assert found[("gateways", "good")] == 0
    assert found[("alerts_open", "any")] == 0
    assert found[("task_late", "poll_devices")] == 1


def test_it_tells_how_the_site_does(scrape):
    now = timezone.now()
    hub, failing, refusing = (add_gateway(name, now) for name in ("Hub", "Cellar", "Cloud"))
    is_as(failing, failures=2)
    is_as(refusing, failures=1, refused=True)
    lamp = add_device(hub, "lamp", now - timedelta(seconds=100))
    is_as(add_device(hub, "sensor", now), available=False)
    ran("poll", now - timedelta(seconds=60), finished_at=now - timedelta(seconds=58))
    ran("decide", now, Outcome.BROKEN, finished_at=now)
    with publishing():
        DeviceCommand.objects.create(
            attribute=lamp.attributes.get(name="on"),
            number=1,
            source="human",
            reason="a test",
            requested_at=now - timedelta(seconds=300),
            expires_at=now + timedelta(hours=1),
        )
    times = {"first_seen_at": now, "last_seen_at": now, "counted_at": now}
    Alert.objects.create(key="gateway:7", opened_at=now, **times)
    Alert.objects.create(key="home network", opened_at=now, **times)
    Alert.objects.create(key="gateway:8", **times)  # not seen often enough yet
    found = scrape()
    assert (found[("devices", "fresh")], found[("devices", "unreachable")]) == (1, 1)
    assert found["oldest_heard_seconds"] >= 100
    states = [found[("gateways", state)] for state in ("good", "failing", "refused")]
    assert states == [1, 1, 1]
    assert found[("run_seconds", "poll_devices")] == 2
    assert found[("run_started_timestamp", "poll_devices")] == pytest.approx(now.timestamp() - 60)
    assert found[("run_broken", "poll_devices")] == 0
    assert found[("run_broken", "do_something_awesome")] == 1
    assert found[("task_late", "poll_devices")] == 0
    assert found[("commands", "requested")] == 1
    assert found["queue_age_seconds"] >= 300
    kinds = [found[("alerts_open", kind)] for kind in ("any", "gateway", "home_network")]
    assert kinds == [2, 1, 1]


def test_it_tells_of_rate_limits_and_batches(scrape):
    now = timezone.now()
    is_as(add_gateway("Cloud", now), next_call_at=now + timedelta(seconds=50))
    is_as(add_gateway("Odd", now), next_call_at=now + timedelta(days=3))  # of a wrong clock
    ran("poll", now, Outcome.RUNNING, waiting_for=[1, 2, 3])
    found = scrape()
    assert found["budgets_used_up"] == 1
    assert 0 < found["budget_booked_seconds"] <= 50
    assert found["batches_waiting"] == 3


def test_series_and_queries_do_not_grow(scrape):
    def grow(name):
        hub = add_gateway(name, timezone.now())
        is_as(hub, failures=1)
        add_device(hub, f"lamp {name}", timezone.now())

    grow("first")
    scrape()  # the first one notes that the token was used
    with CaptureQueriesContext(connection) as few:
        before = scrape()
    for number in range(20):
        grow(f"G{number}")
    with CaptureQueriesContext(connection) as many:
        after = scrape()
    assert Gateway.objects.count() == 21
    assert before.keys() == after.keys()
    assert len(after) < 60
    assert len(many) == len(few) < 40
