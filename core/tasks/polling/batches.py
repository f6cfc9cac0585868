"""Batches: the gateways that one process asks at one time. `poll(batch)` is how all are asked.

The command asks one batch, of all that are due. Workers share a run: the gateways that are due
are handed out in many batches, and whoever does the last one ends the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import NamedTuple

from django.conf import settings
from django.utils import timezone

from core.models import Gateway, Run
from core.tasks import runs
from core.tasks.events.outbox import publishing
from core.tasks.polling.ask import CLAIMED_AT_ONCE, PollResult, Progress, ask, slowest_of
from core.tasks.runs import HeldLease

BATCH_SECONDS = 5
"""How long a batch is to take: a worker that is told to stop has that much time and little more."""
LEAST_GATEWAYS = 20
RUNS_MEASURED = 5
SECONDS = "batch seconds"
"""In the counts of a run: how long its batches took together."""
MOST_ERRORS = 100
"""Of many failures the first hundred tell enough."""
SKEW = timedelta(minutes=5)


class BatchKeys(NamedTuple):
    """A batch as a message has it: keys only."""

    run: int
    token: int
    number: int
    gateways: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """Gateways to ask for a run.

    `is_whole`: it is all of the run, so that what it stores is held back if the lease is lost. The
    batches of a shared run would wait there for each other: they rely on their claims.
    """

    holding: HeldLease
    gateways: Sequence[Gateway]
    number: int = 0
    is_whole: bool = True

    @property
    def name(self) -> str:
        return f"run {self.holding.run.pk} batch {self.number}"


def poll(batch: Batch, progress: Progress | None = None) -> PollResult:
    """Ask the gateways of a batch, and store what they say. Raises LeaseLost."""
    if batch.is_whole:
        return ask(batch.gateways, holding=batch.holding, progress=progress)
    tick = batch.holding.renew_if_due
    return ask(batch.gateways, claimed_by=batch.name, tick=tick, progress=progress)


def hand_out(holding: HeldLease, due: Sequence[Gateway]) -> list[BatchKeys]:
    """Divide what is due into batches, and note in the run that it waits for them."""
    run, size = holding.run, _size()
    pks = [gateway.pk for gateway in due]
    parts = [pks[start : start + size] for start in range(0, len(pks), size)]
    with publishing():
        holding.renew()
        run.waiting_for = list(range(len(parts)))
        run.save()
    return [BatchKeys(run.pk, holding.token, place, part) for place, part in enumerate(parts)]


def poll_part(keys: BatchKeys) -> bool:
    """Do a batch of a shared run. Return whether the run waits for no other.

    One that comes again asks only gateways that were not asked since the run began. Raises
    LeaseLost if the run is over.
    """
    holding = runs.held(keys.run, keys.token)
    began = monotonic()
    since, until = holding.run.started_at, timezone.now() + SKEW
    present = Gateway.objects.active().filter(pk__among=keys.gateways)
    left = list(present.exclude(asked_at__gte=since, asked_at__lte=until))
    with holding.in_logs():
        result = poll(Batch(holding, left, keys.number, is_whole=False))
    return _note(keys, result, monotonic() - began)


def _note(keys: BatchKeys, result: PollResult, seconds: float) -> bool:
    """Add what a batch did to its run, once."""
    with publishing():
        run = Run.objects.select_for_update().get(pk=keys.run)
        if keys.number in run.waiting_for:
            run.waiting_for = [number for number in run.waiting_for if number != keys.number]
            for what, count in {**result.counts(), SECONDS: round(seconds, 3)}.items():
                run.counts[what] = run.counts.get(what, 0) + count
            run.slowest = slowest_of([*map(tuple, run.slowest), *result.slowest()])
            errors = [*run.error.splitlines(), *result.errors()]
            run.error = "\n".join(errors[:MOST_ERRORS])
            run.save()
    return not run.waiting_for


def _size() -> int:
    """Return how many gateways one batch is to have, by how long those of the last runs took."""
    done = Run.objects.of(runs.POLL).completed().order_by("-pk")[:RUNS_MEASURED]
    measured = [run.counts for run in done if run.counts.get(SECONDS)]
    seconds = sum(counts[SECONDS] for counts in measured)
    if not seconds:
        return min(settings.POLL_WORKERS, CLAIMED_AT_ONCE)
    gateways = sum(counts.get("gateways", 0) for counts in measured)
    size = int(BATCH_SECONDS * gateways / seconds)
    return max(LEAST_GATEWAYS, min(size, CLAIMED_AT_ONCE))
