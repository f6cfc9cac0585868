"""A situation is written to a receipt and read back, field by field."""

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from core.planning import Job, Window, WindowPlan
from core.planning.precedence import Limits
from core.rules import Situation
from core.tasks.decisions.inputs import FIELDS, STORED_APART, facts_json, read_facts

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAN = WindowPlan(Job(NOW, NOW + 8 * HOUR, minutes=60), (Window(NOW, NOW + HOUR),), 300, "gCO2")
FULL = Situation(
    now=NOW,
    device="Heater",
    values={"on": True},
    switch="on",
    zone=ZoneInfo("Europe/London"),
    changed_at=NOW - HOUR,
    plan=PLAN,
    delivered=12.5,
    held_off_since=NOW - 2 * HOUR,
    held_off_until=NOW + HOUR,
    limits=Limits(timedelta(minutes=5), timedelta(minutes=10), 12),
)


def facts(situation):
    return {name: getattr(situation, name) for name in FIELDS}


def test_every_field_is_stored():
    assert set(FIELDS) | STORED_APART == {field.name for field in fields(Situation)}


def test_what_was_written_is_read_back():
    assert read_facts(json.loads(json.dumps(facts_json(FULL)))) == facts(FULL)


def test_what_is_not_there_is_written_as_null():
    empty = Situation(NOW, "Heater", {}, "on", zone=ZoneInfo("UTC"))
    stored = json.loads(json.dumps(facts_json(empty)))
    assert stored["plan"] is None
    assert stored["held_off"] == [None, None]
    assert read_facts(stored) == facts(empty)


def test_a_receipt_has_the_keys_that_it_always_had():
    stored = facts_json(FULL)
    del stored["plan"]
    assert stored == {
        "switch": "on",
        "zone": "Europe/London",
        "changed_at": "2026-06-01T11:00:00+00:00",
        "delivered": 12.5,
        "held_off": ["2026-06-01T10:00:00+00:00", "2026-06-01T13:00:00+00:00"],
        "limits": [300.0, 600.0, 12],
    }


def test_what_an_old_receipt_does_not_have_is_the_default():
    arguments = read_facts({"switch": "on", "zone": "UTC", "delivered": 3})
    situation = Situation(now=NOW, device="Heater", values={}, **arguments)
    assert situation.delivered == 3
    assert situation.limits == Limits()
    assert situation.held_off_since is None
