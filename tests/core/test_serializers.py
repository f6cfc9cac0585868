"""What programs get: plain JSON, times in UTC, never a secret."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core import serializers
from core.models import DeviceCommand, Gateway, Plan, Run, Site
from core.models.run import Outcome
from tests.core.tasks.homes import make_device, make_gateway

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def device(db):
    device = make_device(
        make_gateway("Hub", credential="the secret"),
        "plug",
        place="Hall",
        heard_at=NOW,
        rule="awesome",
    )
    device.attributes.filter(name="on").update(number=1.0, observed_at=NOW, heard_at=NOW)
    return device


def with_hearing(gateway):
    return Gateway.objects.with_hearing().get(pk=gateway.pk)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (None, None),
        (NOW, "2026-11-21T12:00:00.000Z"),
        (
            datetime(2026, 11, 21, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1))),
            "2026-11-21T12:00:00.250Z",
        ),
    ],
)
def test_times_are_utc_with_a_z(time, text):
    assert serializers.utc_text(time) == text


def test_a_device_carries_its_attributes_values_and_freshness(device):
    shown = json.loads(
        json.dumps(serializers.device_json(device, device.attributes.all(), NOW, Site()))
    )
    assert (shown["name"], shown["freshness"]) == ("Plug", "fresh")
    assert shown["heard_at"] == "2026-11-21T12:00:00.000Z"
    assert shown["place"] == {"name": "Hall", "latitude": None, "longitude": None, "zone": "UTC"}
    on, power = shown["attributes"]
    assert (on["value"], on["kind"], on["writable"]) == (True, "boolean", True)
    assert (power["value"], power["unit"], power["freshness"]) == (None, "W", "never")


def test_a_command_carries_its_state_and_reason(device):
    command = DeviceCommand(
        attribute=device.attributes.get(name="on"),
        number=0.0,
        source="human",
        reason="Pressed",
        expires_at=NOW + timedelta(days=999),
    )
    shown = json.loads(json.dumps(serializers.command_json(command)))
    assert (shown["value"], shown["state"]) == (False, "requested")
    assert (shown["open"], shown["reason"]) == (True, "Pressed")
    assert shown["device"] == device.pk


def test_a_gateway_tells_whether_it_has_a_credential_never_which(device):
    shown = json.dumps(serializers.gateway_json(with_hearing(device.gateway)))
    assert '"has_credential": true' in shown
    assert "the secret" not in shown
    assert device.gateway.credential.token not in shown


def test_a_run_carries_its_counts():
    run = Run(
        task="poll",
        outcome=Outcome.DONE,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        counts={"stored": 3},
    )
    shown = json.loads(json.dumps(serializers.run_json(run)))
    assert (shown["seconds"], shown["counts"], shown["outcome"]) == (2.0, {"stored": 3}, "done")


def test_a_hold_is_told_while_it_lasts(device):
    device.held_at, device.held_until, device.hold_reason = NOW, NOW + timedelta(hours=1), "Guests"
    shown = {
        "reason": "Guests",
        "held_at": "2026-11-21T12:00:00.000Z",
        "held_until": "2026-11-21T13:00:00.000Z",
    }
    assert serializers.device_json(device, [], NOW, Site())["hold"] == shown
    assert serializers.device_json(device, [], NOW + timedelta(hours=1), Site())["hold"] is None


def test_the_public_sees_no_address_no_place_on_earth_and_no_error_of_a_run(device):
    device.latitude, device.longitude = 51.501, -0.142
    run = Run(task="poll", started_at=NOW, error="http://127.0.0.1:1 did not answer")
    shown = json.dumps(
        [
            serializers.public_device_json(device, [], NOW, Site()),
            serializers.public_gateway_json(with_hearing(device.gateway)),
            serializers.public_run_json(run),
        ]
    )
    assert "Hall" in shown
    assert not [word for word in ("51.5", "0.142", "127.0.0.1", "credential") if word in shown]


def test_a_plan_carries_its_windows_as_times(device):
    window = [NOW.timestamp(), (NOW + timedelta(minutes=30)).timestamp()]
    plan = Plan(
        device=device,
        opens_at=NOW,
        deadline=NOW + timedelta(hours=8),
        windows=[window],
        unit="gCO2",
        made_at=NOW,
    )
    shown = json.loads(json.dumps(serializers.plan_json(plan)))
    assert shown["windows"] == [["2026-11-21T12:00:00.000Z", "2026-11-21T12:30:00.000Z"]]
    assert (shown["device"], shown["settled_at"]) == (device.pk, None)
    assert shown["deadline"] == "2026-11-21T20:00:00.000Z"
