"""Delete what is too old, and what is left of removed devices.

Always in steps of a few thousand rows, each its own transaction, found by primary key: rows are
numbered as they come, so the oldest are the first, and no step reads the whole table.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import F, Model, QuerySet
from django.utils import timezone

from core.formatting import counted
from core.models import (
    Alert,
    Attribute,
    Calibration,
    Device,
    DeviceCommand,
    Event,
    FeedSource,
    Forecast,
    Gateway,
    HourlyStatistics,
    IdempotencyKey,
    LightningStrike,
    Measurement,
    Observation,
    Plan,
    Receipt,
    Run,
    SignedMessage,
    Silence,
    Token,
    Usage,
)
from core.models.device_command import FINAL
from core.models.run import Outcome
from core.tasks import presence
from core.tasks.forecasts.strikes import KEPT_FOR as STRIKES_KEPT_FOR
from core.tasks.orders.once import KEPT_FOR
from core.tasks.polling.clock import AHEAD
from core.tasks.retention import Kept, trusted_now
from core.tasks.roll_up import RolledUp, roll_up, roll_up_a_little
from core.tasks.runs import HeldLease
from core.tasks.signed_messages import KEPT_FOR as MESSAGES_KEPT_FOR

ROWS_A_STEP = 5_000
FORECASTS_A_STEP = 500
"""Fewer, because a forecast is one row of several kilobytes."""
STEPS_A_POLL = 4
EVENTS_LIFETIME = timedelta(hours=2)
"""A subscriber that was away for longer starts over."""

USAGE_LIFETIME = timedelta(days=400)
"""Longer than a year, for bills."""
ENDED_TOKENS_LIFETIME = timedelta(days=90)
"""And as long as there are usage rows of them."""

HISTORIES: dict[type[Model], tuple[type[Model], str]] = {
    Forecast: (FeedSource, "series__source"),
    Measurement: (FeedSource, "series__source"),
    Calibration: (FeedSource, "series__source"),
}
"""Whose history they are, by the path to it: its `history_version` grows."""
OF_ATTRIBUTES: tuple[tuple[str, type[Model]], ...] = (
    ("observations", Observation),
    ("silences", Silence),
    ("hours", HourlyStatistics),
    ("device commands", DeviceCommand),
)

Pruned = Counter[str]
"""How many rows were deleted, by what they were, in the plural."""


def prune(days: int | None = None, progress: Callable[[int, int], None] | None = None) -> Pruned:
    """Delete all that is older than so many days (default: KEEP_DAYS), once it is summed up.

    `progress` is called after each step with the rows deleted so far, as both its numbers: the
    total would have to be counted first.
    """

    def tell(done: RolledUp) -> None:
        if progress and (count := done.deleted.total()):
            progress(count, count)

    now = trusted_now()
    pruned = roll_up(Kept(now, days), tell).deleted
    for what, count in _steps(now, days):
        pruned[what] += count
        if progress:
            progress(pruned.total(), pruned.total())
    return pruned


def in_words(pruned: Pruned) -> str:
    """Say what was deleted, in a sentence."""
    rows = [counted(count, what.removesuffix("s")) for what, count in pruned.items()]
    return f"Deleted {', '.join(rows)}." if rows else "Nothing to delete: all is younger."


def prune_a_little(lease: HeldLease) -> Pruned:
    """Delete a few steps' worth. Each poll does, and a large backlog never holds a poll up."""
    now = trusted_now()
    pruned = roll_up_a_little(lease, Kept(now)).deleted
    # A step is done when the generator is asked for it: the rest is not begun.
    for what, count in islice(_steps(now), STEPS_A_POLL):
        pruned[what] += count
        lease.renew_if_due()
    return pruned


def _steps(now: datetime, days: int | None = None) -> Iterator[tuple[str, int]]:
    """Delete step by step; yield after each what was deleted and how many rows."""
    before = now - timedelta(days=settings.KEEP_DAYS if days is None else days)
    if over := presence.forget():
        yield "presences", over
    yield from _old_events()
    keys, oldest = IdempotencyKey.objects.all(), timezone.now() - KEPT_FOR
    yield from _too_old("idempotency keys", keys, "created_at", oldest)
    messages, oldest = SignedMessage.objects.all(), timezone.now() - MESSAGES_KEPT_FOR
    yield from _too_old("signed messages", messages, "received_at", oldest)
    strikes, oldest = LightningStrike.objects.all(), timezone.now() - STRIKES_KEPT_FOR
    yield from _too_old("strikes", strikes, "struck_at", oldest)
    commands = DeviceCommand.objects.filter(state__in=FINAL)
    yield from _too_old("device commands", commands, "requested_at", before)
    runs = Run.objects.exclude(outcome=Outcome.RUNNING)
    yield from _too_old("runs", runs, "started_at", before)
    # By when they became known or were over: nearly the order in which they were numbered.
    forecasts = Forecast.objects.all()
    yield from _too_old("forecasts", forecasts, "known_at", before, FORECASTS_A_STEP)
    yield from _too_old("measurements", Measurement.objects.all(), "known_at", before)
    yield from _too_old("calibrations", Calibration.objects.all(), "fitted_at", before)
    receipts = Receipt.objects.exclude(ended_at=None)
    yield from _too_old("receipts", receipts, "ended_at", before)
    plans = Plan.objects.exclude(settled_at=None)
    yield from _too_old("plans", plans, "settled_at", before)
    yield from _too_old("admin changes", LogEntry.objects.all(), "action_time", before)
    ended_alerts = Alert.objects.ended()
    yield from _too_old("alerts", ended_alerts, "ended_at", before)
    kept_since = timezone.now().date() - USAGE_LIFETIME
    yield from _all_of("usage rows", Usage.objects.filter(day__lt=kept_since))
    ended = Token.objects.ended_before(now - ENDED_TOKENS_LIFETIME)
    yield from _all_of("tokens", ended.filter(usage=None))
    yield from _all_of("sessions", Session.objects.filter(expire_date__lt=now))
    yield from _of_removed_devices()
    yield from _removed_gateways()


def _too_old(
    what: str,
    rows: QuerySet[Any],
    time_field: str,
    before: datetime,
    at_most: int | None = None,
) -> Iterator[tuple[str, int]]:
    # By primary key, which is nearly the order of time: these tables need no index on their time.
    # Rows of the future, from a clock that ran ahead, are passed over: in front of all others they
    # would hide what is old.
    rows = rows.filter(**{f"{time_field}__lte": timezone.now() + AHEAD}).order_by("pk")
    after = 0
    while True:
        first = rows.filter(pk__gt=after).values_list("pk", time_field)
        step = list(first[: at_most or ROWS_A_STEP])
        old = [pk for pk, at in step if at < before]
        if not old:
            return
        _delete(rows.model, old)
        yield what, len(old)
        after = step[-1][0]


def _delete(model: type[Model], pks: list[int]) -> None:
    rows = model._default_manager.filter(pk__in=pks)
    if model not in HISTORIES:
        rows.delete()
        return
    owner, path = HISTORIES[model]
    with transaction.atomic():
        # In the order of their keys, as whoever stores readings locks devices.
        locked = owner._default_manager.select_for_update(no_key=True).order_by("pk")
        changed = list(locked.filter(pk__in=rows.values(path)).values_list("pk", flat=True))
        owners = owner._default_manager.filter(pk__in=changed)
        owners.update(history_version=F("history_version") + 1)
        rows.delete()


def _all_of(what: str, rows: QuerySet[Any]) -> Iterator[tuple[str, int]]:
    # By keys: a DELETE of PostgreSQL has no LIMIT.
    while pks := list(rows.order_by().values_list("pk", flat=True)[:ROWS_A_STEP]):
        rows.model.objects.filter(pk__in=pks).delete()
        yield what, len(pks)


def _old_events() -> Iterator[tuple[str, int]]:
    """Delete old events but the newest, whose key tells subscribers where the log ends."""
    newest = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    older = Event.objects.filter(pk__lt=newest)
    yield from _too_old("events", older, "happened_at", timezone.now() - EVENTS_LIFETIME)


def _of_removed_devices() -> Iterator[tuple[str, int]]:
    """Delete history and attributes. The device's row stays, so that discovery leaves it out."""
    removed = Device.objects.exclude(removed_at=None, gateway__removed_at=None)
    yield from _all_of("receipts", Receipt.objects.filter(device__in=removed))
    yield from _all_of("plans", Plan.objects.filter(device__in=removed))
    attributes = Attribute.objects.filter(device__in=removed).order_by("pk")
    while pks := list(attributes.values_list("pk", flat=True)[:ROWS_A_STEP]):
        for what, model in OF_ATTRIBUTES:
            yield from _all_of(what, model._default_manager.filter(attribute__in=pks))
        Attribute.objects.filter(pk__in=pks).delete()
        yield "attributes", len(pks)


def _removed_gateways() -> Iterator[tuple[str, int]]:
    """Delete removed gateways whose devices have no history left."""
    removed = Gateway.objects.exclude(removed_at=None).exclude(devices__attributes__isnull=False)
    if pks := list(removed.values_list("pk", flat=True)[:ROWS_A_STEP]):
        Device.objects.filter(gateway__in=pks).delete()
        Gateway.objects.filter(pk__in=pks).delete()
        yield "gateways", len(pks)
