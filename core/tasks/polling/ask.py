"""Ask gateways for their devices in worker threads, and record the answers in this thread."""

import gc
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from operator import itemgetter
from time import monotonic

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core import vendors
from core.models import Device, Gateway
from core.models.connections import release_connection
from core.net.threads import in_threads
from core.tasks.polling.backoff import complaint, is_asleep
from core.tasks.polling.clients import client_for
from core.tasks.polling.record import GatewayAnswer, Recorded, Recorder
from core.tasks.runs import HeldLease

GRACE_SECONDS = 3
"""How long a call may go on after its own deadline, as when a name does not resolve, before its
thread is written off."""
CLAIMED_AT_ONCE = 500
"""Gateways in one statement."""
SLOWEST = 10
MANY = 1000
"""From so many gateways on, garbage collection costs noticeably."""

Progress = Callable[[int, int], None]
"""Called with how many gateways are done, of how many."""


@dataclass
class Claims:
    """Whose claims these are, and the keys of gateways by when our claim ends."""

    claimed_by: str
    ends: dict[datetime, list[int]] = field(default_factory=dict)


def slowest_of(taken: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    return nlargest(SLOWEST, taken, key=itemgetter(1))


@dataclass
class PollResult:
    """What came of a poll. `gateways` counts those asked, `seconds` how long each took; `failed`
    holds (gateway, why), `asleep` those on battery that did not answer, `busy` those that another
    process was asking."""

    gateways: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    asleep: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict)
    recorded: Recorded = field(default_factory=Recorded)

    def counts(self) -> dict[str, int]:
        return {
            "gateways": self.gateways,
            "failed": len(self.failed),
            "asleep": len(self.asleep),
            "busy": len(self.busy),
            "stored": self.recorded.stored,
            "already known": self.recorded.duplicates,
            "unavailable": self.recorded.unavailable,
            "refused": self.recorded.refused,
            "of unknown attributes": self.recorded.unknown,
        }

    def slowest(self) -> list[tuple[int, float]]:
        """Return the gateways that took longest, each with its seconds."""
        return [(pk, round(seconds, 3)) for pk, seconds in slowest_of(self.seconds.items())]

    def errors(self) -> list[str]:
        return [f"{name}: {why}" for name, why in self.failed]


@dataclass(frozen=True)
class GatewayCall:
    """One gateway to ask for some of its devices."""

    gateway: Gateway
    vendor_ids: tuple[str, ...]

    @property
    def rate_limit_wait(self) -> timedelta:
        """How long the vendor's rate limit makes it wait, beyond its own deadline."""
        rate_limit = vendors.load_or_default(self.gateway.vendor).rate_limit
        return rate_limit.lasts(len(self.vendor_ids)) if rate_limit else timedelta()

    def ask(self) -> GatewayAnswer:
        """Ask the vendor. Runs in a worker thread. Errors are returned in the answer."""
        # Taken before the call, so that no value seems newer than it is: a command is confirmed
        # only by a read that began after it.
        asked_at, began = timezone.now(), monotonic()
        try:
            client = client_for(self.gateway)
            readings = list(client.read(self.vendor_ids))
        except Exception as error:  # whatever one vendor's client does, the others go on
            return self.failed(error, asked_at, monotonic() - began)
        told = self.vendor_ids
        if client.told is not None:
            known = set(client.told)
            told = tuple(one for one in told if one in known)
        took = monotonic() - began
        return GatewayAnswer(self.gateway.pk, asked_at, told, readings, seconds=took)

    def failed(
        self, error: Exception, asked_at: datetime | None = None, seconds: float = 0
    ) -> GatewayAnswer:
        at = asked_at or timezone.now()
        return GatewayAnswer(self.gateway.pk, at, self.vendor_ids, error=error, seconds=seconds)


def ask(
    gateways: Collection[Gateway],
    *,
    device_pks: Collection[int] | None = None,
    holding: HeldLease | None = None,
    progress: Progress | None = None,
    claimed_by: str = "",
    tick: Callable[[], None] | None = None,
) -> PollResult:
    """Ask these gateways for all their devices, or for those of `device_pks`, and record it all.

    One gateway never stops another. With `holding`, that lease is kept. `claimed_by` names who
    asks: what the same claimed before, and was killed at, is taken over. `tick` is called each
    second. Raises LeaseLost. What ends it early, such as SIGTERM, gives its claims back.
    """
    claims = Claims(claimed_by)
    try:
        return _ask(gateways, device_pks, holding, progress, claims, tick)
    except BaseException:
        _release(claims)
        raise


def _ask(
    gateways: Collection[Gateway],
    device_pks: Collection[int] | None,
    holding: HeldLease | None,
    progress: Progress | None,
    claims: Claims,
    also_tick: Callable[[], None] | None,
) -> PollResult:
    result = PollResult()
    calls = _calls(gateways, device_pks)
    rate_limit_wait = max((call.rate_limit_wait for call in calls), default=timedelta())
    deadline = timedelta(seconds=settings.GATEWAY_TIMEOUT_SECONDS + GRACE_SECONDS)
    recorder = Recorder(result.recorded, holding)

    def release() -> None:
        # The one scheduled run may keep its connection; clicks may be many at once.
        if holding is None:
            release_connection()

    def tick() -> None:
        recorder.tick()
        if also_tick:
            also_tick()
        release()

    with _garbage_frozen(calls):
        for call, outcome in in_threads(
            GatewayCall.ask,
            _claimed(calls, result, claims, rate_limit_wait, release),
            workers=min(settings.POLL_WORKERS, max(1, len(calls))),
            deadline_seconds=(deadline + rate_limit_wait).total_seconds(),
            tick=tick,
        ):
            answer = call.failed(outcome) if isinstance(outcome, Exception) else outcome
            if answer.error and is_asleep(answer.error, call.gateway.wakes_every):
                result.asleep.append(str(call.gateway))
            elif answer.error:
                result.failed.append((str(call.gateway), complaint(answer.error)))
            result.seconds[call.gateway.pk] = answer.seconds
            recorder.add(answer)
            result.gateways += 1
            if progress:
                progress(result.gateways + len(result.busy), len(calls))
        recorder.flush()
    return result


@contextmanager
def _garbage_frozen(calls: list[GatewayCall]) -> Iterator[None]:
    """Keep the garbage collector from looking through many gateways, which live until the end."""
    if len(calls) < MANY:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _calls(gateways: Collection[Gateway], device_pks: Collection[int] | None) -> list[GatewayCall]:
    """Make a call for each gateway that has devices to ask for, and may be asked."""
    if device_pks is None:
        devices = Device.objects.active()
    else:
        devices = Device.objects.present().filter(pk__in=device_pks)
    # For more gateways the list would be a long one, and they are most of them anyway.
    if len(gateways) <= CLAIMED_AT_ONCE:
        devices = devices.filter(gateway__in=gateways)
    vendor_ids: dict[int, list[str]] = {}
    for gateway_pk, vendor_id in devices.order_by("pk").values_list("gateway_id", "vendor_id"):
        vendor_ids.setdefault(gateway_pk, []).append(vendor_id)
    return [
        GatewayCall(gateway, tuple(vendor_ids[gateway.pk]))
        for gateway in gateways
        if gateway.pk in vendor_ids and not vendors.load_or_default(gateway.vendor).pushes
    ]


def _claimed(
    calls: list[GatewayCall],
    result: PollResult,
    claims: Claims,
    rate_limit_wait: timedelta,
    release: Callable[[], None],
) -> Iterator[GatewayCall]:
    """Claim gateways and yield their calls; those claimed by another process are noted as busy.

    A claim ends when the answer is recorded, or by itself if this process dies.
    """
    lasts = timedelta(seconds=60 + 2 * settings.GATEWAY_TIMEOUT_SECONDS) + 2 * rate_limit_wait
    for start in range(0, len(calls), CLAIMED_AT_ONCE):
        by_gateway = {call.gateway.pk: call for call in calls[start : start + CLAIMED_AT_ONCE]}
        claimed = _claim(by_gateway, lasts, claims)
        release()
        unclaimed = by_gateway.keys() - set(claimed)
        result.busy += [str(call.gateway) for pk, call in by_gateway.items() if pk in unclaimed]
        yield from (by_gateway[pk] for pk in claimed)


def _claim(gateway_pks: Collection[int], lasts: timedelta, claims: Claims) -> list[int]:
    """Claim those gateways that are free, on the database's clock. Return their keys."""
    with transaction.atomic():
        free = Gateway.objects.filter(_is_free(claims.claimed_by), pk__among=gateway_pks)
        # Without SKIP LOCKED (SQLite) there is one writer at a time, so no row is locked.
        if connection.features.has_select_for_update_skip_locked:
            free = free.select_for_update(skip_locked=True)
        found = list(free.order_by("pk").values_list("pk", Now()))
        claimed = [pk for pk, _ in found]
        if found:
            until = found[0][1] + lasts
            Gateway.objects.filter(pk__among=claimed).update(
                claimed_until=until, claimed_by=claims.claimed_by
            )
            claims.ends.setdefault(until, []).extend(claimed)
    return claimed


def _is_free(claimed_by: str) -> Q:
    is_free = Q(claimed_until=None) | Q(claimed_until__lte=Now())
    return is_free | Q(claimed_by=claimed_by) if claimed_by else is_free


def _release(claims: Claims) -> None:
    """Give back what is still claimed, and by us: a claim that somebody else made ends later."""
    for until, pks in claims.ends.items():
        Gateway.objects.filter(pk__in=pks, claimed_until=until).update(claimed_until=None)
