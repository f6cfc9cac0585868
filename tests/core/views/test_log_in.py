import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.db import connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from core.models import User
from core.tasks import log_in

RIGHT = "a good password"


class Hasher(MD5PasswordHasher):
    """Counts how many are hashed, at once, and with a database connection held meanwhile."""

    algorithm = "counting"
    lock = threading.Lock()
    hashed = now = most = connected = 0
    seconds = 0.0

    def encode(self, password: str, salt: str) -> str:
        with self.lock:
            Hasher.now += 1
            Hasher.hashed += 1
            Hasher.most = max(Hasher.most, Hasher.now)
            Hasher.connected += connection.connection is not None
        time.sleep(self.seconds)
        with self.lock:
            Hasher.now -= 1
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def hasher(settings: Settings) -> Iterator[type[Hasher]]:
    settings.PASSWORD_HASHERS = [f"{__name__}.Hasher"]
    log_in.guesses.forget()
    Hasher.hashed = Hasher.now = Hasher.most = Hasher.connected = 0
    yield Hasher
    Hasher.seconds = 0.0
    log_in.guesses.forget()


@pytest.fixture
def anna(db: None) -> User:
    return User.objects.create_user("anna", password=RIGHT)


def guess(username: str, password: str, address: str, **headers: str) -> HttpResponse:
    body = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address, **headers).post("/login/", body)


def guesses(many: int, username: str = "anna", address: str = "192.0.2.1") -> list[int]:
    """Guess wrong: a % in the account or the address becomes the number of the guess."""
    return [
        guess(
            username.replace("%", str(number)), "wrong", address.replace("%", str(number))
        ).status_code
        for number in range(many)
    ]


def is_logged_in(response: HttpResponse) -> bool:
    return response.status_code == 302


def test_after_ten_wrong_passwords_on_one_account_the_right_one_is_refused_unhashed(
    anna: User, hasher: type[Hasher]
) -> None:
    assert guesses(100, address="192.0.2.%") == [200] * 10 + [429] * 90
    hashed = hasher.hashed
    refused = guess("anna", RIGHT, "198.51.100.7")
    assert refused.status_code == 429
    assert "Too many wrong passwords. Try again in 15 min" in refused.content.decode()
    assert 'role="alert"' in refused.content.decode()
    assert hasher.hashed == hashed


def test_after_ten_wrong_passwords_from_one_address_no_account_is_guessed_from_it(
    anna: User,
) -> None:
    assert guesses(100, username="user%") == [200] * 10 + [429] * 90
    assert guess("anna", RIGHT, "192.0.2.1").status_code == 429
    assert is_logged_in(guess("anna", RIGHT, "198.51.100.7"))


def test_one_customer_has_one_address_however_many_ipv6_gives(anna: User) -> None:
    assert guesses(11, username="user%", address="2001:db8::%")[-1] == 429
    assert is_logged_in(guess("anna", RIGHT, "2001:db8:0:1::1"))


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_added(
    anna: User, settings: Settings
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for number in range(10):
        forged = {"HTTP_X_FORWARDED_FOR": f"203.0.113.{number}, 192.0.2.9"}
        guess(f"user{number}", "wrong", "10.0.0.1", **forged)
    assert guess("u", "wrong", "10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.9").status_code == 429
    assert is_logged_in(guess("anna", RIGHT, "10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.8"))


def test_a_header_that_nobody_vouches_for_changes_no_address(anna: User) -> None:
    for number in range(10):
        guess(f"u{number}", "wrong", "192.0.2.1", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
    assert guess("anna", RIGHT, "192.0.2.1", HTTP_X_FORWARDED_FOR="1.2.3.4").status_code == 429


def test_the_right_password_counts_as_no_guess(anna: User) -> None:
    assert all(is_logged_in(guess("anna", RIGHT, "192.0.2.1")) for _ in range(12))


def test_a_quarter_of_an_hour_later_one_may_try_again(
    anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guesses(11)[-1] == 429
    later = time.monotonic() + log_in.SPAN_SECONDS
    monkeypatch.setattr(log_in, "monotonic", lambda: later)
    assert is_logged_in(guess("anna", RIGHT, "192.0.2.1"))


def test_of_countless_accounts_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.net.limits.MOST_COUNTED", 100)
    counted = log_in.Guesses()
    for number in range(1000):
        counted.begin([f"account {number}"])
    assert len(counted._began) == 100


@pytest.mark.django_db(transaction=True)
def test_of_many_log_ins_at_once_two_are_hashed_and_none_holds_a_connection(
    hasher: type[Hasher],
) -> None:
    hasher.seconds = 0.02

    def attempt(number: int) -> None:
        request = RequestFactory().post("/login/", REMOTE_ADDR=f"192.0.2.{number}")
        try:
            assert authenticate(request, username=f"user{number}", password="wrong") is None
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(attempt, range(20)))
    assert (hasher.hashed, hasher.most, hasher.connected) == (20, 2, 0)


def test_of_many_guesses_at_once_on_one_account_ten_are_hashed(hasher: type[Hasher]) -> None:
    counted = log_in.Guesses()
    results = []

    def begin(number: int) -> None:
        try:
            counted.begin(["account anna"])
            results.append(True)
        except log_in.LogInRefused:
            results.append(False)

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(begin, range(80)))
    assert sum(results) == log_in.MOST_GUESSES


@pytest.mark.django_db(transaction=True)
def test_who_waits_too_long_for_a_place_is_told_and_loses_no_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    User.objects.create_user("anna", password=RIGHT)
    with monkeypatch.context() as full:
        full.setattr(log_in, "LONGEST_WAIT_SECONDS", 0.001)
        full.setattr(log_in, "_slots", threading.BoundedSemaphore(1))
        with log_in._hashing():
            for _ in range(11):
                refused = guess("anna", RIGHT, "192.0.2.1")
                assert refused.status_code == 429
                assert "Too many people log in" in refused.content.decode()
    assert is_logged_in(guess("anna", RIGHT, "192.0.2.1"))


@pytest.mark.django_db
def test_both_log_ins_are_one_page(client: Client) -> None:
    answer = client.get("/admin/", follow=True)
    assert answer.redirect_chain[-1][0] == "/login/?next=/admin/"
    assert client.post("/admin/login/", {"username": "anna", "password": "x"}).status_code == 405


@pytest.mark.django_db
def test_who_is_no_staff_is_told_so_by_the_admin() -> None:
    User.objects.create_user("anna", password=RIGHT)
    browser = Client()
    browser.post("/login/", {"username": "anna", "password": RIGHT})
    answer = browser.get("/admin/", follow=True)
    assert answer.status_code == 403
    assert b"may not use the admin" in answer.content


@pytest.mark.django_db
def test_staff_gets_to_the_admin_by_the_one_log_in() -> None:
    User.objects.create_superuser("boss", password=RIGHT)
    browser = Client()
    body = {"username": "boss", "password": RIGHT, "next": "/admin/"}
    assert browser.post("/login/", body).headers["Location"] == "/admin/"
    assert browser.get("/admin/").status_code == 200
