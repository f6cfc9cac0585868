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
