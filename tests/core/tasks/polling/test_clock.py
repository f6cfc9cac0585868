"""A clock that ran ahead and was set right leaves nothing that outranks the present."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Device, DeviceCommand, Freshness, Gateway, Lease
from core.models.device_command import State
from core.readings import Source
from core.tasks import poll, runs
from core.tasks.orders import send

pytestmark = pytest.mark.django_db
YEARS = timedelta(days=2000)


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


def test_a_lease_from_the_future_keeps_nobody_out(db):
    Lease.objects.create(task="poll", expires_at=Now() + YEARS)
    with runs.running("poll") as holding:
        assert holding.token == 1


def test_a_claim_from_the_future_keeps_nobody_out(heater):
    Gateway.objects.update(claimed_until=Now() + YEARS)
    assert poll.poll_devices().asked.gateways == 1
