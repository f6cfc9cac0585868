"""When switches were on, also while nobody heard them."""

from datetime import UTC, datetime, timedelta

import pytest

from core.models import Attribute, DeviceCommand, Observation, Plan, Silence
from core.models.device_command import State
from core.planning.timeline import Piece
from core.readings import Source
from core.tasks.decisions import plans
from core.tasks.decisions.running import Evidence, filled, minutes_on, running
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def at(minutes):
    return NOON + minutes * MINUTE


def on_in_silence(first, second, **evidence):
    """Heard for an hour, silent for 100 minutes, heard again: minutes on of the silence."""
    pieces = [Piece(at(0), at(60), first), Piece(at(160), at(200), second)]
    return minutes_on(filled(pieces, Evidence(**evidence)), at(60), at(160))


def metered(used):
    """An energy meter that counted 60 in the hour before."""
    return [(at(0), 1000.0), (at(30), 1030.0), (at(60), 1060.0), (at(160), 1060.0 + used)]


@pytest.mark.parametrize(
    ("first", "second", "evidence", "minutes"),
    [
        (1, 1, {}, 100),
        (0, 0, {}, 0),
        (1, 0, {}, 0),
        (0, 1, {}, 0),
        (1, 1, {"meter": metered(70)}, 70),
        (1, 1, {"meter": metered(500)}, 100),
        (1, 0, {"meter": metered(25)}, 25),
        (1, 0, {"meter": metered(0)}, 0),
        (1, 1, {"meter": metered(-900)}, 100),  # it began anew
        (1, 1, {"meter": metered(70)[2:]}, 100),  # its power is not known
        (1, 0, {"timers": [at(90)]}, 30),
        (1, 0, {"timers": [at(30)]}, 0),
        (1, 1, {"timers": [at(90)]}, 100),
        (1, 0, {"changes": [at(140)]}, 80),
        (0, 1, {"changes": [at(140)]}, 20),
        (1, 0, {"changes": [at(140)], "meter": metered(25)}, 80),
        (1, 0, {"changes": [at(160)]}, 0),  # the poll's own time is no time of a change
    ],
)
def test_a_silence_is_counted_by_what_is_known_of_it(first, second, evidence, minutes):
    assert on_in_silence(first, second, **evidence) == pytest.approx(minutes)


def test_the_meter_of_a_device_that_was_off_says_when_it_was_switched_on():
    pieces = [
        Piece(at(0), at(60), 1),
        Piece(at(60), at(70), 0),
        Piece(at(170), at(200), 1),
    ]
    meter = [*metered(0)[:3], (at(70), 1060.0), (at(170), 1100.0)]
    inferred = [piece for piece in filled(pieces, Evidence(meter=meter)) if piece.is_inferred]
    assert inferred == [
        Piece(at(70), at(130), 0.0, is_inferred=True),
        Piece(at(130), at(170), 1.0, is_inferred=True),
    ]


@pytest.fixture
def plug(db):
    return make_device(make_gateway(), "plug")


def poll(device, minutes, on, energy):
    for name, number in (("on", on), ("energy", energy)):
        attribute, _ = Attribute.objects.get_or_create(device=device, name=name)
        Observation.objects.create(attribute=attribute, observed_at=at(minutes), number=number)
        Attribute.objects.filter(pk=attribute.pk).update(heard_at=at(minutes), number=number)


@pytest.mark.parametrize("away", [40, 90, 180])
def test_missed_polls_do_not_make_a_job_overrun(plug, away):
    for minutes in range(0, 61, 10):
        poll(plug, minutes, on=1, energy=1000 + 20 * minutes)
    poll(plug, 60 + away, on=1, energy=1000 + 20 * (60 + away))
    switch = Attribute.objects.get(device=plug, name="on")
    Silence.objects.create(attribute=switch, starts_at=at(60), ends_at=at(60 + away))
    row = Plan(device=plug, opens_at=NOON, deadline=at(600), counted_until=NOON)
    plans.count([row], {plug.pk: switch}, at(60 + away))
    assert row.delivered == pytest.approx(60 + away)


def test_a_timer_that_ran_out_while_nobody_listened_ends_the_running(plug):
    poll(plug, 0, on=1, energy=0)
    poll(plug, 120, on=0, energy=0)
    switch = Attribute.objects.get(device=plug, name="on")
    Observation.objects.filter(attribute__name="energy").delete()
    Silence.objects.create(attribute=switch, starts_at=at(10), ends_at=at(120))
    with publishing():
        DeviceCommand.objects.create(
            attribute=switch,
            number=1,
            source=Source.RULE,
            state=State.CONFIRMED,
            requested_at=NOON,
            expires_at=at(5),
            reverts_at=at(80),
        )
    pieces = running([switch], NOON, at(120))[switch.pk]
    assert minutes_on(pieces, NOON, at(120)) == pytest.approx(80)


def test_silences_cost_two_queries_however_many_switches(plug, django_assert_num_queries):
    devices = [plug, *(make_device(plug.gateway, f"plug {number}") for number in range(5))]
    switches = []
    for device in devices:
        poll(device, 0, on=1, energy=0)
        poll(device, 120, on=1, energy=0)
        switch = Attribute.objects.get(device=device, name="on")
        Silence.objects.create(attribute=switch, starts_at=at(10), ends_at=at(120))
        switches.append(switch)
    with django_assert_num_queries(5):
        running(switches, NOON, at(120))
