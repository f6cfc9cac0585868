"""Poll devices: ask every gateway that is due, then finish what an earlier run left half done."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone

from core.models import Gateway
from core.tasks import prune, runs
from core.tasks.orders import send
from core.tasks.orders.confirm import confirm_commands
from core.tasks.polling.ask import PollResult, Progress, ask
from core.tasks.polling.clock import forget_the_future
from core.tasks.runs import HeldLease, running

MOST_LINES = 20
"""Of each kind in a summary."""


@dataclass
class PollSummary:
    """What a poll did. `resting` holds (gateway, until when it is left alone after failures)."""

    asked: PollResult
    resting: list[tuple[str, datetime]] = field(default_factory=list)
    seconds: float = 0

    def counts(self) -> dict[str, int]:
        recorded = self.asked.recorded
        return {
            "gateways": self.asked.gateways,
            "failed": len(self.asked.failed),
            "asleep": len(self.asked.asleep),
            "resting": len(self.resting),
            "busy": len(self.asked.busy),
            "stored": recorded.stored,
            "already known": recorded.duplicates,
            "unavailable": recorded.unavailable,
            "refused": recorded.refused,
            "of unknown attributes": recorded.unknown,
        }

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
    summary = PollSummary(ask(due, holding=holding, progress=progress), resting)
    send.carry_on(holding)
    prune.prune_a_little(holding)
    holding.run.counts = summary.counts()
    # Of many failures the first hundred tell enough.
    holding.run.error = "\n".join(f"{name}: {why}" for name, why in summary.asked.failed[:100])
    return summary


def _due(force: bool) -> tuple[list[Gateway], list[tuple[str, datetime]]]:
    """Return the gateways to ask, and those left alone, each with until when."""
    # A poll that starts a little early must not skip a gateway for a whole interval.
    soon = timezone.now() + runs.interval(runs.POLL) / 10
    due: list[Gateway] = []
    resting: list[tuple[str, datetime]] = []
    for gateway in Gateway.objects.active():
        if force or gateway.retry_at is None or gateway.retry_at <= soon:
            due.append(gateway)
        else:
            resting.append((str(gateway), gateway.retry_at))
    return due, resting
