"""What holds at every address: errors as problem details, who may read, pages, 304."""

import subprocess
import sys

import pytest
from django.db import OperationalError

from core.api import devices
from tests.core.tasks.homes import make_device


def expect_problem(response, status):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"] and body["detail"]
    return body


@pytest.mark.parametrize("path", ["/nowhere/", "/devices", "/devices/abc/", "/devices/1/2/", ""])
def test_an_unknown_address_is_a_problem(anonymous, path):
    expect_problem(anonymous.get(path), 404)
    expect_problem(anonymous.post(path, {}), 404)


def test_a_device_that_is_not_there_is_a_problem(anonymous):
    expect_problem(anonymous.get("/devices/1/"), 404)
    expect_problem(anonymous.get(f"/devices/{10**30}/"), 404)


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(administrator):
    response = administrator.post("/devices/", {})
    expect_problem(response, 405)
    assert "GET" in response["Allow"]


@pytest.mark.parametrize("method", ["QUERY", "RIGHT", "ACCESS", "PROPFIND"])
def test_a_method_that_is_none_of_ours_is_a_problem(administrator, method):
    """QUERY, which HTTP knows, too: views have attributes of such names."""
    expect_problem(administrator.send(method, "/devices/?no=such"), 405)


def test_another_format_is_a_problem(anonymous):
    expect_problem(anonymous.get("/devices/", headers={"Accept": "image/png"}), 406)


def test_an_error_of_ours_is_a_problem_that_tells_nothing(anonymous, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(devices.DeviceResource, "devices", fail)
    response = anonymous.get("/devices/")
    expect_problem(response, 500)
    assert b"secret" not in response.content
    assert "secret" in caplog.text


def test_a_database_that_is_away_is_told_as_such(anonymous, monkeypatch):
    def fail(*_):
        raise OperationalError("no route to 10.1.2.3")

    monkeypatch.setattr(devices.DeviceResource, "devices", fail)
    response = anonymous.get("/devices/")
    expect_problem(response, 503)
    assert response["Retry-After"] == "5"
    assert b"10.1.2.3" not in response.content


def test_a_wrong_host_is_a_problem(anonymous):
    expect_problem(anonymous.get("/devices/", headers={"Host": "elsewhere.example"}), 400)


def test_pages_keep_their_own_errors(client, db):
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("name", ["nonsense", "Limit", "page"])
def test_an_unknown_parameter_is_refused_by_name(anonymous, name):
    body = expect_problem(anonymous.get("/devices/", **{name: "1"}), 400)
    assert [error["field"] for error in body["errors"]] == [name]


def test_a_parameter_given_twice_is_refused(anonymous):
    expect_problem(anonymous.get("/devices/?limit=1&limit=2"), 400)


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "9" * 5000])
def test_a_wrong_limit_is_refused(anonymous, limit):
    body = expect_problem(anonymous.get("/devices/", limit=limit), 400)
    assert body["errors"][0]["field"] == "limit"


def test_without_a_log_in_nothing_is_told_unless_it_is_public(api, settings, device):
    settings.PUBLIC_STATUS = False
    response = api().get("/devices/")
    expect_problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_change_with_a_cookie_needs_the_csrf_token(device):
    # Django's test client checks it only where it is told to.
    from django.test import Client

    from core.models import User

    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create(username="anna", is_superuser=True))
    response = client.post("/api/v1/devices/", {}, content_type="application/json")
    expect_problem(response, 403)


def test_pages_follow_each_other_without_gap_or_repetition(viewer, gateway):
    pks = [make_device(gateway, f"plug-{number}").pk for number in range(7)]
    for order, expected in (("id", pks), ("-id", pks[::-1]), ("name", pks)):
        seen, address = [], f"/devices/?limit=3&order={order}"
        while address:
            page = viewer.get(address).json()
            seen += [device["id"] for device in page["results"]]
            address = page["next"] and page["next"].partition("/api/v1")[2]
        assert seen == expected


@pytest.mark.parametrize(
    "cursor",
    ["x", "W10", "WyJwayIsMV0", "WyJpZCIsMV0", "WyJwayIseyJhIjoxfV0", "WyJwayIsMWU5OV0"],
)
def test_a_cursor_of_another_list_is_refused(viewer, device, cursor):
    response = viewer.get("/devices/", cursor=cursor, order="name")
    assert "cursor" in expect_problem(response, 404)["detail"]


@pytest.mark.parametrize("cursor", ["", "!!", "x" * 2000])
def test_what_cannot_be_a_cursor_is_refused(viewer, device, cursor):
    assert expect_problem(viewer.get("/devices/", cursor=cursor), 400)


def test_what_did_not_change_is_not_sent_again(viewer, device):
    first = viewer.get("/devices/")
    again = viewer.get("/devices/", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    make_device(device.gateway, "second")
    assert viewer.get("/devices/", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_polling_imports_nothing_of_the_api():
    program = (
        "import sys, django; django.setup(); import core.management.commands.poll_devices; "
        "print([n for n in sys.modules if n.startswith(('rest_framework', 'drf_', 'core.api'))])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"DJANGO_SETTINGS_MODULE": "iotapp.settings", "DEBUG": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"
