"""The text of a token is nowhere but in the one answer that shows it."""

import logging
import os
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from core.api import devices
from core.models import Right, Role
from core.tasks import tokens
from tests.core.api.conftest import Api, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada():
    return person("ada", Role.ADMINISTRATOR)


@pytest.fixture
def issued(ada):
    return tokens.issue(ada, "canary", list(Right))


def whole(answer):
    return f"{answer.status_code} {dict(answer.items())} {answer.content.decode()}"


def failing(*_, **__):
    raise ValueError("of a test")


def with_header(text, scheme="Bearer"):
    return Api(authorization=f"{scheme} {text}")


def used(issued, monkeypatch):
    """Yield an answer to each way in which a token is used, rightly and wrongly."""
    text = issued.text
    yield with_header(text).get("/devices/")
    yield with_header(text).get("/nothing/")
    yield with_header(text).post("/devices/", {"name": 1})
    yield with_header(text, "Token").get("/devices/")
    yield with_header(text, "Basic").get("/devices/")
    yield with_header(f"{text} {text}").get("/devices/")
    with monkeypatch.context() as patched:
        patched.setattr(devices.DeviceList, "get", failing)
        yield with_header(text).get("/devices/")
    tokens.revoke([issued.token.pk])
    yield with_header(text).get("/devices/")
    for number in range(20):
        yield with_header(f"{text}{number}").get("/devices/")


@pytest.mark.parametrize("debug", [False, True])
def test_answers_and_logs_do_not_have_it(issued, monkeypatch, caplog, settings, debug):
    settings.DEBUG = debug
    caplog.set_level(logging.DEBUG)
    answers = list(used(issued, monkeypatch))
    statuses = {answer.status_code for answer in answers}
    assert {200, 401, 404, 500, 429} <= statuses
    assert not [answer for answer in answers if issued.text in whole(answer)]
    assert "of a test" in caplog.text
    assert issued.text not in caplog.text


def test_the_page_of_an_error_while_it_is_shown_does_not_have_it(
    ada, monkeypatch, caplog, settings
):
    """It stands in variables of the frames that the page of the error shows."""
    settings.DEBUG = True
    texts = []
    issue = tokens.issue

    def spy(*arguments, **options):
        made = issue(*arguments, **options)
        texts.append(made.text)
        return made

    monkeypatch.setattr(tokens, "issue", spy)
    monkeypatch.setattr("core.views.tokens._where", failing)
    browser = Client(raise_request_exception=False)
    browser.force_login(ada)
    answer = browser.post("/tokens/issue/", {"name": "canary", "rights": ["read"], "days": "7"})
    assert answer.status_code == 500
    assert "_show_once" in answer.content.decode()
    [text] = texts
    assert text not in whole(answer)
    assert text not in caplog.text


def test_pages_do_not_have_it(issued, ada):
    ada.is_staff = True
    ada.save()
    browser = Client()
    browser.force_login(ada)
    pk = issued.token.pk
    for path in (
        "/tokens/",
        f"/tokens/{pk}/rotate/",
        f"/tokens/{pk}/revoke/",
        "/admin/core/token/",
        f"/admin/core/token/{pk}/change/",
    ):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "canary" in answer.content.decode()
        assert issued.text not in whole(answer)


def test_dumps_and_lists_do_not_have_it(issued):
    with_header(issued.text).get("/devices/")
    for command in (["dumpdata"], ["list_tokens"], ["list_tokens", "--json"]):
        out = StringIO()
        call_command(*command, stdout=out)
        assert "canary" in out.getvalue()
        assert issued.text not in out.getvalue()


def test_a_new_process_prints_it_once_on_its_standard_output(tmp_path):
    environment = {
        **os.environ,
        "DEBUG": "1",  # DATABASE_URL says that this is a server, which has to have its own settings
        "DATABASE_URL": f"sqlite:///{tmp_path / 'canary.sqlite3'}",
        "LOG_LEVEL": "DEBUG",
    }

    def run(*arguments, text=""):
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            check=True,
        )

    run("migrate", "-v0")
    create = "from core.models import User; User.objects.create(username='ada', is_superuser=True)"
    run("shell", "-v0", "-c", create)
    made = run("issue_token", "ada", "canary", "--right", "read")
    text = made.stdout.strip()
    assert tokens.is_well_formed(text)
    assert text not in made.stderr
    revoked = run("revoke_token", "--found", text=text)
    assert "revoked 1" in revoked.stdout
    assert text not in revoked.stdout + revoked.stderr
    assert text.encode() not in (tmp_path / "canary.sqlite3").read_bytes()
