"""What is not about devices: health for monitors, log-in, error pages, the policy."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from core.models import Run, User
from core.models.run import Outcome
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway


def polled(ago, task="poll"):
    time = timezone.now() - ago
    with publishing():
        Run.objects.create(task=task, outcome=Outcome.DONE, started_at=time, finished_at=time)


@pytest.mark.django_db
def test_healthz_is_ok_while_polls_complete(client):
    polled(timedelta(minutes=5))
    response = client.get("/healthz")
    assert (response.status_code, response.content, response.headers["Content-Type"]) == (
        200,
        b"ok\n",
        "text/plain; charset=utf-8",
    )


@pytest.mark.django_db
def test_healthz_tells_when_polls_stopped(client):
    polled(timedelta(hours=1))
    response = client.get("/healthz")
    assert response.status_code == 503
    assert b"60 minutes old" in response.content


@pytest.mark.django_db
def test_healthz_tells_when_deciding_stopped_while_polls_complete(client):
    polled(timedelta(minutes=5))
    with publishing():
        device = make_device(make_gateway())
        device.rule = "awesome"
        device.save()
    response = client.get("/healthz")
    assert response.status_code == 503
    assert b"No round of decisions has completed yet" in response.content
    polled(timedelta(minutes=31), "decide")
    response = client.get("/healthz")
    assert response.status_code == 503
    assert b"round of decisions is 31 minutes old" in response.content
    polled(timedelta(minutes=5), "decide")
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_healthz_asks_for_no_decisions_where_no_device_has_a_rule(client):
    polled(timedelta(minutes=5))
    polled(timedelta(days=3), "decide")
    with publishing():
        make_device(make_gateway())
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_healthz_tells_when_the_database_is_away(client, caplog):
    def away(*_):
        raise OperationalError("connection to 10.0.0.7 refused")

    with connection.execute_wrapper(away):
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (
        503,
        b"The database does not answer (OperationalError).\n",
    )
    assert "10.0.0.7" in caplog.text


@pytest.mark.django_db
def test_healthz_needs_neither_https_nor_session(settings, client):
    settings.SECURE_SSL_REDIRECT = True
    settings.PUBLIC_STATUS = False
    response = client.get("/healthz")
    assert response.status_code == 503
    assert not response.cookies
    assert client.get("/").status_code == 301


@pytest.mark.django_db
def test_a_person_logs_in_and_out():
    User.objects.create_user("anna", password="a good password")
    browser = Client()
    response = browser.post(
        "/login/?next=/gateways/",
        {"username": "anna", "password": "a good password", "next": "/gateways/"},
    )
    assert response.headers["Location"] == "/gateways/"
    assert b"anna" in browser.get("/").content
    assert browser.post("/logout/").headers["Location"] == "/"
    assert b"anna" not in browser.get("/").content


@pytest.mark.django_db
def test_a_wrong_password_is_told(client):
    assert (
        'role="alert"'
        in client.post("/login/", {"username": "anna", "password": "wrong"}).content.decode()
    )


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/nothing/", "/devices/1/", "/gateways/1/"])
def test_a_page_that_is_not_there_says_so(owner, path):
    response = owner.get(path)
    assert response.status_code == 404
    assert b"There is no such page" in response.content


@pytest.mark.django_db
def test_an_error_of_ours_has_a_page_that_needs_no_database(settings, client):
    from django.views.defaults import server_error

    assert b"Something broke" in server_error(client.get("/").wsgi_request).content


@pytest.mark.django_db
def test_a_form_without_its_token_is_told_to_try_again():
    response = Client(enforce_csrf_checks=True).post("/login/", {"username": "anna"})
    assert response.status_code == 403
    assert b"Nothing was done" in response.content


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/gateways/", "/login/", "/nothing/", "/healthz"])
def test_every_answer_carries_the_policy(client, path):
    assert "default-src 'none'" in client.get(path).headers["Content-Security-Policy"]
