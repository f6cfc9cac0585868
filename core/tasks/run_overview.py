"""How the scheduled tasks go: runs, missed slots, what waits, rate limits, slow gateways."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Min
from django.db.models.functions import Now

from core import vendors
from core.models import Access, DeviceCommand, Gateway, Run
from core.models.run import Outcome
from core.tasks import runs
from core.tasks.backfill import BACKFILL

RUNS_READ = 20
RUNS_SHOWN = 10
GATEWAYS_SHOWN = 10
UNSCHEDULED = {BACKFILL: "backfill", runs.LISTEN: "listen_devices"}
"""Tasks that have no slots: after polls and by hand, and for as long as a process lives."""


@dataclass(frozen=True)
class TaskRuns:
    """A task with its newest runs. `missed` counts slots of the last day; None: it has no slots."""

    command: str
    newest: list[Run]
    missed: int | None
    median_seconds: float | None

    @property
    def shown(self) -> list[Run]:
        return self.newest[:RUNS_SHOWN]


@dataclass(frozen=True)
class Queue:
    """What waits. `since` is when the oldest of it came; None: nothing waits."""

    orders: int
    orders_since: datetime | None
    batches: int
    batches_since: datetime | None


@dataclass(frozen=True)
class Budget:
    """The rate limit of a gateway, and how far ahead its calls are booked."""

    gateway: Gateway
    limit: str
    booked_seconds: float


@dataclass(frozen=True)
class SlowGateway:
    gateway: Gateway
    seconds: float


def task_runs(now: datetime) -> list[TaskRuns]:
    """Return the scheduled tasks, and of the others those that have run."""
    shown = []
    for task, command in runs.COMMANDS.items():
        shown.append(_task_runs(task, command, now, runs.missed_of_a_day(task, now)))
    for task, command in UNSCHEDULED.items():
        found = _task_runs(task, command, now, None)
        shown += [found] if found.newest else []
    return shown


def _task_runs(task: str, command: str, now: datetime, missed: int | None) -> TaskRuns:
    newest = list(Run.objects.of(task).until(now).order_by("-started_at")[:RUNS_READ])
    seconds = sorted(run.seconds for run in newest if run.seconds is not None)
    median = seconds[len(seconds) // 2] if seconds else None
    return TaskRuns(command, newest, missed, median)


def queue(access: Access) -> Queue:
    """Say what waits: orders not sent yet, and batches of a poll that workers have yet to do."""
    gateways = access.limit_gateways(Gateway.objects.present())
    waiting = DeviceCommand.objects.waiting().filter(attribute__device__gateway__in=gateways)
    oldest = waiting.aggregate(oldest=Min("requested_at"))["oldest"]
    shared = Run.objects.of(runs.POLL).filter(outcome=Outcome.RUNNING).exclude(waiting_for=[])
    run = shared.order_by("-pk").first()
    batches = len(run.waiting_for) if run else 0
    return Queue(waiting.count(), oldest, batches, run.started_at if run else None)


def budgets(access: Access) -> list[Budget]:
    """Return the gateways whose vendors limit calls, those with the longest wait first."""
    counted = Gateway.objects.active().exclude(next_call_at=None).order_by("-next_call_at")
    times = access.limit_gateways(counted).values_list("pk", "next_call_at", Now())
    ahead = {pk: next_call_at - now for pk, next_call_at, now in times[:GATEWAYS_SHOWN]}
    gateways = Gateway.objects.in_bulk(ahead)
    shown = []
    for pk, wait in ahead.items():
        gateway = gateways[pk]
        limit = vendors.load_or_default(gateway.vendor).rate_limit
        if limit is None:
            continue
        booked = wait.total_seconds()
        words = f"{limit.calls} in {_words(limit.per)}, {limit.reserved:.0%} of it for orders"
        shown.append(Budget(gateway, words, max(0.0, booked)))
    return shown


def _words(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"


def slow_gateways(access: Access, now: datetime) -> list[SlowGateway]:
    """Return those that took longest in the newest polls, by the longest of each."""
    newest = Run.objects.of(runs.POLL).until(now).order_by("-started_at")[:RUNS_SHOWN]
    seconds: dict[int, float] = {}
    for slowest in newest.values_list("slowest", flat=True):
        for pk, took in slowest:
            seconds[pk] = max(took, seconds.get(pk, 0))
    seen = access.limit_gateways(Gateway.objects.present()).in_bulk(seconds)
    slow = [SlowGateway(gateway, seconds[pk]) for pk, gateway in seen.items()]
    return sorted(slow, key=lambda one: one.seconds, reverse=True)[:GATEWAYS_SHOWN]
