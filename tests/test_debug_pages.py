"""The pages of errors with DEBUG: no credential of ours is on them."""

import sys

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

CANARY = "canary-5f1c"


def report(kind: str) -> str:
    """The page or text about an error while a gateway's credential is used."""
    request = RequestFactory().post(
        "/gateways/add/",
        {"name": "Hub", "credential": CANARY, "password": CANARY},
        DATABASE_URL=f"postgres://iotapp:{CANARY}@db/iotapp",
        WATTTIME_CREDENTIAL=CANARY,
    )
    body = {"anything": CANARY}
    try:
        raise ValueError(f"{len(body)} bodies are wrong")
    except ValueError:
        reporter = ExceptionReporter(request, *sys.exc_info())
    return reporter.get_traceback_html() if kind == "html" else reporter.get_traceback_text()


@pytest.mark.parametrize("kind", ["html", "text"])
def test_a_page_of_an_error_with_debug_shows_no_credential(kind, settings):
    settings.DEBUG = True
    settings.FEED_CREDENTIALS = {"watttime": CANARY}
    settings.FIELD_KEYS = [CANARY]
    shown = report(kind)
    assert "1 bodies are wrong" in shown
    assert "Hub" in shown
    # Lines of source are shown too.
    assert CANARY not in shown.replace(f'CANARY = "{CANARY}"', "")
