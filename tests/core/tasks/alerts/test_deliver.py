"""Messages: claimed, sent once, tried again within limits, and nothing secret in what is kept."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from core.models import Alert, AlertMessage
from core.models.alert import Fate
from core.tasks.alerts.deliver import MOST_ATTEMPTS, deliver
from tests.core.raw_server import answer
from tests.core.tasks.alerts.receivers import post_office
from tests.core.tasks.alerts.rows import MINUTE, add_gateway, is_as, look
from tests.waiting import wait_until

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "Canary-4711"


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def failing(db, clock):
    """A home in which one of two gateways is to be told of."""
    add_gateway("Other", NOW)
    hub = add_gateway("Hub", NOW)
    is_as(hub, failures=3, error="no answer")
    return hub


def test_a_mail_says_what_is_wrong_with_the_same_id_whenever_it_is_sent(failing, clock, settings):
    settings.ALERTS = ["mailto:anna@example.org"]
    settings.SITE_URL = "https://home.example.org"
    with post_office() as post, real_mail(settings, post.port):
        look(clock, NOW)
        AlertMessage.objects.update(fate=Fate.WAITING)
        deliver()
    one, again = post.mails
    assert (one["To"], one["Subject"]) == ("anna@example.org", "Hub does not answer")
    assert one["Message-ID"] == again["Message-ID"]
    text = one.get_payload()
    assert "no answer" in text
    assert "Seen since 2026-03-02 12:00 UTC." in text
    assert "https://home.example.org/alerts/" in text


def test_a_mail_that_is_refused_is_tried_again_and_then_given_up(failing, clock, settings):
    settings.ALERTS = ["mailto:anna@example.org"]
    with post_office() as post, real_mail(settings, post.port):
        post.refuses = "550 no such user"
        for hours in range(0, 24, 2):
            look(clock, NOW + timedelta(hours=hours, minutes=5 * hours))
    [message] = AlertMessage.objects.filter(phase="opened", alert__gateway=failing.pk)
    assert (message.fate, message.attempts) == (Fate.GIVEN_UP, MOST_ATTEMPTS)
    assert "550" in message.error


def real_mail(settings, port):
    """Send by the real server: tests of Django have a mailer of their own."""
    import django
    from django.test import override_settings

    from iotapp.environment import Mail

    smtp = Mail("127.0.0.1", port, "", "", use_tls=False, use_ssl=False)
    if django.VERSION >= (6, 1):
        return override_settings(SENDS_MAIL=True, MAILERS={"default": smtp.as_mailer()})
    return override_settings(
        SENDS_MAIL=True,
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
    )


def test_ntfy_gets_topic_title_priority_and_an_id(failing, hook, clock, settings):
    host = hook.address.partition("//")[2]
    settings.ALERTS = [f"ntfy+http://:tk_{SECRET}@{host}/my-topic"]
    look(clock, NOW)
    is_as(failing, failures=0)
    look(clock, NOW + 10 * MINUTE)
    opened, ended = hook.bodies
    assert (opened["topic"], opened["title"]) == ("my-topic", "Hub does not answer")
    assert (opened["priority"], opened["tags"], ended["tags"]) == (
        3,
        ["warning"],
        ["white_check_mark"],
    )
    assert opened["sequence_id"] != ended["sequence_id"]
    assert hook.requests[0].headers["authorization"] == f"Bearer tk_{SECRET}"
    assert hook.requests[0].target == "/"


def test_a_webhook_gets_its_whole_address_and_an_idempotency_key(failing, hook, clock, settings):
    settings.ALERTS = [f"{hook.address}/a%20b/{SECRET}?key=x%2Fy&empty="]
    look(clock, NOW)
    [request] = hook.requests
    assert request.target == f"/a%20b/{SECRET}?key=x%2Fy&empty="
    assert request.headers["idempotency-key"] == hook.bodies[0]["id"]


def test_every_address_is_told_and_one_that_fails_stops_no_other(failing, hook, clock, settings):
    settings.ALERTS = ["http://127.0.0.1:1/away", *settings.ALERTS]
    summary = look(clock, NOW)
    assert (summary.delivery.sent, summary.delivery.postponed) == (1, 1)
    assert hook.titles == ["Hub does not answer"]


def test_an_answer_of_503_is_tried_again_with_the_same_id(failing, hook, clock):
    hook.reply = answer(b"", "503 Service Unavailable")
    look(clock, NOW)
    look(clock, NOW + MINUTE)  # it rests
    hook.reply = answer(b"{}")
    look(clock, NOW + 10 * MINUTE)
    look(clock, NOW + 20 * MINUTE)
    first, second = hook.bodies
    assert first == second
    assert AlertMessage.objects.get().fate == Fate.SENT


def test_what_is_over_before_it_could_be_sent_is_told_in_one_message(failing, hook, clock):
    hook.reply = answer(b"", "503 Service Unavailable")
    look(clock, NOW)
    hook.reply = answer(b"{}")
    is_as(failing, failures=0)
    look(clock, NOW + 10 * MINUTE)
    assert hook.titles[1:] == ["Over: Hub does not answer"]
    assert "From 2026-03-02 12:00 to 2026-03-02 12:00 UTC." in hook.bodies[1]["text"]


def test_a_metadata_address_is_refused(failing, clock, settings):
    settings.ALERTS = ["http://169.254.169.254/latest"]
    look(clock, NOW)
    assert "never connected to" in AlertMessage.objects.get().error


def test_a_retry_that_a_wrong_clock_wrote_does_not_hold_a_message_back(failing, hook, clock):
    look(clock, NOW)
    AlertMessage.objects.update(fate=Fate.WAITING, retry_at=NOW + timedelta(days=300))
    assert deliver().sent == 1
    AlertMessage.objects.update(fate=Fate.WAITING, due_at=NOW + timedelta(days=300))
    assert deliver().sent == 1


def test_secrets_are_in_no_row_no_log_and_no_output(failing, hook, clock, settings, caplog):
    hook.reply = answer(f"no such hook: {SECRET}".encode(), "404 Not Found")
    settings.ALERTS += [f"nonsense://{SECRET}", f"ntfy://:{SECRET}@/", f"mailto:{SECRET}"]
    settings.ALERTS += [f"http://127.0.0.1:1/{SECRET}", f"https://u:{SECRET}@127.0.0.1:1/x"]
    out = StringIO()
    call_command("send_alerts", stdout=out)
    rows = [*AlertMessage.objects.values(), *Alert.objects.values()]
    assert len(rows) == 8
    everything = f"{rows} {caplog.text} {out.getvalue()}"
    assert "It answered 404." in everything
    assert SECRET not in everything


def test_the_command_ends_1_when_a_message_was_given_up(failing, hook, clock):
    hook.reply = answer(b"", "410 Gone")
    look(clock, NOW)
    AlertMessage.objects.update(attempts=MOST_ATTEMPTS - 1, retry_at=None)
    with pytest.raises(CommandError, match="1 message could not be sent"):
        call_command("send_alerts", stdout=StringIO())


# Killed


def send(database_url: str, hook, **more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DEBUG": "1", "DATABASE_URL": database_url, **more}
    environment["ALERTS"] = f"{hook.address}/services/{SECRET}"
    return subprocess.Popen([sys.executable, "manage.py", "send_alerts"], env=environment)


@pytest.mark.django_db(transaction=True)
def test_killed_while_sending_it_is_sent_once_more_and_no_third_time(hook, database_url):
    from django.utils import timezone

    now = timezone.now()
    add_gateway("Other", now)
    is_as(add_gateway("Hub", now), failures=3)
    hook.hangs = True
    for count in (1, 2):
        process = send(database_url, hook)
        wait_until(lambda count=count: len(hook.requests) >= count)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Its claim keeps others off.
        assert send(database_url, hook).wait(60) == 0
        assert len(hook.requests) == count
        AlertMessage.objects.update(claimed_until=Now())
    hook.hangs = False
    assert send(database_url, hook).wait(60) == 1
    assert len(hook.requests) == 2
    assert len({body["id"] for body in hook.bodies}) == 1
    assert AlertMessage.objects.get().fate == Fate.GIVEN_UP


@pytest.mark.django_db(transaction=True)
def test_two_processes_at_once_send_each_message_once(hook, database_url):
    from django.utils import timezone

    now = timezone.now()
    add_gateway("Fine", now)
    for number in range(10):
        is_as(add_gateway(f"G{number}", now), failures=3)
    processes = [send(database_url, hook) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert sorted(hook.titles) == sorted(f"G{number} does not answer" for number in range(10))
