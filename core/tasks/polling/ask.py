"""Ask gateways for their devices, in threads, and record what they say in this one."""

import gc
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core import vendors
from core.models import Device, Gateway
from core.net.threads import in_threads
from core.tasks.polling.backoff import complaint
from core.tasks.polling.clients import client_for, give_back
from core.tasks.polling.record import GatewayAnswer, Recorded, Recorder
from core.tasks.runs import HeldLease

GRACE_SECONDS = 3
"""What a call may take beyond its own deadline (a name that does not resolve) before its thread is written off."""
CLAIMED_AT_ONCE = 500
MANY = 1000

Progress = Callable[[int, int], None]
"""Called with how many gateways are done, of how many."""


@dataclass
class PollResult:
    """What came of asking. `failed` holds (gateway, why), `busy` those that somebody else was asking."""

    gateways: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    recorded: Recorded = field(default_factory=Recorded)


@dataclass(frozen=True)
class GatewayCall:
    """One gateway to ask for some of its devices."""

    gateway: Gateway
    vendor_ids: tuple[str, ...]

    @property
    def paced(self) -> timedelta:
        """What the vendor's budget of calls makes it wait, beyond its own deadline."""
        try:
            budget = vendors.load(self.gateway.vendor).budget
        except vendors.UnknownVendor:  # whose client says so when it is asked
            budget = None
        return budget.lasts(len(self.vendor_ids)) if budget else timedelta()

    def ask(self) -> GatewayAnswer:
        """Runs in a worker thread. The time is taken before the call: what it tells may be older than that, never newer."""
        asked_at = timezone.now()
        try:
            readings = list(client_for(self.gateway).read(self.vendor_ids))
        except Exception as error:  # whatever one vendor's client does, the others go on
            return self.failed(error, asked_at)
        return GatewayAnswer(self.gateway.pk, asked_at, self.vendor_ids, readings)

    def failed(self, error: Exception, asked_at: datetime | None = None) -> GatewayAnswer:
        return GatewayAnswer(
            self.gateway.pk, asked_at or timezone.now(), self.vendor_ids, error=error
        )


def ask(
    gateways: Collection[Gateway],
    *,
    device_pks: Collection[int] | None = None,
    holding: HeldLease | None = None,
    progress: Progress | None = None,
) -> PollResult:
    """Ask these gateways for all their devices, or for some. One never stops another. Raises LeaseLost."""
    asked = PollResult()
    jobs = _jobs(gateways, device_pks)
    paced = max((job.paced for job in jobs), default=timedelta())
    recorder = Recorder(asked.recorded, holding)

    def tick() -> None:
        recorder.tick()
        if holding is None:
            give_back()

    with _garbage_sought_elsewhere(jobs):
        for job, result in in_threads(
            GatewayCall.ask,
            _claimed(jobs, asked, paced),
            workers=min(settings.POLL_WORKERS, max(1, len(jobs))),
            deadline_seconds=settings.GATEWAY_TIMEOUT_SECONDS
            + paced.total_seconds()
            + GRACE_SECONDS,
            tick=tick,
        ):
            answer = job.failed(result) if isinstance(result, Exception) else result
            if answer.error:
                asked.failed.append((str(job.gateway), complaint(answer.error)))
            recorder.add(answer)
            asked.gateways += 1
            if progress:
                progress(asked.gateways + len(asked.busy), len(jobs))
        recorder.flush()
    return asked


@contextmanager
def _garbage_sought_elsewhere(jobs: list[GatewayCall]) -> Iterator[None]:
    """Many gateways live until the end: the garbage collector need not look through them again and again."""
    if len(jobs) < MANY:
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _jobs(gateways: Collection[Gateway], device_pks: Collection[int] | None) -> list[GatewayCall]:
    """A job for each gateway that has devices to ask for."""
    devices = (
        Device.objects.active()
        if device_pks is None
        else Device.objects.present().filter(pk__in=device_pks)
    )
    if len(gateways) <= CLAIMED_AT_ONCE:
        devices = devices.filter(gateway__in=gateways)
    vendor_ids: dict[int, list[str]] = {}
    for gateway_pk, vendor_id in devices.order_by("pk").values_list("gateway_id", "vendor_id"):
        vendor_ids.setdefault(gateway_pk, []).append(vendor_id)
    return [
        GatewayCall(gateway, tuple(vendor_ids[gateway.pk]))
        for gateway in gateways
        if gateway.pk in vendor_ids
    ]


def _claimed(jobs: list[GatewayCall], asked: PollResult, paced: timedelta) -> Iterator[GatewayCall]:
    """The jobs whose gateway nobody else is asking. A claim ends when the answer is recorded, or by itself if we die."""
    lasts = timedelta(seconds=60 + 2 * settings.GATEWAY_TIMEOUT_SECONDS) + 2 * paced
    for start in range(0, len(jobs), CLAIMED_AT_ONCE):
        some = {job.gateway.pk: job for job in jobs[start : start + CLAIMED_AT_ONCE]}
        with transaction.atomic():
            free = Gateway.objects.filter(
                Q(claimed_until=None) | Q(claimed_until__lte=Now()), pk__in=some
            )
            if connection.features.has_select_for_update_skip_locked:
                free = free.select_for_update(skip_locked=True)
            claimed = list(free.order_by("pk").values_list("pk", flat=True))
            Gateway.objects.filter(pk__in=claimed).update(claimed_until=Now() + lasts)
        asked.busy += [str(job.gateway) for pk, job in some.items() if pk not in set(claimed)]
        yield from (some[pk] for pk in claimed)
