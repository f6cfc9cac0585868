"""The admin answers quickly, changes nothing that tasks write, and shows no secret."""

from datetime import timedelta

import pytest
from django.contrib.admin import autodiscover, site
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from core.admin.lists import BoundedPaginator
from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Event,
    FeedSource,
    Forecast,
    HourlyStatistics,
    Measurement,
    Observation,
    Plan,
    Presence,
    Receipt,
    Run,
    Series,
    Silence,
    User,
)
from core.models.gateway import Gateway
from core.tasks import gateways
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
autodiscover()
MODELS = sorted(site._registry, key=str)
HISTORY = {
    **{Observation: "attribute", Silence: "attribute", Receipt: "device", Plan: "device"},
    **{Forecast: "series", Measurement: "series", HourlyStatistics: "attribute"},
}
"""Listed for one row of another model only."""
OURS = [model for model in MODELS if model._meta.app_label == "core"]


@pytest.fixture
def admin():
    client = Client()
    client.force_login(User.objects.create(username="admin", is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def home():
    with publishing():
        _fill()


def _fill():
    now = timezone.now()
    for number in range(5):
        device = make_device(
            make_gateway(f"Hub {number}", f"http://127.0.0.1:{number + 1}", credential="the secret")
        )
        for attribute in device.attributes.all():
            Observation.objects.create(attribute=attribute, observed_at=now, number=1.0)
            HourlyStatistics.objects.create(
                attribute=attribute,
                starts_at=now - timedelta(hours=1),
                observation_count=0,
                known_microseconds=0,
                on_microseconds=0,
                is_known_at_end=False,
            )
            Silence.objects.create(
                attribute=attribute, starts_at=now - timedelta(hours=1), ends_at=now
            )
            DeviceCommand.objects.create(
                attribute=attribute,
                number=1.0,
                source="human",
                reason="x",
                expires_at=now + timedelta(hours=1),
            )
        Run.objects.create(task="poll")
        Presence.objects.create(key=str(number), device=device, name="anna", expires_at=now)
        Event.objects.create(kind="device", device=device.pk, body={})
        source = FeedSource.objects.create(feed="replay", region=f"{number}")
        outside(
            Series.objects.create(source=source, signal="carbon_intensity", unit="gCO2/kWh"), now
        )
        decided(device, now)


def outside(series, now):
    times = {"known_at": now, "ends_at": now + timedelta(hours=1)}
    Forecast.objects.create(series=series, issued_at=now, slots=[[0, 1800, 200.0]], **times)
    Measurement.objects.create(series=series, starts_at=now, value=200.0, **times)


def decided(device, now):
    plan = Plan.objects.create(
        device=device, rule="awesome", signal="carbon_intensity", region="replay", opens_at=now,
        deadline=now + timedelta(hours=1), job={"minutes": 30}, windows=[], unit="gCO2",
        made_at=now, counted_until=now,
    )  # fmt: skip
    Receipt.objects.create(
        device=device,
        decided_at=now,
        repeated_at=now,
        voice="rule",
        sentence="on, because",
        inputs={},
        plan=plan,
    )


def address(model, query=""):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + query


def test_every_model_is_there():
    from django.apps import apps

    assert set(apps.get_app_config("core").get_models()) == set(OURS)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_every_list_answers_with_a_bounded_number_of_queries(
    admin, home, model, django_assert_max_num_queries
):
    with django_assert_max_num_queries(7):
        assert admin.get(address(model)).status_code == 200


@pytest.mark.parametrize(
    "model", [model for model in MODELS if site._registry[model].search_fields], ids=str
)
def test_every_search_answers(admin, home, model):
    assert admin.get(address(model, "?q=hub")).status_code == 200


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_row_can_be_opened(admin, home, model):
    for row in model.objects.all()[:1]:
        opened = reverse(f"admin:core_{model._meta.model_name}_change", args=[row.pk])
        assert admin.get(opened).status_code == 200


def listed(admin, model):
    """The list of one attribute, device or series: the one that the first row belongs to."""
    of = HISTORY[model]
    chosen = getattr(model.objects.first(), f"{of}_id")
    return admin.get(address(model, f"?{of}__id__exact={chosen}")).context["cl"]


@pytest.mark.parametrize("model", HISTORY, ids=lambda model: model.__name__)
def test_history_is_listed_for_one_of_them_only(admin, home, model):
    assert "0 " in admin.get(address(model)).content.decode().split('class="paginator"')[1][:200]
    assert listed(admin, model).result_count == 1


@pytest.mark.sqlite  # PostgreSQL rightly sorts a handful of rows
@pytest.mark.parametrize("model", HISTORY, ids=lambda model: model.__name__)
def test_history_is_read_by_its_index_without_sorting(admin, home, model):
    plan = listed(admin, model).queryset.explain()
    assert (
        "TEMP B-TREE FOR ORDER BY" not in plan
    )  # the rest of an order, among equals, is no matter
    assert f"SEARCH {model._meta.db_table} USING INDEX" in plan


@pytest.mark.parametrize(
    "model", [Attribute, DeviceCommand, Event, Presence, Run, FeedSource, Series, *HISTORY]
)
def test_what_tasks_write_is_read_only(admin, home, model):
    row = model.objects.first()
    names = [
        reverse(f"admin:core_{model._meta.model_name}_{page}", args=[row.pk])
        for page in ("change", "delete")
    ]
    names.append(reverse(f"admin:core_{model._meta.model_name}_add"))
    assert [admin.post(name, {"post": "yes"}).status_code for name in names] == [403, 403, 403]


def change(admin, gateway, **typed):
    page = reverse("admin:core_gateway_change", args=[gateway.pk])
    return admin.post(page, {"name": "New", "enabled": "on", "new_credential": "", **typed})


def test_a_credential_is_never_rendered_and_kept_when_the_field_is_empty(admin, home):
    gateway = Gateway.objects.first()
    shown = admin.get(reverse("admin:core_gateway_change", args=[gateway.pk])).content.decode()
    assert "the secret" not in shown
    assert gateway.credential.token not in shown
    assert change(admin, gateway).status_code == 302
    gateway.refresh_from_db()
    assert (gateway.name, gateway.credential.reveal()) == ("New", "the secret")


def test_a_typed_credential_is_stored(admin, home):
    gateway = Gateway.objects.first()
    change(admin, gateway, new_credential="a newer one")
    gateway.refresh_from_db()
    assert gateway.credential.reveal() == "a newer one"


def save_device(admin, device, **typed):
    limits = {
        "most_switches_an_hour": 12,
        "fail_safe": "off",
        "fail_safe_minutes": 60,
        "hold_minutes": 120,
    }
    told = {
        "name": device.name,
        "enabled": "on",
        "min_on_minutes": 0,
        "min_off_minutes": 0,
        **limits,
        **typed,
    }
    return admin.post(reverse("admin:core_device_change", args=[device.pk]), told)


def test_a_save_over_a_newer_change_is_refused_once_and_tells_both(admin, home):
    device = Device.objects.first()
    gateways.change_device(device.pk, name="Boiler", place="Hall")
    refused = save_device(admin, device, name="Kettle", version=device.version)
    shown = refused.content.decode()
    for words in (
        "changed by somebody else",
        "Name: stored Boiler, typed Kettle.",
        'value="Kettle"',
    ):
        assert words in shown
    device.refresh_from_db()
    assert (device.name, device.place) == ("Boiler", "Hall")
    assert f'name="version" value="{device.version}"' in shown
    assert save_device(admin, device, name="Kettle", version=device.version).status_code == 302
    assert Device.objects.get(pk=device.pk).name == "Kettle"


def test_a_save_counts_as_a_change_by_a_person(admin, home):
    device = Device.objects.first()
    assert save_device(admin, device, name="Kettle").status_code == 302
    with pytest.raises(gateways.VersionConflict):
        gateways.change_device(device.pk, version=device.version, name="Boiler")


def test_a_gateway_is_not_overwritten_either_and_its_credential_is_not_told(admin, home):
    gateway = Gateway.objects.first()
    gateways.change(gateway.pk, name="Hall", enabled=True)
    shown = change(
        admin, gateway, version=gateway.version, new_credential="a newer one"
    ).content.decode()
    assert "New credential: stored (never shown), typed (a new one: type it again)." in shown
    assert "a newer one" not in shown
    assert Gateway.objects.get(pk=gateway.pk).credential.reveal() == "the secret"


def test_a_list_counts_only_so_far(monkeypatch):
    monkeypatch.setattr("core.admin.lists.COUNTED_AT_MOST", 3)
    for number in range(5):
        make_gateway(f"Hub {number}", f"http://127.0.0.1:{number + 1}")
    assert BoundedPaginator(Gateway.objects.all(), 2).count == 3


def test_an_account_closed_here_has_no_log_in_when_it_is_opened_again(admin):
    anna = User.objects.create(username="anna")
    browser = Client()
    browser.force_login(anna)
    page = reverse("admin:core_user_change", args=[anna.pk])
    data = {
        "username": "anna",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00",
        "membership-TOTAL_FORMS": 0,
        "membership-INITIAL_FORMS": 0,
    }
    assert admin.post(page, data).status_code == 302
    assert admin.post(page, data | {"is_active": "on"}).status_code == 302
    anna.refresh_from_db()
    assert anna.is_active
    assert browser.get("/password/").status_code == 302
