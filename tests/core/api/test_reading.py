"""Gateways, attributes, forecasts, decisions, plans, scores and runs: as everywhere else."""

from datetime import timedelta

import pytest
from django.db.models import Max
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from core import serializers
from core.models import Attribute, Forecast, Gateway, Measurement, Plan, Receipt, Run
from core.tasks import explain
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device

MINUTE = timedelta(minutes=1)
PATHS = [
    *("/gateways/", "/attributes/", "/forecasts/", "/measurements/", "/decisions/", "/plans/"),
    *("/scorecard/", "/runs/"),
]


def results(response):
    assert response.status_code == 200, response.content
    return response.json()["results"]


def ids(response):
    return [one["id"] for one in results(response)]


# Gateways


def test_a_gateway_is_told_without_its_address(viewer, gateway):
    expected = serializers.public_gateway_json(Gateway.objects.with_hearing().get())
    assert results(viewer.get("/gateways/")) == [expected]
    assert viewer.get(f"/gateways/{gateway.pk}/").json() == expected
    assert "address" not in expected


def test_of_a_gateway_it_is_told_since_when_it_is_listened_to(viewer, gateway):
    note = {"listened_since": Now() - timedelta(hours=1), "listened_until": Now() + MINUTE}
    Gateway.objects.update(**note)
    device = make_device(gateway, heard_at=timezone.now())
    [told] = results(viewer.get("/gateways/"))
    since = parse_datetime(told["listening_since"])
    assert timedelta(minutes=59) < timezone.now() - since < timedelta(minutes=61)
    assert told["heard_at"] == serializers.utc_text(device.heard_at)
    Gateway.objects.update(listened_until=Now())
    assert viewer.get(f"/gateways/{gateway.pk}/").json()["listening_since"] is None


def test_an_administrator_sees_the_address(administrator, gateway):
    assert administrator.get(f"/gateways/{gateway.pk}/").json()["address"] == gateway.address


def test_without_a_log_in_no_error_is_told(anonymous, gateway):
    with publishing():
        gateway.error, gateway.failures = "10.0.0.7 said no", 3
        gateway.save()
    told = anonymous.get(f"/gateways/{gateway.pk}/").json()
    assert told["failures"] == 3
    assert "error" not in told


def test_gateways_are_found_by_vendor_and_by_how_they_do(viewer, gateway, other):
    with publishing():
        gateway.failures = 1
        gateway.save()
    assert ids(viewer.get("/gateways/", failing="true")) == [gateway.pk]
    assert ids(viewer.get("/gateways/", failing="false")) == [other.gateway_id]
    assert ids(viewer.get("/gateways/", vendor="shelly")) == [gateway.pk, other.gateway_id]
    assert ids(viewer.get("/gateways/", vendor="none")) == []
    assert ids(viewer.get("/gateways/", order="-name")) == [other.gateway_id, gateway.pk]


# Attributes


def test_an_attribute_names_its_device(viewer, device):
    attribute = Attribute.objects.select_related("device__gateway").get(name="power")
    expected = {
        "device": device.pk,
        **serializers.attribute_json(attribute, timezone.now()),
    }
    assert viewer.get(f"/attributes/{attribute.pk}/").json() == expected


def test_attributes_are_found(viewer, device, other):
    power = device.attributes.get(name="power")
    switch = device.attributes.get(name="on")
    assert ids(viewer.get("/attributes/", device=device.pk)) == [switch.pk, power.pk]
    assert ids(viewer.get("/attributes/", device=device.pk, writable="true")) == [switch.pk]
    assert ids(viewer.get("/attributes/", kind="number", gateway=device.gateway_id)) == [power.pk]
    assert len(ids(viewer.get("/attributes/", name="power"))) == 2


# Forecasts and measurements


@pytest.fixture
def newest(planned):
    return Forecast.objects.order_by("-issued_at", "-pk").first()


def test_a_forecast_is_told_with_its_slots_and_when_it_was_issued(viewer, newest):
    [told, *_] = results(viewer.get("/forecasts/"))
    assert told == serializers.forecast_json(newest)
    assert told["is_replayed"] is True
    assert len(told["slots"]) == len(newest.slots)
    assert viewer.get(f"/forecasts/{newest.pk}/").json() == told


def test_forecasts_are_found(viewer, newest):
    signal = newest.series.signal
    assert newest.pk in ids(viewer.get("/forecasts/", signal=signal, feed="replay"))
    assert ids(viewer.get("/forecasts/", feed="elsewhere")) == []
    assert ids(viewer.get("/forecasts/", known_by="2020-01-01T00:00:00Z")) == []
    issued = serializers.utc_text(newest.issued_at)
    assert newest.pk not in ids(viewer.get("/forecasts/", issued_since=issued))
    assert newest.pk in ids(viewer.get("/forecasts/", issued_until=issued))


def test_without_a_log_in_no_region_is_told_nor_looked_for(anonymous, newest):
    assert all("region" not in one for one in results(anonymous.get("/forecasts/")))
    assert all("region" not in one for one in results(anonymous.get("/measurements/")))
    assert anonymous.get("/forecasts/", region="13").status_code == 401


def test_a_measurement_is_told_with_when_it_became_known(viewer, newest):
    first = Measurement.objects.order_by("starts_at", "pk").first()
    [told] = results(viewer.get("/measurements/", limit=1))
    assert told == serializers.measurement_json(first)
    last = Measurement.objects.aggregate(Max("starts_at"))["starts_at__max"]
    assert results(viewer.get("/measurements/", since=serializers.utc_text(last))) == []


# Decisions


def test_a_decision_is_listed_and_explained(viewer, planned):
    receipt = Receipt.objects.get()
    assert results(viewer.get("/decisions/")) == [serializers.receipt_json(receipt)]
    told = viewer.get(f"/decisions/{receipt.pk}/").json()
    assert told["agrees"] is True
    assert told == explain.explain(receipt.pk).as_json()


def test_without_a_log_in_a_decision_is_not_explained(anonymous, planned):
    receipt = Receipt.objects.get()
    assert ids(anonymous.get("/decisions/")) == [receipt.pk]
    assert anonymous.get(f"/decisions/{receipt.pk}/").status_code == 401


def test_the_reason_of_a_hold_is_for_those_with_a_log_in(anonymous, viewer, planned):
    Receipt.objects.update(sentence="held by anna until 20:00: party")
    assert "party" not in results(anonymous.get("/decisions/"))[0]["sentence"]
    assert "party" in results(viewer.get("/decisions/"))[0]["sentence"]


def test_decisions_and_plans_of_elsewhere_are_not_there(limited, planned):
    """`limited` sees another gateway than that of the planned device."""
    receipt, plan = Receipt.objects.get(), Plan.objects.get()
    for path in ("/decisions/", "/plans/", "/scorecard/"):
        assert results(limited.get(path)) == []
    assert limited.get(f"/decisions/{receipt.pk}/").status_code == 404
    assert limited.get(f"/plans/{plan.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"current": "true"}, 1),
        ({"current": "false"}, 0),
        ({"problem": "true"}, 0),
        ({"decided_by": "rule"}, 1),
        ({"decided_by": "human"}, 0),
        ({"device": 999}, 0),
        ({"since": "2026-11-17T19:00:00Z"}, 0),
        ({"until": "2026-11-17T19:00:00Z"}, 1),
    ],
)
def test_decisions_are_found(viewer, planned, parameters, count):
    assert len(results(viewer.get("/decisions/", **parameters))) == count


def test_a_plan_is_told(viewer, planned):
    plan = Plan.objects.get()
    assert results(viewer.get("/plans/")) == [serializers.plan_json(plan)]
    assert viewer.get(f"/plans/{plan.pk}/").json() == serializers.plan_json(plan)
    assert results(viewer.get("/plans/", settled="true")) == []
    assert ids(viewer.get("/plans/", settled="false", device=planned.pk)) == [plan.pk]


def test_the_scorecard_is_that_of_the_command(viewer, planned, time_machine):
    time_machine.shift(20 * 3600)
    [told] = results(viewer.get("/scorecard/", days=2))
    assert told["device"] == planned.pk
    assert told["jobs"]["jobs"] == 1
    assert results(viewer.get("/scorecard/", device=999)) == []


# Runs


def test_a_run_is_told_without_its_errors(viewer, administrator, planned):
    run = Run.objects.filter(task="poll").get()
    with publishing():
        run.error = "10.0.0.7 said no"
        run.save()
    assert viewer.get(f"/runs/{run.pk}/").json() == serializers.public_run_json(run)
    assert administrator.get(f"/runs/{run.pk}/").json()["error"] == run.error
    assert ids(viewer.get("/runs/", task="poll", outcome="done")) == [run.pk]
    assert ids(viewer.get("/runs/", outcome="broken")) == []


# All of them


@pytest.mark.parametrize("path", PATHS)
def test_reading_needs_the_right_to_read(api, settings, with_token, path):
    settings.PUBLIC_STATUS = False
    assert api().get(path).status_code == 401
    assert with_token("ingest").get(path).status_code == 403
    assert with_token("read").get(path).status_code == 200
