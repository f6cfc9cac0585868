"""What is changed in the admin is told like any other change."""

import pytest
from django.contrib.admin import AdminSite
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path

from core.admin.publishing import PublishingAdmin
from core.models import Event, Gateway, User
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_gateway

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class DeletableGatewayAdmin(PublishingAdmin):
    fields = ("name",)
    list_display = ("pk", "name")
    list_editable = ("name",)


site = AdminSite(name="own")
site.register(Gateway, DeletableGatewayAdmin)
urlpatterns = [path("own/", site.urls)]
LIST = "/own/core/gateway/"


@pytest.fixture
def admin():
    client = Client()
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def hub():
    with quietly():
        return make_gateway("Hub")


def told():
    return list(Event.objects.values_list("kind", "gateway", "body__name"))


def test_a_change_is_told(admin, hub):
    assert admin.post(f"{LIST}{hub.pk}/change/", {"name": "New"}).status_code == 302
    assert told() == [("gateway", hub.pk, "New")]


def test_a_form_with_an_error_is_no_change(admin, hub):
    assert admin.post(f"{LIST}{hub.pk}/change/", {"name": ""}).status_code == 200
    assert told() == []


def test_an_edited_list_is_told_by_its_rows(admin, hub):
    with quietly():
        other = make_gateway("Other", "http://127.0.0.1:2")
    rows = {
        "form-0-id": other.pk,
        "form-0-name": "Other",
        "form-1-id": hub.pk,
        "form-1-name": "New",
    }
    rows |= {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save"}
    assert admin.post(LIST, rows).status_code == 302
    assert told() == [("gateway", hub.pk, "New")]


def test_a_deletion_is_told(admin, hub):
    assert admin.post(f"{LIST}{hub.pk}/delete/", {"post": "yes"}).status_code == 302
    assert told() == [("gateway removed", hub.pk, None)]


def test_deleting_the_chosen_ones_is_told(admin, hub):
    chosen = {"action": "delete_selected", "_selected_action": hub.pk, "post": "yes"}
    assert admin.post(LIST, chosen).status_code == 302
    assert told() == [("gateway removed", hub.pk, None)]


@pytest.mark.postgresql
def test_what_is_about_to_be_changed_is_locked_before_it_is_read(admin, hub):
    with CaptureQueriesContext(connection) as captured:
        admin.post(f"{LIST}{hub.pk}/change/", {"name": "New"})
    statements = [query["sql"] for query in captured]
    locks = [place for place, sql in enumerate(statements) if "FOR NO KEY UPDATE" in sql]
    assert len(locks) == 1
    assert locks[0] < next(
        place for place, sql in enumerate(statements) if sql.startswith("UPDATE")
    )


def test_looking_at_it_opens_no_transaction(admin, hub):
    for page in (LIST, f"{LIST}{hub.pk}/change/"):
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(page).status_code == 200
        assert not [query for query in captured if query["sql"].startswith(("SAVEPOINT", "BEGIN"))]
