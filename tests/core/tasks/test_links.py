"""Links that mails bring: they work once, end by themselves, and tell nothing from outside."""

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client

from core.models import User
from core.tasks import invitations, links, people
from core.tasks.mail import MailAway

pytestmark = pytest.mark.django_db
SITE = "https://home.example.org"
OF_SESAMES_FIRST_VERSION = f"log-in.{'A' * 27}:{'a' * 6}:{'A' * 27}"


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> None:
    links.links_of_address.forget()
    links.links_of_account.forget()


def invite(*lines: str) -> None:
    invitations.invite(invitations.parse_invitations(lines), "ada", SITE)


def code_in(message: Any) -> str:
    return re.search(r"/link/#(\S+)", message.body)[1]  # type: ignore[index]


def test_a_link_opens_the_account_once(client: Client) -> None:
    invite("anna@example.org")
    code = code_in(mail.outbox[0])
    for _ in range(3):  # a mail scanner looks at the page
        assert client.get("/link/").status_code == 200
    answer = client.post("/link/", {"code": code})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/password/")
    assert client.get("/password/").status_code == 200
    for _ in range(100):
        replayed = Client().post("/link/", {"code": code})
        assert replayed.status_code == 400
        assert "sessionid" not in replayed.cookies


@pytest.mark.django_db(transaction=True)
def test_of_many_who_use_a_link_at_once_one_is_let_in() -> None:
    invite("anna@example.org")
    code = code_in(mail.outbox[0])
    answers: list[int] = []

    def use() -> None:
        answers.append(Client().post("/link/", {"code": code}).status_code)
        connection.close()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [302] + [400] * 7


def test_links_end_by_themselves(client: Client, time_machine: Any) -> None:
    from django.utils import timezone

    now = timezone.now()
    invite("anna@example.org")
    time_machine.move_to(now + timedelta(days=7, minutes=1))
    assert client.post("/link/", {"code": code_in(mail.outbox[0])}).status_code == 400
    user = User.objects.get()
    time_machine.move_to(now)
    link = links.link_to(user, "log-in", SITE).partition("#")[2]
    time_machine.move_to(now + timedelta(minutes=11))
    assert client.post("/link/", {"code": link}).status_code == 400
    time_machine.move_to(now + timedelta(minutes=9))
    assert client.post("/link/", {"code": link}).status_code == 302


@pytest.mark.parametrize(
    "code",
    ["", "x", "invitation.", "log-in.AAAA", "other.AAAA", "é" * 500, OF_SESAMES_FIRST_VERSION],
)
def test_what_is_no_link_lets_nobody_in(client: Client, code: str) -> None:
    User.objects.create(username="anna")
    assert client.post("/link/", {"code": code}).status_code in (200, 400)
    assert "sessionid" not in client.cookies


def test_an_invitation_is_no_link_to_log_in(client: Client) -> None:
    invite("anna@example.org")
    code = code_in(mail.outbox[0]).replace("invitation.", "log-in.")
    assert client.post("/link/", {"code": code}).status_code == 400


def test_a_closed_account_has_no_link(client: Client) -> None:
    invite("anna@example.org")
    people.remove(User.objects.get())
    assert client.post("/link/", {"code": code_in(mail.outbox[0])}).status_code == 400


def wait_for_mails(count: int) -> None:
    for thread in threading.enumerate():
        if getattr(thread, "_target", None) is links._send_links:
            thread.join()
    assert len(mail.outbox) == count


@pytest.mark.django_db(transaction=True)
def test_who_asks_gets_a_link_and_from_outside_all_looks_the_same(client: Client) -> None:
    User.objects.create(username="anna", email="anna@example.org")
    answers = [
        client.post("/login/link/", {"email": email}, follow=True).content.decode()
        for email in ("Anna@example.org", "nobody@example.org")
    ]
    wait_for_mails(1)
    shown = [re.search(r"If somebody here has the address", answer) for answer in answers]
    assert all(shown)
    assert client.post("/link/", {"code": code_in(mail.outbox[0])}).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_nobody_is_flooded_with_links() -> None:
    User.objects.create(username="anna", email="anna@example.org")
    for number in range(6):
        links.ask_for_link("anna@example.org", f"203.0.113.{number}", SITE)
        wait_for_mails(min(number + 1, 3))


def test_without_mail_it_is_said(client: Client, settings: Any) -> None:
    settings.SENDS_MAIL = False
    answer = client.post("/login/link/", {"email": "anna@example.org"})
    assert "This site sends no mail" in answer.content.decode()
    with pytest.raises(MailAway, match="EMAIL_URL"):
        invite("anna@example.org")


def test_a_password_can_be_set_after_a_link(client: Client) -> None:
    invite("anna@example.org")
    client.post("/link/", {"code": code_in(mail.outbox[0])})
    typed = {"new_password1": "Quick tidy blue mug 7", "new_password2": "Quick tidy blue mug 7"}
    answer = client.post("/password/", typed)
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/"
    assert User.objects.get().check_password("Quick tidy blue mug 7")
    assert client.get("/password/").status_code == 200
    assert Client().get("/password/").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_nobody_is_flooded_by_another_letter_case() -> None:
    User.objects.create(username="anna", email="anna@example.org")
    for number in range(6):
        email = "".join(
            letter.upper() if place == number else letter
            for place, letter in enumerate("anna@example.org")
        )
        links.ask_for_link(email, f"203.0.113.{number}", SITE)
        wait_for_mails(min(number + 1, 3))


@pytest.mark.django_db(transaction=True)
def test_each_account_with_the_address_gets_a_link_of_its_own() -> None:
    for name in ("anna", "anna-at-work"):
        User.objects.create(username=name, email="anna@example.org")
    links.ask_for_link("Anna@example.org", "203.0.113.1", SITE)
    wait_for_mails(2)
    assert [
        f" as {name}\n" in message.body
        for name, message in zip(("anna", "anna-at-work"), mail.outbox, strict=True)
    ] == [True, True]
    for message in mail.outbox:
        assert Client().post("/link/", {"code": code_in(message)}).status_code == 302


def test_a_link_to_a_wrong_address_is_void_once_the_address_is_put_right(client: Client) -> None:
    invite("ana@example.org")
    User.objects.update(email="anna@example.org")
    assert client.post("/link/", {"code": code_in(mail.outbox[0])}).status_code == 400


@pytest.mark.parametrize("hosts", [["*"], [".example.org"]], ids=str)
def test_who_asks_does_not_choose_where_the_link_leads(
    client: Client, settings: Any, hosts: list[str]
) -> None:
    settings.ALLOWED_HOSTS = hosts
    asked = {"email": "anna@example.org"}
    from_elsewhere = {"host": "evil.example.org"}
    answer = client.post("/login/link/", asked, headers=from_elsewhere)
    assert "SITE_URL" in answer.content.decode()
    settings.SITE_URL = SITE
    assert client.post("/login/link/", asked, headers=from_elsewhere).status_code == 302
    wait_for_mails(0)


def test_without_a_link_another_password_needs_the_old_one(client: Client) -> None:
    user = User(username="anna")
    user.set_password("Quick tidy blue mug 7")
    user.save()
    client.force_login(user)
    typed = {"new_password1": "Slow tidy red mug 8", "new_password2": "Slow tidy red mug 8"}
    assert client.post("/password/", typed).status_code == 200
    assert User.objects.get().check_password("Quick tidy blue mug 7")
    typed["old_password"] = "Quick tidy blue mug 7"
    assert client.post("/password/", typed).status_code == 302
    assert User.objects.get().check_password("Slow tidy red mug 8")
