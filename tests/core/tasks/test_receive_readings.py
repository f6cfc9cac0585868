"""What devices push: told of each reading, stored once, by the device's own time."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from core.models import Attribute, Device, Event, Freshness, Gateway, Observation, Silence
from core.tasks import receive_readings as task
from core.tasks.receive_readings import receive_readings
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def at_noon():
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def webhook():
    gateway = make_gateway("Sensors", "push:1", "webhook")
    gateway.allow_new = True
    Gateway.objects.filter(pk=gateway.pk).update(allow_new=True)
    return gateway


def reading(value=21.5, **more):
    return {"device": "cellar", "attribute": "temperature", "value": value, **more}


def errors(received):
    return [refusal.error for refusal in received.refused]


def test_the_first_message_adds_the_device_and_its_attribute(webhook):
    said = reading(unit="°C", name="Cellar\x07", model="ESP32", minimum=-40, maximum=85)
    received = receive_readings(webhook.pk, [said])
    device = Device.objects.get()
    assert (received.stored, received.refused, received.new_devices) == (1, [], [device.pk])
    assert (device.vendor_id, device.name, device.model) == ("cellar", "Cellar", "ESP32")
    attribute = device.attributes.get()
    assert (attribute.kind, attribute.unit, attribute.value) == ("number", "°C", 21.5)
    assert (attribute.minimum, attribute.maximum, attribute.writable) == (-40, 85, False)
    assert (attribute.observed_at, attribute.heard_at) == (NOW, NOW)


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "number"), (1.5, "number"), (True, "boolean"), ("open", "text")]
)
def test_the_kind_of_a_new_attribute_is_guessed_from_its_value(webhook, value, kind):
    receive_readings(webhook.pk, [reading(value)])
    assert Attribute.objects.get().kind == kind
    assert Attribute.objects.get().value == value


def test_a_gateway_that_allows_no_new_devices_gets_none(webhook):
    Gateway.objects.update(allow_new=False)
    received = receive_readings(webhook.pk, [reading()])
    assert errors(received) == [f"gateway {webhook.pk} has no device cellar, and takes no new ones"]
    assert received.is_nothing
    assert not Device.objects.exists()


def test_nonsense_adds_no_device(webhook):
    said = [reading("x", kind="number"), reading(10**300), reading(None), reading(time=0)]
    assert len(receive_readings(webhook.pk, said).refused) == 4
    assert not Device.objects.exists()


def test_a_message_sent_again_is_stored_once(webhook):
    said = [reading(20 + place, time=1_795_000_000 + 60 * place) for place in range(50)]
    with time_machine.travel(datetime.fromtimestamp(1_795_100_000, UTC)):
        first, again = (receive_readings(webhook.pk, said) for _ in range(2))
    assert (first.stored, first.duplicates) == (50, 0)
    assert (again.stored, again.duplicates, again.refused) == (0, 50, [])
    assert Observation.objects.count() == 50


def test_readings_out_of_order_leave_the_newest_as_the_latest(webhook):
    for minutes, value in ((0, 1), (-30, 2), (-10, 3)):
        at = (NOW + timedelta(minutes=minutes)).isoformat()
        receive_readings(webhook.pk, [reading(value, time=at)])
    attribute = Attribute.objects.get()
    assert (attribute.value, attribute.observed_at) == (1, NOW)
    assert list(Observation.objects.order_by("observed_at").values_list("number", flat=True)) == [
        *(2, 3, 1)
    ]


def test_a_value_in_another_unit_is_converted(webhook):
    receive_readings(webhook.pk, [reading(20, unit="°C", time=NOW.timestamp() - 60)])
    receive_readings(webhook.pk, [reading(68.9, unit="°F")])
    attribute = Attribute.objects.get()
    assert (attribute.value, attribute.unit) == (20.5, "°C")


def test_a_unit_of_another_quantity_is_an_attribute_of_its_own(webhook):
    said = [
        reading(5, attribute="level", unit="L", time=NOW.timestamp() - 2),
        reading(3, attribute="level", unit="kg", time=NOW.timestamp() - 1),
        reading(6, attribute="level", unit="L"),
    ]
    assert receive_readings(webhook.pk, said).stored == 3
    kept = {one.name: (one.value, one.unit) for one in Attribute.objects.all()}
    assert kept == {"level": (6, "L"), "level (kg)": (3, "kg")}


def test_a_value_of_another_type_changes_no_attribute(webhook):
    receive_readings(webhook.pk, [reading()])
    received = receive_readings(webhook.pk, [reading("nan"), reading(True), reading(0)])
    assert errors(received) == ["'nan' is no number", "True is no number"]
    assert [refusal.index for refusal in received.refused] == [0, 1]
    assert Attribute.objects.get().kind == "number"


def test_null_says_that_there_is_no_value_now(webhook):
    receive_readings(webhook.pk, [reading()])
    received = receive_readings(webhook.pk, [reading(None)])
    assert (received.without_value, received.refused) == (1, [])
    assert not Attribute.objects.get().available
    assert errors(receive_readings(webhook.pk, [reading(None, time=0)])) != []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (5, "it is no object"),
        ({"device": "a"}, "attribute is missing"),
        (reading(valeu=1), "there is no field 'valeu'"),
        (reading([1]), "value is no number, no text, neither true nor false, and not null"),
        (reading(device=""), "device must be a text"),
        (reading(device="a\nb"), "device must be a text"),
        (reading(attribute="x" * 121), "attribute must be a text"),
        (reading(time="yesterday"), "time must be like"),
        (reading(time="2026-11-26T11:00:00"), "has no zone"),
        (reading(time=True), "time must be like"),
        (reading(time=1e300), "time must be like"),
        (reading(time="2026-11-26T12:03:00Z"), "in the future"),
        (reading(time="1970-01-01T00:00:00Z"), "clock is not set"),
        (reading(unit=5), "unit must be"),
        (reading(unit="x" * 21), "unit must be"),
        (reading(kind="float"), "kind must be one of number, boolean, choice, text"),
        (reading(kind=[]), "kind must be one of"),
        (reading(minimum=5, maximum=4), "minimum is above maximum"),
        (reading(minimum=10**300), "minimum is too large"),
        (reading(minimum="1"), "minimum is no number"),
        (reading("b", kind="choice", choices=["a"]), "'b' is none of a"),
        (reading("b", kind="choice", choices=[]), "choices must be"),
        (reading("b", kind="choice", choices=["\x00"]), "each of choices"),
        (reading(interval_seconds=0), "interval_seconds must be"),
        (reading(interval_seconds=True), "interval_seconds must be"),
        (reading(interval_seconds=10**9), "interval_seconds must be"),
        (reading(name=5), "name is no text"),
    ],
)
def test_what_is_wrong_is_said_and_costs_no_other(webhook, wrong, sentence):
    good = reading(attribute="humidity")
    received = receive_readings(webhook.pk, [good, wrong, {**good, "time": NOW.timestamp() - 60}])
    assert received.stored == 2
    [refusal] = received.refused
    assert refusal.index == 1
    assert sentence in refusal.error


def test_a_gateway_has_a_bound_of_devices(webhook, monkeypatch):
    monkeypatch.setattr(task, "MOST_DEVICES", 3)
    received = receive_readings(webhook.pk, [reading(device=f"d{place}") for place in range(5)])
    assert (received.stored, len(received.refused)) == (3, 2)
    assert Device.objects.count() == 3


def test_a_device_has_a_bound_of_attributes(webhook, settings):
    settings.MOST_ATTRIBUTES = 3
    said = [reading(attribute=f"a{place}") for place in range(5)]
    assert receive_readings(webhook.pk, said).stored == 3
    received = receive_readings(webhook.pk, said)
    assert "MOST_ATTRIBUTES" in errors(received)[0]
    assert Attribute.objects.count() == 3


def test_a_device_that_a_person_removed_or_disabled_stays_so(webhook):
    receive_readings(webhook.pk, [reading()])
    Device.objects.update(enabled=False)
    assert "disabled" in errors(receive_readings(webhook.pk, [reading()]))[0]
    Device.objects.update(enabled=True, removed_at=NOW)
    assert "removed" in errors(receive_readings(webhook.pk, [reading()]))[0]
    assert Device.objects.count() == Observation.objects.count() == 1


def test_a_disabled_gateway_takes_nothing(webhook):
    Gateway.objects.update(enabled=False)
    with pytest.raises(task.GatewayDisabled, match="Enable it"):
        receive_readings(webhook.pk, [reading()])


def test_the_last_message_is_the_health_of_a_gateway_that_is_never_asked(webhook):
    receive_readings(webhook.pk, [reading()])
    webhook.refresh_from_db()
    assert (webhook.answered_at, webhook.failures) == (NOW, 0)


def test_a_service_may_push_what_a_polled_device_measures(webhook):
    """It says nothing of whether the gateway answers, and neither adds nor changes attributes."""
    gateway = make_gateway()
    device = make_device(gateway)
    Gateway.objects.filter(pk=gateway.pk).update(failures=3, claimed_until=NOW, error="away")
    said = [
        {"device": "plug", "attribute": "power", "value": 1.5, "unit": "kW"},
        {"device": "plug", "attribute": "power", "value": 5, "unit": "°C"},
        {"device": "plug", "attribute": "colour", "value": "red"},
        {"device": "plug", "attribute": "on", "value": True},
        {"device": "lamp", "attribute": "power", "value": 1},
    ]
    received = receive_readings(gateway.pk, said)
    assert received.stored == 1
    assert errors(received) == [
        "power is a number here, its unit 'W'",
        "plug has no attribute colour",
        "on can be ordered: it is read from the device itself",
        f"gateway {gateway.pk} has no device lamp",
    ]
    assert device.attributes.get(name="power").value == 1500
    gateway.refresh_from_db()
    assert (gateway.failures, gateway.claimed_until, gateway.error) == (3, NOW, "away")
    device.refresh_from_db()
    assert device.due_at is None


def test_a_push_is_an_event_at_once(webhook):
    receive_readings(webhook.pk, [reading()])
    receive_readings(webhook.pk, [reading(5, time=NOW.timestamp() - 1)])
    kinds = list(Event.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds[-1] == "readings"
    assert "device" in kinds


def freshness(at):
    device = Device.objects.select_related("gateway").get()
    attribute = device.attributes.select_related("device__gateway").get()
    [in_sql] = [state for state, count in Device.objects.count_by_freshness(at).items() if count]
    assert device.freshness(at) is attribute.freshness(at) is in_sql
    return in_sql


def test_a_device_is_stale_by_the_interval_that_it_states(webhook):
    receive_readings(webhook.pk, [reading(interval_seconds=3600)])
    assert freshness(NOW + timedelta(hours=2.4)) is Freshness.FRESH
    assert freshness(NOW + timedelta(hours=2.6)) is Freshness.STALE


@pytest.mark.parametrize("seconds", [5, 60, 600, 3600, 6 * 3600, 86_400])
def test_a_device_is_never_stale_while_it_pushes_and_always_after(webhook, at_noon, seconds):
    """Its interval is learned, from times with jitter and a message that is lost now and then."""
    at = NOW
    for count in range(30):
        jitter = 1 + 0.3 * ((count * 7 % 5) - 2) / 2
        lost = 2 if count % 10 == 9 else 1
        at += timedelta(seconds=seconds * jitter * lost)
        if count > 6:
            assert freshness(at) is Freshness.FRESH, count
        at_noon.move_to(at)
        receive_readings(webhook.pk, [reading(count, attribute="power")])
    assert freshness(at + timedelta(seconds=max(4 * seconds, 3600))) is Freshness.STALE


def test_what_is_sent_again_makes_no_dead_sensor_fresh(webhook, at_noon):
    said = [reading(attribute="power", time=NOW.timestamp(), interval_seconds=600)]
    for hours in range(3):
        at_noon.move_to(NOW + timedelta(hours=hours))
        receive_readings(webhook.pk, said)
    assert freshness(timezone.now()) is Freshness.STALE


def test_a_burst_hardly_shortens_a_long_interval(webhook, at_noon):
    at = NOW
    for gap in (3600, 3600, 3600, 1, 1, 1):
        at += timedelta(seconds=gap)
        at_noon.move_to(at)
        receive_readings(webhook.pk, [reading(attribute="power")])
    assert freshness(at + timedelta(hours=1.5)) is Freshness.FRESH


def test_a_gap_is_a_silence_until_late_readings_fill_it(webhook, at_noon):
    """A message of before fills it: what was stored on the device is not hidden."""
    for minutes in (0, 10, 20, 300, 310):
        at_noon.move_to(NOW + timedelta(minutes=minutes))
        receive_readings(webhook.pk, [reading(minutes, interval_seconds=600)])
    [silence] = Silence.objects.all()
    assert silence.starts_at == NOW + timedelta(minutes=20)
    assert silence.ends_at == NOW + timedelta(minutes=300)
    attribute, at = Attribute.objects.get(), NOW + timedelta(minutes=150)
    assert Observation.objects.all().sample([attribute.pk], [at]) == {attribute.pk: [None]}
    late = [
        reading(minutes, time=(NOW + timedelta(minutes=minutes)).timestamp())
        for minutes in (100, 140)
    ]
    receive_readings(webhook.pk, late)
    assert Observation.objects.all().sample([attribute.pk], [at]) == {attribute.pk: [140]}


def test_a_long_interval_is_no_silence(webhook, at_noon):
    for hours in range(5):
        at_noon.move_to(NOW + timedelta(hours=hours))
        receive_readings(webhook.pk, [reading(hours, interval_seconds=3600)])
    assert not Silence.objects.exists()
