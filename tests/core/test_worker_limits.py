"""What the settings of iotapp/celery.py promise of workers: limits of time, memory and waiting."""

import importlib
import sys
from contextlib import contextmanager
from datetime import timedelta
from time import time

import psutil
import pytest
from django.utils import timezone

from core.models import Gateway, Run
from core.models.run import Outcome
from core.simulator import Fault, Simulator
from core.tasks import gateways
from tests.core.workers import RABBITMQ, site
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def simulator():
    with Simulator(devices=1) as running:
        yield running


@pytest.fixture
def gateway(database_url, simulator):
    return gateways.add("shelly", simulator.address(0)).gateway


@pytest.fixture
def application(settings):
    """Configured as in a worker."""
    settings.CELERY_BROKER_URL = RABBITMQ
    sys.modules.pop("iotapp.celery", None)
    yield importlib.import_module("iotapp.celery")
    sys.modules.pop("iotapp.celery", None)


def polls_done():
    return Run.objects.filter(task="poll", outcome=Outcome.DONE)


def children(worker):
    return {child.pid for child in psutil.Process(worker.pid).children()}


@contextmanager
def with_limits(database_url, broker_url, soft, hard):
    """Make a site whose tasks may take so many seconds, and each gateway a minute."""
    limits = {"TEST_SOFT_LIMIT": soft, "TEST_LIMIT": hard}
    with site(database_url, broker_url, GATEWAY_TIMEOUT_SECONDS="60", **limits) as ours:
        ours.application = "tests.core.short_limits"
        yield ours


def test_limits_of_a_worker(application):
    conf = application.app.conf
    assert (conf.task_soft_time_limit, conf.task_time_limit) == (600, 660)
    assert conf.broker_transport_options == {}
    assert conf.task_time_limit < application.VISIBILITY_SECONDS
    assert (conf.worker_max_memory_per_child, conf.worker_max_tasks_per_child) == (400_000, 500)
    assert (conf.worker_prefetch_multiplier, conf.task_acks_late) == (1, True)
    for task in ("poll_devices", "do_something_awesome"):
        assert conf.beat_schedule[task]["options"] == {"expires": 600}


def test_a_slot_that_waited_longer_than_to_the_next_is_dropped(gateway, rabbitmq, database_url):
    with site(database_url, rabbitmq) as ours:
        ours.send("poll_devices", time() - 600, expires=timezone.now() - timedelta(seconds=1))
        ours.send("do_something_awesome", time())
        ours.worker(concurrency=1)
        # It was sent later, and messages keep their order.
        wait_until(lambda: Run.objects.filter(task="decide", outcome=Outcome.DONE).exists())
    assert not Run.objects.filter(task="poll").exists()


def test_a_task_that_hangs_is_told_to_end_and_its_worker_goes_on(
    gateway, simulator, rabbitmq, database_url
):
    simulator.devices[0].faults = [Fault("hang")]
    with with_limits(database_url, rabbitmq, soft="2", hard="60") as ours:
        ours.worker(1)
        ours.send("poll_devices", time() - 600)
        wait_until(lambda: Gateway.objects.exclude(claimed_until=None).exists())
        # The claim is given back long before the 60 s of the gateway.
        wait_until(lambda: Gateway.objects.filter(claimed_until=None).exists(), 45)
        simulator.devices[0].faults = []
        Gateway.objects.update(asked_at=None)
        ours.send("do_something_awesome", time())
        wait_until(lambda: Run.objects.filter(task="decide", outcome=Outcome.DONE).exists())
    assert Gateway.objects.get().failures == 0


def test_a_task_that_does_not_end_is_killed_and_its_worker_goes_on(
    gateway, simulator, rabbitmq, database_url
):
    simulator.devices[0].faults = [Fault("hang")]
    with with_limits(database_url, rabbitmq, soft="0", hard="3") as ours:
        worker = ours.worker(1)
        ours.send("poll_devices", time() - 600)
        wait_until(lambda: Gateway.objects.exclude(claimed_until=None).exists())
        before = children(worker)
        wait_until(lambda: children(worker) and not children(worker) & before)
        ours.send("do_something_awesome", time())
        wait_until(lambda: Run.objects.filter(task="decide", outcome=Outcome.DONE).exists())
        assert worker.poll() is None


def test_a_child_whose_memory_has_grown_is_replaced(gateway, rabbitmq, database_url):
    with site(database_url, rabbitmq) as ours:
        worker = ours.worker(1, "--max-memory-per-child=20000")  # in KiB: less than Django takes
        wait_until(lambda: children(worker))
        before = children(worker)
        ours.send("poll_devices", time())
        wait_until(lambda: polls_done().exists())
        wait_until(lambda: children(worker) and not children(worker) & before)
