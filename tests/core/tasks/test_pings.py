"""Pings of a dead-man's switch: start, success and fail, and no harm to a run."""

import os
import socket
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import call_command

from core.models import Run
from core.models.run import Outcome
from core.tasks import pings
from core.tasks.runs import running
from tests.core.raw_server import answer
from tests.core.tasks.alerts.receivers import hook_server

pytestmark = pytest.mark.django_db
SECRET = "5f0d-Canary"


@pytest.fixture
def checks(settings):
    with hook_server() as hook:
        settings.PINGS = {"poll_devices": f"{hook.address}/ping/{SECRET}"}
        yield hook


def paths(checks) -> list[str]:
    return [request.target.partition("?")[0] for request in checks.requests]


def test_a_run_pings_its_start_and_its_success_with_one_id(checks):
    call_command("poll_devices", stdout=StringIO())
    assert paths(checks) == [f"/ping/{SECRET}/start", f"/ping/{SECRET}"]
    start, success = (request.target.partition("?rid=")[2] for request in checks.requests)
    assert start == success == str(pings.run_id(Run.objects.get().pk))


def test_a_run_that_breaks_pings_fail(checks):
    with pytest.raises(ZeroDivisionError), running("poll"):
        _ = 1 / 0
    assert paths(checks)[-1] == f"/ping/{SECRET}/fail"


def test_a_task_without_an_address_pings_nobody(checks):
    with running("decide"):
        pass
    assert checks.requests == []


def test_who_finds_a_run_taken_pings_nothing(checks):
    with running("poll"):
        call_command("poll_devices", stdout=StringIO())
        assert len(checks.requests) <= 1


@pytest.mark.parametrize("said", [answer(b"x", "404 Not Found"), None, [b"HTTP/1.1 200 OK\r\n"]])
def test_a_ping_that_fails_changes_nothing_of_the_run(checks, said, caplog, monkeypatch):
    monkeypatch.setattr(pings, "TIMEOUT_SECONDS", 0.5)
    checks.reply = said
    with running("poll"):
        pass
    assert Run.objects.get().outcome == Outcome.DONE
    assert SECRET not in caplog.text


def test_a_service_that_hangs_holds_a_run_up_for_seconds_only(database_url):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/{SECRET}"
        environment = {**os.environ, "DEBUG": "1", "DATABASE_URL": database_url}
        environment["PINGS"] = f"poll_devices={url}"
        shown = subprocess.run(
            [sys.executable, "manage.py", "poll_devices"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert shown.returncode == 0
    assert "The ping of poll_devices did not arrive" in shown.stderr
    assert SECRET not in shown.stderr
