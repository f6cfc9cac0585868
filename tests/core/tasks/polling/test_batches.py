"""A run that workers share: tickets, batches, claims. No broker is needed to decide."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from core.models import Gateway, Lease, Observation, Run
from core.models.run import Outcome
from core.tasks import gateways, poll, runs
from core.tasks.polling import batches
from core.tasks.runs import AlreadyRunning, LeaseLost, Ticket, running
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db
SLOT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICKET = Ticket("message 1", SLOT)


@pytest.fixture
def home(simulator, settings):
    settings.POLL_WORKERS = 2  # and so many gateways in a batch
    return [gateways.add("shelly", simulator.address(number)).gateway for number in range(4)]


def asked(simulator):
    return [device.requests for device in simulator.devices]


def test_whoever_does_the_last_batch_ends_the_run(home):
    first, second = poll.begin_shared(TICKET)
    assert batches.poll_part(second) is False
    assert batches.poll_part(first) is True
    poll.end_shared(first.run, first.token)
    run = Run.objects.get()
    assert (run.outcome, run.counts["gateways"], run.waiting_for) == (Outcome.DONE, 4, [])
    assert run.counts["stored"] == Observation.objects.count() > 0


def test_a_batch_that_comes_again_asks_nobody_twice_and_counts_once(home, simulator):
    first, second = poll.begin_shared(TICKET)
    batches.poll_part(first)
    before, counts = asked(simulator), Run.objects.get().counts
    assert batches.poll_part(first) is False
    assert asked(simulator) == before
    assert Run.objects.get().counts == counts
    batches.poll_part(second)
    assert batches.poll_part(first) is True  # whoever was to say so may have been killed


def test_a_batch_takes_over_what_its_killed_process_claimed_and_nothing_else(home):
    first, _ = poll.begin_shared(TICKET)
    ours, theirs = first.gateways
    until = Now() + timedelta(minutes=1)
    name = f"run {first.run} batch {first.number}"
    Gateway.objects.filter(pk=ours).update(claimed_until=until, claimed_by=name)
    Gateway.objects.filter(pk=theirs).update(claimed_until=until, claimed_by="")
    batches.poll_part(first)
    counts = Run.objects.get().counts
    assert (counts["gateways"], counts["busy"]) == (1, 1)


def test_a_batch_of_a_run_that_is_over_asks_nobody(home, simulator):
    first, _ = poll.begin_shared(TICKET)
    Lease.objects.update(token=first.token + 1)
    before = asked(simulator)
    with pytest.raises(LeaseLost):
        batches.poll_part(first)
    assert asked(simulator) == before


def test_two_schedulers_by_accident_begin_a_slot_once(home):
    [*_, last] = poll.begin_shared(TICKET)
    with pytest.raises(AlreadyRunning):
        poll.begin_shared(Ticket("message 2", SLOT))
    poll.end_shared(last.run, last.token)
    with pytest.raises(AlreadyRunning, match="begun before"):
        poll.begin_shared(Ticket("message 2", SLOT))
    assert poll.begin_shared(Ticket("message 3", SLOT + timedelta(minutes=10)))


def test_a_message_that_comes_again_takes_its_run_over(home):
    [*_, killed] = poll.begin_shared(TICKET)
    [*_, again] = poll.begin_shared(TICKET)
    with pytest.raises(LeaseLost):
        batches.poll_part(killed)
    batches.poll_part(again)
    assert list(Run.objects.order_by("pk").values_list("outcome", flat=True)) == [
        Outcome.VANISHED,
        Outcome.RUNNING,
    ]


def test_a_run_that_broke_may_be_begun_again_for_its_slot():
    with pytest.raises(ZeroDivisionError), running(runs.DECIDE, TICKET):
        raise ZeroDivisionError
    with running(runs.DECIDE, TICKET):
        pass


def test_a_slot_of_a_clock_that_ran_ahead_stops_no_later_one(time_machine):
    time_machine.move_to(SLOT)
    with running(runs.DECIDE, Ticket("message 1", SLOT + timedelta(days=400))):
        pass
    with running(runs.DECIDE, Ticket("message 2", SLOT)):
        pass


def test_a_run_by_cron_keeps_workers_out(home):
    with running(runs.POLL), pytest.raises(AlreadyRunning):
        poll.begin_shared(TICKET)


def test_without_gateways_the_run_ends_at_once():
    assert poll.begin_shared(TICKET) == []
    assert Run.objects.get().outcome == Outcome.DONE


@pytest.mark.parametrize(
    ("seconds", "size"), [(100, 50), (1, 500), (100_000, 20)], ids=["usual", "most", "least"]
)
def test_the_size_of_batches_follows_from_the_time_that_the_last_ones_took(seconds, size):
    with running(runs.POLL) as lease:
        lease.run.counts = {"gateways": 1000, batches.SECONDS: seconds}
    for number in range(501):
        make_gateway(f"Hub {number}", f"http://127.0.0.1:{number + 1}")
    parts = poll.begin_shared(TICKET)
    assert len(parts[0].gateways) == size
    assert sum(len(part.gateways) for part in parts) == 501
