"""Tokens: made, found, rotated, revoked; only a digest is stored."""

import re
import threading
from datetime import timedelta
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from core.models import Access, Membership, Right, Role, Token, User
from core.models.token import LENGTH, PATTERN, digest_of, is_well_formed, new_text
from core.tasks import tokens
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
READ = [Right.READ]


@pytest.fixture
def anna() -> User:
    user = User.objects.create(username="anna")
    Membership.objects.create(user=user, role=Role.OPERATOR)
    return user


def test_a_text_has_a_prefix_and_a_checksum() -> None:
    text = new_text()
    assert (len(text), text[:4]) == (LENGTH, "iot_")
    assert is_well_formed(text)


def test_no_mistyped_text_is_well_formed() -> None:
    text = new_text()
    for place in range(4, LENGTH):
        wrong = text[:place] + ("a" if text[place] != "a" else "b") + text[place + 1 :]
        assert not is_well_formed(wrong)
    assert not any(map(is_well_formed, ("", "iot_", text[:-1], text + "a", text.replace("t", "é"))))


def test_only_a_digest_is_stored(anna: User) -> None:
    token, text = tokens.issue(anna, "scraper", READ)
    token.refresh_from_db()
    assert token.digest == digest_of(text)
    stored = [str(getattr(token, field.attname)) for field in Token._meta.concrete_fields]
    assert not any(text in value or text[4:-6] in value for value in stored)


def test_a_token_is_found_with_its_person(anna: User) -> None:
    issued = tokens.issue(anna, "scraper", READ)
    found = tokens.find(issued.text)
    assert found == issued.token
    assert found.user == anna
    assert tokens.find(new_text()) is None


def test_what_is_no_token_costs_no_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert tokens.find("iot_" + "a" * (LENGTH - 4)) is None


def test_the_day_of_the_last_use_is_written_once(
    anna: User, django_assert_num_queries: Any
) -> None:
    issued = tokens.issue(anna, "scraper", READ)
    with django_assert_num_queries(2):
        tokens.find(issued.text)
    with django_assert_num_queries(1):
        tokens.find(issued.text)
    issued.token.refresh_from_db()
    assert issued.token.last_used_on == timezone.now().date()


def test_an_expired_token_is_not_found(anna: User) -> None:
    issued = tokens.issue(anna, "scraper", READ, lasts=timedelta(hours=1))
    assert tokens.find(issued.text)
    Token.objects.update(expires_at=timezone.now())
    assert tokens.find(issued.text) is None


def test_a_revoked_token_is_not_found(anna: User) -> None:
    one, other = tokens.issue(anna, "one", READ), tokens.issue(anna, "other", READ)
    assert tokens.revoke([one.token.pk]) == 1
    assert tokens.find(one.text) is None
    assert tokens.find(other.text)
    assert tokens.revoke_all(anna) == 1
    assert tokens.find(other.text) is None


def test_tokens_of_a_person_who_left_are_not_found(anna: User) -> None:
    issued = tokens.issue(anna, "scraper", READ)
    User.objects.update(is_active=False)
    assert tokens.find(issued.text) is None


def test_a_token_never_may_more_than_its_person(anna: User) -> None:
    with pytest.raises(tokens.NotIssued, match="anna may not admin"):
        tokens.issue(anna, "greedy", [Right.READ, Right.ADMIN])
    token = tokens.issue(anna, "scraper", [Right.READ, Right.CONTROL]).token
    Membership.objects.update(role=Role.VIEWER)
    assert Token.objects.get(pk=token.pk).access == Access(frozenset({Right.READ}))


def test_a_token_is_limited_to_gateways_and_devices(anna: User) -> None:
    gateway = make_gateway()
    device = make_device(gateway)
    limited = {"gateways": [gateway], "devices": [device]}
    token = tokens.issue(anna, "scraper", READ, **limited).token
    assert token.access == Access(frozenset(READ), frozenset({gateway.pk}), frozenset({device.pk}))


def test_a_limit_outlives_what_it_names(anna: User) -> None:
    token = tokens.issue(anna, "scraper", READ, gateways=[make_gateway()]).token
    token.gateways.clear()
    assert Token.objects.get(pk=token.pk).access.gateways == frozenset()


def test_both_work_for_a_while_after_a_rotation(anna: User) -> None:
    gateway = make_gateway()
    old = tokens.issue(anna, "scraper", READ, gateways=[gateway], lasts=timedelta(days=90))
    new = tokens.rotate(old.token, timedelta(hours=2))
    assert tokens.find(old.text) == old.token
    assert tokens.find(new.text) == new.token
    assert new.token.access == Token.objects.get(pk=old.token.pk).access
    left = new.token.expires_at - timezone.now()
    assert timedelta(days=89) < left <= timedelta(days=90)
    old.token.refresh_from_db()
    assert old.token.replaced_by == new.token
    assert old.token.expires_at <= timezone.now() + timedelta(hours=2)


def test_a_rotation_never_lengthens_a_token(anna: User) -> None:
    old = tokens.issue(anna, "scraper", READ, lasts=timedelta(minutes=5))
    tokens.rotate(old.token, timedelta(hours=2))
    old.token.refresh_from_db()
    assert old.token.expires_at <= timezone.now() + timedelta(minutes=5)


def test_a_token_is_rotated_once(anna: User) -> None:
    old = tokens.issue(anna, "scraper", READ)
    tokens.rotate(old.token, timedelta())
    with pytest.raises(tokens.NotIssued, match="is expired: issue a new token"):
        tokens.rotate(old.token, timedelta())
    with pytest.raises(tokens.NotIssued, match="at most 30 days"):
        tokens.rotate(old.token, timedelta(days=31))


@pytest.mark.django_db(transaction=True)
def test_of_two_that_want_to_be_alone_one_is(anna: User) -> None:
    def issue() -> None:
        try:
            tokens.issue(anna, "phone", READ, alone=True)
        finally:
            connection.close()

    threads = [threading.Thread(target=issue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Token.objects.count() == 4
    assert Token.objects.valid(timezone.now()).count() == 1


def said(name: str, *arguments: object, **options: object) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(name, *map(str, arguments), stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def test_commands_issue_list_rotate_and_revoke(anna: User) -> None:
    text, hint = said("issue_token", "anna", "night job", right=["read"], days=30)
    assert tokens.find(text.strip())
    assert "not shown again" in hint
    assert text.strip() not in hint
    [token] = Token.objects.all()
    listed, _ = said("list_tokens")
    assert f"{token.pk}  valid    night job (...{token.ending}) of anna: read everywhere" in listed
    assert text.strip() not in listed
    rotated, _ = said("rotate_token", token.pk, hours=1)
    assert tokens.find(rotated.strip())
    assert f"{token} is revoked." in said("revoke_token", token.pk)[0]
    assert "Revoked 1 token of anna." in said("revoke_token", user="anna")[0]
    assert tokens.find(rotated.strip()) is None


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        ("issue_token", ["nobody", "x", "--right=read"], "There is no user nobody"),
        ("issue_token", ["anna", "x", "--right=admin"], "anna may not admin"),
        ("issue_token", ["anna", "x", "--right=read", "--gateway=7"], "There is no gateway"),
        ("revoke_token", ["7"], "There is no token 7. See: python manage.py list_tokens"),
        ("revoke_token", [], "Name a token by its number"),
        ("rotate_token", ["7"], "There is no token 7"),
    ],
)
def test_what_is_wrong_is_said(
    anna: User, command: str, arguments: list[str], sentence: str
) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command(command, *arguments)


def test_tokens_in_a_leaked_file_are_revoked(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    leaked, other = tokens.issue(anna, "leaked", READ), tokens.issue(anna, "other", READ)
    mistyped = other.text[:-1] + ("a" if other.text[-1] != "a" else "b")
    file = f'export T="{leaked.text}"\n{mistyped} x{other.text} {new_text()}\n'
    leak = BytesIO(b"\xff\n" + file.encode())
    monkeypatch.setattr("sys.stdin", TextIOWrapper(leak))
    out, _ = said("revoke_token", found=True)
    assert out == f"{leaked.token} of anna\nFound 1 token of ours, revoked 1.\n"
    assert tokens.find(leaked.text) is None
    assert tokens.find(other.text)


DOCUMENT = Path(__file__, "../../../../docs/tokens.md").resolve().read_text()


def test_the_documented_check_tells_tokens_from_other_texts() -> None:
    [code] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    documented: dict[str, Any] = {}
    exec(code, documented)  # noqa: S102 (our own document)
    for _ in range(100):
        text = new_text()
        assert documented["is_token"](text)
        assert not documented["is_token"](text[:-1] + ("a" if text[-1] != "a" else "b"))


def test_the_documented_pattern_finds_tokens() -> None:
    patterns = set(re.findall(r"\\biot_\S+\\b", DOCUMENT))
    assert patterns == {PATTERN.pattern}
    text = new_text()
    assert PATTERN.findall(f"{{'token': '{text}'}} {text}0 {text[:-1]}") == [text]
