"""What programs get: plain JSON, times in UTC, never a secret."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core import serializers
from core.models import DeviceCommand, Plan, Run
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
    assert serializers.time(time) == text


def test_a_device_carries_its_attributes_values_and_freshness(device):
    told = json.loads(json.dumps(serializers.device(device, device.attributes.all(), NOW)))
    assert (told["name"], told["freshness"], told["heard_at"]) == (
        "Plug",
        "fresh",
        "2026-11-21T12:00:00.000Z",
    )
    assert told["place"] == {"name": "Hall", "latitude": None, "longitude": None, "zone": ""}
    on, power = told["attributes"]
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
    told = json.loads(json.dumps(serializers.device_command(command)))
    assert (told["value"], told["state"], told["open"], told["reason"]) == (
        False,
        "requested",
        True,
        "Pressed",
    )
    assert told["device"] == device.pk


def test_a_gateway_tells_whether_it_has_a_credential_never_which(device):
    told = json.dumps(serializers.gateway(device.gateway))
    assert '"has_credential": true' in told
    assert "the secret" not in told
    assert device.gateway.credential.token not in told


def test_a_run_carries_its_counts():
    run = Run(
        task="poll",
        outcome=Outcome.DONE,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=2),
        counts={"stored": 3},
    )
    told = json.loads(json.dumps(serializers.run(run)))
    assert (told["seconds"], told["counts"], told["outcome"]) == (2.0, {"stored": 3}, "done")


def test_a_hold_is_told_while_it_lasts(device):
    device.held_at, device.held_until, device.hold_reason = NOW, NOW + timedelta(hours=1), "Guests"
    told = {
        "reason": "Guests",
        "held_at": "2026-11-21T12:00:00.000Z",
        "held_until": "2026-11-21T13:00:00.000Z",
    }
    assert serializers.device(device, [], NOW)["hold"] == told
    assert serializers.device(device, [], NOW + timedelta(hours=1))["hold"] is None


def test_the_public_sees_no_address_no_place_on_earth_and_no_error_of_a_run(device):
    device.latitude, device.longitude = 51.501, -0.142
    run = Run(task="poll", started_at=NOW, error="http://127.0.0.1:1 did not answer")
    told = json.dumps(
        [
            serializers.public_device(device, [], NOW),
            serializers.public_gateway(device.gateway),
            serializers.public_run(run),
        ]
    )
    assert "Hall" in told
    assert not [word for word in ("51.5", "0.142", "127.0.0.1", "credential") if word in told]


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
    told = json.loads(json.dumps(serializers.plan(plan)))
    assert told["windows"] == [["2026-11-21T12:00:00.000Z", "2026-11-21T12:30:00.000Z"]]
    assert (told["device"], told["deadline"], told["settled_at"]) == (
        device.pk,
        "2026-11-21T20:00:00.000Z",
        None,
    )
