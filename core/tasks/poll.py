"""Poll devices: ask every gateway that is due, then finish what an earlier run left half done."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Mod
from django.utils import timezone

from core.models import Gateway
from core.models.gateway import GatewayQuerySet, is_listened_to
from core.models.run import Outcome
from core.tasks import prune, runs
from core.tasks.backfill import Backfilled, backfill_a_little
from core.tasks.orders import send
from core.tasks.orders.confirm import confirm_commands
from core.tasks.polling.ask import PollResult, Progress, ask
from core.tasks.polling.batches import MOST_ERRORS, Batch, BatchKeys, hand_out, poll
from core.tasks.polling.clock import forget_the_future
from core.tasks.runs import HeldLease, Ticket, running

ASKED_EACH = 6
"""A gateway that is listened to is asked by one poll in so many: each hour, for polls each ten
minutes."""
"""A note of the listener is shorter."""
MOST_LINES = 20
"""Of each kind in a summary."""


@dataclass
class PollSummary:
    """What a poll did. `resting` holds (gateway, until when it is left alone after failures)."""

    asked: PollResult
    resting: list[tuple[str, datetime]] = field(default_factory=list)
    backfilled: Backfilled = field(default_factory=Backfilled)
    seconds: float = 0

    def counts(self) -> dict[str, int]:
        return {**self.asked.counts(), "resting": len(self.resting)}

    def as_json(self) -> dict[str, Any]:
        return {
            **{name.replace(" ", "_"): count for name, count in self.counts().items()},
            "seconds": self.seconds,
            "failures": [{"gateway": name, "error": why} for name, why in self.asked.failed],
        }

    def in_words(self) -> str:
        """Return the counts that are not zero, then what was refused or left alone, a line each."""
        asked, recorded = self.asked, self.asked.recorded
        counts = self.counts()
        del counts["gateways"]
        shown = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        began = f"Asked {asked.gateways:,} gateways in {self.seconds:.1f} s"
        lines = [f"{began}: {shown or 'nothing to store'}."]
        for name, until in self.resting[:MOST_LINES]:
            lines.append(f"  resting until {until:%Y-%m-%d %H:%M} UTC: {name}")
        for name in asked.busy[:MOST_LINES]:
            lines.append(f"  busy, somebody else is asking: {name}")
        for complaint in recorded.complaints:
            lines.append(f"  refused: {complaint}")
        lines += [f"  changed: {sentence}" for sentence in recorded.changes]
        if self.backfilled.asked or self.backfilled.left:
            lines.append(f"  gaps: {self.backfilled.in_words()}")
        if recorded.unknown:
            lines.append(
                "  Some readings are of attributes not known here. "
                "Run: python manage.py discover_devices"
            )
        return "\n".join(lines)


def poll_devices(
    gateway_pk: int | None = None, *, force: bool = False, progress: Progress | None = None
) -> PollSummary:
    """Poll all gateways that are due, as the one scheduled run, or one gateway at once.

    With `force`, those that rest after a failure are asked too. Raises AlreadyRunning, LeaseLost,
    Gateway.DoesNotExist.
    """
    began = timezone.now()
    if gateway_pk is None:
        with running(runs.POLL) as holding:
            summary = _poll_all(holding, force, progress)
        summary.backfilled = backfill_a_little()
    else:
        summary = PollSummary(
            ask([Gateway.objects.present().get(pk=gateway_pk)], progress=progress)
        )
        confirm_commands()
    summary.seconds = (timezone.now() - began).total_seconds()
    return summary


def _poll_all(holding: HeldLease, force: bool, progress: Progress | None) -> PollSummary:
    forget_the_future(holding)
    due, resting = _due(force)
    summary = PollSummary(poll(Batch(holding, due), progress), resting)
    send.carry_on(holding)
    prune.prune_a_little(holding)
    holding.run.counts, holding.run.slowest = summary.counts(), summary.asked.slowest()
    holding.run.error = "\n".join(summary.asked.errors()[:MOST_ERRORS])
    return summary


def begin_shared(ticket: Ticket) -> list[BatchKeys]:
    """Begin a run that workers share. Return its batches, for `batches.poll_part()`.

    The lease stays taken until `end_shared()`, unless nobody renews it. Raises AlreadyRunning.
    """
    holding = runs.begin(runs.POLL, ticket)
    try:
        with holding.in_logs(), runs.sigterm_as_exit():
            forget_the_future(holding)
            due, resting = _due(force=False)
            holding.run.counts = {"resting": len(resting)}
            parts = hand_out(holding, due)
    except BaseException as error:
        runs.end(holding, Outcome.BROKEN, f"{type(error).__name__}: {error}")
        raise
    if not parts:
        end_shared(holding.run.pk, holding.token)
    return parts


def end_shared(run_pk: int, token: int) -> None:
    """Do what follows the batches of a shared run, and end it. Raises LeaseLost if it is over."""
    holding = runs.held(run_pk, token)
    try:
        with holding.in_logs(), runs.sigterm_as_exit():
            send.carry_on(holding)
            prune.prune_a_little(holding)
    except Exception as error:
        runs.end(holding, Outcome.BROKEN, f"{type(error).__name__}: {error}")
        raise
    runs.end(holding, Outcome.DONE)
    backfill_a_little()


def _due(force: bool) -> tuple[list[Gateway], list[tuple[str, datetime]]]:
    """Return the gateways to ask, and those left alone, each with until when."""
    # A poll that starts a little early must not skip a gateway for a whole interval.
    now, every = timezone.now(), runs.interval(runs.POLL)
    soon = now + every / 10
    due: list[Gateway] = []
    resting: list[tuple[str, datetime]] = []
    gateways = Gateway.objects.active()
    if not force:
        gateways = gateways.exclude(pk__in=_left_to_the_listener(now, every).values("pk"))
    for gateway in gateways:
        if force or gateway.retry_at is None or gateway.retry_at <= soon:
            due.append(gateway)
        else:
            resting.append((str(gateway), gateway.retry_at))
    return due, resting


def _left_to_the_listener(now: datetime, every: timedelta) -> GatewayQuerySet:
    """Return the gateways that are listened to, but for each sixth of them: those whose turn it is.

    A poll is the net below the listener. A note that ends later than any can is of a clock that was
    wrong.
    """
    turn = round(now.timestamp() / every.total_seconds()) % ASKED_EACH
    listened = Gateway.objects.alias(turn=Mod(F("pk"), ASKED_EACH)).filter(is_listened_to())
    return listened.exclude(turn=turn)
