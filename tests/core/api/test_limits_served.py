"""Limits and usage of a real server: over sockets, and when it is told to end."""

from pathlib import Path

import pytest
import requests

from core.models import Right, Role, Usage
from core.models.token import new_text
from core.tasks import tokens
from tests.core.api.conftest import person
from tests.core.live.web_server import Web


@pytest.fixture
def web(database_url):
    web = Web(database_url, LOG_LEVEL="DEBUG")
    web.start()
    yield web
    web.end()


def get(web, text, **headers):
    headers = {"Authorization": f"Bearer {text}", **headers}
    return requests.get(f"{web.site}/api/v1/devices/", headers=headers, timeout=30)


@pytest.fixture
def text(transactional_db):
    return tokens.issue(person("ada", Role.ADMINISTRATOR), "served", [Right.READ]).text


def test_usage_is_written_when_the_server_is_told_to_end(text, web):
    statuses = [get(web, text).status_code for _ in range(3)]
    assert not Usage.objects.exists()
    web.stop()
    assert statuses == [200] * 3, web.log()
    [row] = Usage.objects.all()
    assert (row.route, row.requests) == ("GET devices/", 3)


def test_the_twentieth_wrong_token_is_refused_whatever_a_header_says(text, web):
    known = get(web, text)
    answers = [
        get(
            web,
            new_text(),
            **{"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"},
        )
        for number in range(20)
    ]
    assert [answer.status_code for answer in answers] == [401] * 19 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    # A token that was right before is no stranger.
    assert (known.status_code, get(web, text).status_code) == (200, 200)


def command_lines() -> bytes:
    lines = b""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines += (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it ended, or is another's
            continue
    return lines


def test_logs_and_process_lists_do_not_have_a_token(text, web):
    get(web, text)
    get(web, text + "x")
    if Path("/proc/self/cmdline").exists():
        seen = command_lines()
        assert b"iotapp.asgi" in seen
        assert text.encode() not in seen
    web.stop()
    log = web.log()
    assert "/api/v1/devices/" in log
    assert text not in log
