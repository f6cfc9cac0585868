"""The pages of tokens: one sees one's own, an administrator all; the text is shown once."""

import re
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.models import Gateway, Membership, Right, Role, Token, Usage, User
from core.tasks import gateways, tokens
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
TEXT = re.compile(r"\biot_[0-9A-Za-z]{49}\b")
PAGES = ("/tokens/", "/tokens/?ended", "/tokens/issue/", "/tokens/revoke/")


def person(name: str, role: Role, *limits: Gateway) -> User:
    user = User.objects.create(username=name)
    membership = Membership.objects.create(user=user, role=role, everywhere=not limits)
    membership.gateways.set(limits)
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def shown(response: Any) -> str:
    assert response.status_code == 200
    return str(response.content.decode())


@pytest.fixture
def otto() -> User:
    return person("otto", Role.OPERATOR)


@pytest.fixture
def ada() -> User:
    return person("ada", Role.ADMINISTRATOR)


def issue(user: User, name: str = "scraper", **more: Any) -> tokens.Issued:
    return tokens.issue(user, name, [Right.READ], **more)


def left(token: Token) -> timedelta:
    assert token.expires_at
    return token.expires_at - timezone.now()


def send(client: Client, **typed: Any) -> Any:
    return client.post("/tokens/issue/", {"name": "night job", "rights": ["read"], **typed})


def test_a_token_is_shown_once(otto: User) -> None:
    client = browser(otto)
    response = send(client, days="30")
    [text] = TEXT.findall(shown(response))
    found = tokens.find(text)
    assert found
    assert (found.user, found.name, found.rights) == (otto, "night job", ["read"])
    assert timedelta(days=29) < left(found) <= timedelta(days=30)
    assert "no-store" in response.headers["Cache-Control"]
    for path in PAGES:
        assert text not in shown(client.get(path))
    assert "night job" in shown(client.get("/tokens/"))


def test_one_may_not_issue_more_than_one_may(otto: User) -> None:
    client = browser(otto)
    offered = re.findall(r'name="rights" value="(\w+)"', shown(client.get("/tokens/issue/")))
    assert offered == ["read", "control"]
    assert "admin is not one of the available choices" in shown(send(client, rights=["admin"]))
    assert not Token.objects.exists()


def test_a_token_is_limited_to_what_was_chosen(ada: User) -> None:
    gateway = make_gateway()
    device = make_device(gateway)
    send(browser(ada), gateways=[gateway.pk], devices=[device.pk], days="")
    token = Token.objects.get()
    assert token.access.gateways == frozenset({gateway.pk})
    assert token.access.devices == frozenset({device.pk})
    assert token.expires_at is None


def test_who_is_limited_is_offered_and_shown_no_other_gateway() -> None:
    shed, house = make_gateway("Shed", "http://shed"), make_gateway("House", "http://house")
    make_device(house, "heater")
    lena = person("lena", Role.ADMINISTRATOR, shed)
    issue(person("olga", Role.ADMINISTRATOR), "of-olga")
    issue(lena, gateways=[shed, house])
    client = browser(lena)
    for path in PAGES:
        page = shown(client.get(path))
        assert not re.search("House|Heater|of-olga", page)
    assert "Shed" in shown(client.get("/tokens/"))
    assert "not one of the available choices" in shown(send(client, gateways=[house.pk]))
    assert Token.objects.count() == 2


def test_a_gateway_removed_meanwhile_does_not_make_it_a_token_for_all(ada: User) -> None:
    gateway = make_gateway()
    gateways.remove(gateway.pk)
    assert "not one of the available choices" in shown(send(browser(ada), gateways=[gateway.pk]))
    assert not Token.objects.exists()


def test_one_token_alone(otto: User) -> None:
    old = issue(otto)
    send(browser(otto), alone="on")
    assert tokens.find(old.text) is None
    assert Token.objects.valid(timezone.now()).count() == 1


def test_what_a_task_refuses_is_said(otto: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_TOKENS", 1)
    issue(otto)
    assert "otto has 1 tokens. Revoke some of them." in shown(send(browser(otto)))


def test_both_work_for_a_while_after_a_rotation(otto: User) -> None:
    old = issue(otto)
    page = shown(browser(otto).post(f"/tokens/{old.token.pk}/rotate/", {"hours": "1"}))
    [text] = TEXT.findall(page)
    assert text != old.text
    assert tokens.find(text) == Token.objects.latest("pk")
    old.token.refresh_from_db()
    assert timedelta(minutes=59) < left(old.token) <= timedelta(hours=1)
    again = browser(otto).post(f"/tokens/{old.token.pk}/rotate/", {"hours": "1"})
    assert "is rotated: issue a new token" in shown(again)


def test_nobody_rotates_the_token_of_another(ada: User, otto: User) -> None:
    token = issue(otto).token
    assert browser(ada).post(f"/tokens/{token.pk}/rotate/", {"hours": "1"}).status_code == 404
    assert Token.objects.count() == 1


def test_one_revokes_a_token(otto: User) -> None:
    one, other = issue(otto), issue(otto, "other")
    client = browser(otto)
    shown(client.get(f"/tokens/{one.token.pk}/revoke/"))
    assert tokens.find(one.text)
    page = shown(client.post(f"/tokens/{one.token.pk}/revoke/", follow=True))
    assert f"{one.token} is revoked." in page
    assert tokens.find(one.text) is None
    assert tokens.find(other.text)
    assert "scraper" in shown(client.get("/tokens/?ended"))


def test_one_revokes_all_of_ones_own(ada: User, otto: User) -> None:
    mine, theirs = [issue(ada), issue(ada)], issue(otto)
    assert "2 tokens of yours" in shown(browser(ada).get("/tokens/revoke/"))
    assert "Revoked 2 tokens." in shown(browser(ada).post("/tokens/revoke/", follow=True))
    assert not any(tokens.find(issued.text) for issued in mine)
    assert tokens.find(theirs.text)


def test_an_administrator_of_all_sees_and_revokes_those_of_everybody(ada: User, otto: User) -> None:
    token = issue(otto).token
    assert "of otto" in shown(browser(ada).get("/tokens/"))
    browser(ada).post(f"/tokens/{token.pk}/revoke/")
    assert Token.objects.get().revoked_at


def test_nobody_else_sees_or_revokes_the_token_of_another(ada: User, otto: User) -> None:
    token = issue(ada, "of-ada").token
    assert "of-ada" not in shown(browser(otto).get("/tokens/"))
    for verb in ("rotate", "revoke"):
        assert browser(otto).post(f"/tokens/{token.pk}/{verb}/").status_code == 404
    assert tokens.find(issue(ada).text)
    assert Token.objects.get(pk=token.pk).revoked_at is None


@pytest.mark.parametrize("path", [*PAGES, "/tokens/1/rotate/", "/tokens/1/revoke/"])
def test_without_a_log_in_there_are_no_tokens(client: Client, settings: Any, path: str) -> None:
    settings.PUBLIC_STATUS = True
    response = client.get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/login/")


def test_a_token_does_not_log_in_to_pages(ada: User) -> None:
    text = tokens.issue(ada, "greedy", list(Right)).text
    response = Client(headers={"authorization": f"Bearer {text}"}).get("/tokens/")
    assert response.status_code == 302


def test_the_list_costs_the_same_for_many(ada: User, django_assert_max_num_queries: Any) -> None:
    gateway = make_gateway()
    device = make_device(gateway)
    for _ in range(20):
        issue(ada, gateways=[gateway], devices=[device])
    client = browser(ada)
    with django_assert_max_num_queries(10):
        page = shown(client.get("/tokens/"))
    assert page.count(str(device)) == 20


def test_a_page_with_too_many_devices_offers_gateways_alone(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.forms.tokens.MOST_OFFERED", 0)
    make_device(make_gateway())
    assert 'name="devices"' not in shown(browser(ada).get("/tokens/issue/"))
    TEXT.search(shown(send(browser(ada))))
    assert Token.objects.get().all_devices


def test_who_is_no_administrator_gets_the_smallest_plan(
    ada: User, otto: User, settings: Any
) -> None:
    settings.API_PLANS = {"large": 100_000, "small": 1_000}
    for plan in ("", "large"):
        send(browser(otto), plan=plan)
    assert not Token.objects.exists()
    send(browser(otto), plan="small")
    send(browser(ada), plan="large")
    send(browser(ada), plan="")
    assert [token.plan for token in Token.objects.order_by("pk")] == ["small", "large", ""]


def test_usage_is_shown_by_day_and_address(ada: User, otto: User, settings: Any) -> None:
    settings.API_PLANS = {"small": 2_000}
    token = issue(otto, plan="small").token
    today = timezone.now().astimezone(UTC).date()
    for ago, route, requests in (
        (0, "GET devices/", 7),
        (1, "GET devices/", 1_500),
        (1, "GET runs/", 20),
        (31, "GET runs/", 900_000),
    ):
        day = today - timedelta(days=ago)
        Usage.objects.create(token=token, day=day, route=route, requests=requests)
    page = shown(browser(ada).get(f"/tokens/{token.pk}/usage/"))
    cells = re.findall(r"<td>(?:<code>)?([^<]*)", page)
    assert cells[1::2] == ["7", "1,520", "1,507", "20"]
    assert cells[4::2] == ["GET devices/", "GET runs/"]
    assert "The plan small has 2,000 a day" in page


def test_nobody_else_sees_the_usage_of_a_token(ada: User, otto: User) -> None:
    token = issue(ada).token
    assert browser(otto).get(f"/tokens/{token.pk}/usage/").status_code == 404
    assert "asked nothing" in shown(browser(ada).get(f"/tokens/{token.pk}/usage/"))
