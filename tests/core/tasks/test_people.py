"""Roles of people, and who is let in no more."""

import pytest
from django.test import Client

from core.models import Right, Token, User
from core.tasks import people, tokens

pytestmark = pytest.mark.django_db


def test_who_is_removed_is_let_in_no_more(client: Client) -> None:
    user = User.objects.create(username="anna")
    tokens.issue(user, "scraper", [Right.READ])
    client.force_login(user)
    people.remove(user)
    assert client.get("/password/").status_code == 302
    assert Token.objects.get().revoked_at


def test_who_is_let_in_again_logs_in_again(client: Client) -> None:
    user = User.objects.create(username="anna")
    other = User.objects.create(username="bert")
    client.force_login(user)
    of_another = Client()
    of_another.force_login(other)
    people.remove(user)
    people.let_in(user)
    assert client.get("/password/").status_code == 302
    assert of_another.get("/password/").status_code == 200
