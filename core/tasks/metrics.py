"""What /metrics tells: how the site does, as numbers for Prometheus.

All of it is read from the database when it is asked for, so each process tells the same. The number
of series does not grow with gateways and devices, nor does that of queries.

The text is that of https://prometheus.io/docs/instrumenting/exposition_formats/. Values of labels
are words of ours, which need no escaping.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Now

from core.models import Alert, Device, DeviceCommand, Gateway, Run
from core.models.device_command import State
from core.models.freshness import FRESHNESS_RANKS, freshness_rank
from core.models.gateway import is_listened_to
from core.models.run import Outcome
from core.tasks import runs
from core.tasks.backfill import BACKFILL
from core.tasks.polling.rate_limit import AHEAD

TASKS = {**runs.COMMANDS, runs.LISTEN: "listen_devices", BACKFILL: "backfill"}
NEWEST = 5000
"""Commands looked at: the table has no index on its time."""
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Family:
    """One metric: a gauge, by the values of one label, or a single number without one."""

    name: str
    meaning: str
    label: str
    values: Mapping[str, float]

    def lines(self) -> Iterator[str]:
        yield f"# HELP iotapp_{self.name} {self.meaning}"
        yield f"# TYPE iotapp_{self.name} gauge"
        for word, number in self.values.items():
            labels = f'{{{self.label}="{word}"}}' if self.label else ""
            yield f"iotapp_{self.name}{labels} {float(number)!r}"


def as_text(now: datetime) -> str:
    """Return all metrics in the text format, version 0.0.4."""
    lines = [line for family in _families(now) for line in family.lines()]
    return "\n".join([*lines, ""])


def _families(now: datetime) -> Iterator[Family]:
    yield from _devices(now)
    yield from _gateways()
    yield from _runs(now)
    yield from _commands(now)
    yield _alerts()


def _devices(now: datetime) -> Iterator[Family]:
    present = Device.objects.present().order_by()
    ranked = present.annotate(rank=freshness_rank(now)).values("rank").annotate(count=Count("pk"))
    counted = dict(ranked.values_list("rank", "count"))
    by_state = {state.value: counted.get(rank, 0) for rank, state in enumerate(FRESHNESS_RANKS)}
    yield Family("devices", "Devices by how fresh their values are.", "freshness", by_state)
    oldest = Device.objects.active().filter(due_at=None).aggregate(at=Min("heard_at"))["at"]
    if oldest is not None:
        age = {"": max(0.0, (now - oldest).total_seconds())}
        meaning = "Seconds since the device that was silent longest was heard."
        yield Family("oldest_heard_seconds", meaning, "", age)


def _gateways() -> Iterator[Family]:
    is_refused = Q(refused=True, failures__gt=0)
    booked = Q(next_call_at__gt=Now(), next_call_at__lte=Now() + AHEAD)
    found = Gateway.objects.active().aggregate(
        all=Count("pk"),
        refusing=Count("pk", filter=is_refused),
        failing=Count("pk", filter=Q(failures__gt=0) & ~is_refused),
        listened=Count("pk", filter=is_listened_to()),
        booked=Count("pk", filter=booked),
        booked_until=Max("next_call_at", filter=booked),
        now=Max(Now()),
    )
    good = found["all"] - found["refusing"] - found["failing"]
    states = {"good": good, "failing": found["failing"], "refused": found["refusing"]}
    yield Family("gateways", "Gateways by how they answered last.", "state", states)
    meaning = "Gateways that listen_devices holds a connection to."
    yield Family("gateways_listened", meaning, "", {"": found["listened"]})
    meaning = "Gateways whose rate limit allows no call at this moment."
    yield Family("budgets_used_up", meaning, "", {"": found["booked"]})
    ahead = 0.0
    if found["booked_until"] is not None:
        ahead = (found["booked_until"] - found["now"]).total_seconds()
    meaning = "Seconds that calls are booked ahead, of the gateway with the most."
    yield Family("budget_booked_seconds", meaning, "", {"": max(0.0, ahead)})


def _runs(now: datetime) -> Iterator[Family]:
    newest = {TASKS[task]: run for task in TASKS if (run := _newest(task, now))}
    started = {command: run.started_at.timestamp() for command, run in newest.items()}
    yield Family("run_started_timestamp", "When the newest run began.", "task", started)
    seconds = {command: run.seconds for command, run in newest.items() if run.seconds is not None}
    yield Family("run_seconds", "How long the newest run took, if it ended.", "task", seconds)
    broken = {
        command: run.outcome in (Outcome.BROKEN, Outcome.VANISHED)
        for command, run in newest.items()
    }
    yield Family("run_broken", "Whether the newest run broke or was killed.", "task", broken)
    missed = {command: runs.missed_of_a_day(task, now) for task, command in runs.COMMANDS.items()}
    yield Family("runs_missed", "Runs of the last day that did not happen.", "task", missed)
    late = {
        runs.COMMANDS[runs.POLL]: not runs.health(now).ok,
        runs.COMMANDS[runs.DECIDE]: bool(runs.deciding_problem(now)),
    }
    yield Family("task_late", "Whether the task is late, as /healthz says.", "task", late)
    waiting = newest.get(TASKS[runs.POLL])
    batches = len(waiting.waiting_for) if waiting and waiting.outcome == Outcome.RUNNING else 0
    yield Family("batches_waiting", "Batches that wait for workers.", "", {"": batches})


def _newest(task: str, now: datetime) -> Run | None:
    # Not `error`, which may be long.
    columns = ("task", "outcome", "started_at", "finished_at", "waiting_for")
    return Run.objects.of(task).until(now).order_by("-started_at").only(*columns).first()


def _commands(now: datetime) -> Iterator[Family]:
    newest = DeviceCommand.objects.aggregate(newest=Max("pk"))["newest"] or 0
    late = DeviceCommand.objects.filter(pk__gt=newest - NEWEST, requested_at__gt=now - DAY)
    counted = dict(late.order_by().values_list("state").annotate(Count("pk")))
    by_state = {state.value: counted.get(state.value, 0) for state in State}
    meaning = f"Device commands of the last day, of the newest {NEWEST}."
    yield Family("commands", meaning, "state", by_state)
    oldest = DeviceCommand.objects.waiting().aggregate(at=Min("requested_at"))["at"]
    age = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    meaning = "Seconds that the oldest command waits to be sent."
    yield Family("queue_age_seconds", meaning, "", {"": age})


def _alerts() -> Family:
    """Count the open alerts by kind: the word before the colon of their causes."""
    keys = Alert.objects.open().order_by().values_list("key", flat=True)
    kinds = Counter(key.partition(":")[0].replace(" ", "_") for key in keys)
    by_kind = {"any": kinds.total(), **kinds}
    return Family("alerts_open", "Open alerts by kind, and all together.", "kind", by_kind)
