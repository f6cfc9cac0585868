"""The database does not grow without end, and no step holds up a poll."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from core.models import (
    DeviceCommand,
    Event,
    FeedSource,
    Forecast,
    Measurement,
    Observation,
    Plan,
    Receipt,
    Run,
    Series,
    Silence,
    Token,
    Usage,
    User,
)
from core.models.run import Outcome
from core.tasks import gateways, prune, retention, tokens
from core.tasks.events.outbox import publishing
from core.tasks.observations import spans
from core.tasks.runs import running
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def power():
    return make_device(make_gateway()).attributes.get(name="power")


def store(power, *ages):
    now = timezone.now()
    Observation.objects.bulk_create(
        [
            Observation(attribute=power, observed_at=now - timedelta(days=age), number=1.0)
            for age in ages
        ]
    )


def test_what_is_older_than_the_days_to_keep_goes_and_the_rest_stays(power, settings):
    settings.KEEP_DAYS = 30
    store(power, 42, 41, 31, 29, 0)
    assert prune.prune() == {"observations": 2}
    assert Observation.objects.count() == 3


@pytest.mark.parametrize("ages", [(402, 401), (402, 401, 1)])
def test_the_value_that_holds_when_the_days_to_keep_begin_stays(power, settings, ages):
    """A door that did not move for longer: its chart shows where it has been since."""
    settings.KEEP_DAYS = 400
    store(power, *ages)
    power.heard_at = timezone.now()
    power.save()
    assert prune.prune() == {"observations": 1}
    assert prune.prune() == {}
    starts = [timezone.now() - timedelta(days=age) for age in (3, 2)]
    (span,) = spans(power, starts, timezone.now())
    assert (span.mean, span.coverage) == (1.0, 1.0)


def test_the_value_that_holds_is_the_latest_and_not_the_one_stored_last(power):
    """As when a vendor's history was fetched later."""
    store(power, 500, 502, 501)
    newest = Observation.objects.earliest("pk")
    assert prune.prune() == {"observations": 2}
    assert list(Observation.objects.all()) == [newest]


def test_values_that_stay_do_not_hide_what_is_old_behind_them(power):
    for number in range(5):
        other = make_device(power.device.gateway, f"other {number}")
        store(other.attributes.get(name="power"), 600)
    store(power, 503, 502, 501)
    assert prune.prune() == {"observations": 2}
    assert Observation.objects.count() == 6


@pytest.mark.parametrize("years", [0.001, 12])
def test_rows_of_the_future_in_front_do_not_stop_pruning(power, monkeypatch, years):
    """Stored while the clock ran ahead: for observations and events alike."""
    monkeypatch.setattr(prune, "ROWS_A_STEP", 10)
    store(power, *(-365 * years - number for number in range(25)))
    store(power, *(500 + number for number in range(25)), 1)
    now = timezone.now()
    Event.objects.all().delete()
    for age in (-365 * years, 0.5, 0.4, 0):
        happened_at = now - timedelta(days=age)
        Event.objects.create(kind="device", happened_at=happened_at, body={})
    assert prune.prune() == {"observations": 24, "events": 2}
    assert Observation.objects.count() == 27
    assert Event.objects.count() == 2


def test_a_clock_that_runs_years_ahead_deletes_no_history(power, time_machine):
    now = timezone.now()
    store(power, 300, 1)
    with running("poll"):
        pass
    time_machine.move_to(now + timedelta(days=4400))
    for _ in range(3):
        with running("poll") as lease:
            prune.prune_a_little(lease)
        assert prune.prune() == {}
    assert Observation.objects.count() == 2


def test_after_a_day_of_runs_by_a_clock_what_is_old_by_it_goes(power, time_machine):
    """As after years of standing still."""
    store(power, 2, 1)
    began = timezone.now() + timedelta(days=4400)
    with publishing():
        for step in range(145):
            Run.objects.create(task="poll", started_at=began + step * timedelta(minutes=10))
    time_machine.move_to(began + timedelta(days=1))
    assert prune.prune()["observations"] == 1


def test_days_can_be_chosen_for_once(power):
    store(power, 4, 3, 1)
    assert prune.prune(days=2)["observations"] == 1


def test_old_silences_commands_and_runs_go_too_but_nothing_open(power):
    now, old = timezone.now(), timezone.now() - timedelta(days=500)
    Silence.objects.create(attribute=power, starts_at=old, ends_at=old + timedelta(hours=1))
    with quietly():
        for state in ("confirmed", "accepted"):
            DeviceCommand.objects.create(
                attribute=power, number=1.0, state=state, requested_at=old, expires_at=now
            )
        for outcome in (Outcome.DONE, Outcome.RUNNING):
            Run.objects.create(task="decide", started_at=old, outcome=outcome)
    assert prune.prune() == {"silences": 1, "device commands": 1, "runs": 1}


def test_a_poll_prunes_a_bounded_number_of_rows(db, monkeypatch):
    monkeypatch.setattr(prune, "ROWS_A_STEP", 10)
    events(*(timedelta(days=500) for _ in range(100)))
    with running("poll") as holding:
        prune.prune_a_little(holding)
    assert Event.objects.filter(body={}).count() == 100 - 10 * prune.STEPS_A_POLL


def test_no_transaction_deletes_more_observations_than_it_may(power, monkeypatch):
    monkeypatch.setattr(retention, "MOST_DELETED", 10)
    store(power, *(500 - number / 1000 for number in range(26)))
    steps = []
    prune.prune(progress=lambda done, total: steps.append((done, total)))
    assert steps == [(10, 10), (20, 20), (25, 25)]


def series():
    source = FeedSource.objects.create(feed="replay")
    return Series.objects.create(source=source, signal="carbon_intensity", unit="gCO2/kWh")


def test_old_forecasts_and_measurements_go_too(db, monkeypatch):
    monkeypatch.setattr(prune, "FORECASTS_A_STEP", 1)
    told, now, of = timezone.now() - timedelta(days=500), timezone.now(), series()
    for known_at in (told, told + timedelta(hours=1), now):
        Forecast.objects.create(
            series=of, issued_at=known_at, known_at=known_at, ends_at=known_at, slots=[]
        )
        Measurement.objects.create(
            series=of, starts_at=told, ends_at=now, value=1, known_at=known_at
        )
    assert prune.prune() == {"forecasts": 2, "measurements": 2}


def receipt(device, **fields):
    old = timezone.now() - timedelta(days=500)
    return Receipt.objects.create(
        device=device,
        decided_at=old,
        repeated_at=old,
        voice="plan",
        sentence="x",
        inputs={},
        **fields,
    )


def plan(device, day, **fields):
    opens_at = timezone.now() - timedelta(days=day)
    times = {
        "opens_at": opens_at,
        "deadline": opens_at + timedelta(hours=1),
        "made_at": opens_at,
        "counted_until": opens_at,
    }
    with quietly():
        return Plan.objects.create(
            device=device,
            rule="x",
            signal="price",
            unit="GBP",
            job={},
            windows=[],
            **times,
            **fields,
        )


def test_old_receipts_and_plans_go_too_but_not_what_is_current_or_unsettled(power):
    old, now = timezone.now() - timedelta(days=450), timezone.now()
    receipt(power.device, ended_at=old, plan=plan(power.device, 500, settled_at=old))
    kept = [
        receipt(power.device),
        receipt(power.device, ended_at=now, plan=plan(power.device, 499)),
    ]
    plan(power.device, 498, settled_at=now)
    assert prune.prune() == {"receipts": 1, "plans": 1}
    assert set(Receipt.objects.all()) == set(kept)
    assert Plan.objects.count() == 2


def test_the_decisions_of_a_removed_device_go(power):
    receipt(power.device, plan=plan(power.device, 1))
    gateways.remove_device(power.device.pk)
    pruned = prune.prune()
    assert (pruned["receipts"], pruned["plans"]) == (1, 1)


def events(*ages):
    now = timezone.now()
    Event.objects.bulk_create([Event(kind="run", body={}, happened_at=now - age) for age in ages])


def test_events_go_when_their_own_time_is_over_however_long_the_rest_is_kept(db, settings):
    settings.KEEP_DAYS = 400
    minute = timedelta(minutes=1)
    events(
        2 * prune.EVENTS_LIFETIME,
        prune.EVENTS_LIFETIME + minute,
        prune.EVENTS_LIFETIME - minute,
        minute,
    )
    assert prune.prune() == {"events": 2}


def test_the_newest_event_stays_and_says_how_far_the_log_went(db, monkeypatch):
    monkeypatch.setattr(prune, "ROWS_A_STEP", 1)
    events(*[5 * prune.EVENTS_LIFETIME] * 3)
    newest = Event.objects.order_by("pk").last()
    assert prune.prune() == {"events": 2}
    assert list(Event.objects.all()) == [newest]


def token_that(ended_days_ago=None, how="revoked_at"):
    token = tokens.issue(User.objects.create(username=f"u{User.objects.count()}"), "t", ["read"])
    if ended_days_ago is not None:
        ended = timezone.now() - timedelta(days=ended_days_ago)
        Token.objects.filter(pk=token.token.pk).update(**{how: ended})
    return token.token


@pytest.mark.parametrize("how", ["revoked_at", "expires_at"])
def test_a_token_goes_a_quarter_of_a_year_after_its_end(how):
    valid, young, old = token_that(), token_that(89, how), token_that(91, how)
    billed = token_that(91, how)
    Usage.objects.create(token=billed, day=timezone.now().date(), route="GET devices/", requests=1)
    assert prune.prune() == {"tokens": 1}
    assert set(Token.objects.all()) == {valid, young, billed}
    assert old not in Token.objects.all()


def test_what_was_done_in_the_admin_goes_with_the_orders_of_its_time(admin_user, settings):
    settings.KEEP_DAYS = 30
    for days in (31, 29):
        LogEntry.objects.create(
            user=admin_user, action_flag=2, action_time=timezone.now() - timedelta(days=days)
        )
    assert prune.prune() == {"admin changes": 1}
    assert LogEntry.objects.get().action_time > timezone.now() - timedelta(days=30)


def test_a_log_in_goes_once_it_is_over():
    over, valid = SessionStore(), SessionStore()
    over.set_expiry(-60)
    valid.set_expiry(60)
    over.save()
    valid.save()
    assert prune.prune() == {"sessions": 1}
    assert [one.pk for one in Session.objects.all()] == [valid.session_key]
