"""Devices on battery, which answer for a few seconds when they wake."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from core.models import Device, Gateway, Role, Run
from core.models.run import Outcome
from core.net import http
from core.net.errors import ApiRefused, Unreachable
from core.tasks import discovery, gateways, poll
from core.tasks.polling.backoff import Sleep, health_after
from tests.core.raw_server import Request, answer, serving
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PERIOD = timedelta(hours=2)
INFO = {"id": "shellyplusht-aabbccddeeff", "mac": "AABBCCDDEEFF", "gen": 2, "auth_en": False}


class Sensor:
    """A Shelly H&T: awake it answers, asleep the connection breaks."""

    def __init__(self) -> None:
        self.is_awake, self.status = True, "200 OK"
        self.nonsense: bytes | None = None
        self.sys = {"mac": INFO["mac"], "wakeup_period": int(PERIOD.total_seconds())}

    def reply(self, request: Request) -> bytes | None:
        if not self.is_awake:
            return None
        if self.nonsense is not None:
            return self.nonsense
        status = {"sys": self.sys, "temperature:0": {"id": 0, "tC": 20.5}}
        content = status if "GetStatus" in request.target else INFO
        return answer(json.dumps(content).encode(), self.status)


@pytest.fixture
def sensor():
    sensor = Sensor()
    with serving(sensor.reply) as server:
        sensor.gateway = gateways.add("shelly", server.address).gateway
        yield sensor


def test_a_sleeping_device_does_not_fail_the_run(sensor):
    sensor.is_awake = False
    summary = poll.poll_devices()
    assert (summary.asked.failed, summary.asked.asleep) == ([], [str(sensor.gateway)])
    assert Run.objects.get().error == ""
    out = StringIO()
    call_command("poll_devices", force=True, stdout=out)  # ends well
    assert "1 asleep" in out.getvalue()
    assert Run.objects.first().outcome == Outcome.DONE


def test_a_device_that_sleeps_is_asked_again_when_it_wakes(sensor, time_machine, monkeypatch):
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))
    time_machine.move_to(NOW, tick=False)
    poll.poll_devices()
    sensor.is_awake = False
    for number in range(1, 30):
        now = NOW + number * timedelta(minutes=10)
        time_machine.move_to(now, tick=False)
        poll.poll_devices(force=True)
        wakes_at = NOW + PERIOD * ((now - NOW) // PERIOD + 1)
        retry_at = Gateway.objects.get().retry_at
        assert retry_at is None or now < retry_at <= wakes_at
    assert Gateway.objects.get().failures == 29
    time_machine.move_to(NOW + 3 * PERIOD, tick=False)
    sensor.is_awake = True
    assert poll.poll_devices().asked.gateways == 1
    assert Device.objects.get().heard_at == NOW + 3 * PERIOD


@pytest.mark.parametrize("status", ["401 Unauthorized", "503 Service Unavailable"])
def test_a_device_that_answers_with_an_error_does_not_sleep(sensor, status):
    sensor.status = status
    summary = poll.poll_devices()
    assert (len(summary.asked.failed), summary.asked.asleep) == (1, [])


@pytest.mark.parametrize(
    "nonsense",
    [answer(b""), answer(b"{"), answer(b"[1]"), answer(b"{}"), b"\x00\x01 no HTTP\r\n\r\n"],
)
def test_a_device_that_answers_nonsense_does_not_sleep(sensor, nonsense):
    sensor.nonsense = nonsense
    summary = poll.poll_devices()
    assert (len(summary.asked.failed), summary.asked.asleep) == (1, [])


def test_a_device_on_cable_does_not_sleep(sensor):
    del sensor.sys["wakeup_period"]
    discovery.discover(sensor.gateway.pk)
    assert Gateway.objects.get().wakes_every is None
    sensor.is_awake = False
    assert len(poll.poll_devices().asked.failed) == 1


@pytest.mark.parametrize("period", [0, -1, None, "7200", 7200.5, True, 10**12, [7200]])
def test_a_period_that_is_none_is_no_sleep(sensor, period):
    sensor.sys["wakeup_period"] = period
    discovery.discover(sensor.gateway.pk)
    assert Gateway.objects.get().wakes_every is None


def test_who_asks_a_sleeping_device_is_told_that_it_sleeps(sensor):
    sensor.is_awake = False
    path = f"/devices/{Device.objects.get().pk}/ask/"
    shown = log_in(Role.ADMINISTRATOR).post(path, follow=True).content.decode()
    assert "is asleep: it is asked again when it wakes" in shown


@pytest.mark.parametrize("jump", [timedelta(hours=10), -timedelta(hours=9), -timedelta(days=20000)])
def test_a_clock_that_jumped_puts_no_wake_up_further_off_than_one_period(jump):
    error = Unreachable("it did not answer")
    for failures in range(12):
        health = health_after(NOW + jump, error, failures, Sleep(PERIOD, NOW))
        assert health.retry_at is None or health.retry_at <= NOW + jump + PERIOD


def test_a_sleeper_that_refuses_rests_like_any_other():
    refusal = ApiRefused("no", status=401)
    assert health_after(NOW, refusal, 9, Sleep(PERIOD, NOW)) == health_after(NOW, refusal, 9)
