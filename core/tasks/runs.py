"""Runs of scheduled tasks: who may run now, what ran, what was missed, whether polling works."""

import logging
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import FrameType
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Device, HalfASite, Lease, Run, SiteImport
from core.models.run import Outcome, lease_is_free, this_process
from core.net import logs
from core.schedule import Crontab, Schedule, slots
from core.tasks import pings
from core.tasks.events.outbox import publishing
from core.tasks.pings import Ping

logger = logging.getLogger(__name__)

POLL = "poll"
DECIDE = "decide"
LISTEN = "listen"
COMMANDS = {POLL: "poll_devices", DECIDE: "do_something_awesome"}
"""The names that SCHEDULE has for tasks."""

LEASE_SECONDS = 60
"""How long a killed run keeps others out. Every write renews it, and nothing in a run waits longer
than a few seconds."""
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
"""Before this the clock of the machine was never set: this program is younger."""

DAY = timedelta(days=1)
MOST_RUNS = 2000
LATEST_SLOT = timedelta(minutes=5)
"""A slot further ahead than this is of a clock that was wrong, and says nothing."""
EARLY = timedelta(seconds=30)
PACE_RUNS = 6
"""The next poll is expected at the median pace of these, so that one by hand does not count."""


def interval(task: str) -> timedelta:
    """Say how far the slots of a task lie apart, now."""
    return schedule(task).gap(timezone.now())


def schedule(task: str) -> Schedule:
    """Return when a task runs."""
    found: Schedule = settings.SCHEDULE[COMMANDS[task]]
    return found


class AlreadyRunning(Exception):
    """Says that another run of this task is at work: nothing to do."""


class ClockNotSet(Exception):
    """Says that nothing is done, because the machine's clock is years behind."""


class LeaseLost(Exception):
    """This run was away so long that another took over. It wrote nothing more."""

    def __str__(self) -> str:
        return self.__doc__ or ""


class Ticket(NamedTuple):
    """What a message of a broker has for a run: `holder` is its own ID, `slot` when it is for.

    A message that comes again has the same ID: the process that had it first is gone. Two
    schedulers by accident send two messages for one slot.
    """

    holder: str
    slot: datetime


class Terminated(SystemExit):
    """Ends the process after a SIGTERM, so that it releases its lease on the way."""


@dataclass
class HeldLease:
    """The lease of a task while this process holds it, and the run it is for."""

    run: Run
    token: int
    renewed: float = field(default_factory=time.monotonic)

    def in_logs(self) -> AbstractContextManager[None]:
        """Have lines of the log name the run."""
        return logs.about({"run": self.run.pk})

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
def running(task: str, ticket: Ticket | None = None) -> Iterator[HeldLease]:
    """Hold the task's lease and log a run. An error or a signal inside ends the run as broken.

    Raises AlreadyRunning, ClockNotSet, HalfASite.
    """
    lease = begin(task, ticket)
    with lease.in_logs():
        try:
            with sigterm_as_exit():
                yield lease
        except BaseException as error:
            end(lease, Outcome.BROKEN, "".join(traceback.format_exception_only(error)).strip())
            raise
        else:
            end(lease, Outcome.DONE)


def begin(task: str, ticket: Ticket | None = None) -> HeldLease:
    """Take the task's lease and log a run, which other processes may end.

    With a ticket, a slot that was begun is not begun again, and the lease that the same message
    took before is taken over. Raises AlreadyRunning, ClockNotSet, HalfASite.
    """
    lease = _begin(task, ticket)
    with lease.in_logs():
        logger.info("A run of %s begins", task)
    pings.ping(COMMANDS.get(task, task), Ping.START, lease.run.pk)
    return lease


def _begin(task: str, ticket: Ticket | None) -> HeldLease:
    if timezone.now() < FIRST_DAY:
        raise ClockNotSet(
            f"The clock of this machine shows {timezone.now():%Y-%m-%d}: it is not set. "
            "Nothing done. It sets itself when the machine reaches a time server (NTP)."
        )
    with publishing() as outbox:
        leases = Lease.objects.select_for_update()
        lease, _ = leases.get_or_create(task=task, defaults={"expires_at": Now()})
        is_free = lease_is_free(timedelta(seconds=LEASE_SECONDS))
        holder, slot = this_process(), lease.slot
        if ticket:
            holder, slot = ticket
            if holder != lease.holder and _was_begun(slot, lease.slot):
                raise AlreadyRunning(f"{task}: begun before for {slot:%H:%M:%S}. Nothing done.")
            is_free |= Q(holder=holder)
        taken = Lease.objects.filter(is_free, task=task, token=lease.token).update(
            token=lease.token + 1,
            holder=holder,
            slot=slot,
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
        run = Run.objects.create(task=task)
        # After that: an import that begins now waits for us and sees the run, or we see the import.
        if refusal := SiteImport.refusal():
            raise HalfASite(refusal)
        return HeldLease(run, lease.token + 1)


def _was_begun(slot: datetime, newest: datetime | None) -> bool:
    return newest is not None and slot <= newest <= timezone.now() + LATEST_SLOT


def held(run_pk: int, token: int) -> HeldLease:
    """Return the lease that another process took for a run. Raises LeaseLost if it is over."""
    run = Run.objects.filter(pk=run_pk, outcome=Outcome.RUNNING).first()
    if run is None:
        raise LeaseLost
    lease = HeldLease(run, token)
    lease.renew()
    return lease


def end(lease: HeldLease, outcome: Outcome, error: str = "") -> None:
    """Give the lease back, and log how the run ended. If another holder has come, do nothing."""
    run = lease.run
    with publishing():
        ours = Lease.objects.filter(task=run.task, token=lease.token)
        ended: dict[str, Any] = {"expires_at": Now(), "holder": ""}
        if outcome is Outcome.BROKEN:
            ended["slot"] = None  # its message may come again, and is then to begin it again
        if not ours.update(**ended):
            return  # whoever took over has already called this run vanished
        run.outcome, run.finished_at = outcome, timezone.now()
        run.error = "\n".join(line for line in (run.error, error) if line)
        run.save()
    with lease.in_logs():
        logger.info("The run of %s ended: %s", run.task, outcome)
    told = Ping.SUCCESS if outcome is Outcome.DONE else Ping.FAIL
    pings.ping(COMMANDS.get(run.task, run.task), told, run.pk)


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
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
    is_ok = is_ok or _is_pause(POLL, age, now)
    if not is_ok:
        minutes = age // timedelta(minutes=1)
        reason = f"The last completed poll is {minutes} minutes old. Does the scheduler run?"
    next_poll_at = last.started_at + _pace(completed, every)
    if isinstance(schedule(POLL), Crontab):
        next_poll_at = schedule(POLL).next(now)
    return Health(is_ok, reason, last, next_poll_at, _missed_of(POLL, latest, now))


def deciding_problem(now: datetime) -> str:
    """Say why deciding does not work, or nothing: it does, or no device has a rule or a guard."""
    if not Device.objects.ruled().exists():
        return ""
    completed = Run.objects.of(DECIDE).completed().until(now).order_by("-started_at")
    last = completed.only("started_at", "finished_at").first()
    if last is None:
        return "No round of decisions has completed yet. Run: python manage.py do_something_awesome"
    age = now - (last.finished_at or last.started_at)
    if age <= interval(DECIDE) * 2 or _is_pause(DECIDE, age, now):
        return ""
    return (
        f"The last completed round of decisions is {age // timedelta(minutes=1)} minutes old. "
        "Does the scheduler run do_something_awesome?"
    )


def _is_pause(task: str, age: timedelta, now: datetime) -> bool:
    """Whether a run so old is not late, because the schedule pauses, such as at night."""
    return isinstance(schedule(task), Crontab) and age <= schedule(task).late_after(now)


def _latest(task: str, now: datetime) -> list[Run]:
    """Read the runs of the last day, newest first, of a scheduler up to four times too quick."""
    a_day = min(4 * int(DAY / schedule(task).usual_gap) + 2, MOST_RUNS)
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


def missed_of_a_day(task: str, now: datetime) -> int:
    """Count the runs of a task in the last day that did not happen."""
    return _missed_of(task, _latest(task, now), now)


def _missed_of(task: str, latest: Sequence[Run], now: datetime) -> int:
    if isinstance(schedule(task), Crontab):
        return missed_slots(task, latest, now)
    return _missed(latest, interval(task), now)


def missed_slots(task: str, newest_first: Sequence[Run], now: datetime) -> int:
    """Count the slots of the last day in which nothing ran, from the first run on.

    A run is in the slot before it, or a minute early in the next.
    """
    started = {schedule(task).previous(run.started_at + EARLY) for run in newest_first}
    if not started:
        return 0
    since = max(now - DAY, min(started))
    # The newest slot may still be about to run.
    until = schedule(task).previous(now) - EARLY
    return sum(slot not in started for slot in slots(schedule(task), since, until))


def _pace(completed: Sequence[Run], every: timedelta) -> timedelta:
    """The median time between runs, or the interval if a scheduler is slower than asked."""
    gaps = sorted(later.started_at - earlier.started_at for later, earlier in pairwise(completed))
    return min(every, gaps[len(gaps) // 2]) if gaps else every
