"""What comes of data of another time says so, wherever it is shown; a live feed says nothing."""

import json

import pytest

from core import feeds
from core.models import DeviceCommand, Receipt
from core.simulator import Simulator
from core.tasks import decide, explain, gateways, poll, status
from core.tasks.orders import holds

pytestmark = pytest.mark.django_db
LABEL = "replayed data"


@pytest.fixture
def heater():
    with Simulator(devices=1) as simulator:
        gateway = gateways.add("shelly", simulator.address(0)).gateway
        device = gateway.devices.get()
        poll.poll_devices(force=True)
        yield device


@pytest.fixture(params=[True, False])
def label(request, monkeypatch):
    """What is to be found: with the same data from a live feed, nothing."""
    monkeypatch.setattr(feeds.load("replay"), "is_replayed", request.param)
    return request.param


def everywhere(device, client):
    """All that is shown of a decision, by where it is shown."""
    receipt = Receipt.objects.latest("pk")
    explained = explain.explain(receipt.pk)
    overview = status.overview()
    return {
        "receipt": receipt.sentence,
        "explain": explained.in_words(),
        "asked again": explained.again.reason,
        "status": overview.in_words(),
        "JSON": json.dumps(overview.as_json()),
        "command": DeviceCommand.objects.latest("pk").reason,
        "device page": client.get(f"/devices/{device.pk}/").text,
        "status page": client.get("/").text,
    }


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("awesome", {"clean_below": 100_000}),
        ("below", {"threshold": 100_000}),
        ("cleanest_hours", {"minutes": 1439}),
        ("lightning_guard", {"flashes": 100_000}),
    ],
)
def test_what_is_decided_from_replayed_data_says_so_everywhere(
    heater, client, settings, label, rule, options
):
    settings.PUBLIC_STATUS = True
    gateways.change_device(heater.pk, rule=rule, options=options)
    [verdict] = decide.decide()
    assert verdict.decision.value is True, verdict.sentence
    assert verdict.command is not None
    for where, shown in everywhere(heater, client).items():
        assert (LABEL in shown.lower()) is label, where
        assert not (label and "live forecast" in shown), where
    assert explain.explain(verdict.receipt).as_json()["is_replayed"] is label
    assert explain.explain(verdict.receipt).agrees


def test_a_decision_that_waits_for_a_person_says_it_too(heater, label):
    gateways.change_device(heater.pk, rule="awesome", options={"clean_below": 100_000})
    holds.hold(heater.pk, None, "by Anna")
    [verdict] = decide.decide()
    assert "would say" in verdict.sentence
    assert (LABEL in verdict.sentence) is label


def test_a_rule_that_looks_at_no_data_says_nothing_of_it(heater):
    gateways.change_device(heater.pk, rule="schedule", options={"on": "mon-sun 00:00-24:00"})
    [verdict] = decide.decide()
    assert LABEL not in verdict.sentence


def test_a_real_home_is_not_decided_from_a_replay_that_nobody_named(heater, settings):
    settings.FEEDS = []
    gateways.change_device(heater.pk, rule="awesome", options={"clean_below": 100_000})
    [verdict] = decide.decide()
    assert verdict.is_undecided
    assert "fetch_forecasts says why" in verdict.sentence
    assert verdict.command is None
