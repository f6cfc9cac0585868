"""The state x event table of device commands: every cell, written by hand."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError

from core.models import Attribute, DeviceCommand
from core.models.device_command import FINAL, OPEN, TRANSITIONS, CommandEvent, State, after
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

# Rows: states. Columns: claim, accept, refuse, seen, not seen, supersede, expire. A dot leaves the
# state as it is.
TABLE = """
requested    sending  .         failed  .          .          superseded  expired
sending      .        accepted  failed  confirmed  requested  .           failed
accepted     .        .         .       confirmed  .          superseded  unconfirmed
confirmed    .        .         .       .          .          .           .
failed       .        .         .       .          .          .           .
superseded   .        .         .       .          .          .           .
expired      .        .         .       .          .          .           .
unconfirmed  .        .         .       .          .          .           .
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]
CELLS = [
    (row[0], event, cell) for row in ROWS for event, cell in zip(CommandEvent, row[1:], strict=True)
]


@pytest.mark.parametrize(("state", "event", "cell"), CELLS)
def test_every_cell_of_the_table(state, event, cell):
    assert after(state, event) == (state if cell == "." else cell)


@pytest.mark.parametrize(("state", "event", "cell"), CELLS)
def test_a_command_that_ends_says_when(state, event, cell):
    command = DeviceCommand(
        state=state, finished_at=NOW - timedelta(days=1) if state in FINAL else None
    )
    changed = command.move(event, NOW, "why")
    assert changed is (cell != ".")
    assert (command.finished_at is not None) is (command.state in FINAL)


def test_the_table_names_every_state():
    assert [row[0] for row in ROWS] == list(State) == list(TRANSITIONS)


def test_only_open_states_lead_anywhere():
    assert {state for state, events in TRANSITIONS.items() if events} == set(OPEN)


def test_nothing_is_confirmed_that_was_never_sent():
    assert State.CONFIRMED not in TRANSITIONS[State.REQUESTED].values()


@pytest.mark.parametrize(
    ("ordered", "told", "same"),
    [
        ((1.0, None), (1.0, None), True),
        ((1.0, None), (0.0, None), False),
        ((50.0, None), (50.2, None), True),
        ((50.0, None), (51.0, None), False),
        ((20.0, None), (20.5, None), False),
        ((5000.0, None), (5020.0, None), True),
        ((None, "heat"), (None, "heat"), True),
        ((None, "heat"), (None, "off"), False),
        ((1.0, None), (None, None), False),
        ((None, "heat"), (None, None), False),
    ],
)
def test_what_counts_as_the_ordered_value(ordered, told, same):
    attribute = Attribute(kind="number")
    command = DeviceCommand(attribute=attribute, number=ordered[0], text=ordered[1])
    assert command.matches(*told) is same


@pytest.mark.parametrize(("told", "same"), [(3000, True), (3050, True), (3051, False)])
def test_a_device_may_round_by_its_tolerance(told, same):
    command = DeviceCommand(attribute=Attribute(tolerance=50), number=3000)
    assert command.matches(told, None) is same


@pytest.mark.django_db
def test_two_commands_of_one_attribute_cannot_be_sending():
    attribute = make_device(make_gateway()).attributes.get(name="on")
    fields = {
        "attribute": attribute,
        "number": 1.0,
        "state": State.SENDING,
        "expires_at": NOW + timedelta(days=36500),
    }
    with publishing():
        DeviceCommand.objects.create(**fields)
    with pytest.raises(IntegrityError), publishing():
        DeviceCommand.objects.create(**fields)
