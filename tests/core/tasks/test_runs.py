"""The lease keeps runs of one task apart; the log has what ran, vanished and was missed."""

import os
import signal
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event, Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from core.models import Lease, Run
from core.models.run import Outcome
from core.schedule import read_schedule
from core.tasks.events.outbox import publishing
from core.tasks.runs import AlreadyRunning, LeaseLost, Terminated, health, running

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def ran(*ages: float, outcome: Outcome = Outcome.DONE) -> None:
    with publishing():
        for age in ages:
            Run.objects.create(
                task="poll",
                outcome=outcome,
                started_at=NOW - minutes(age),
                finished_at=NOW - minutes(age),
            )


def test_a_run_that_ends_is_done_and_lets_go():
    with running("poll"):
        assert Run.objects.get().outcome == Outcome.RUNNING
    assert Run.objects.get().outcome == Outcome.DONE
    with running("poll"):
        pass


def test_a_second_run_of_the_task_finds_it_taken():
    with (
        running("poll"),
        pytest.raises(AlreadyRunning, match="another run is at work"),
        running("poll"),
    ):
        pytest.fail("two runs at once")


def test_runs_of_different_tasks_do_not_mind_each_other():
    with running("poll"), running("decide"):
        assert Run.objects.count() == 2


def test_a_run_that_fails_says_why_and_lets_go():
    with pytest.raises(ZeroDivisionError), running("poll"):
        raise ZeroDivisionError("by zero")
    run = Run.objects.get()
    assert (run.outcome, run.error) == (Outcome.BROKEN, "ZeroDivisionError: by zero")
    with running("poll"):
        pass


def test_sigterm_ends_the_run_and_lets_go():
    with pytest.raises(Terminated) as ended, running("poll"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 143
    assert Run.objects.get().outcome == Outcome.BROKEN
    with running("poll"):
        pass


def test_a_killed_run_is_taken_over_when_its_lease_is_over_and_called_vanished():
    Lease.objects.create(task="poll", token=7, expires_at=timezone.now() - minutes(1))
    with publishing():
        Run.objects.create(task="poll")
    with running("poll") as holding:
        assert holding.token == 8
    assert list(Run.objects.order_by("pk").values_list("outcome", flat=True)) == [
        Outcome.VANISHED,
        Outcome.DONE,
    ]


def test_a_killed_run_keeps_others_out_while_its_lease_lasts():
    Lease.objects.create(task="poll", token=7, holder="pi", expires_at=timezone.now() + minutes(1))
    with pytest.raises(AlreadyRunning), running("poll"):
        pytest.fail("the lease was not over")


def test_a_lease_that_nobody_holds_is_free():
    """As after a run that ended while the database's clock ran ahead."""
    Lease.objects.create(task="poll", token=7, expires_at=timezone.now() + minutes(1))
    with running("poll") as holding:
        assert holding.token == 8


@pytest.mark.parametrize("shown", ["1970-01-01 00:01", "2001-09-09 01:46", "2023-12-31 23:59"])
def test_by_a_clock_that_is_not_set_nothing_runs(time_machine, shown):
    time_machine.move_to(f"{shown}+00:00")
    with pytest.raises(CommandError, match=f"shows {shown[:10]}: it is not set. Nothing done."):
        call_command("poll_devices")
    assert not Run.objects.exists()


def test_a_run_that_lost_its_lease_cannot_write_and_does_not_end_the_new_holders():
    with pytest.raises(LeaseLost), running("poll") as holding:
        Lease.objects.update(token=holding.token + 1, holder="another")
        with transaction.atomic():
            holding.renew()
    assert Lease.objects.get().holder == "another"


@pytest.mark.django_db(transaction=True)
def test_of_many_that_start_at_once_one_runs():
    barrier, done, winners, losers = Barrier(8), Event(), [], []

    def start():
        barrier.wait()
        try:
            with running("poll"):
                winners.append(1)
                done.wait()
        except AlreadyRunning:
            losers.append(1)
            if len(losers) == 7:
                done.set()
        finally:
            connection.close()

    threads = [Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (len(winners), len(losers)) == (1, 7)


@pytest.mark.parametrize(
    ("ages", "missed"),
    [
        ((), 0),
        ((5,), 0),
        ((25, 15, 5), 0),
        ((26, 14, 5), 0),
        ((45, 5), 3),
        ((35,), 3),
        ((1500, 5), 143),
        ((3000,), 143),
    ],
)
def test_missed_polls_are_the_gaps_between_runs(ages, missed):
    ran(*ages)
    assert health(NOW).missed == missed


def test_healthy_while_the_last_completed_poll_is_young():
    ran(19)
    assert health(NOW).ok
    assert health(NOW).next_poll_at == NOW - minutes(9)


def test_unhealthy_when_the_last_completed_poll_is_older_than_two_intervals():
    ran(21)
    ran(3, outcome=Outcome.BROKEN)
    assert not health(NOW).ok
    assert health(NOW).reason.startswith("The last completed poll is 21 minutes old")


def test_unhealthy_before_the_first_poll():
    assert health(NOW).reason.startswith("No poll has completed yet")


def test_the_next_poll_is_expected_at_the_pace_of_the_last_ones():
    ran(2, 1.5, 1)
    assert health(NOW).next_poll_at == NOW - minutes(0.5)


def test_a_poll_by_hand_does_not_change_when_the_next_is_expected():
    ran(25, 15, 5, 4)
    assert health(NOW).next_poll_at == NOW + minutes(6)


@pytest.fixture
def by_crontab(settings):
    settings.SCHEDULE = settings.SCHEDULE | {
        "poll_devices": read_schedule("*/10 6-22 * * *", "UTC")
    }


def test_a_pause_of_the_schedule_is_neither_missed_nor_ill(by_crontab):
    ran(*range(0, 361, 10), *range(790, 1440, 10))  # from 6 until noon, and the evening before
    assert health(NOW).missed == 0
    night = NOW.replace(hour=5, minute=59)
    assert health(night).ok
    assert health(night).next_poll_at == NOW.replace(hour=6)


def test_missed_slots_of_a_crontab_are_counted(by_crontab):
    ran(100, 60.4, 30, 0)  # the second 24 s before its slot
    assert health(NOW).missed == 7
    assert health(NOW).next_poll_at == NOW + minutes(10)
