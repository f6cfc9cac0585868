"""A clock that ran ahead and was set right leaves nothing that outranks the present."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.models import (
    Device,
    DeviceCommand,
    Freshness,
    Gateway,
    Lease,
    Observation,
    Silence,
)
from core.models.device_command import State
from core.readings import Source
from core.simulator import Fault
from core.tasks import poll, runs
from core.tasks.orders import holds, send

pytestmark = pytest.mark.django_db
YEARS = timedelta(days=4400)  # into 2038
TEN_MINUTES = timedelta(minutes=10)


@pytest.fixture
def ran_ahead(heater, time_machine):
    """Polled and ordered years from now; then the clock was set right."""
    now = timezone.now()
    time_machine.move_to(now + YEARS)
    poll.poll_devices()
    switch = heater.attributes.get(name="on")
    send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    Gateway.objects.update(retry_at=timezone.now())
    time_machine.move_to(now)
    return heater


def test_the_next_poll_is_heard_and_is_the_latest(ran_ahead):
    poll.poll_devices(force=True)
    device = Device.objects.get()
    now = timezone.now()
    assert device.heard_at <= now
    assert device.freshness(now) is Freshness.FRESH
    assert all(
        attribute.observed_at <= now for attribute in device.attributes.exclude(observed_at=None)
    )


def test_a_rest_from_the_future_is_void(ran_ahead):
    assert poll.poll_devices().asked.gateways == 1


def test_an_order_from_the_future_is_not_sent(ran_ahead, simulator):
    poll.poll_devices()
    assert DeviceCommand.objects.get().state == State.EXPIRED
    assert simulator.devices[0].writes == 0


def test_a_poll_of_the_future_is_no_sign_of_health(ran_ahead):
    assert not runs.health(timezone.now()).ok
    poll.poll_devices()
    assert runs.health(timezone.now()).ok


@pytest.mark.parametrize("ahead", [timedelta(minutes=3), timedelta(hours=10), YEARS], ids=str)
def test_a_lease_from_the_future_keeps_nobody_out(db, ahead):
    Lease.objects.create(task="poll", holder="a dead process", expires_at=Now() + ahead)
    with runs.running("poll") as holding:
        assert holding.token == 1


@pytest.mark.parametrize("ahead", [timedelta(hours=10), YEARS], ids=str)
def test_a_claim_from_the_future_keeps_nobody_out(heater, ahead):
    Gateway.objects.update(claimed_until=Now() + ahead)
    assert poll.poll_devices().asked.gateways == 1


# Jumps, there and back: a poll by a wrong clock between polls by the right one.

JUMPS = [timedelta(hours=10), timedelta(hours=-4), timedelta(hours=-9), YEARS]


@pytest.fixture
def jumped(heater, time_machine, request):
    """Polled every ten minutes for two hours, once by a wrong clock, then by the right one."""
    began = timezone.now()
    for step in range(13):
        time_machine.move_to(began + step * TEN_MINUTES)
        poll.poll_devices(force=True)
    time_machine.move_to(began + 13 * TEN_MINUTES + request.param)
    poll.poll_devices(force=True)
    for step in range(14, 20):
        time_machine.move_to(began + step * TEN_MINUTES)
        poll.poll_devices(force=True)
    return began, request.param


@pytest.mark.parametrize("jumped", JUMPS, indirect=True, ids=str)
def test_no_silence_hides_what_is_stored_or_is_to_come(jumped, heater):
    began, _ = jumped
    now = timezone.now()
    assert not Silence.objects.filter(ends_at__gt=now).exists()
    power = heater.attributes.get(name="power")
    seen = Observation.objects.filter(attribute=power, observed_at__range=(began, now))
    for at in seen.values_list("observed_at", flat=True):
        assert Observation.objects.all().sample([power.pk], [at])[power.pk] != [None]
    assert seen.count() >= 19


@pytest.mark.parametrize("jumped", JUMPS, indirect=True, ids=str)
def test_after_the_correction_all_is_fresh_and_asked(jumped, heater):
    device, now = Device.objects.get(), timezone.now()
    assert device.freshness(now) is Freshness.FRESH
    gateway = Gateway.objects.get()
    assert gateway.asked_at <= now and gateway.retry_at is None
    assert poll.poll_devices().asked.gateways == 1


@pytest.mark.parametrize("ahead", [timedelta(hours=10), YEARS], ids=str)
def test_a_failure_by_a_wrong_clock_is_no_long_rest(heater, time_machine, simulator, ahead):
    now = timezone.now()
    simulator.devices[0].faults = [Fault("503")]
    time_machine.move_to(now + ahead)
    for _ in range(4):
        poll.poll_devices(force=True)
    simulator.devices[0].faults = []
    time_machine.move_to(now + TEN_MINUTES)
    assert poll.poll_devices().asked.gateways == 1


def test_an_order_that_was_being_sent_by_a_wrong_clock_keeps_no_newer_one_waiting(
    heater, time_machine, simulator
):
    now = timezone.now()
    switch = heater.attributes.get(name="on")
    order = send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    time_machine.move_to(now + timedelta(hours=10))
    send._claim([order.pk])  # and the process is killed
    time_machine.move_to(now + TEN_MINUTES)
    poll.poll_devices()
    newer = send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    [sent] = send.send([newer.pk])
    assert sent.state == State.CONFIRMED


def test_a_hold_given_by_a_wrong_clock_lasts_as_long_as_it_was_meant(heater, time_machine):
    now = timezone.now()
    time_machine.move_to(now + YEARS)
    holds.hold(heater.pk, timezone.now() + timedelta(hours=2), "a test")
    time_machine.move_to(now)
    poll.poll_devices()
    device = Device.objects.get()
    assert abs(device.held_until - now - timedelta(hours=2)) < timedelta(minutes=1)


def test_a_silence_that_is_cut_hides_nothing_read_before_the_next_poll(heater, time_machine):
    """An order reads its device back, which repairs nothing."""
    poll.poll_devices()
    switch = heater.attributes.get(name="on")
    now = timezone.now()
    time_machine.move_to(now + YEARS)
    poll.poll_devices(force=True)
    time_machine.move_to(now + timedelta(minutes=40), tick=True)
    command = send.order(switch.pk, True, source=Source.HUMAN, reason="a test")
    send.send([command.pk])
    since = timezone.now() - timedelta(minutes=1)
    read_back = Observation.objects.filter(attribute=switch, observed_at__gt=since).earliest(
        "observed_at"
    )
    time_machine.move_to(now + timedelta(minutes=50), tick=True)
    poll.poll_devices(force=True)
    [silence] = Silence.objects.filter(attribute=switch)
    assert silence.ends_at == read_back.observed_at


def test_a_silence_that_lies_in_the_future_is_dropped(heater):
    poll.poll_devices()
    power, now = heater.attributes.get(name="power"), timezone.now()
    Silence.objects.create(
        attribute=power, starts_at=now + timedelta(hours=9), ends_at=now + timedelta(hours=10)
    )
    poll.poll_devices(force=True)
    assert not Silence.objects.exists()
