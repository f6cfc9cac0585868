"""People in the admin: an administrator does not become a superuser there."""

import pytest
from django.test import Client

from core.models import Membership, Role, User

pytestmark = pytest.mark.django_db
DELETE = {"action": "delete_selected", "post": "yes"}


@pytest.fixture
def ada():
    """Administrator of everything, and of the staff."""
    user = User.objects.create(username="ada", is_staff=True)
    Membership.objects.create(user=user, role=Role.ADMINISTRATOR)
    return user


@pytest.fixture
def browser(ada):
    client = Client()
    client.force_login(ada)
    return client


@pytest.fixture
def root():
    return User.objects.create(
        username="root", email="root@example.org", is_superuser=True, password="a secret hash"
    )


def fields(user, **changed):
    """What the form of a person sends."""
    return {
        "username": user.username,
        "email": user.email,
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "is_active": "on",
        "membership-TOTAL_FORMS": "0",
        "membership-INITIAL_FORMS": "0",
        **changed,
    }


def page(user, rest="change/"):
    return f"/admin/core/user/{user.pk}/{rest}"


def test_an_administrator_changes_people_there(browser):
    bert = User.objects.create(username="bert")
    assert browser.post(page(bert), fields(bert, email="b@example.org")).status_code == 302
    bert.refresh_from_db()
    assert bert.email == "b@example.org"


def test_only_a_superuser_makes_one(browser, ada, root):
    bert = User.objects.create(username="bert")
    for user in (ada, bert):
        browser.post(page(user), fields(user, is_staff="on", is_superuser="on"))
        user.refresh_from_db()
        assert (user.is_staff, user.is_superuser) == (True, False)
    root.is_staff = True
    root.save()
    of_root = Client()
    of_root.force_login(root)
    of_root.post(page(bert), fields(bert, is_superuser="on"))
    bert.refresh_from_db()
    assert bert.is_superuser


def test_only_a_superuser_sets_the_password_of_one(browser, root):
    new = {"password1": "Quick tidy mug 7", "password2": "Quick tidy mug 7", "usable_password": "1"}
    for send in (browser.get, browser.post):
        assert send(page(root, "password/"), new).status_code == 403
    root.refresh_from_db()
    assert root.password == "a secret hash"


@pytest.mark.parametrize(
    "changed", [{"email": "ada@example.org"}, {"username": "ada2"}, {"is_active": ""}, {}], ids=str
)
def test_only_a_superuser_changes_one(browser, root, changed):
    shown = browser.get(page(root))
    assert shown.status_code == 200
    assert "a secret hash" not in shown.content.decode()
    assert browser.post(page(root), fields(root, **changed)).status_code == 403
    root.refresh_from_db()
    assert (root.email, root.username, root.is_active) == ("root@example.org", "root", True)


def test_only_a_superuser_deletes_one(browser, root):
    bert = User.objects.create(username="bert")
    assert browser.post(page(root, "delete/"), {"post": "yes"}).status_code == 403
    listed = {**DELETE, "_selected_action": [root.pk, bert.pk]}
    assert browser.post("/admin/core/user/", listed).status_code == 403
    assert User.objects.count() == 3
    assert browser.post("/admin/core/user/", {**listed, "_selected_action": [bert.pk]})
    assert not User.objects.filter(pk=bert.pk).exists()


def test_only_a_superuser_changes_the_role_of_one(browser, root):
    role = Membership.objects.create(user=root)
    role_page = f"/admin/core/membership/{role.pk}/"
    typed = {"user": root.pk, "role": "administrator", "everywhere": "on"}
    assert browser.post(f"{role_page}change/", typed).status_code == 403
    assert browser.post(f"{role_page}delete/", {"post": "yes"}).status_code == 403
    listed = {**DELETE, "_selected_action": [role.pk]}
    assert browser.post("/admin/core/membership/", listed).status_code == 403
    role.refresh_from_db()
    assert role.role == Role.VIEWER
    role.delete()
    shown = browser.post("/admin/core/membership/add/", typed)
    assert "Select a valid choice" in shown.content.decode()
    assert not Membership.objects.filter(user=root).exists()
