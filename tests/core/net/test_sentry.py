"""What is told to Sentry, as it goes over the wire to a server of our own."""

import gzip
import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

from core import checks
from core.net import sentry
from tests.core.raw_server import answer, serving

pytest.importorskip("sentry_sdk")

KEY = "canary-of-a-secret-key-that-is-long-enough"
BEFORE = """
import logging, sys, django
django.setup()
from core.net import logs
logger = logging.getLogger("core.tasks")
mark = "can" + "ary"  # lines of source are sent
"""
REQUEST = """
from django.test import Client
from django.urls import path
import iotapp.urls

def fail(request):
    password_of_a_variable = f"{mark}-variable"
    raise ValueError("the view failed")

iotapp.urls.urlpatterns.append(path("fail/", fail))
headers = {"host": "localhost", "authorization": f"Bearer {mark}-header"}
client = Client(raise_request_exception=False, headers=headers)
client.cookies["sessionid"] = f"{mark}-cookie"
assert client.post(f"/fail/?{mark}-query=1", {"field": f"{mark}-form"}).status_code == 500
"""


def told(program, before="", **environment):
    """Run the program with Sentry at a server of ours. Return the events that arrived."""
    with serving(lambda request: answer()) as server:
        environment = os.environ | {
            "SENTRY_DSN": f"http://public@127.0.0.1:{server.port}/7",
            "SECRET_KEY": KEY,
            "DEBUG": "1",
            "DATABASE_URL": "postgres://user:canary-database@127.0.0.1:1/none",
            "PYTHONWARNINGS": "ignore",
            "DJANGO_SETTINGS_MODULE": "iotapp.settings",
            **environment,
        }
        ran = subprocess.run(
            [sys.executable, "-c", before + BEFORE + program],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return ran, [event(request) for request in server.requests]


def event(request):
    assert request.target == "/api/7/envelope/"
    body = request.body
    if request.headers.get("content-encoding", request.headers.get("Content-Encoding")) == "gzip":
        body = gzip.decompress(body)
    assert b"canary" not in body, body
    header, item, payload = body.split(b"\n")[:3]
    assert json.loads(item)["type"] == "event"
    return json.loads(payload)


def test_an_error_that_is_logged_arrives_with_what_it_is_about():
    ran, [event] = told("""
try:
    with logs.about({"run": 3, "command": 5}):
        password_of_a_variable = f"{mark}-variable"
        raise ValueError(f"no answer of http://user:{mark}-url@10.0.0.7/x?key={mark}-query")
except ValueError:
    logger.exception("%s failed for %s", "a task", f"{mark}.person@example.org")
logger.warning("no error")
""")
    assert ran.returncode == 0, ran.stderr
    assert event["tags"] == {"run": "3", "command": "5"}
    assert (event["logger"], event["level"]) == ("core.tasks", "error")
    assert event["environment"] == "development"
    assert event["logentry"] == {
        "message": "%s failed for %s",
        "formatted": "a task failed for ***",
    }
    [raised] = event["exception"]["values"]
    assert (raised["type"], raised["value"]) == (
        "ValueError",
        "no answer of http://***@***/x?***",
    )
    assert not event.keys() & {"request", "user", "extra", "breadcrumbs", "server_name", "modules"}
    assert all("vars" not in frame for frame in raised["stacktrace"]["frames"])


def test_credentials_of_the_environment_are_hidden_wherever_they_stand():
    _, [event] = told("""
from django.conf import settings
logger.error("%s and %s", settings.SECRET_KEY, settings.DATABASES["default"]["PASSWORD"])
""")
    assert event["logentry"]["formatted"] == "*** and ***"


def test_an_error_that_ends_the_process_or_a_thread_arrives_once():
    ran, events = told("""
import threading
def fail():
    raise KeyError("of a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
with logs.about({"run": 3}):
    raise ValueError("of the process")
""")
    assert ran.returncode == 1 and "ValueError: of the process" in ran.stderr
    kinds = [(event["exception"]["values"][0]["type"], event["tags"]) for event in events]
    assert kinds == [("KeyError", {}), ("ValueError", {"run": "3"})]


def test_what_fails_in_a_request_arrives_once_and_without_the_request():
    ran, [event] = told(REQUEST, DATABASE_URL="sqlite://:memory:")
    assert ran.returncode == 0, ran.stderr
    [raised] = event["exception"]["values"]
    assert raised["value"] == "the view failed"


COMMAND = """
from django.core.management import call_command
from core.management.command import Command
from django.core.management.base import CommandError

class Ends(Command):
    needs_whole_site, is_scheduled = False, {is_scheduled}
    def handle(self, *args, **options):
        raise CommandError("1 gateway did not answer:\\n  The attic: no answer")
try:
    call_command(Ends())
except CommandError:
    sys.exit(1)  # as manage.py does
"""


def test_an_error_that_ends_a_scheduled_command_arrives_once_without_names():
    ran, [event] = told(COMMAND.format(is_scheduled=True), DATABASE_URL="sqlite://:memory:")
    assert ran.returncode == 1
    [raised] = event["exception"]["values"]
    assert (raised["type"], raised["value"]) == ("CommandError", "1 gateway did not answer:")


def test_what_the_database_says_is_told_by_the_command_that_the_scheduler_runs():
    program = "import manage\nsys.argv[1:] = ['send_alerts']\nmanage.main()"
    ran, [event] = told(program, DATABASE_URL="sqlite://:memory:")
    assert ran.returncode == 1, ran.stderr
    ends = [raised["value"] for raised in event["exception"]["values"]]
    assert ends[-1].startswith("The database says: no such table")


def test_a_mistake_of_a_person_who_types_a_command_is_not_told():
    ran, events = told(COMMAND.format(is_scheduled=False), DATABASE_URL="sqlite://:memory:")
    assert (ran.returncode, events) == (1, []), ran.stderr


def test_answers_and_attempts_of_strangers_are_not_told():
    ran, events = told(
        """
from django.http import HttpResponse
from django.test import Client
from django.urls import path
import iotapp.urls

iotapp.urls.urlpatterns.append(path("away/", lambda request: HttpResponse(status=503)))
assert Client(headers={"host": "localhost"}).get("/away/").status_code == 503
assert Client(headers={"host": "evil.example.org"}).get("/").status_code == 400
""",
        DATABASE_URL="sqlite://:memory:",
    )
    assert (ran.returncode, events) == (0, []), ran.stderr
    assert "Service Unavailable" in ran.stderr and "DisallowedHost" in ran.stderr


def test_without_an_address_nothing_of_it_is_loaded():
    ran, events = told("sys.exit('sentry_sdk' in sys.modules)", SENTRY_DSN="")
    assert (ran.returncode, events) == (0, []), ran.stderr


def test_without_the_package_each_process_says_so_and_goes_on():
    ran, events = told("print('goes on')", before="import sys; sys.modules['sentry_sdk'] = None\n")
    assert (ran.stdout, events) == ("goes on\n", [])
    assert "pip install -r requirements-sentry.txt" in ran.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at 12:30:45 on 2026-03-29T01:30:00+00:00", "at 12:30:45 on 2026-03-29T01:30:00+00:00"),
        ("core::tasks: Device 7: 20.5 W, 1.2.3", "core::tasks: Device 7: 20.5 W, 1.2.3"),
        ("from 2001:db8::7 and fe80:0:0:0:1:2:3:4", "from *** and ***"),
        ("at 192.168.1.20:80", "at ***:80"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("{'password': 'hush', 'name': 'x'}", "{'password': '***', 'name': 'x'}"),
        ("/invitation.abc-DEF_1/", "/***/"),
        ("iot_abcdefgh12345", "***"),
        ("what now? nothing", "what now? nothing"),
    ],
)
def test_what_is_hidden_in_a_text(text, shown):
    assert sentry.Hider([]).text(text) == shown


def test_the_checks_find_that_the_package_is_missing(settings, monkeypatch):
    settings.SENTRY_DSN = "https://key@sentry.example.org/1"
    assert checks.check_sentry(None) == []
    monkeypatch.setattr("core.checks.find_spec", lambda name: None)
    [error] = checks.check_sentry(None)
    assert "pip install -r requirements-sentry.txt" in error.hint
    settings.SENTRY_DSN = ""
    assert checks.check_sentry(None) == []
