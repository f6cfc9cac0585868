"""The pages of alerts and runs: who sees what, and who acknowledged it."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from core.models import Alert, DeviceCommand, Gateway, Membership, Role, Run, User
from core.models.alert import Fate
from core.models.run import Outcome
from core.tasks import poll
from core.tasks.events.outbox import publishing
from core.tasks.send_alerts import send_alerts
from tests.core.tasks.alerts.rows import add_gateway, is_as
from tests.core.tasks.homes import make_device

pytestmark = pytest.mark.django_db
SECRET = "Canary-4711"


def browser(name: str, role: Role, *gateways: Gateway) -> Client:
    user = User.objects.create(username=name)
    membership = Membership.objects.create(user=user, role=role, everywhere=not gateways)
    membership.gateways.set(gateways)
    client = Client()
    client.force_login(user)
    return client


def text(client: Client, path: str = "/alerts/") -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def hub(settings):
    """One gateway of two that does not answer, and nobody who could be told."""
    settings.ALERTS = [f"http://127.0.0.1:1/{SECRET}"]
    now = timezone.now()
    add_gateway("Other", now)
    gateway = add_gateway("Hub", now)
    is_as(gateway, failures=3, error="192.168.1.2 did not answer")
    send_alerts()
    return gateway


def test_an_empty_page_says_that_nothing_is_wrong(db):
    assert "Nothing is wrong" in text(browser("ada", Role.ADMINISTRATOR))


def test_an_administrator_sees_what_failed_and_what_was_sent_without_the_secret(hub):
    page = text(browser("ada", Role.ADMINISTRATOR))
    assert "Hub does not answer" in page
    assert "192.168.1.2 did not answer" in page
    assert "webhook at 127.0.0.1:1" in page
    assert SECRET not in page


def test_a_viewer_sees_neither_error_nor_addresses(hub):
    page = text(browser("vera", Role.VIEWER))
    assert "Hub does not answer" in page
    assert "192.168.1.2" not in page
    assert "webhook" not in page
    assert "Acknowledge<" not in page


def test_a_person_sees_alerts_of_their_gateways_only(hub):
    other = Gateway.objects.get(name="Other")
    assert "Hub does not answer" in text(browser("one", Role.OPERATOR, hub))
    assert "Hub does not answer" not in text(browser("two", Role.OPERATOR, other))


def test_an_operator_acknowledges_and_the_first_one_counts(hub):
    alert = Alert.objects.get(gateway=hub.pk)
    otto, olga = browser("otto", Role.OPERATOR), browser("olga", Role.OPERATOR)
    for client in (otto, olga):
        assert client.post(f"/alerts/{alert.pk}/acknowledge/").status_code == 302
    alert.refresh_from_db()
    assert str(alert.acknowledged_by) == "otto"
    assert alert.messages.get().fate == Fate.DROPPED
    assert "by otto" in text(olga)


def test_whom_it_does_not_concern_cannot_acknowledge(hub):
    other = Gateway.objects.get(name="Other")
    alert = Alert.objects.get(gateway=hub.pk)
    path = f"/alerts/{alert.pk}/acknowledge/"
    assert browser("vera", Role.VIEWER).post(path).status_code == 403
    assert browser("olga", Role.OPERATOR, other).post(path).status_code == 404
    alert.refresh_from_db()
    assert alert.acknowledged_at is None


def test_what_is_over_is_history(hub):
    is_as(hub, failures=0)
    send_alerts()
    client = browser("ada", Role.ADMINISTRATOR)
    assert "Nothing is wrong" in text(client)
    assert "Hub does not answer" in text(client, "/alerts/?ended")


def test_the_list_takes_as_many_queries_for_many_alerts(hub, django_assert_max_num_queries):
    now = timezone.now()
    for number in range(30):
        Alert.objects.create(
            key=f"x{number}", first_seen_at=now, last_seen_at=now, counted_at=now, opened_at=now
        )
    client = browser("ada", Role.ADMINISTRATOR)
    with django_assert_max_num_queries(9):
        text(client)


# Runs


def test_what_has_not_run_yet_missed_nothing():
    page = text(browser("ada", Role.ADMINISTRATOR), "/runs/")
    assert "It has not run yet" in page
    assert "was missed" not in page


def test_runs_show_durations_missed_slots_and_slow_gateways(simulator, heater):
    poll.poll_devices()
    page = text(browser("ada", Role.ADMINISTRATOR), "/runs/")
    assert "poll_devices" in page
    assert "done" in page
    assert "None of the last day was missed." in page
    [[pk, seconds]] = Run.objects.get().slowest
    assert pk == heater.gateway_id
    assert seconds > 0
    assert page.count(heater.gateway.public_name) >= 1


def test_runs_say_when_each_began_and_what_it_did_in_words(db):
    now = timezone.now()
    with publishing():
        for minutes in range(0, 110, 10):
            began = now - timedelta(minutes=minutes)
            counts = {"gateways": 1, "stored": 40, "failed": 0}
            Run.objects.create(task="poll", started_at=began, counts=counts)
    page = text(browser("ada", Role.ADMINISTRATOR), "/runs/")
    assert page.count("1 gateway, 40 stored<") == page.count("data-moment") == 10


def test_runs_say_what_was_missed_and_what_waits(db):
    now = timezone.now()
    with publishing():
        for hours in (3, 2):
            at = now - timedelta(hours=hours)
            Run.objects.create(task="poll", outcome=Outcome.DONE, started_at=at, finished_at=at)
        switch = make_device(add_gateway("Hub", now), "lamp").attributes.get(name="on")
        DeviceCommand.objects.create(
            attribute=switch,
            number=1,
            source="human",
            reason="a test",
            requested_at=now - timedelta(minutes=7),
            expires_at=now + timedelta(minutes=7),
        )
    page = text(browser("ada", Role.ADMINISTRATOR), "/runs/")
    assert "of the last day were missed." in page
    assert "1 order not sent yet" in page


def test_runs_show_errors_and_foreign_gateways_to_nobody_who_may_not_see_them(db):
    now = timezone.now()
    hub, other = add_gateway("Hub", now), add_gateway("Other", now)
    slowest = [[hub.pk, 3.0], [other.pk, 2.0]]
    with publishing():
        Run.objects.create(task="poll", error="http://192.168.1.2 is away", slowest=slowest)
    page = text(browser("olga", Role.ADMINISTRATOR, other), "/runs/")
    assert "Other" in page
    assert "Hub" not in page
    assert "192.168.1.2" not in page


def test_runs_show_how_far_ahead_a_vendors_calls_are_booked(db):
    gateway = add_gateway("Cloud", timezone.now())
    is_as(gateway, vendor="shelly_cloud", next_call_at=Now() + timedelta(seconds=40))
    page = text(browser("ada", Role.ADMINISTRATOR), "/runs/")
    assert "1 in 1.2 s, 20% of it for orders" in page


def test_runs_of_backfill_and_the_listener_are_shown_once_there_are_any(db):
    client = browser("ada", Role.ADMINISTRATOR)
    page = text(client, "/runs/")
    assert "<code>backfill</code>" not in page
    assert "<code>listen_devices</code>" not in page
    now = timezone.now()
    with publishing():
        ended = {"outcome": Outcome.DONE, "finished_at": now}
        Run.objects.create(task="backfill", started_at=now, counts={"spans": 7}, **ended)
        Run.objects.create(task="listen", started_at=now)
        for task in ("poll", "decide"):
            Run.objects.create(task=task, started_at=now, **ended)
    page = text(client, "/runs/")
    assert "<code>backfill</code>" in page
    assert "7 spans" in page
    assert "<code>listen_devices</code>" in page
    # What has no slots misses none: only the two scheduled tasks say so.
    assert page.count("of the last day") == 2
