"""Gaps are filled from what vendors kept, and old news is history only."""

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Event,
    Gateway,
    Lease,
    Observation,
    Receipt,
    Run,
    Silence,
)
from core.models.device_command import State
from core.models.event import EventKind
from core.simulator import METER, Simulator
from core.tasks import backfill as task
from core.tasks import decide, gateways, poll
from core.tasks.backfill import backfill
from core.tasks.events.outbox import publishing
from core.tasks.orders import send
from core.tasks.polling import rate_limit
from core.tasks.runs import AlreadyRunning, running
from core.vendors import RateLimit
from core.vendors.home_assistant import Client as HomeAssistant
from tests.core.raw_server import answer
from tests.core.tasks.recorder import recording
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
POWER, HEATER = "sensor.power", "switch.heater"
IN_WATTS = {"unit_of_measurement": "W", "device_class": "power"}


@pytest.fixture(autouse=True)
def clock(request):
    """Noon, and it stands still, but where other processes look at their own clock."""
    if "database_url" in request.fixturenames:
        return None
    time_machine = request.getfixturevalue("time_machine")
    time_machine.move_to(NOON, tick=False)
    return time_machine


@pytest.fixture
def hub():
    """A Home Assistant that has recorded a sensor and a switch since yesterday."""
    with recording() as recorder:
        recorder.happened(POWER, NOON - DAY, "100", **IN_WATTS)
        recorder.happened(HEATER, NOON - DAY, "off")
        yield recorder


@pytest.fixture
def home(hub) -> Gateway:
    """It is polled at noon, with nothing to catch up on."""
    gateway = gateways.add("home_assistant", hub.address, "token").gateway
    poll.poll_devices()
    return gateway


@pytest.fixture
def meter():
    """A simulated meter of energy, polled at noon."""
    with Simulator(devices=1, kinds=(METER,)) as simulator:
        gateways.add("shelly", simulator.address(0))
        poll.poll_devices()
        yield simulator.devices[0]


def attribute(name: str, vendor_id: str | None = None) -> Attribute:
    found = Attribute.objects.filter(name=name)
    return (found.filter(device__vendor_id=vendor_id) if vendor_id else found).get()


def told(power: Attribute) -> list[tuple[float, float]]:
    """Its values, by minutes after noon."""
    rows = power.observations.order_by("observed_at").values_list("observed_at", "number")
    return [((at - NOON) / MINUTE, number) for at, number in rows]


def silent(one: Attribute) -> list[tuple[float, float]]:
    rows = one.silences.order_by("starts_at").values_list("starts_at", "ends_at")
    return [((since - NOON) / MINUTE, (until - NOON) / MINUTE) for since, until in rows]


def away_until(clock, hub, hours: float = 2) -> None:
    """Nobody polls until then; what it measured meanwhile is in its history."""
    for minutes, watts in ((30, "200"), (60, "300"), (90, "400")):
        hub.happened(POWER, NOON + minutes * MINUTE, watts, **IN_WATTS)
    clock.move_to(NOON + hours * HOUR, tick=False)


def test_after_an_outage_the_next_poll_fills_the_gap(clock, hub, home):
    away_until(clock, hub)
    summary = poll.poll_devices()
    power = attribute("power", POWER)
    assert told(power)[1:] == [(0, 100), (30, 200), (60, 300), (90, 400)]
    assert silent(power) == []
    assert (summary.backfilled.asked, summary.backfilled.left) == (2, 0)
    assert "Asked for 2 gaps, stored" in summary.in_words()


def test_it_fills_once(clock, hub, home):
    away_until(clock, hub)
    poll.poll_devices()
    asked, count = hub.asked, Observation.objects.count()
    assert backfill().asked == 0
    assert poll.poll_devices().backfilled.asked == 0
    assert (hub.asked, Observation.objects.count()) == (asked, count)


def test_the_quiet_time_of_what_tells_changes_only_is_no_gap(clock, hub, home):
    for minutes in range(10, 130, 10):
        clock.move_to(NOON + minutes * MINUTE, tick=False)
        poll.poll_devices()
    assert hub.asked == 0
    assert Silence.objects.count() == 0


def test_what_a_meter_measured_each_minute_is_filled_in(clock, meter):
    clock.move_to(NOON + 5 * HOUR, tick=False)
    poll.poll_devices()
    power = attribute("power")
    values = dict(told(power))
    assert set(range(1, 300)) <= set(values)
    assert values[77] == pytest.approx(meter.power((NOON + 77.5 * MINUTE).timestamp()), abs=0.1)
    assert silent(power) == []
    # Of its counters it kept nothing: there the gap stays, and is not asked for again.
    assert silent(attribute("energy")) == [(0, 300)]
    before = meter.requests
    assert backfill().asked == 0
    assert meter.requests == before


def test_where_the_meter_had_no_power_the_gap_stays(clock, meter):
    lost = [(NOON + hours * HOUR).timestamp() for hours in (1, 3)]
    meter.lost = [tuple(lost)]
    clock.move_to(NOON + 5 * HOUR, tick=False)
    poll.poll_devices()
    assert silent(attribute("power")) == [(60, 180)]


def test_a_time_when_it_was_unavailable_stays_a_gap(clock, hub, home):
    hub.happened(POWER, NOON + 10 * MINUTE, "unavailable", **IN_WATTS)
    hub.happened(POWER, NOON + 70 * MINUTE, "200", **IN_WATTS)
    away_until(clock, hub)
    hub.recorded[POWER].sort(key=lambda row: row[0])
    hub.recorded[POWER] = [row for row in hub.recorded[POWER] if row[1] not in ("300",)]
    hub.recorded[POWER] = [row for row in hub.recorded[POWER] if row[0] != NOON + 30 * MINUTE]
    poll.poll_devices()
    assert silent(attribute("power", POWER)) == [(10, 70)]


def test_what_it_no_longer_keeps_stays_a_gap_and_is_not_asked_for_again(clock, hub, home):
    hub.kept = timedelta(minutes=1)
    away_until(clock, hub)
    poll.poll_devices()
    assert silent(attribute("power", POWER)) == [(0, 90)]
    asked = hub.asked
    poll.poll_devices()
    assert hub.asked == asked


def test_a_value_whose_time_was_stored_already_stays(clock, hub, home):
    power = attribute("power", POWER)
    Observation.objects.create(attribute=power, observed_at=NOON + 30 * MINUTE, number=7)
    away_until(clock, hub)
    Silence.objects.create(attribute=power, starts_at=NOON, ends_at=NOON + 90 * MINUTE)
    backfill()
    assert dict(told(power))[30] == 7


def test_values_are_in_the_unit_that_they_were_reported_in(clock, hub, home):
    kilo = {**IN_WATTS, "unit_of_measurement": "kW"}
    hub.happened(POWER, NOON + 20 * MINUTE, "1.5", **kilo)
    away_until(clock, hub)
    poll.poll_devices()
    power = attribute("power", POWER)
    assert (dict(told(power))[20], power.unit) == (1500, "W")


def test_what_was_of_another_quantity_then_is_refused_and_changes_nothing(clock, hub, home):
    hub.happened(POWER, NOON + 20 * MINUTE, "21", unit_of_measurement="°C", device_class="power")
    away_until(clock, hub)
    done = poll.poll_devices().backfilled
    assert done.refused == 1
    assert "it was a number in °C then" in done.complaints[0]
    names = Attribute.objects.filter(device__vendor_id=POWER).values_list("name", flat=True)
    assert list(names) == ["power"]
    assert silent(attribute("power", POWER)) == []  # ten minutes are none


# Old news is history only


def test_it_changes_no_latest_value_and_not_when_it_was_heard(clock, hub, home):
    away_until(clock, hub)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poll, "backfill_a_little", task.Backfilled)
        poll.poll_devices()
    fields = ("number", "text", "observed_at", "changed_at", "heard_at", "cause", "available")
    before = list(Attribute.objects.order_by("pk").values_list(*fields))
    times = list(Device.objects.order_by("pk").values_list("heard_at", "measured_at", "available"))
    clock.shift(MINUTE)
    assert backfill().stored
    assert list(Attribute.objects.order_by("pk").values_list(*fields)) == before
    after = Device.objects.order_by("pk").values_list("heard_at", "measured_at", "available")
    assert list(after) == times


def test_it_tells_nothing_of_a_gateways_health_nor_ends_its_claim(clock, hub, home):
    away_until(clock, hub)
    poll.poll_devices()
    Silence.objects.create(attribute=attribute("power", POWER), starts_at=NOON, ends_at=NOON + HOUR)
    with publishing():
        Gateway.objects.update(claimed_until=NOON + DAY, asked_at=NOON, answered_at=NOON)
    backfill()
    gateway = Gateway.objects.get()
    assert (gateway.claimed_until, gateway.asked_at) == (NOON + DAY, NOON)


def test_an_order_is_not_confirmed_by_an_old_value(clock, hub, home):
    """It took effect and was undone while we were away. What is told of then is no read of now."""
    command = send.order(attribute("on", HEATER).pk, True, source="human", reason="By the test.")
    [command] = send.send([command.pk])
    assert command.state == State.ACCEPTED
    hub.happened(HEATER, NOON + 30 * MINUTE, "on")
    hub.happened(HEATER, NOON + 60 * MINUTE, "off")
    away_until(clock, hub)
    poll.poll_devices()
    poll.poll_devices()
    assert dict(told(attribute("on", HEATER)))[30] == 1
    command.refresh_from_db()
    assert command.state == State.UNCONFIRMED


def test_a_confirmed_order_stays_confirmed_whatever_was_before(clock, hub, home):
    on = attribute("on", HEATER)
    command = send.order(on.pk, True, source="human", reason="By the test.")
    hub.happened(HEATER, NOON, "on")
    send.send([command.pk])
    clock.shift(MINUTE)
    poll.poll_devices()
    assert DeviceCommand.objects.get().state == State.CONFIRMED
    before = DeviceCommand.objects.values().get()
    hub.happened(HEATER, NOON + 30 * MINUTE, "off")
    hub.happened(HEATER, NOON + 60 * MINUTE, "on")
    away_until(clock, hub)
    poll.poll_devices()
    assert dict(told(on))[30] == 0
    assert DeviceCommand.objects.values().get() == before


def test_what_somebody_switched_while_we_were_away_is_no_hold(clock, hub, home):
    """It was switched on and off again: what it is now is what we left."""
    heater = Device.objects.get(vendor_id=HEATER)
    gateways.set_rule(heater.pk, "schedule", {"on": "00:00-00:01"})
    poll.poll_devices()
    decide.decide()
    receipts = Receipt.objects.count()
    hub.happened(HEATER, NOON + 30 * MINUTE, "on")
    hub.happened(HEATER, NOON + 60 * MINUTE, "off")
    away_until(clock, hub)
    poll.poll_devices()
    assert dict(told(attribute("on", HEATER)))[30] == 1
    heater.refresh_from_db()
    assert heater.held_at is None
    assert DeviceCommand.objects.count() == 0
    assert Receipt.objects.count() == receipts


def test_one_event_says_that_the_history_of_a_device_changed(clock, hub, home):
    away_until(clock, hub)
    last = Event.objects.latest("pk").pk
    versions = dict(Device.objects.values_list("vendor_id", "history_version"))
    poll.poll_devices()
    device = Device.objects.get(vendor_id=POWER)
    kinds = Counter(Event.objects.filter(pk__gt=last, device=device.pk).values_list("kind"))
    assert kinds == {(EventKind.READINGS,): 1, (EventKind.DEVICE,): 1}
    assert device.history_version > versions[POWER] + 1


def test_a_poll_looks_back_some_days_only_and_the_command_further(clock, hub, home):
    hub.kept = 100 * DAY
    hub.happened(POWER, NOON + HOUR, "200", **IN_WATTS)
    hub.happened(POWER, NOON + 30 * DAY - HOUR, "300", **IN_WATTS)
    clock.move_to(NOON + 30 * DAY, tick=False)
    poll.poll_devices()
    power = attribute("power", POWER)
    assert silent(power) == [(0, 20 * 24 * 60)]
    asked = hub.asked
    assert backfill().asked == 0
    assert hub.asked == asked
    backfill(NOON - DAY)
    assert silent(power) == []
    assert dict(told(power))[60] == 200


# Bounded, resumable, harmless


def test_a_gap_of_days_is_asked_for_in_spans(clock, hub, home):
    away_until(clock, hub, hours=50)
    hub.happened(POWER, NOON + 50 * HOUR - MINUTE, "500", **IN_WATTS)
    hub.happened(HEATER, NOON + 50 * HOUR - MINUTE, "on")
    poll.poll_devices()
    assert hub.asked == 2 * 3
    assert silent(attribute("power", POWER)) == []


def test_what_was_done_before_it_was_stopped_is_not_done_again(clock, hub, home, monkeypatch):
    away_until(clock, hub, hours=50)
    hub.happened(POWER, NOON + 50 * HOUR - MINUTE, "500", **IN_WATTS)
    hub.happened(HEATER, NOON + 50 * HOUR - MINUTE, "on")
    calls = []

    def killed(run, call, readings):
        calls.append(call)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return store(run, call, readings)

    store = task._Run._store
    monkeypatch.setattr(task._Run, "_store", killed)
    with pytest.raises(KeyboardInterrupt):
        poll.poll_devices()
    assert silent(attribute("power", POWER)) == []
    assert silent(attribute("on", HEATER))
    monkeypatch.setattr(task._Run, "_store", store)
    hub.asked = 0
    assert backfill().left == 0
    assert hub.asked == 3
    assert Silence.objects.count() == 0


def test_two_at_once_do_no_harm(hub, home):
    with running(task.BACKFILL):
        with pytest.raises(AlreadyRunning):
            backfill()
        assert "another run is at work" in said()
        poll.poll_devices()


def test_a_poll_spends_only_some_time_on_it_and_says_what_is_left(clock, hub, home, monkeypatch):
    monkeypatch.setattr(task, "AFTER_A_POLL", timedelta(seconds=-1))
    monkeypatch.setattr("core.net.threads.TICK_SECONDS", 0.0)
    away_until(clock, hub)
    summary = poll.poll_devices()
    assert summary.backfilled.left
    assert "left: the next poll goes on" in summary.in_words()
    monkeypatch.undo()
    poll.poll_devices()
    assert silent(attribute("power", POWER)) == []


def test_an_answer_that_is_too_large_is_asked_for_in_shorter_spans(clock, hub, home, settings):
    settings.LARGEST_ANSWER_BYTES = 40_000
    for minutes in range(1, 24 * 60, 2):
        hub.happened(POWER, NOON + minutes * MINUTE, str(minutes), **IN_WATTS)
    clock.move_to(NOON + DAY, tick=False)
    poll.poll_devices()
    power = attribute("power", POWER)
    assert (len(told(power)), silent(power)) == (2 + 12 * 60 + 3, [])


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_history_that_fails_is_asked_again_by_the_next_poll(clock, hub, home, status):
    away_until(clock, hub)
    hub.fault = answer(b"", status)
    summary = poll.poll_devices()
    assert list(summary.backfilled.failed) == [str(home)]
    assert summary.asked.failed == []
    home.refresh_from_db()
    assert home.failures == 0
    hub.fault = None
    poll.poll_devices()
    assert silent(attribute("power", POWER)) == []


@pytest.mark.django_db(transaction=True)
def test_a_vendor_with_a_rate_limit_is_asked_within_it(clock, hub, home, monkeypatch):
    limit = RateLimit(calls=5, per=timedelta(seconds=1))
    monkeypatch.setattr(HomeAssistant, "rate_limit", limit)
    away_until(clock, hub, hours=50)
    hub.called_at.clear()
    done = poll.poll_devices().backfilled
    assert (done.asked, done.left, done.failed) == (2, 0, {})
    assert hub.asked > 3
    # One each 0.2 s. A call may arrive late, so it is all of them that are looked at.
    assert hub.called_at[-1] - hub.called_at[0] > 0.2 * (len(hub.called_at) - 2)


@pytest.mark.django_db(transaction=True)
def test_what_the_rate_limit_leaves_no_call_for_is_asked_for_later(clock, hub, home, monkeypatch):
    limit = RateLimit(calls=2, per=MINUTE)
    monkeypatch.setattr(HomeAssistant, "rate_limit", limit)
    monkeypatch.setattr(rate_limit, "LONGEST_READ_WAIT", 0.1)
    away_until(clock, hub)
    summary = poll.poll_devices()  # its own read takes the only call
    assert "allows no more calls" in summary.backfilled.failed[str(home)]
    assert (hub.asked, summary.backfilled.left) == (0, 2)
    monkeypatch.setattr(HomeAssistant, "rate_limit", RateLimit(calls=50))
    with publishing():
        Gateway.objects.update(next_call_at=None, next_read_at=None)  # as half a minute later
    assert backfill().left == 0
    assert dict(told(attribute("power", POWER)))[30] == 200
    assert Silence.objects.count() == 0


def test_a_span_that_never_comes_is_given_up_in_the_end(clock, hub, home, monkeypatch):
    away_until(clock, hub)
    hub.fault = answer(b"", "500 Internal Server Error")
    monkeypatch.setattr(task, "MOST_FAILURES", 2)
    for _ in range(20):
        poll.poll_devices()
    assert not Silence.objects.unasked().exists()
    asked = hub.asked
    poll.poll_devices()
    assert hub.asked == asked
    assert silent(attribute("power", POWER)) == [(0, 90)]


def test_a_gateway_that_keeps_no_history_is_asked_once(clock, hub, home):
    away_until(clock, hub)
    hub.fault = answer(b"", "404 Not Found")
    poll.poll_devices()
    assert not Silence.objects.unasked().exists()


def test_a_fault_in_a_vendors_client_stops_neither_the_poll_nor_others(
    clock, hub, home, meter, monkeypatch
):
    away_until(clock, hub)

    def broken(*args):
        raise ZeroDivisionError("by design")

    monkeypatch.setattr(HomeAssistant, "history", broken)
    summary = poll.poll_devices()
    assert "by design" in summary.backfilled.failed[str(home)]
    gateway = Gateway.objects.get(vendor="shelly")
    power = Attribute.objects.get(name="power", device__gateway=gateway)
    assert silent(power) == []


def test_a_gateway_that_does_not_answer_polls_is_left_alone(clock, hub, home):
    away_until(clock, hub)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poll, "backfill_a_little", task.Backfilled)
        poll.poll_devices()
    with publishing():
        Gateway.objects.update(failures=1)
    assert backfill().asked == 0
    assert hub.asked == 0


# The command


def said(*words) -> str:
    out = StringIO()
    call_command("backfill", *words, stdout=out)
    return out.getvalue()


def test_since_also_fills_the_time_before_the_first_value(hub, home):
    hub.recorded[POWER].insert(0, (NOON - 3 * DAY, "50", IN_WATTS))
    assert "stored" in said("--since", "2026-02-28T12:00")
    power = attribute("power", POWER)
    assert told(power)[0] == (-2 * 24 * 60, 50)
    assert silent(power) == []
    count, asked = Observation.objects.count(), hub.asked
    assert "No gap" in said("--since", "2026-02-28T12:00")
    assert (Observation.objects.count(), hub.asked) == (count, asked)


def test_the_command_asks_one_gateway_only(clock, hub, home, meter):
    clock.move_to(NOON + 5 * HOUR, tick=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(poll, "backfill_a_little", task.Backfilled)
        poll.poll_devices()
    assert said("--gateway", str(home.pk)).startswith("Asked for ")
    unasked = Silence.objects.unasked().values_list("attribute__device__gateway__vendor")
    assert set(unasked) == {("shelly",)}


def test_the_command_ends_badly_and_says_why(clock, hub, home):
    away_until(clock, hub)
    hub.fault = answer(b"", "503 Service Unavailable")
    poll.poll_devices()
    with pytest.raises(CommandError, match="503"):
        said()


def test_a_time_to_come_is_refused(home):
    with pytest.raises(CommandError, match="past"):
        said("--since", "2027-01-01")


def test_the_run_is_logged_with_what_it_did(clock, hub, home):
    away_until(clock, hub)
    poll.poll_devices()
    run = Run.objects.of(task.BACKFILL).get()
    assert run.counts["gaps asked for"] == 2


@pytest.mark.django_db(transaction=True)
def test_killed_in_the_middle_it_is_taken_up_and_nothing_is_stored_twice(database_url):
    """A real process, killed as soon as it has stored something."""
    since = timezone.now().replace(second=0, microsecond=0) - 3 * DAY
    until = since + 2 * DAY
    with Simulator(devices=1, kinds=(METER,), latency=0.05) as simulator:
        gateways.add("shelly", simulator.address(0))
        power = attribute("power")
        Silence.objects.create(attribute=power, starts_at=since, ends_at=until)
        process = subprocess.Popen(
            [sys.executable, "manage.py", "backfill"],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": database_url},
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: power.silences.get().starts_at > since)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        Lease.objects.update(expires_at=since)  # as after a minute
        left = power.silences.get()
        assert since < left.starts_at < until
        assert backfill().left == 0
    filled = power.observations.filter(observed_at__gte=since, observed_at__lt=until)
    assert filled.count() == 2 * 24 * 60
    assert silent(power) == []
