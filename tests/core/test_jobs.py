"""Real workers and beats on a real broker do what commands do, killed or told to stop."""

import importlib
import os
import signal
import socket
import sys
from datetime import timedelta
from time import monotonic, sleep, time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from core.checks import check_celery
from core.models import Attribute, Device, Gateway, Observation, Run, Silence
from core.models.device_command import State
from core.models.run import Outcome
from core.readings import Source
from core.simulator import METER, Fault, Simulator
from core.tasks import gateways, messages
from core.tasks.backfill import BACKFILL
from core.tasks.orders import send
from core.tasks.orders.at_once import send_at_once
from core.tasks.receive_readings import receive_readings
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.workers import RABBITMQ, REDIS, Site, answers, site
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
BROKERS = {"rabbitmq": RABBITMQ, "redis": REDIS}


@pytest.fixture(params=BROKERS, scope="module")
def broker_url(request):
    if not answers(BROKERS[request.param]):
        pytest.skip(f"No broker answers at {BROKERS[request.param]}")
    return BROKERS[request.param]


@pytest.fixture(scope="module")
def sites():
    """Those with a worker that the tests of a broker share."""
    made = {}
    yield made
    for one in made.values():
        one.end()


@pytest.fixture
def shared(sites, broker_url, database_url):
    if broker_url not in sites:
        for one in sites.values():
            one.end()
        sites.clear()
        sites[broker_url] = Site(database_url, broker_url, POLL_WORKERS="2")
        sites[broker_url].worker()
    yield sites[broker_url]
    # Before the database is emptied: a message that follows a run may be under way.
    wait_until(sites[broker_url].is_idle)
    sleep(0.1)  # one that was just taken has a connection by then
    wait_until(sites[broker_url].is_idle)


@pytest.fixture
def simulator():
    with Simulator(devices=4) as running:
        yield running


@pytest.fixture
def home(database_url, simulator):
    return [gateways.add("shelly", simulator.address(number)).gateway for number in range(4)]


@pytest.fixture
def broker(settings, monkeypatch):
    """Configure this process as a web process of the site has it."""

    def configure(url, queue="test"):
        monkeypatch.setattr(messages, "_away_until", 0.0)
        settings.CELERY_BROKER_URL, settings.CELERY_QUEUE = url, queue
        sys.modules.pop("iotapp.celery", None)

    return configure


def order(gateway, value=True):
    switch = Attribute.objects.get(device__gateway=gateway, name="on")
    return send.order(switch.pk, value, source=Source.HUMAN, reason="pressed")


def runs_done():
    return Run.objects.filter(outcome=Outcome.DONE)


def test_a_slot_is_polled_in_batches_and_once(shared, home):
    slot = time()
    for _ in range(2):
        shared.send("poll_devices", slot)
    wait_until(lambda: runs_done().exists())
    shared.send("do_something_awesome", slot)
    wait_until(lambda: runs_done().filter(task="decide").exists())
    run = Run.objects.get(task="poll")
    assert (run.counts["gateways"], run.counts["failed"]) == (4, 0)
    assert Observation.objects.count() >= run.counts["stored"] > 8


def test_after_an_outage_the_next_poll_of_workers_fills_the_gap(shared):
    """From what the meter kept meanwhile, minute by minute."""
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    since, until = hour - timedelta(hours=3), hour - timedelta(hours=1)
    with Simulator(devices=1, kinds=(METER,)) as simulator:
        gateways.add("shelly", simulator.address(0))
        power = Attribute.objects.get(name="power")
        Silence.objects.create(attribute=power, starts_at=since, ends_at=until)
        shared.send("poll_devices", time())
        wait_until(lambda: not power.silences.exists())
        wait_until(lambda: runs_done().filter(task=BACKFILL).exists())
    filled = power.observations.filter(observed_at__gte=since, observed_at__lt=until)
    assert filled.count() == 120


def test_an_order_is_sent_by_a_worker_and_the_caller_sees_what_came_of_it(shared, home, broker):
    broker(shared.broker_url, shared.queue)
    command = order(home[0])
    [sent] = send_at_once([command.pk], wait_seconds=60)
    assert sent.state == State.CONFIRMED


def test_a_pushed_reading_makes_a_worker_decide(shared, database_url, broker):
    broker(shared.broker_url, shared.queue)
    gateway = make_gateway(vendor="webhook", address="webhook:1")
    device = make_device(gateway, "cellar", rule="schedule", options={"on": "mon 00:00-00:01"})
    Attribute.objects.filter(name="on").update(writable=True)
    reading = {"device": "cellar", "attribute": "power", "value": 7}
    received = receive_readings(gateway.pk, [reading])
    assert received.stored == 1
    wait_until(lambda: Device.objects.get(pk=device.pk).decided_at)


def test_a_worker_that_is_told_to_stop_hands_back_what_it_cannot_end(
    home, simulator, rabbitmq, database_url
):
    simulator.devices[0].faults = [Fault("hang")]
    environment = {"POLL_WORKERS": "4", "GATEWAY_TIMEOUT_SECONDS": "60"}
    with site(database_url, rabbitmq, **environment) as ours:
        worker = ours.worker(concurrency=1)
        ours.send("poll_devices", time())
        is_claimed = Gateway.objects.filter(pk=home[0].pk).exclude(claimed_until=None)
        wait_until(lambda: is_claimed.filter(claimed_until__gt=timezone.now()).exists())
        before = simulator.devices[0].requests
        wait_until(lambda: simulator.devices[0].requests >= before)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert not is_claimed.exists()
        simulator.devices[0].faults = []
        ours.worker(concurrency=1)
        wait_until(lambda: runs_done().filter(task="poll").exists())
    assert {gateway.failures for gateway in Gateway.objects.all()} == {0}


def test_what_a_killed_worker_had_another_does(home, simulator, rabbitmq, database_url):
    """RabbitMQ notices at once; Redis after the visibility timeout."""
    simulator.devices[0].faults = [Fault("hang")]
    environment = {"POLL_WORKERS": "4", "GATEWAY_TIMEOUT_SECONDS": "60"}
    with site(database_url, rabbitmq, **environment) as ours:
        worker = ours.worker(concurrency=1)
        ours.send("poll_devices", time())
        wait_until(lambda: Gateway.objects.exclude(claimed_until=None).exists())
        os.killpg(worker.pid, signal.SIGKILL)
        simulator.devices[0].faults = []
        ours.worker(concurrency=1)
        wait_until(lambda: runs_done().filter(task="poll").exists())
    assert Run.objects.get().counts["busy"] == 0
    assert not Attribute.objects.filter(heard_at=None).exists()


def test_two_beats_begin_each_slot_once(home, rabbitmq, database_url):
    with site(database_url, rabbitmq, POLL_INTERVAL_MINUTES="0.05") as ours:
        ours.worker()
        beats = [ours.beat(), ours.beat()]
        wait_until(lambda: runs_done().filter(task="poll").count() >= 4)
        wait_until(lambda: runs_done().filter(task="decide").count() >= 4)
        for beat in beats:
            beat.send_signal(signal.SIGTERM)
            assert beat.wait(10) == 0
    started = Run.objects.filter(task="poll").values_list("started_at", flat=True)
    slots = [int(at.timestamp() / 3) for at in started]
    assert len(slots) == len(set(slots))


@pytest.mark.parametrize("kind", ["refuses", "is silent"])
@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_is_away_costs_an_order_nothing(home, broker, kind, scheme):
    """It is sent here, and the next one does not wait for the broker again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if kind == "refuses":
            listener.close()
        broker(f"{scheme}://127.0.0.1:{port}/")
        [sent] = send_at_once([order(home[0]).pk])
        assert sent.state == State.CONFIRMED
        assert messages._away_until > monotonic()
        [sent] = send_at_once([order(home[1]).pk])
        assert sent.state == State.CONFIRMED


def test_the_application_says_what_is_missing(settings):
    settings.CELERY_BROKER_URL = ""
    sys.modules.pop("iotapp.celery", None)
    with pytest.raises(ImproperlyConfigured, match="CELERY_BROKER_URL is not set. Example: "):
        importlib.import_module("iotapp.celery")


def test_a_broker_without_celery_is_found_by_the_checks(settings, monkeypatch):
    settings.CELERY_BROKER_URL = RABBITMQ
    assert check_celery(None) == []
    monkeypatch.setattr("core.checks.find_spec", lambda name: None)
    [error] = check_celery(None)
    assert "pip install -r requirements-celery.txt" in error.hint
