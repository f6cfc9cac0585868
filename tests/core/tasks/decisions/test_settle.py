"""Plans after their deadline, and the score that is made of them."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from core.models import (
    Attribute,
    Device,
    FeedSource,
    Measurement,
    Observation,
    Plan,
    Receipt,
    Series,
    Silence,
)
from core.tasks import scorecard
from core.tasks.decisions import settle
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
OPENS = datetime(2026, 11, 20, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEADLINE = OPENS + 6 * HOUR
LATER = DEADLINE + HOUR
MEASURED = (300, 200, 100, 100, 200, 300)
TERMS = {
    "minutes": 120,
    "watts": 1000,
    "contiguous": False,
    "latest": False,
    "min_on": 0,
    "min_off": 0,
}


@pytest.fixture
def heater() -> Device:
    return make_device(make_gateway(), "heater")


def measure(values=MEASURED, known_at=DEADLINE, signal="carbon_intensity", unit="gCO2/kWh"):
    source, _ = FeedSource.objects.get_or_create(feed="replay", region="")
    series, _ = Series.objects.get_or_create(source=source, signal=signal, defaults={"unit": unit})
    for hour, value in enumerate(values):
        start = OPENS + hour * HOUR
        if value is not None:
            Measurement.objects.create(
                series=series, starts_at=start, ends_at=start + HOUR, value=value, known_at=known_at
            )


def run(device, *spans, heard_at=LATER):
    """It was on in these hours after OPENS, and off else."""
    switch = Attribute.objects.get(device=device, name="on")
    Observation.objects.create(attribute=switch, observed_at=OPENS - HOUR, number=0)
    for start, end in spans:
        Observation.objects.create(attribute=switch, observed_at=OPENS + start * HOUR, number=1)
        Observation.objects.create(attribute=switch, observed_at=OPENS + end * HOUR, number=0)
    Attribute.objects.filter(pk=switch.pk).update(heard_at=heard_at, observed_at=OPENS, number=0)
    return switch


def plan(device, **fields):
    told = {
        "rule": "cleanest_hours",
        "signal": "carbon_intensity",
        "region": "replay:",
        "unit": "gCO2",
        "predicted": 310,
    }
    times = {"opens_at": OPENS, "deadline": DEADLINE, "made_at": OPENS, "counted_until": OPENS}
    with publishing():
        return Plan.objects.create(device=device, job=TERMS, windows=[], **(told | times | fields))


def after(now, row):
    settle.settle_plans(now)
    return Plan.objects.get(pk=row.pk)


def test_a_plan_is_settled_when_its_measurements_are_there(heater):
    measure()
    run(heater, (1, 3))
    row = plan(heater)
    assert settle.settle_plans(LATER) == settle.Settled(full=1)
    row.refresh_from_db()
    assert (row.actual, row.at_once, row.ideal, row.settled_at, row.note) == (
        300,
        500,
        200,
        LATER,
        "",
    )
    assert row.delivered == 120


def test_settled_once_it_is_left_alone(heater):
    measure()
    run(heater, (1, 3))
    plan(heater)
    settle.settle_plans(LATER)
    assert settle.settle_plans(LATER + HOUR) == settle.Settled()


def test_before_its_deadline_nothing_is_settled(heater):
    measure()
    run(heater)
    plan(heater)
    assert settle.settle_plans(DEADLINE - HOUR) == settle.Settled()


def test_it_waits_for_measurements(heater):
    measure((300, 200, 100, 100, None, 300))
    run(heater, (1, 3))
    row = plan(heater)
    assert settle.settle_plans(LATER) == settle.Settled(waiting=1)
    assert after(LATER, row).settled_at is None


def test_after_three_days_it_is_settled_as_far_as_it_goes(heater):
    measure((300, 200, 100, 100, None, 300))
    run(heater, (1, 3))
    row = after(DEADLINE + settle.WAIT, plan(heater))
    assert (row.actual, row.at_once, row.ideal) == (300, 500, None)
    assert row.note == "not measured: the ideal"


def test_it_waits_until_the_device_was_heard_after_the_deadline(heater):
    measure()
    run(heater, (1, 3), heard_at=DEADLINE - HOUR)
    plan(heater)
    assert settle.settle_plans(LATER).waiting == 1


@pytest.mark.parametrize(
    ("start", "end", "delivered", "note"),
    [
        (2, 2.5, 120, "not heard for 30 min, 30 of them counted as on"),
        (
            *(2.5, 3, 90),
            "ran 90 of 120 min, and is compared with as many; "
            "not heard for 30 min, none counted as on",
        ),
    ],
    ids=["between on and on", "between on and off"],
)
def test_a_silence_counts_as_far_as_it_is_known(heater, start, end, delivered, note):
    measure()
    switch = run(heater, (1, 3))
    times = {"starts_at": OPENS + start * HOUR, "ends_at": OPENS + end * HOUR}
    Silence.objects.create(attribute=switch, **times)
    row = after(LATER, plan(heater))
    assert (row.delivered, row.note) == (delivered, note)


def test_what_ran_beyond_is_counted_and_told(heater):
    measure()
    run(heater, (1, 4))
    row = after(LATER, plan(heater))
    assert row.actual == 300
    assert row.note == "ran 60 min longer than asked, for 100 gCO2 more"


def test_a_measurement_revised_later_than_now_is_not_seen(heater):
    measure()
    measure((900, None, None, None, None, None), known_at=LATER + HOUR)
    run(heater, (1, 3))
    assert after(LATER, plan(heater)).at_once == 500


def test_a_plan_made_without_any_feed_is_settled_with_a_note(heater):
    run(heater, (1, 3))
    row = after(DEADLINE + settle.WAIT, plan(heater, signal="", region=":"))
    assert row.note == "not measured: what it cost, switching on at once, the ideal"


def test_a_plan_made_without_a_forecast_gets_its_unit_from_what_was_measured(heater):
    measure()
    run(heater, (1, 3))
    row = after(LATER, plan(heater, unit="", predicted=None))
    assert (row.unit, row.actual) == ("gCO2", 300)
    assert scorecard.scores([heater], LATER)[0].jobs.predicted is None


def test_one_region_does_not_stop_another(heater):
    measure()
    other = make_device(heater.gateway, "charger")
    for device in (heater, other):
        run(device, (1, 3))
    plan(heater, region="replay:nowhere")
    plan(other)
    assert settle.settle_plans(LATER) == settle.Settled(full=1, waiting=1)


def test_a_run_settles_so_many_and_the_next_the_rest(heater, monkeypatch):
    monkeypatch.setattr(settle, "MOST_AT_ONCE", 1)
    measure()
    run(heater, (1, 3))
    plan(heater)
    plan(heater, deadline=DEADLINE - HOUR)
    assert [settle.settle_plans(LATER).full for _ in range(3)] == [1, 1, 0]


def score_of(device, now=LATER, days=30):
    [one] = scorecard.scores([device], now, days)
    return one


def test_the_score_sums_what_was_settled(heater):
    measure()
    run(heater, (1, 3))
    plan(heater, changes=2)
    settle.settle_plans(LATER)
    jobs = score_of(heater).jobs
    assert (jobs.jobs, jobs.settled, jobs.delivered, jobs.changes) == (1, 1, 1, 2)
    assert (jobs.predicted, jobs.costs.saving) == (310, 200)
    assert jobs.as_json()["is_replayed"] is True
    assert score_of(heater).in_words() == (
        f"Heater ({heater.pk})\n"
        "    1 job, 100% of the minutes delivered, 2 changes of plan (replayed data)\n"
        "    300 gCO2 (310 gCO2 were predicted); "
        "500 gCO2 switched on at once, 200 gCO2 with hindsight\n"
        "    saved 200 gCO2, 67% of what hindsight would have saved"
    )


def test_a_device_without_plans_and_guard_has_no_score(heater):
    assert scorecard.scores([heater], LATER) == []


def test_what_cannot_be_compared_is_told(heater):
    plan(heater)
    assert "1 of them cannot be compared (yet)" in score_of(heater).in_words()


@pytest.fixture
def pump(settings, monkeypatch) -> Device:
    """A guard that the replay feed measures lightning for."""
    monkeypatch.setattr("core.feeds.replay.Feed.signals", ("carbon_intensity", "lightning"))
    settings.FEEDS = ["replay"]
    device = make_device(
        make_gateway(), "pump", guard="lightning_guard", guard_options={"flashes": 5}
    )
    receipt(device, OPENS, OPENS, voice="rule")
    return device


def receipt(device, decided_at, ended_at, **more):
    asked = {"guard": {"rule": "lightning_guard", "options": {}}}
    Receipt.objects.create(
        device=device,
        decided_at=decided_at,
        repeated_at=decided_at,
        ended_at=ended_at,
        inputs={"asked": asked},
        **more,
    )


def warn(device, start, end):
    receipt(
        device,
        OPENS + start * HOUR,
        None if end is None else OPENS + end * HOUR,
        voice="guard",
        value=False,
    )


def test_a_guard_is_held_to_what_was_measured(pump):
    measure((0, 9, 0, 7, 0, 0), signal="lightning", unit="flashes/h")
    warn(pump, 0.5, 1.5)
    warn(pump, 1.5, 2)
    warn(pump, 4, 5)
    [guard] = score_of(pump).guards
    assert (guard.warned.hits, guard.warned.misses, guard.warned.false_alarms) == (1, 1, 1)
    assert guard.warned.lead == HOUR / 2
    assert (
        "1 hit, 1 miss, 1 false alarm; POD 0.50, FAR 0.50, CSI 0.33; 30 min ahead on average"
        in score_of(pump).in_words()
    )


def test_what_happened_before_a_guard_was_asked_is_not_held_against_it(pump):
    measure((0, 9, 0, 7, 0, 0), signal="lightning", unit="flashes/h")
    Receipt.objects.update(decided_at=OPENS + 2 * HOUR)
    [guard] = score_of(pump).guards
    assert (guard.warned.hits, guard.warned.misses) == (0, 1)


def test_a_warning_of_a_time_that_is_not_measured_yet_is_not_judged(pump):
    measure((0, 0, 0, 0, 0, 0), signal="lightning", unit="flashes/h")
    warn(pump, 5, None)
    [guard] = score_of(pump).guards
    assert guard.warned.false_alarms == 0


def test_without_measurements_nobody_knows_whether_a_guard_was_right(pump):
    warn(pump, 1, 2)
    assert "nothing was measured" in score_of(pump).in_words()


def say(*words):
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_the_command_says_the_score_and_gives_it_to_programs(heater, time_machine):
    time_machine.move_to(LATER, tick=False)
    measure()
    run(heater, (1, 3))
    plan(heater)
    settle.settle_plans(LATER)
    assert "saved 200 gCO2" in say("scorecard")
    [told] = json.loads(say("scorecard", "--json", "--device", str(heater.pk)))
    assert (told["name"], told["jobs"]["saving"], told["jobs"]["unit"]) == ("Heater", 200, "gCO2")


def test_the_command_without_anything_to_tell(db):
    assert (
        say("scorecard")
        == "No device with a guard, and no job whose deadline was over in the last 30 days.\n"
    )


def test_the_command_for_a_device_that_is_not_there(db):
    with pytest.raises(CommandError, match="no device 7"):
        say("scorecard", "--device", "7")
