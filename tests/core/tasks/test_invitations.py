"""Invitations: each goes out once, whoever sends and whatever ends it."""

import re
import smtplib
import threading
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from core.models import Access, Invitation, Membership, Right, Role, User, access_of
from core.models.invitation import CLAIM, PUT_OFF
from core.tasks import invitations, people
from core.tasks.mail import MailAway, Mailer
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db
SITE = "https://home.example.org"


def invite(*lines: str) -> invitations.Sent:
    return invitations.invite(invitations.parse_invitations(lines), "ada", SITE)


def code_in(message: Any) -> str:
    return re.search(rf"{SITE}/link/#(\S+)", message.body)[1]  # type: ignore[index]


def test_who_is_invited_has_a_role_and_a_mail_with_a_link() -> None:
    gateway = make_gateway()
    assert invite("anna@example.org", f"Bert@example.org, operator, {gateway.pk}") == (2, 0, 0, 0)
    anna, bert = User.objects.order_by("username")
    assert access_of(anna) == Access(frozenset({Right.READ}))
    expected = Access(frozenset({Right.READ, Right.CONTROL}), frozenset({gateway.pk}))
    assert access_of(bert) == expected
    assert not anna.has_usable_password()
    assert [one.to for one in mail.outbox] == [["anna@example.org"], ["bert@example.org"]]
    assert "You are invited by ada" in mail.outbox[0].body
    assert code_in(mail.outbox[0]).startswith("invitation.")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("anna", "Line 1: 'anna' is no mail address"),
        ("anna@example.org,boss", "Line 1: 'boss' is no role: viewer, operator, administrator"),
        ("anna@example.org,viewer,77", "Line 1: there is no gateway 77"),
        ("anna@example.org,viewer,x", "Line 1: there is no gateway x"),
        ("anna@example.org,viewer,²", "Line 1: there is no gateway ²"),
        (f"anna@example.org,viewer,{'9' * 5000}", "Line 1: there is no gateway 999"),
        ("a@example.org,viewer,,,", "Line 1: more than three columns"),
        (f"{'a' * 60}@{'b' * 60}.{'c' * 60}.org", "is longer than 150 letters"),
        ("a" * 200_000, "Line 1: field larger than field limit"),
    ],
)
def test_a_line_that_cannot_be_read_invites_nobody(line: str, sentence: str) -> None:
    with pytest.raises(invitations.NotInvited, match=re.escape(sentence)):
        invite(line)
    assert not User.objects.exists()


def test_nobody_is_invited_twice() -> None:
    invite("anna@example.org", "anna@example.org,operator")
    assert invite("ANNA@example.org") == (0, 0, 0, 1)
    assert len(mail.outbox) == 1


def test_what_was_interrupted_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    sent: list[str] = []

    def send(self: Any, message: Any) -> None:
        if len(sent) == 3:
            sent.append("killed")
            raise Killed
        sent.append(message.to[0])

    monkeypatch.setattr(Mailer, "send", send)
    lines = [f"p{number}@example.org" for number in range(8)]
    with pytest.raises(Killed):
        invite(*lines)
    assert invite(*lines) == (5, 0, 0, 8)
    assert sorted(sent) == ["killed", *lines]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Fill it with what the mail server answers to a mail for an address."""
    whole, answers = EmailBackend.send_messages, {}

    def send(self: Any, messages: Any) -> int:
        [message] = messages
        if error := answers.get(message.to[0]):
            raise error
        return whole(self, messages)

    monkeypatch.setattr(EmailBackend, "send_messages", send)
    return answers


def refused(code: int) -> smtplib.SMTPRecipientsRefused:
    return smtplib.SMTPRecipientsRefused({"no@example.org": (code, b"not now")})


@pytest.mark.parametrize(
    "error", [refused(550), smtplib.SMTPDataError(554, b"spam"), ValueError("no header")], ids=repr
)
def test_an_address_that_the_server_refuses_stops_nobody_else(
    refusing: dict[str, Exception], error: Exception
) -> None:
    refusing["no@example.org"] = error
    assert invite("no@example.org", "yes@example.org") == (1, 1, 0, 0)
    assert str(error) in Invitation.objects.get(user__email="no@example.org").error
    assert invitations.send_invitations(SITE) == (0, 0, 0, 0)


def test_who_was_refused_is_tried_again_when_invited_again(refusing: dict[str, Exception]) -> None:
    refusing["no@example.org"] = refused(550)
    invite("no@example.org")
    refusing.clear()
    assert invite("No@example.org") == (1, 0, 0, 1)
    assert str(Invitation.objects.get()) == "no@example.org: sent"


@pytest.mark.parametrize("error", [refused(450), smtplib.SMTPDataError(451, b"later")], ids=repr)
def test_what_the_server_puts_off_waits_and_is_tried_again(
    refusing: dict[str, Exception], error: Exception
) -> None:
    refusing["no@example.org"] = error
    assert invite("no@example.org", "yes@example.org") == (1, 0, 1, 0)
    assert str(error) in Invitation.objects.get(user__email="no@example.org").error
    assert invitations.send_invitations(SITE) == (0, 0, 0, 0)
    refusing.clear()
    Invitation.objects.filter(sent_at=None).update(retry_at=timezone.now() - PUT_OFF)
    assert invitations.send_invitations(SITE) == (1, 0, 0, 0)


def test_what_was_put_off_goes_at_once_to_who_is_invited_again(
    refusing: dict[str, Exception],
) -> None:
    refusing["no@example.org"] = refused(450)
    invite("no@example.org")
    refusing.clear()
    assert invite("no@example.org") == (1, 0, 0, 1)


def test_a_server_that_goes_away_refuses_nobody(refusing: dict[str, Exception]) -> None:
    refusing["no@example.org"] = refused(421)
    with pytest.raises(MailAway):
        invite("no@example.org")
    refusing.clear()
    assert invitations.send_invitations(SITE) == (1, 0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_of_several_that_send_at_once_each_mail_is_sent_by_one() -> None:
    lines = [f"p{number}@example.org" for number in range(30)]
    done: list[invitations.Sent] = []
    ready = threading.Barrier(4)

    def send() -> None:
        ready.wait()
        done.append(invite(*lines))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message.to[0] for message in mail.outbox) == sorted(lines)
    assert [sum(one.sent for one in done), sum(one.known for one in done)] == [30, 90]


def test_what_a_killed_process_was_sending_is_sent_once_its_claim_is_over() -> None:
    invitations._store_all(invitations.parse_invitations(["a@example.org", "b@example.org"]), "")
    first, _ = Invitation.objects.order_by("pk")
    first.claimed_until = timezone.now() + timedelta(seconds=0.3)
    first.save()
    # A command waits for it.
    assert invitations.send_invitations(SITE) == (2, 0, 0, 0)
    assert [one.to for one in mail.outbox] == [["b@example.org"], ["a@example.org"]]


def test_a_slow_sender_gives_back_what_it_cannot_send_within_its_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invitations, "BEGIN_WITHIN_SECONDS", -1)
    monkeypatch.setattr(invitations, "CLAIMED_AT_ONCE", 3)
    left: list[int] = []

    def progress(done: int, total: int) -> None:
        left.append(Invitation.objects.exclude(claimed_until=None).count())

    lines = [f"p{number}@example.org" for number in range(5)]
    invited = invitations.parse_invitations(lines)
    assert invitations.invite(invited, "", SITE, progress) == (5, 0, 0, 0)
    assert left == [2, 2, 2, 1, 0]


def test_a_claim_that_ends_later_than_any_can_is_void() -> None:
    """The database's clock ran ahead when it was made."""
    invitations._store_all(invitations.parse_invitations(["a@example.org"]), "")
    Invitation.objects.update(claimed_until=timezone.now() + 2 * CLAIM)
    assert invitations.send_invitations(SITE) == (1, 0, 0, 0)


def test_the_page_waits_for_nobody() -> None:
    invited = invitations.parse_invitations(["a@example.org", "b@example.org"])
    invitations._store_all(invited, "")
    Invitation.objects.filter(user__email="a@example.org").update(
        claimed_until=timezone.now() + CLAIM
    )
    assert invitations.invite_now(invited, "", SITE) == (1, 0, 0, 2)


def test_a_closed_account_gets_no_mail() -> None:
    invitations._store_all(invitations.parse_invitations(["anna@example.org"]), "")
    people.remove(User.objects.get())
    assert invitations.send_invitations(SITE) == (0, 0, 0, 0)
    people.let_in(User.objects.get())
    assert invitations.send_invitations(SITE) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    "account",
    [
        {"username": "anna", "email": "anna@example.org"},
        {"username": "anna", "email": "Anna@Example.org"},
        {"username": "Anna@Example.org"},
    ],
    ids=str,
)
def test_who_has_an_account_by_name_or_mail_gets_no_second_one(account: dict[str, str]) -> None:
    User.objects.create(**account)
    assert invite("ANNA@example.org") == (0, 0, 0, 1)
    assert User.objects.count() == 1
    assert not mail.outbox


def test_two_accounts_with_an_address_stay_as_they_are() -> None:
    for name in ("anna", "anna-at-work"):
        User.objects.create(username=name, email="anna@example.org")
    assert invite("anna@example.org,administrator") == (0, 0, 0, 1)
    assert User.objects.count() == 2
    assert not Membership.objects.exists()


def test_a_mail_server_that_is_away_is_said_after_three_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = []

    def send(self: Any, messages: Any) -> int:
        tries.append(messages)
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(EmailBackend, "send_messages", send)
    with pytest.raises(MailAway, match="does not take mails"):
        invite("anna@example.org")
    assert len(tries) == 3
    monkeypatch.undo()
    assert invitations.send_invitations(SITE) == (1, 0, 0, 0)


def test_the_command_invites_a_file(tmp_path: Path, settings: Any) -> None:
    settings.SITE_URL = SITE
    file = tmp_path / "people.csv"
    file.write_text("# mail,role,gateways\nanna@example.org,operator\n\nbert@example.org\n")
    out = StringIO()
    call_command("invite", str(file), stdout=out)
    assert "Sent 2 invitations; 0 had an account before" in out.getvalue()
    assert Membership.objects.get(user__username="anna@example.org").role == Role.OPERATOR
    for wrong, sentence in ((tmp_path / "none.csv", "There is no file"),):
        with pytest.raises(CommandError, match=sentence):
            call_command("invite", str(wrong))
    settings.SITE_URL = ""
    with pytest.raises(CommandError, match="Set SITE_URL"):
        call_command("invite", str(file))


def test_the_command_says_what_was_put_off_or_refused(
    tmp_path: Path, settings: Any, refusing: dict[str, Exception]
) -> None:
    settings.SITE_URL = SITE
    file = tmp_path / "people.csv"
    file.write_text("no@example.org")
    for code, words in ((450, "put off: run it again"), (550, "refused: see the page")):
        refusing["no@example.org"] = refused(code)
        with pytest.raises(CommandError, match=words):
            call_command("invite", str(file))
