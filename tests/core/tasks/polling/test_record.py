"""record(): stored once, latest by measurement time, silence and sameness told apart."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from core.models import Attribute, Event, Freshness, Gateway, Lease, Observation, Silence
from core.models.connections import release_connection
from core.models.event import EventKind
from core.net.errors import ApiError, ApiRefused
from core.readings import Kind, Reading
from core.tasks.polling.backoff import health_after, rest_after
from core.tasks.polling.record import GatewayAnswer, record
from core.tasks.runs import LeaseLost, running
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAY = (None, None, False)
"""Value, time, reachable."""


@pytest.fixture
def gateway():
    return make_gateway()


@pytest.fixture
def device(gateway):
    return make_device(gateway)


@pytest.fixture(autouse=True)
def noon(time_machine):
    time_machine.move_to(NOON, tick=False)
    return time_machine


def answer(gateway, *readings, at=NOON, ids=("plug",), error=None):
    return GatewayAnswer(gateway.pk, at, ids, [Reading(*reading) for reading in readings], error)


def power(device):
    return device.attributes.get(name="power")


def test_a_reading_without_time_is_observed_when_the_gateway_was_asked(gateway, device):
    recorded = record([answer(gateway, ("plug", "power", 12.5), ("plug", "on", True))])
    assert (recorded.stored, recorded.duplicates, recorded.refused) == (2, 0, 0)
    latest = power(device)
    assert (latest.value, latest.observed_at, latest.heard_at) == (12.5, NOON, NOON)
    assert device.attributes.get(name="on").value is True


def test_a_reading_with_time_keeps_the_vendors_time(gateway, device):
    measured = NOON - timedelta(minutes=3)
    record([answer(gateway, ("plug", "power", 12.5, measured))])
    latest = power(device)
    assert (latest.observed_at, latest.heard_at) == (measured, NOON)


def test_the_same_reading_twice_is_stored_once_and_heard_twice(gateway, device):
    measured = NOON - timedelta(minutes=3)
    record([answer(gateway, ("plug", "power", 12.5, measured))])
    later = NOON + timedelta(minutes=10)
    recorded = record([answer(gateway, ("plug", "power", 12.5, measured), at=later)])
    assert (recorded.stored, recorded.duplicates) == (0, 1)
    assert Observation.objects.count() == 1
    assert power(device).heard_at == later


def test_the_first_value_of_a_time_wins(gateway, device):
    measured = NOON - timedelta(minutes=3)
    record([answer(gateway, ("plug", "power", 12.5, measured), ("plug", "power", 99.0, measured))])
    record([answer(gateway, ("plug", "power", 50.0, measured))])
    assert list(Observation.objects.values_list("number", flat=True)) == [12.5]
    assert power(device).value == 12.5


def test_the_latest_is_the_newest_measurement_not_the_last_arrival(gateway, device):
    record([answer(gateway, ("plug", "power", 2.0, NOON))])
    older = ("plug", "power", 1.0, NOON - timedelta(hours=1))
    record([answer(gateway, older, at=NOON + timedelta(seconds=5))])
    latest = power(device)
    assert (latest.value, latest.observed_at) == (2.0, NOON)
    assert Observation.objects.count() == 2


def test_several_times_of_one_attribute_in_one_answer_leave_the_newest_as_latest(gateway, device):
    times = [NOON - timedelta(minutes=minutes) for minutes in (2, 0, 1)]
    readings = [("plug", "power", float(number), time) for number, time in enumerate(times)]
    record([answer(gateway, *readings)])
    assert power(device).value == 1.0
    assert Observation.objects.count() == 3


@pytest.mark.parametrize(
    ("value", "observed_at", "why"),
    [
        (float("nan"), None, "not finite"),
        (float("inf"), None, "not finite"),
        (True, None, "no number"),
        ("12", None, "no number"),
        (10**400, None, "not finite"),
        (100_001.0, None, "above the most"),
        (1.0, NOON + timedelta(minutes=3), "in the future"),
        (1.0, datetime(1970, 1, 1, tzinfo=UTC), "clock is not set"),
        (1.0, datetime(2026, 3, 1), "no zone"),
    ],
)
def test_nonsense_is_refused_and_the_rest_is_stored(gateway, device, value, observed_at, why):
    recorded = record(
        [answer(gateway, ("plug", "power", value, observed_at), ("plug", "on", False))]
    )
    assert (recorded.stored, recorded.refused) == (1, 1)
    assert why in recorded.complaints[0]


def events_of(device):
    readings = Event.objects.filter(kind=EventKind.READINGS, device=device.pk)
    return [event.body for event in readings.order_by("pk")]


def test_one_refused_reading_silences_nothing(gateway, device):
    on, power = device.attributes.order_by("name")
    record([answer(gateway, ("plug", "power", 1e9), ("plug", "on", True))])
    device.refresh_from_db()
    assert (device.freshness(NOON), device.heard_at) == (Freshness.FRESH, NOON)
    assert [body["values"] for body in events_of(device)] == [{str(on.pk): True}]


def test_nothing_but_nonsense_publishes_nothing(gateway, device):
    record([answer(gateway, ("plug", "power", 1e9))])
    assert events_of(device) == []


def test_an_event_carries_what_was_stored(gateway, device):
    text = Attribute.objects.create(device=device, name="note", kind=Kind.TEXT)
    readings = ("plug", "note", "safe\x1b[2J\nforged"), ("plug", "power", -0.0)
    record([answer(gateway, *readings, ("plug", "on", False))])
    [body] = events_of(device)
    stored = {str(a.pk): a.value for a in device.attributes.all()}
    assert body["values"] == stored
    assert stored[str(text.pk)] == "safe\ufffd[2J\ufffdforged"


@pytest.mark.parametrize("hidden", ["\x1b", "\n", "\r", "\x00", "\u202e", "\ud800", "\x85", "\x7f"])
def test_what_cannot_be_printed_is_replaced_before_it_is_stored(gateway, device, hidden):
    text = Attribute.objects.create(device=device, name="note", kind=Kind.TEXT)
    assert record([answer(gateway, ("plug", "note", f"a{hidden}b"))]).stored == 1
    text.refresh_from_db()
    assert text.value == "a\ufffdb"


def test_a_little_skew_ahead_is_accepted(gateway, device):
    ahead = ("plug", "power", 1.0, NOON + timedelta(minutes=1))
    assert record([answer(gateway, ahead)]).stored == 1


def test_readings_of_strangers_and_unknown_attributes_are_counted_not_stored(gateway, device):
    recorded = record([answer(gateway, ("plug", "colour", "red"), ("stranger", "power", 1.0))])
    assert (recorded.stored, recorded.unknown) == (0, 2)


def test_a_vendor_that_cannot_reach_the_device_keeps_the_latest_and_says_so(gateway, device):
    record([answer(gateway, ("plug", "power", 5.0), ("plug", "on", True))])
    later = NOON + timedelta(minutes=1)
    record([answer(gateway, ("plug", "power", *AWAY), ("plug", "on", *AWAY), at=later)])
    device.refresh_from_db()
    latest = power(device)
    assert (latest.value, latest.available, latest.heard_at) == (5.0, False, NOON)
    assert device.freshness(later) is Freshness.UNREACHABLE


def test_a_device_the_vendor_no_longer_knows_is_unreachable(gateway, device):
    record([answer(gateway, ("plug", "power", 5.0))])
    record([answer(gateway, at=NOON + timedelta(minutes=1))])
    device.refresh_from_db()
    assert device.freshness(NOON + timedelta(minutes=1)) is Freshness.UNREACHABLE


def test_a_value_again_makes_the_device_fresh(gateway, device):
    record([answer(gateway, ("plug", "power", *AWAY), ("plug", "on", *AWAY))])
    record([answer(gateway, ("plug", "power", 5.0), at=NOON + timedelta(minutes=1))])
    device.refresh_from_db()
    assert device.freshness(NOON + timedelta(minutes=1)) is Freshness.FRESH


def test_no_value_yet_from_a_device_that_is_there_is_no_alarm(gateway, device):
    record([answer(gateway, ("plug", "power", None), ("plug", "on", None))])
    device.refresh_from_db()
    assert device.freshness(NOON) is Freshness.FRESH
    assert power(device).available is False


@pytest.mark.parametrize(
    ("name", "freshness"),
    [
        ("temperature", Freshness.STALE),
        ("humidity_2", Freshness.STALE),
        ("gas", Freshness.FRESH),
        ("power", Freshness.FRESH),
    ],
)
def test_a_measurement_that_moves_daily_and_did_not_shows_a_dead_sensor_behind_a_live_hub(
    gateway, device, name, freshness
):
    Attribute.objects.get_or_create(device=device, name=name, defaults={"kind": Kind.NUMBER})
    record([answer(gateway, ("plug", name, 5.0, NOON - timedelta(days=2)))])
    device.refresh_from_db()
    assert device.freshness(NOON) is freshness
    assert device.attributes.get(name=name).freshness(NOON) is freshness


def test_silence_is_kept_when_nobody_heard_for_long(gateway, device):
    record([answer(gateway, ("plug", "power", 5.0))])
    later = NOON + timedelta(hours=2)
    record([answer(gateway, ("plug", "power", 6.0), at=later)])
    silence = Silence.objects.get()
    assert (silence.starts_at, silence.ends_at) == (NOON, later)


@pytest.mark.parametrize(
    ("minutes", "ends_after"), [(-600, 120), (0, 120), (5, None), (90, 90), (120, 120)]
)
def test_a_value_that_the_vendor_observed_in_a_silence_ends_it(
    gateway, device, noon, minutes, ends_after
):
    record([answer(gateway, ("plug", "power", 5.0, NOON - timedelta(hours=11)))])
    observed_at = NOON + timedelta(minutes=minutes)
    later = NOON + timedelta(hours=2)
    noon.move_to(later, tick=False)
    record([answer(gateway, ("plug", "power", 6.0, observed_at), at=later)])
    silences = [(silence.starts_at, silence.ends_at) for silence in Silence.objects.all()]
    ends = [NOON + timedelta(minutes=ends_after)] if ends_after else []
    assert silences == [(NOON, end) for end in ends]


def test_several_answers_stored_together_are_no_silence_of_each_other(gateway, device):
    record([answer(gateway, ("plug", "power", 1.0), at=NOON - timedelta(hours=5))])
    ages = [timedelta(minutes=minutes) for minutes in (60, 50, 40, 30, 20, 10)]
    record([answer(gateway, ("plug", "power", 5.0), at=NOON - age) for age in ages])
    silence = Silence.objects.get()
    assert silence.starts_at == NOON - timedelta(hours=5)
    assert silence.ends_at == NOON - timedelta(hours=1)
    device.refresh_from_db()
    assert device.heard_at == NOON - timedelta(minutes=10)


def test_the_same_value_told_again_and_again_is_no_silence(gateway, device, noon):
    for minutes in range(0, 120, 10):
        at = NOON + timedelta(minutes=minutes)
        noon.move_to(at, tick=False)
        record([answer(gateway, ("plug", "power", 5.0, NOON), at=at)])
    assert not Silence.objects.exists()
    assert Observation.objects.count() == 1


def test_a_failed_poll_changes_no_value_and_no_freshness(gateway, device):
    record([answer(gateway, ("plug", "power", 5.0))])
    record([answer(gateway, at=NOON + timedelta(minutes=10), error=ApiError("It did not answer."))])
    device.refresh_from_db()
    assert device.freshness(NOON + timedelta(minutes=11)) is Freshness.FRESH
    device.gateway.refresh_from_db()
    assert (device.gateway.failures, device.gateway.error) == (1, "It did not answer.")
    assert device.gateway.answered_at == NOON


def test_an_answer_ends_a_row_of_failures_and_the_claim(gateway, device):
    Gateway.objects.update(failures=3, error="x", retry_at=NOON, claimed_until=NOON)
    record([answer(gateway, ("plug", "power", 5.0))])
    gateway.refresh_from_db()
    assert (gateway.failures, gateway.error) == (0, "")
    assert (gateway.retry_at, gateway.claimed_until) == (None, None)


def test_text_and_choices_are_stored_as_text(gateway, device):
    Attribute.objects.create(device=device, name="mode", kind=Kind.CHOICE, choices=["heat", "off"])
    recorded = record(
        [answer(gateway, ("plug", "mode", "heat")), answer(gateway, ("plug", "mode", "boil"))]
    )
    assert (recorded.stored, recorded.refused) == (1, 1)
    assert device.attributes.get(name="mode").value == "heat"


def test_a_gateway_with_more_devices_than_a_batch_is_stored_whole_and_fails_once(gateway):
    ids = [f"d{number}" for number in range(1_100)]
    for vendor_id in ids:
        make_device(gateway, vendor_id)
    recorded = record([answer(gateway, *((vendor_id, "power", 1.0) for vendor_id in ids), ids=ids)])
    assert recorded.stored == 1_100
    record([answer(gateway, ids=ids, error=ApiError("away"))])
    gateway.refresh_from_db()
    assert gateway.failures == 1


def test_numbers_come_back_to_the_last_bit(gateway, device):
    record([answer(gateway, ("plug", "power", 0.1 + 0.2))])
    assert Observation.objects.get().number == 0.1 + 0.2
    assert power(device).number == 0.1 + 0.2


def test_minus_zero_is_zero_on_every_database(gateway, device):
    record([answer(gateway, ("plug", "power", -0.0))])
    assert str(Observation.objects.get().number) == str(power(device).number) == "0.0"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_the_database_itself_refuses_numbers_that_are_not_finite(device, number):
    with pytest.raises(IntegrityError), transaction.atomic():
        Observation.objects.create(attribute=power(device), observed_at=NOON, number=number)


def test_the_database_itself_refuses_two_values_or_none(device):
    for values in ({}, {"number": 1.0, "text": "x"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Observation.objects.create(attribute=power(device), observed_at=NOON, **values)


def test_writes_after_the_lease_was_lost_are_refused(gateway, device):
    with pytest.raises(LeaseLost), running("poll") as holding:
        Lease.objects.update(token=99)
        record([answer(gateway, ("plug", "power", 5.0))], holding)
    assert not Observation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_recorders_at_once_store_everything_once(gateway):
    ids = [f"d{number}" for number in range(120)]
    for vendor_id in ids:
        make_device(gateway, vendor_id)
    failures = []

    def work(order):
        try:
            for second in range(10):
                at = NOON + timedelta(seconds=second)
                readings = [(vendor_id, "power", 1.0, at) for vendor_id in order]
                record([answer(gateway, *readings, at=at, ids=order)])
        except Exception as error:
            failures.append(error)
        finally:
            release_connection()

    orders = (ids, ids[::-1], ids[60:] + ids[:60])
    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Observation.objects.count() == 1_200


def test_the_first_failure_costs_no_rest_and_more_cost_more():
    rests = [rest_after(failures, refused=False, retry_after=None) for failures in (1, 2, 3, 4, 40)]
    assert rests == [timedelta(minutes=minutes) for minutes in (0, 10, 30, 70, 360)]


def test_a_refusal_rests_long_from_the_start():
    rests = [rest_after(failures, refused=True, retry_after=None) for failures in (1, 2, 40)]
    assert rests == [timedelta(hours=1), timedelta(hours=2), timedelta(days=1)]


def test_what_the_vendor_asks_for_is_honoured_up_to_a_day():
    assert rest_after(1, refused=False, retry_after=90) == timedelta(seconds=90)
    assert rest_after(1, refused=False, retry_after=1e9) == timedelta(days=1)


def test_a_refusal_is_told_apart_from_an_outage():
    assert health_after(NOON, ApiRefused("no"), 0).refused is True
    assert health_after(NOON, ApiError("no"), 0).refused is False


def test_a_fault_of_the_client_is_told_as_one():
    error = health_after(NOON, KeyError("apower"), 0).error
    assert error == "KeyError: 'apower' (a fault in the vendor's client)"
