"""Find the gaps that a vendor's history may close: silences that it was not asked for yet.

A silence is a time in which the gateway did not answer us. A vendor that reports changes only is
silent for days and leaves none, so its quiet times are no gaps.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from django.db.models import F, OuterRef, Subquery

from core import vendors
from core.models import Attribute, Gateway, Observation, Silence
from core.models.freshness import late_after
from core.models.gateway import GatewayQuerySet
from core.tasks.events.outbox import publishing
from core.tasks.runs import HeldLease

MOST_SILENCES = 20_000
"""In one run. What is beyond them is found by the next."""
ATTRIBUTES_AT_ONCE = 500


class Span(NamedTuple):
    since: datetime
    until: datetime


class _Row(NamedTuple):
    device_pk: int
    gateway_pk: int
    vendor_id: str
    starts_at: datetime
    asked_until: datetime | None
    ends_at: datetime
    failures: int

    @property
    def begins_at(self) -> datetime:
        return max(self.starts_at, self.asked_until or self.starts_at)


@dataclass(frozen=True)
class Gap:
    """A time in which a device was silent, as far as its vendor's history was not asked for it.

    It holds silences of several attributes, which overlap: one call answers for all of them.
    """

    device_pk: int
    gateway_pk: int
    vendor_id: str
    since: datetime
    until: datetime
    failures: int = 0

    def first(self, longest: timedelta) -> Span:
        """Return what to ask for next. It is shorter after each failure: an answer may have been
        too large, or too slow."""
        return Span(self.since, min(self.until, self.since + longest / 2**self.failures))


def keeping_vendors(gateway_pk: int | None = None) -> list[str]:
    """Return those vendors of gateways that answer which keep a history."""
    # Without order_by() the model's own order would take part in DISTINCT.
    found = _answering(gateway_pk).order_by().values_list("vendor", flat=True).distinct()
    return [name for name in found if vendors.load_or_default(name).keeps_history()]


def gaps(names: Collection[str], since: datetime, gateway_pk: int | None = None) -> list[Gap]:
    """Find the gaps after `since`, of gateways of these vendors, device by device."""
    silences = Silence.objects.unasked().filter(
        ends_at__gt=since,
        attribute__device__enabled=True,
        attribute__device__removed_at=None,
        attribute__device__gateway__in=_answering(gateway_pk).filter(vendor__in=names),
    )
    columns = ("device", "device__gateway", "device__vendor_id")
    rows = silences.order_by("-ends_at").values_list(
        *(f"attribute__{column}" for column in columns),
        *("starts_at", "asked_until", "ends_at", "failures"),
    )
    newest = sorted(map(_Row._make, rows[:MOST_SILENCES]), key=lambda row: row.device_pk)
    by_device = groupby(newest, key=lambda row: row.device_pk)
    found = [gap for _, of_one in by_device for gap in _joined(sorted(of_one, key=_begin))]
    # One that began long before is asked for from then on only.
    return [replace(gap, since=max(gap.since, since)) for gap in found]


def _answering(gateway_pk: int | None) -> GatewayQuerySet:
    # What does not answer a poll is not asked for its history either.
    answering = Gateway.objects.active().filter(failures=0)
    return answering if gateway_pk is None else answering.filter(pk=gateway_pk)


def _begin(row: _Row) -> datetime:
    return row.begins_at


def _joined(rows: Collection[_Row]) -> Iterator[Gap]:
    """Join silences of one device that overlap, given by when they begin."""
    gap: Gap | None = None
    for row in rows:
        if gap and row.begins_at <= gap.until:
            until, failures = max(gap.until, row.ends_at), max(gap.failures, row.failures)
            gap = Gap(gap.device_pk, gap.gateway_pk, gap.vendor_id, gap.since, until, failures)
            continue
        if gap:
            yield gap
        gap = Gap(*row[:3], row.begins_at, row.ends_at, row.failures)
    if gap:
        yield gap


def open_before_the_first(
    holding: HeldLease, names: Collection[str], since: datetime, gateway_pk: int | None = None
) -> None:
    """Note the time from `since` to the first value of each attribute as a silence.

    Attributes without a value are left out: it is not known yet whether they have any.
    """
    first = Observation.objects.filter(attribute=OuterRef("pk")).order_by("observed_at")
    earliest = Silence.objects.filter(attribute=OuterRef("pk")).order_by("starts_at")
    attributes = (
        Attribute.objects.filter(
            device__enabled=True,
            device__removed_at=None,
            device__gateway__in=_answering(gateway_pk).filter(vendor__in=names),
        )
        .annotate(first_at=Subquery(first.values("observed_at")[:1]))
        .annotate(silent_at=Subquery(earliest.values("starts_at")[:1]))
        .filter(first_at__gt=since + late_after())
        .order_by("pk")
    )
    rows = list(attributes.values_list("pk", "first_at", "silent_at"))
    for start in range(0, len(rows), ATTRIBUTES_AT_ONCE):
        with publishing():
            holding.renew()
            # It ends where a silence begins that is there already: they must not overlap.
            Silence.objects.bulk_create(
                Silence(attribute_id=pk, starts_at=since, ends_at=min(first_at, silent_at))
                for pk, first_at, silent_at in _known(rows[start : start + ATTRIBUTES_AT_ONCE])
                if min(first_at, silent_at) - since > late_after()
            )


def _known(
    rows: Collection[tuple[int, datetime, datetime | None]],
) -> Iterator[tuple[int, datetime, datetime]]:
    for pk, first_at, silent_at in rows:
        yield pk, first_at, silent_at or first_at


def note_failure(device_pk: int, span: Span) -> None:
    """Count that the history could not be read for this time. Call it inside publishing()."""
    silences = Silence.objects.unasked().filter(attribute__device=device_pk)
    overlapping = silences.filter(starts_at__lt=span.until, ends_at__gt=span.since)
    pks = list(overlapping.values_list("pk", flat=True))
    Silence.objects.filter(pk__in=pks).update(failures=F("failures") + 1)
