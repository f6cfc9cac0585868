"""How often programs may ask: counted before a log-in or the database is looked at."""

import threading
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from core.api import limits
from core.models import Role, Token, Usage
from core.models.token import new_text
from core.net.limits import Failures, Rate
from core.tasks import tokens, usage
from tests.core.api.conftest import Api, person


def wrong(**headers):
    return Api(authorization=f"Bearer {new_text()}", **headers).get("/devices/")


def test_the_twentieth_wrong_token_is_refused(db):
    assert [wrong().status_code for _ in range(21)] == [401] * 19 + [429] * 2
    refused = wrong()
    assert 0 < int(refused.headers["Retry-After"]) <= 15 * 60
    assert refused.json()["detail"].startswith("Too many wrong tokens came from your address")


def test_a_header_that_anybody_can_write_is_no_other_address(db):
    answers = [wrong(x_forwarded_for=f"203.0.113.{number}") for number in range(20)]
    assert answers[-1].status_code == 429


def test_behind_a_trusted_proxy_each_address_is_counted_for_itself(db, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for _ in range(20):
        last = wrong(x_forwarded_for="203.0.113.7")
    assert last.status_code == 429
    assert wrong(x_forwarded_for="203.0.113.8").status_code == 401
    # What the client itself wrote stands before what the proxy added.
    assert wrong(x_forwarded_for="203.0.113.9, 203.0.113.7").status_code == 429


def test_a_refused_token_costs_no_query(db, django_assert_num_queries):
    for _ in range(19):
        wrong()
    with django_assert_num_queries(0):
        assert wrong().status_code == 429


def test_a_token_that_was_right_is_let_in_whatever_else_comes_from_there(with_token):
    ours = with_token("read")
    assert ours.get("/devices/").status_code == 200
    for _ in range(20):
        wrong()
    assert ours.get("/devices/").status_code == 200
    assert with_token("read").get("/devices/").status_code == 429


@pytest.mark.django_db(transaction=True)
def test_wrong_tokens_at_the_same_time_are_counted_too():
    answers = []

    def ask():
        answers.append(wrong().status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(401) <= 19
    assert set(answers) == {401, 429}


def test_a_token_has_so_many_requests_a_minute(with_token, monkeypatch):
    monkeypatch.setitem(limits.rates, "token", Rate(3, 60))
    ours, others = with_token("read"), with_token("read")
    ours.get("/devices/")  # by the allowance of the address: it is not known to be right yet
    answers = [ours.get("/devices/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"token";q=3;w=60'
    assert answers[0].headers["RateLimit"] == '"token";r=2;t=1'
    assert answers[3].headers["Retry-After"] == "20"
    assert others.get("/devices/").status_code == 200


def test_without_a_token_the_address_is_counted(anonymous, monkeypatch):
    monkeypatch.setitem(limits.rates, "address", Rate(1, 60))
    assert anonymous.get("/devices/").status_code == 200
    assert anonymous.get("/devices/").status_code == 429
    assert anonymous._client.get("/").status_code == 200


def test_a_bucket_fills_again(monkeypatch):
    now = 100.0
    monkeypatch.setattr("core.net.limits.monotonic", lambda: now)
    rate = Rate(2, 60)
    assert [rate.take("a").wait_seconds for _ in range(3)] == [0, 0, 30]
    now += 30
    assert [rate.take("a").wait_seconds for _ in range(2)] == [0, 30]


def test_failures_are_forgotten_after_a_while(monkeypatch):
    now = 100.0
    monkeypatch.setattr("core.net.limits.monotonic", lambda: now)
    failures = Failures(1, 60)
    assert failures.begin("a", "x") == 0
    failures.end("a", "x", failed=True)
    now += 50
    assert failures.begin("a", "y") == 10
    now += 10
    assert failures.begin("a", "y") == 0


def test_one_token_in_many_requests_at_once_is_one_attempt():
    failures = Failures(2, 60)
    assert [failures.begin("a", "x") for _ in range(10)] == [0] * 10
    assert failures.begin("a", "y") == 0
    assert failures.begin("a", "z") == 1


# Usage


def test_requests_are_counted_by_token_day_and_address(with_token, device):
    ours = with_token("read")
    for _ in range(3):
        ours.get("/devices/")
    ours.get(f"/devices/{device.pk}/")
    assert not Usage.objects.exists()
    usage.flush()
    assert sorted(Usage.objects.values_list("route", "requests")) == [
        ("GET devices/", 3),
        ("GET devices/<int:pk>/", 1),
    ]
    ours.get("/devices/")
    usage.flush()
    assert Usage.objects.get(route="GET devices/").requests == 4


def test_counting_costs_no_query(with_token, django_assert_num_queries):
    ours = with_token("read")
    ours.get("/devices/")
    with django_assert_num_queries(3) as before:
        ours.get("/devices/")
    assert not any("core_usage" in query["sql"] for query in before.captured_queries)


def test_what_is_not_written_yet_waits(with_token, monkeypatch):
    with_token("read").get("/devices/")
    with monkeypatch.context() as patched:
        from django.db import OperationalError

        def away(*_):
            raise OperationalError("the database is away")

        patched.setattr(usage, "_write", away)
        usage.flush()
    usage.flush()
    assert Usage.objects.get().requests == 1


def test_usage_of_a_deleted_token_is_dropped(with_token):
    with_token("read").get("/devices/")
    Token.objects.all().delete()
    usage.flush()
    assert not Usage.objects.exists()


def test_a_plan_ends_at_its_quota(token, settings):
    settings.API_PLANS = {"free": 2}
    ours = Api(authorization=f"Bearer {token('read', plan='free')}")
    answers = [ours.get("/devices/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "The plan free has 2 requests a day" in answers[2].json()["detail"]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 24 * 3600


def test_all_tokens_of_a_person_share_the_quota_of_their_plan(token, settings):
    settings.API_PLANS = {"free": 3}
    olga = person("olga", Role.VIEWER)
    first = token("read", user=olga, plan="free")
    rotated = tokens.rotate(tokens.find(first), timedelta(hours=1)).text
    asking = [Api(authorization=f"Bearer {text}") for text in (first, rotated)]
    answers = [ours.get("/devices/").status_code for ours in asking * 2]
    assert answers == [200, 200, 200, 429]
    usage.flush()
    assert [ours.get("/devices/").status_code for ours in asking] == [429, 429]
    without_plan = Api(authorization=f"Bearer {token('read', user=olga)}")
    assert without_plan.get("/devices/").status_code == 200


def test_a_quota_counts_what_other_processes_counted(token, settings):
    settings.API_PLANS = {"free": 10}
    ours = Api(authorization=f"Bearer {token('read', plan='free')}")
    ours.get("/devices/")
    today = datetime.now(UTC).date()
    Usage.objects.create(token=Token.objects.get(), day=today, route="GET x/", requests=9)
    assert ours.get("/devices/").status_code == 200
    usage.flush()
    assert ours.get("/devices/").status_code == 429


def test_a_quota_begins_anew_each_day(token, settings, time_machine):
    settings.API_PLANS = {"free": 1}
    ours = Api(authorization=f"Bearer {token('read', plan='free')}")
    assert [ours.get("/devices/").status_code for _ in range(2)] == [200, 429]
    time_machine.move_to(datetime.now(UTC) + timedelta(days=1))
    assert ours.get("/devices/").status_code == 200


def test_a_token_reads_its_own_usage(with_token):
    ours = with_token("read")
    ours.get("/devices/")
    with_token("read").get("/devices/")
    usage.flush()
    [row] = ours.get("/usage/").json()["results"]
    assert (row["route"], row["requests"]) == ("GET devices/", 1)
    assert Api().get("/usage/").status_code == 404


def test_usage_is_exported_for_bills(token):
    text = token("read")
    Api(authorization=f"Bearer {text}").get("/devices/")
    usage.flush()
    out = StringIO()
    call_command("export_usage", f"{datetime.now(UTC):%Y-%m}", stdout=out)
    pk = Token.objects.get().pk
    assert out.getvalue().splitlines() == [
        "user,token,name,plan,route,requests",
        f"owner-0,{pk},test,,GET devices/,1",
    ]
    out = StringIO()
    call_command("export_usage", "2020-01", stdout=out)
    assert len(out.getvalue().splitlines()) == 1
