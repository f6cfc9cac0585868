"""Backfill: fill gaps in what is stored from the history that vendors keep.

Each poll does some of it by itself; the command does more, and goes further back. Old readings
become observations and nothing else: no latest value, no command, no hold and no rule's input of
now changes by them.

How far the history was asked for is kept with each silence, in the transaction that closes it. A
run that was killed is taken up where it was, and what it had stored is stored once.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil
from time import monotonic
from typing import Any

from django.conf import settings
from django.utils import timezone

from core import vendors
from core.formatting import counted
from core.models import Device, Gateway
from core.net.errors import ApiRefused
from core.net.threads import in_threads
from core.readings import Reading
from core.tasks.backfilling.closing import Known, close, known_times
from core.tasks.backfilling.gaps import (
    Gap,
    Span,
    gaps,
    keeping_vendors,
    note_failure,
    open_before_the_first,
)
from core.tasks.events.outbox import publishing
from core.tasks.polling.backoff import complaint
from core.tasks.polling.clients import client_for
from core.tasks.polling.rate_limit import LONGEST_READ_WAIT, NoCallsLeft
from core.tasks.polling.record import MOST_SENTENCES, GatewayAnswer, Recorded, Recorder
from core.tasks.runs import AlreadyRunning, HeldLease, LeaseLost, running

BACKFILL = "backfill"
LOOKS_BACK = timedelta(days=10)
"""As long as Home Assistant keeps its history, unless it is told otherwise."""
AFTER_A_POLL = timedelta(seconds=20)
LONGEST_RUN = timedelta(hours=1)
LONGEST_WAIT_SECONDS = 2 * LONGEST_READ_WAIT
"""For the vendor's rate limit, of the few calls for a span."""
WORKERS = 8
"""Gateways that are asked at once. Each answer may hold a day of values."""
MOST_FAILURES = 5
"""In a row, for one span of one device. Then that span is left as it is."""
READINGS_AT_ONCE = 5_000
GRACE_SECONDS = 3
NO_ENTRY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

Progress = Callable[[int, int], None]
"""Called with how many spans of time were asked for, of how many."""


@dataclass
class Backfilled:
    """What a run did. `failed` says why by gateway, `left` counts the gaps that are left."""

    asked: int = 0
    stored: int = 0
    refused: int = 0
    left: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {
            "gaps asked for": self.asked,
            "stored": self.stored,
            "refused": self.refused,
            "failed": len(self.failed),
            "gaps left": self.left,
        }

    def as_json(self) -> dict[str, Any]:
        counts = {name.replace(" ", "_"): count for name, count in self.counts().items()}
        return counts | {
            "failures": [{"gateway": name, "error": why} for name, why in self.failed.items()]
        }

    def in_words(self) -> str:
        if not self.asked and not self.left:
            return "No gap that a vendor's history could fill."
        gaps_asked = counted(self.asked, "gap")
        lines = [f"Asked for {gaps_asked}, stored {counted(self.stored, 'value')}."]
        lines += [f"  refused: {sentence}" for sentence in self.complaints]
        if self.left:
            lines.append(f"  {counted(self.left, 'gap')} left: the next poll goes on.")
        return "\n".join(lines)


@dataclass
class _Recorded(Recorded):
    """Keeps which readings were refused."""

    nonsense: list[Reading] = field(default_factory=list)

    def complain(self, reading: Reading, why: str) -> None:
        super().complain(reading, why)
        self.nonsense.append(reading)


def backfill(
    since: datetime | None = None,
    gateway_pk: int | None = None,
    *,
    lasts: timedelta = LONGEST_RUN,
    progress: Progress | None = None,
) -> Backfilled:
    """Fill gaps of the last days for so long at most. With `since`, those after it, and the time
    before the first value that is stored, as far back as values are kept.

    Raises AlreadyRunning, LeaseLost, Gateway.DoesNotExist.
    """
    if gateway_pk is not None:
        Gateway.objects.present().get(pk=gateway_pk)
    names, now = keeping_vendors(gateway_pk), timezone.now()
    with running(BACKFILL) as holding:
        if since is not None:
            since = max(since, now - timedelta(days=settings.KEEP_DAYS))
            open_before_the_first(holding, names, since, gateway_pk)
        found = gaps(names, since or now - LOOKS_BACK, gateway_pk)
        return _Run(holding, found, lasts).fill(progress)


def backfill_a_little() -> Backfilled:
    """Fill gaps for some seconds, after a poll. It does nothing if another run is at work."""
    names = keeping_vendors()
    # Mostly there is none: then no run begins, and none is logged.
    if names and gaps(names, timezone.now() - LOOKS_BACK):
        try:
            return backfill(lasts=AFTER_A_POLL)
        except (AlreadyRunning, LeaseLost):
            pass  # whoever has the lease does it
    return Backfilled()


@dataclass(frozen=True)
class _Call:
    """One span of one device to ask a gateway's history for."""

    gateway: Gateway
    gap: Gap

    @property
    def longest(self) -> timedelta:
        return vendors.load(self.gateway.vendor).history_span

    @property
    def span(self) -> Span:
        return self.gap.first(self.longest)

    def ask(self) -> list[Reading]:
        """Ask the vendor. Runs in a worker thread."""
        span = self.span
        found = client_for(self.gateway).history(self.gap.vendor_id, *span)
        return [
            reading
            for reading in found
            if reading.vendor_id == self.gap.vendor_id
            and reading.observed_at is not None
            and span.since <= reading.observed_at < span.until
        ]


class _TimeIsUp(Exception):
    """Ends the asking."""


class _Run:
    """One run. It asks each gateway for one span after the other, several gateways at once."""

    def __init__(self, holding: HeldLease, found: Collection[Gap], lasts: timedelta) -> None:
        self.holding = holding
        self.ends_at = monotonic() + lasts.total_seconds()
        self.done = Backfilled()
        self.asked = 0
        self.changed: set[int] = set()
        self.waiting: dict[int, deque[Gap]] = {}
        for gap in found:
            self.waiting.setdefault(gap.gateway_pk, deque()).append(gap)
        self.left = len(found)
        self.gateways = {
            gateway.pk: gateway for gateway in Gateway.objects.filter(pk__among=self.waiting)
        }

    def fill(self, progress: Progress | None) -> Backfilled:
        with suppress(_TimeIsUp):
            while self.waiting:
                for call, outcome in self._outcomes():
                    self._take(call, outcome)
                    if progress:
                        progress(self.asked, self.asked + self._spans_left())
        self.done.left = self.left
        self.holding.run.counts = self.done.counts()
        self.holding.run.error = "\n".join(
            f"{name}: {why}" for name, why in self.done.failed.items()
        )
        return self.done

    def _outcomes(self) -> Iterator[tuple[_Call, list[Reading] | Exception]]:
        """Ask each gateway that has gaps left once."""
        calls = [_Call(self.gateways[pk], of_one[0]) for pk, of_one in self.waiting.items()]
        deadline = settings.GATEWAY_TIMEOUT_SECONDS + GRACE_SECONDS + LONGEST_WAIT_SECONDS
        return in_threads(
            _Call.ask,
            calls,
            workers=min(WORKERS, len(calls)),
            deadline_seconds=deadline,
            tick=self._tick,
        )

    def _tick(self) -> None:
        self.holding.renew_if_due()
        if monotonic() >= self.ends_at:
            raise _TimeIsUp

    def _spans_left(self) -> int:
        gaps_left = (gap for of_one in self.waiting.values() for gap in of_one)
        return sum(
            ceil((gap.until - gap.since) / _Call(self.gateways[gap.gateway_pk], gap).longest)
            for gap in gaps_left
        )

    def _take(self, call: _Call, outcome: list[Reading] | Exception) -> None:
        self.asked += 1
        if isinstance(outcome, Exception):
            self._fail(call, outcome)
            return
        recorded = self._store(call, outcome)
        self._close(call, call.span, known_times(outcome, recorded.nonsense, call.span))

    def _store(self, call: _Call, readings: list[Reading]) -> _Recorded:
        recorded = _Recorded()
        recorder = Recorder(recorded, self.holding)
        gap, now = call.gap, timezone.now()
        for start in range(0, len(readings), READINGS_AT_ONCE):
            piece = readings[start : start + READINGS_AT_ONCE]
            recorder.add(
                # An old answer tells nothing of the gateway's health, and sets no latest value.
                GatewayAnswer(
                    gap.gateway_pk, now, [gap.vendor_id], piece, tells_health=False, past=True
                )
            )
            recorder.flush()
        if recorded.stored:
            self.changed.add(gap.device_pk)
        self.done.stored += recorded.stored
        self.done.refused += recorded.refused
        room = MOST_SENTENCES - len(self.done.complaints)
        self.done.complaints += recorded.complaints[:room]
        return recorded

    def _close(self, call: _Call, span: Span, known: Known) -> None:
        """Close the silences by what is known, in the transaction that says how far it was asked
        for. Once the gap was asked for to its end, one event says that the history changed."""
        gap = call.gap
        is_whole = span.until >= gap.until
        with publishing() as outbox:
            self.holding.renew()
            if close(gap.device_pk, span, known):
                self.changed.add(gap.device_pk)
            if is_whole and gap.device_pk in self.changed:
                outbox.changed_pks(Device, [gap.device_pk])
        if not is_whole:
            self._replace(replace(gap, since=span.until, failures=0))
            return
        self.changed.discard(gap.device_pk)
        self.done.asked += 1
        self.left -= 1
        self.waiting[gap.gateway_pk].popleft()
        if not self.waiting[gap.gateway_pk]:
            del self.waiting[gap.gateway_pk]

    def _replace(self, gap: Gap) -> None:
        self.waiting[gap.gateway_pk][0] = gap

    def _fail(self, call: _Call, error: Exception) -> None:
        """Decide what to do about a span that was not answered.

        What is refused, and what failed too often, stays as it is. After another failure the
        gateway is left alone in this run, unless only the answer was too large.
        """
        gap, status = call.gap, getattr(error, "status", None)
        self.done.failed[str(call.gateway)] = complaint(error)
        # No failure of this span: it is asked for again when there are calls.
        if isinstance(error, NoCallsLeft) or status == HTTPStatus.TOO_MANY_REQUESTS:
            del self.waiting[gap.gateway_pk]
        # The whole gap: each span would be refused. What only wants another credential is kept.
        elif isinstance(error, ApiRefused) and status not in NO_ENTRY:
            self._close(call, Span(gap.since, gap.until), {})
        elif gap.failures + 1 >= MOST_FAILURES:
            self._close(call, call.span, {})
        else:
            with publishing():
                self.holding.renew()
                note_failure(gap.device_pk, call.span)
            # It answered, but not with what can be read: a shorter span may do.
            if status == HTTPStatus.OK:
                self._replace(replace(gap, failures=gap.failures + 1))
            else:
                del self.waiting[gap.gateway_pk]
