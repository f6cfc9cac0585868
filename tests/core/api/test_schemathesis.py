"""Schemathesis asks a real server what its schema promises, and what it does not.

All checks, without a log-in and with a token of each right. The long run is in tests/soak/.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from core.models import User
from core.models.access import Right
from core.tasks import tokens
from tests.core.live.web_server import Web

AUDIENCES = [None, *Right]


@pytest.fixture
def served(planned, database_url):
    """A server for each audience: for its wrong tokens, one run is soon refused, and so would the
    next be."""
    web = Web(database_url, PUBLIC_STATUS="1", API_REQUESTS_A_MINUTE="1000000")
    web.start()
    yield web
    web.end()


def ask(web, audience, *options):
    """Run Schemathesis as one of the audiences; return what it says, and how it ended."""
    headers = []
    if audience:
        user = User.objects.create(username=f"{audience}s", is_superuser=True)
        headers = ["-H", f"Authorization: Bearer {tokens.issue(user, 'test', [audience]).text}"]
    return subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml")), "run"),
            *(f"{web.site}/api/v1/schema/", "--checks", "all", "--continue-on-failure"),
            # Longer than the longest `wait`.
            *("--request-timeout", "60", "--max-response-time", "60"),
            *("--warnings", "off", *headers, *options),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


# The same in every run: new cases are for `make soak`, where nobody waits for them.
SEED = ("--seed", "20261126")
# What a schema covers is asked once, as somebody who may do everything; at random as everybody, but
# for what waits for seconds: tests/core/api/test_events.py asks it.
COVERING = ("--phases", "examples,coverage,fuzzing", "--max-examples", "5", *SEED)
AT_RANDOM = (
    "--phases",
    "fuzzing",
    "--max-examples",
    "5",
    "--exclude-path",
    "/api/v1/events/",
    *SEED,
)


@pytest.mark.parametrize("audience", AUDIENCES)
def test_nothing_undocumented_is_answered(served, audience):
    told = ask(served, audience, *(COVERING if audience == Right.ADMIN else AT_RANDOM))
    assert told.returncode == 0, told.stdout[-20_000:] + told.stderr[-2000:]
