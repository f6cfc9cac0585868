"""Keep the database from growing without end: delete what is too old, and what is left of what was removed.

Always in steps of a few thousand rows, each its own transaction, found by primary key: rows are numbered as they come, so
the oldest are the first, and no step reads the whole table.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.models import (
    Attribute,
    Device,
    DeviceCommand,
    Event,
    Forecast,
    Gateway,
    Measurement,
    Observation,
    Plan,
    Receipt,
    Run,
    Silence,
)
from core.models.device_command import FINAL
from core.models.run import Outcome
from core.tasks import presence
from core.tasks.runs import HeldLease

ROWS_A_STEP = 5_000
FORECASTS_A_STEP = 500
"""A forecast is one row of several kilobytes."""
STEPS_A_POLL = 4
EVENTS_KEEP = timedelta(hours=2)
"""Whoever was away for longer starts over."""

Pruned = Counter[str]
"""How many rows were deleted, by what they were."""


def prune(days: int | None = None, progress: Callable[[int], None] | None = None) -> Pruned:
    """Delete all that is older than so many days (KEEP_DAYS by default). `progress` is called with the rows of each step."""
    pruned = Pruned()
    for what, count in _steps(_before(days)):
        pruned[what] += count
        if progress:
            progress(count)
    return pruned


def prune_a_little(holding: HeldLease) -> Pruned:
    """What each poll does of it: a few steps, so that a large backlog never holds a poll up."""
    pruned = Pruned()
    for what, count in islice(_steps(_before(None)), STEPS_A_POLL):
        pruned[what] += count
        holding.keep()
    return pruned


def _before(days: int | None) -> datetime:
    return timezone.now() - timedelta(days=settings.KEEP_DAYS if days is None else days)


def _steps(before: datetime) -> Iterator[tuple[str, int]]:
    """Does a step, then yields what it deleted and how much of it."""
    if over := presence.forget():
        yield "presences", over
    yield from _old_events()
    yield from _too_old("observations", Observation.objects.all(), "observed_at", before)
    yield from _too_old("silences", Silence.objects.all(), "ends_at", before)
    yield from _too_old(
        "device commands", DeviceCommand.objects.filter(state__in=FINAL), "requested_at", before
    )
    yield from _too_old("runs", Run.objects.exclude(outcome=Outcome.RUNNING), "started_at", before)
    # By when they became known or were over: in the order in which they were numbered, or nearly so.
    yield from _too_old(
        "forecasts", Forecast.objects.all(), "known_at", before, at_most=FORECASTS_A_STEP
    )
    yield from _too_old("measurements", Measurement.objects.all(), "known_at", before)
    yield from _too_old("receipts", Receipt.objects.exclude(ended_at=None), "ended_at", before)
    yield from _too_old("plans", Plan.objects.exclude(settled_at=None), "settled_at", before)
    yield from _decisions_of_removed()
    yield from _left_of_removed()


def _too_old(
    what: str, rows: QuerySet[Any], time_field: str, before: datetime, at_most: int | None = None
) -> Iterator[tuple[str, int]]:
    while True:
        first = rows.order_by("pk").values_list("pk", time_field)[: at_most or ROWS_A_STEP]
        old = [pk for pk, at in first if at < before]
        if not old:
            return
        rows.model.objects.filter(pk__in=old).delete()
        yield what, len(old)


def _old_events() -> Iterator[tuple[str, int]]:
    """The newest stays, so that the log always says how far it went."""
    newest = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    yield from _too_old(
        "events", Event.objects.filter(pk__lt=newest), "happened_at", timezone.now() - EVENTS_KEEP
    )


def _decisions_of_removed() -> Iterator[tuple[str, int]]:
    gone = Device.objects.exclude(removed_at=None, gateway__removed_at=None)
    for what, model in (("receipts", Receipt), ("plans", Plan)):
        while pks := list(
            model.objects.filter(device__in=gone)
            .order_by()
            .values_list("pk", flat=True)[:ROWS_A_STEP]
        ):
            model.objects.filter(pk__in=pks).delete()
            yield what, len(pks)


def _left_of_removed() -> Iterator[tuple[str, int]]:
    """History and attributes of removed devices (the device's own row stays, so that discovery leaves it alone), then
    removed gateways as a whole."""
    gone = Device.objects.exclude(removed_at=None, gateway__removed_at=None)
    attributes = list(
        Attribute.objects.filter(device__in=gone)
        .order_by("pk")
        .values_list("pk", flat=True)[:ROWS_A_STEP]
    )
    for what, model in (
        ("observations", Observation),
        ("silences", Silence),
        ("device commands", DeviceCommand),
    ):
        while pks := list(
            model.objects.filter(attribute__in=attributes).values_list("pk", flat=True)[
                :ROWS_A_STEP
            ]
        ):
            model.objects.filter(pk__in=pks).delete()
            yield what, len(pks)
    if attributes:
        Attribute.objects.filter(pk__in=attributes).delete()
        yield "attributes", len(attributes)
        yield from _left_of_removed()
        return
    gateways = Gateway.objects.exclude(removed_at=None).filter(
        ~Q(devices__attributes__isnull=False)
    )
    if removed := list(gateways.values_list("pk", flat=True)[:ROWS_A_STEP]):
        Device.objects.filter(gateway__in=removed).delete()
        Gateway.objects.filter(pk__in=removed).delete()
        yield "gateways", len(removed)
