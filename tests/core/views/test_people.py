"""The pages for people."""

from smtplib import SMTPDataError

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client

from core.models import Membership, Role, User, access_of
from core.tasks import invitations, people
from tests.core.tasks.homes import make_gateway
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db


def test_only_an_administrator_of_all_manages_people(client: Client, reader: Client) -> None:
    limited = log_in(Role.ADMINISTRATOR)
    Membership.objects.update(everywhere=False)
    other = User.objects.create(username="bert")
    for path in ("/people/", "/people/invite/", f"/people/{other.pk}/"):
        assert client.get(path).status_code == 302
        assert reader.get(path).status_code == 403
        assert limited.get(path).status_code == 403


def test_people_are_listed_with_what_they_may(owner: Client) -> None:
    bert = User.objects.create(username="bert")
    people.set_role(bert, Role.OPERATOR, [make_gateway("Shed")])
    User.objects.create(username="root", is_superuser=True)
    shown = owner.get("/people/").content.decode()
    for words in ("bert", "Operator", "Shed", "Superuser", "user-administrator", "Administrator"):
        assert words in shown


def test_several_are_invited_at_once(owner: Client) -> None:
    gateway = make_gateway()
    typed = {
        "people": "anna@example.org\nbert@example.org\n",
        "role": "operator",
        "gateways": [gateway.pk],
    }
    shown = owner.post("/people/invite/", typed, follow=True).content.decode()
    assert "Invitations sent: 2." in shown
    assert len(mail.outbox) == 2
    assert Membership.objects.filter(role="operator", everywhere=False).count() == 2


def test_the_page_sends_its_own_invitations_and_no_others(owner: Client) -> None:
    others = invitations.parse_invitations([f"p{number}@example.org" for number in range(3)])
    invitations._store_all(others, "")
    typed = {"people": "anna@example.org\nP1@example.org", "role": "viewer", "everywhere": "on"}
    shown = owner.post("/people/invite/", typed, follow=True).content.decode()
    assert "Invitations sent: 2. 1 had an account before." in shown
    assert sorted(one.to[0] for one in mail.outbox) == ["anna@example.org", "p1@example.org"]


def test_the_page_sends_a_hundred_at_once(owner: Client) -> None:
    lines = [f"p{number}@example.org" for number in range(101)]
    shown = owner.post(
        "/people/invite/", {"people": "\n".join(lines), "role": "viewer", "everywhere": "on"}
    )
    assert "At most 100 at once: manage.py invite FILE takes thousands." in shown.content.decode()
    assert not User.objects.filter(username__startswith="p").exists()
    owner.post(
        "/people/invite/", {"people": "\n\n".join(lines[1:]), "role": "viewer", "everywhere": "on"}
    )
    assert len(mail.outbox) == 100


def test_the_page_says_what_was_put_off(owner: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(self: EmailBackend, messages: list[EmailMessage]) -> int:
        raise SMTPDataError(450, b"greylisted")

    monkeypatch.setattr(EmailBackend, "send_messages", send)
    typed = {"people": "anna@example.org", "role": "viewer", "everywhere": "on"}
    shown = owner.post("/people/invite/", typed, follow=True).content.decode()
    assert "Put off by the mail server: 1." in shown
    assert "The mail was put off: (450, b&#x27;greylisted&#x27;)" in shown


def test_a_wrong_address_is_shown_at_its_field(owner: Client) -> None:
    typed = {"people": "anna@example.org\nbert", "role": "viewer", "everywhere": "on"}
    shown = owner.post("/people/invite/", typed).content.decode()
    assert "Line 2: &#x27;bert&#x27; is no mail address" in shown
    assert not mail.outbox


def test_a_role_is_changed_and_an_account_closed(owner: Client) -> None:
    bert = User.objects.create(username="bert")
    owner.post(f"/people/{bert.pk}/", {"role": "operator", "everywhere": "on", "is_active": "on"})
    bert.refresh_from_db()
    assert (bert.membership.role, bert.is_active) == ("operator", True)
    owner.post(f"/people/{bert.pk}/", {"role": "operator"})
    bert.refresh_from_db()
    assert not bert.is_active


def test_nobody_changes_what_they_may_themselves(owner: Client) -> None:
    me = User.objects.get()
    shown = owner.post(f"/people/{me.pk}/", {"role": "viewer", "everywhere": "on"}).content.decode()
    assert "Somebody else has to change what you may do." in shown
    root = User.objects.create(username="root", is_superuser=True)
    shown = owner.post(
        f"/people/{root.pk}/", {"role": "viewer", "everywhere": "on"}
    ).content.decode()
    assert "Only a superuser changes a superuser." in shown
    root.refresh_from_db()
    assert root.is_active


def test_who_has_no_gateway_left_does_not_get_all(owner: Client) -> None:
    """An administrator saves the form as it is shown."""
    bert = User.objects.create(username="bert")
    people.set_role(bert, Role.VIEWER, [])
    shown = owner.get(f"/people/{bert.pk}/").context["form"]
    assert not shown["everywhere"].value()
    owner.post(f"/people/{bert.pk}/", {"role": "operator", "is_active": "on"})
    bert = User.objects.get(pk=bert.pk)
    assert access_of(bert).gateways == frozenset()


def test_all_gateways_and_some_is_asked_back(owner: Client) -> None:
    gateway = make_gateway()
    both = {"everywhere": "on", "gateways": [gateway.pk]}
    for where in (both, {}):
        typed = {"people": "anna@example.org", "role": "viewer", **where}
        shown = owner.post("/people/invite/", typed).content.decode()
        assert "Choose all gateways, or some." in shown
    assert not mail.outbox
