"""Runs of scheduled tasks: who may run now, what ran, what was missed, whether polling works."""

import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import FrameType

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Device, Lease, Run
from core.models.run import Outcome
from core.tasks.events.outbox import publishing

POLL = "poll"
DECIDE = "decide"

LEASE_SECONDS = 60
"""How long a killed run keeps others out. Every write renews it, and nothing in a run waits longer
than a few seconds."""
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
"""Before this the clock of the machine was never set: this program is younger."""

DAY = timedelta(days=1)
MOST_RUNS = 2000
PACE_RUNS = 6
"""The next poll is expected at the median pace of these, so that one by hand does not count."""


def interval(task: str) -> timedelta:
    """Say how often a task is meant to run."""
    return {POLL: settings.POLL_INTERVAL, DECIDE: settings.POLL_INTERVAL}[task]


class AlreadyRunning(Exception):
    """Says that another run of this task is at work: nothing to do."""


class ClockNotSet(Exception):
    """Says that nothing is done, because the machine's clock is years behind."""


class LeaseLost(Exception):
    """This run was away so long that another took over. It wrote nothing more."""

    def __str__(self) -> str:
        return self.__doc__ or ""


class Terminated(SystemExit):
    """Ends the process after a SIGTERM, so that it releases its lease on the way."""


@dataclass
class HeldLease:
    """The lease of a task while this process holds it, and the run it is for."""

    run: Run
    token: int
    renewed: float = field(default_factory=time.monotonic)

    def renew(self) -> None:
        """Renew the lease, first in each transaction. Raises LeaseLost if another holder has come.

        The row stays locked until the commit, so nobody can take over in between.
        """
        # Each holder has a higher token, so that of an earlier one matches no row.
        held = Lease.objects.filter(task=self.run.task, token=self.token)
        if not held.update(expires_at=Now() + timedelta(seconds=LEASE_SECONDS)):
            raise LeaseLost
        self.renewed = time.monotonic()

    def renew_if_due(self) -> None:
        """Renew the lease now and then. Call it while waiting."""
        if time.monotonic() - self.renewed > LEASE_SECONDS / 4:
            self.renew()


@contextmanager
def running(task: str) -> Iterator[HeldLease]:
    """Hold the task's lease and log a run. An error or a signal inside ends the run as broken.

    Raises AlreadyRunning, ClockNotSet.
    """
    if timezone.now() < FIRST_DAY:
        raise ClockNotSet(
            f"The clock of this machine shows {timezone.now():%Y-%m-%d}: it is not set. "
            "Nothing done. It sets itself when the machine reaches a time server (NTP)."
        )
    lease = _acquire(task)
    try:
        with _sigterm_as_exit():
            yield lease
    except BaseException as error:
        _finish(lease, Outcome.BROKEN, "".join(traceback.format_exception_only(error)).strip())
        raise
    else:
        _finish(lease, Outcome.DONE)


def _acquire(task: str) -> HeldLease:
    try:
        with transaction.atomic():
            Lease.objects.get_or_create(task=task, defaults={"expires_at": Now()})
    except IntegrityError:
        pass  # another process made the row at the same moment
    with publishing() as outbox:
        lease = Lease.objects.select_for_update().get(task=task)
        # One that ends later than any lease can was written while the database's clock ran ahead.
        too_late = Now() + timedelta(seconds=2 * LEASE_SECONDS)
        is_free = Q(holder="") | Q(expires_at__lte=Now()) | Q(expires_at__gt=too_late)
        taken = Lease.objects.filter(is_free, task=task, token=lease.token).update(
            token=lease.token + 1,
            holder=f"{socket.gethostname()} process {os.getpid()}",
            expires_at=Now() + timedelta(seconds=LEASE_SECONDS),
        )
        if not taken:
            raise AlreadyRunning(f"{task}: another run is at work ({lease.holder}). Nothing done.")
        # Whoever held the lease before has lost it, so a run that still says "running" was killed.
        running_runs = Run.objects.of(task).filter(outcome=Outcome.RUNNING)
        vanished = list(running_runs.values_list("pk", flat=True))
        Run.objects.filter(pk__in=vanished).update(
            outcome=Outcome.VANISHED, error="Its process was killed before the end."
        )
        outbox.changed_pks(Run, vanished)
        return HeldLease(Run.objects.create(task=task), lease.token + 1)


def _finish(lease: HeldLease, outcome: Outcome, error: str = "") -> None:
    run = lease.run
    with publishing():
        ours = Lease.objects.filter(task=run.task, token=lease.token)
        if not ours.update(expires_at=Now(), holder=""):
            return  # whoever took over has already called this run vanished
        run.outcome, run.finished_at = outcome, timezone.now()
        run.error = "\n".join(line for line in (run.error, error) if line)
        run.save()


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Turn SIGTERM into an exception, which releases leases and rolls transactions back."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return

    def end(signum: int, frame: FrameType | None) -> None:
        raise Terminated(128 + signum)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class Health:
    """Whether polling works. `reason` is "ok", or a sentence that says what to look at.

    `missed` is how many polls of the last day did not happen.
    """

    ok: bool
    reason: str
    last_poll: Run | None = None
    next_poll_at: datetime | None = None
    missed: int = 0


def health(now: datetime) -> Health:
    """Say whether polling works: the newest completed poll ended at most two intervals ago."""
    every = interval(POLL)
    latest = _latest(POLL, now)
    completed = [run for run in latest if run.outcome == Outcome.DONE][:PACE_RUNS]
    if not completed:  # none within a day: look further back
        older = Run.objects.of(POLL).completed().until(now).order_by("-started_at")
        completed = list(older[:PACE_RUNS])
    if not completed:
        return Health(False, "No poll has completed yet. Run: python manage.py poll_devices")
    last = completed[0]
    age = now - (last.finished_at or last.started_at)
    is_ok, reason = age <= every * 2, "ok"
    if not is_ok:
        minutes = age // timedelta(minutes=1)
        reason = f"The last completed poll is {minutes} minutes old. Does the scheduler run?"
    next_poll_at = last.started_at + _pace(completed, every)
    return Health(is_ok, reason, last, next_poll_at, _missed(latest, every, now))


def deciding_problem(now: datetime) -> str:
    """Say why deciding does not work, or nothing: it does, or no device has a rule or a guard."""
    if not Device.objects.ruled().exists():
        return ""
    completed = Run.objects.of(DECIDE).completed().until(now).order_by("-started_at")
    last = completed.only("started_at", "finished_at").first()
    if last is None:
        return "No round of decisions has completed yet. Run: python manage.py do_something_awesome"
    age = now - (last.finished_at or last.started_at)
    if age <= interval(DECIDE) * 2:
        return ""
    return (
        f"The last completed round of decisions is {age // timedelta(minutes=1)} minutes old. "
        "Does the scheduler run do_something_awesome?"
    )


def _latest(task: str, now: datetime) -> list[Run]:
    """Read the runs of the last day, newest first, of a scheduler up to four times too quick."""
    a_day = min(4 * int(DAY / interval(task)) + 2, MOST_RUNS)
    # Not `error`, which may be long.
    columns = ("task", "outcome", "started_at", "finished_at")
    return list(Run.objects.of(task).until(now).order_by("-started_at").only(*columns)[:a_day])


def _missed(newest_first: Sequence[Run], every: timedelta, now: datetime) -> int:
    """Count the runs of the last day that did not happen, by the gaps between those that did.

    Nothing is missed before the first run.
    """
    since = now - DAY
    starts = [now, *(run.started_at for run in newest_first if run.started_at >= since)]
    if len(newest_first) >= len(starts):  # something ran before this day too
        starts.append(since)
    # Rounded: a run up to half an interval late is not a missed one.
    return sum(max(0, round((later - earlier) / every) - 1) for later, earlier in pairwise(starts))


def _pace(completed: Sequence[Run], every: timedelta) -> timedelta:
    """The median time between runs, or the interval if a scheduler is slower than asked."""
    gaps = sorted(later.started_at - earlier.started_at for later, earlier in pairwise(completed))
    return min(every, gaps[len(gaps) // 2]) if gaps else every
