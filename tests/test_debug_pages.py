"""The pages of errors with DEBUG: no credential of ours is on them."""

import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, RequestFactory
from django.utils.module_loading import import_string
from django.views.debug import ExceptionReporter

from core.models import User
from core.tasks import links
from iotapp import environment

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


@pytest.mark.django_db
@pytest.mark.parametrize("scope", links.LASTS)
def test_the_code_of_a_link_is_not_on_it(scope, settings, monkeypatch):
    def fails(code, log_in):
        raise ImproperlyConfigured(f"of a test, with {code}")

    settings.DEBUG = True
    monkeypatch.setattr(links, "use_link", fails)
    link = links.link_to(User.objects.create(username="anna"), scope, "http://testserver")
    code = link.partition("#")[2]
    browser = Client(raise_request_exception=False, headers={"referer": f"{link}&code={code}"})
    for accepted in ("text/html", "text/plain"):
        answer = browser.post(
            "/link/", {"code": code}, query_params={"code": code}, headers={"accept": accepted}
        )
        assert answer.status_code == 500
        shown = answer.content.decode()
        assert "of a test, with ****" in shown
        assert code.partition(".")[2] not in shown


def test_a_mangled_link_is_not_on_it(settings):
    settings.DEBUG = True
    request = RequestFactory().get(f"/link/%23log-in.{CANARY}")
    page = settings.DEFAULT_EXCEPTION_REPORTER
    reporter = import_string(page)(request, ValueError, ValueError("x"), None)
    assert CANARY not in reporter.get_traceback_html() + reporter.get_traceback_text()


def test_the_password_of_the_mail_server_is_not_on_it(settings, monkeypatch):
    url = f"smtp://anna:{CANARY}@mail.example.org"
    monkeypatch.setenv("EMAIL_URL", url)
    settings.DEBUG, settings.MAIL = True, environment.mail("EMAIL_URL")
    # The development server has the environment in META.
    request = RequestFactory().get("/", EMAIL_URL=url)
    shown = ExceptionReporter(request, ValueError, ValueError("x"), None).get_traceback_html()
    assert "EMAIL_URL" in shown
    assert CANARY not in shown
