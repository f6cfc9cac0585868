"""Check what a feed answered, and store it so that it can be read as of any time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite

from django.db import transaction
from django.db.models import Case, F, Value, When

from core.feeds import LONGEST_SLOT, Signal, Slot, clean_slots
from core.models import FeedSource, Forecast, Measurement, Series
from core.net.errors import ApiRefused

AHEAD = timedelta(minutes=5)
"""How far a source's clock may be ahead of ours."""


@dataclass
class FeedAnswer:
    """Clean slots, by issue and by signal. `at`: when the answer came, `known_at` of its rows."""

    at: datetime
    forecasts: dict[tuple[Signal, datetime], Sequence[Slot]] = field(default_factory=dict)
    measurements: dict[Signal, Sequence[Slot]] = field(default_factory=dict)
    left_out: int = 0

    @property
    def units(self) -> dict[Signal, str]:
        some = [slots[0] for slots in (*self.forecasts.values(), *self.measurements.values())]
        return {slot.signal: slot.unit for slot in some}


def checked_answer(
    slots: Iterable[Slot], since: datetime, until: datetime, at: datetime
) -> FeedAnswer:
    """Return the slots that are valid and were asked for, clean and sorted by what they are of.

    The part of a forecast that lies before its issue is no forecast, and dropped. Slots that are
    not valid, or in another unit than the first of their signal, count as left out.
    """
    answer, units = FeedAnswer(at), dict[Signal, str]()
    forecasts: dict[tuple[Signal, datetime], list[Slot]] = {}
    measurements: dict[Signal, list[Slot]] = {}
    for slot in slots:
        if not _is_valid(slot, at) or units.setdefault(slot.signal, slot.unit) != slot.unit:
            answer.left_out += 1
        elif slot.ends_at <= since or slot.starts_at >= until:
            continue
        elif slot.issued_at is None:
            measurements.setdefault(slot.signal, []).append(slot)
        elif slot.ends_at > slot.issued_at:
            forecasts.setdefault((slot.signal, slot.issued_at), []).append(slot)
    answer.forecasts = {issue: clean_slots(issued) for issue, issued in forecasts.items()}
    answer.measurements = {signal: clean_slots(taken) for signal, taken in measurements.items()}
    return answer


def _is_valid(slot: Slot, now: datetime) -> bool:
    made_at = slot.issued_at or slot.starts_at
    if any(time.utcoffset() is None for time in (slot.starts_at, slot.ends_at, made_at)):
        return False
    if made_at > now + AHEAD:
        return False
    if not slot.starts_at < slot.ends_at <= slot.starts_at + LONGEST_SLOT:
        return False
    is_number = isinstance(slot.value, int | float) and isfinite(slot.value)
    return is_number and slot.signal.has_unit(slot.unit)


def store_answer(source_pk: int, answer: FeedAnswer) -> tuple[int, int]:
    """Store an answer and return how many forecasts, and how many measurements, are new.

    Raises ApiRefused if the source went over to another unit.
    """
    with transaction.atomic():
        # Locked until the end, so that two processes that fetched the same store it once.
        source = FeedSource.objects.select_for_update().get(pk=source_pk)
        if source.fetched_at and source.fetched_at > answer.at + AHEAD:
            _know_by(source, answer.at)
        series = {signal: _series(source, signal, unit) for signal, unit in answer.units.items()}
        forecasts = measurements = 0
        for (signal, issued_at), slots in answer.forecasts.items():
            forecasts += _store_forecast(series[signal], issued_at, slots, answer.at)
        for signal, slots in answer.measurements.items():
            measurements += _store_measurements(series[signal], slots, answer.at)
        source.fetched_at = answer.at
        source.failures, source.retry_at = 0, None
        source.error, source.refused = "", False
        source.history_version += 1
        source.save()
    return forecasts, measurements


def _know_by(source: FeedSource, at: datetime) -> None:
    """Let what was fetched by a clock that ran ahead be known from now on, not only when that time
    comes. Nothing is known before it was issued or over."""
    ahead = Forecast.objects.filter(series__source=source, known_at__gt=at)
    is_older = When(issued_at__lte=at, then=Value(at))
    ahead.update(known_at=Case(is_older, default=F("issued_at")))
    taken = Measurement.objects.filter(series__source=source, known_at__gt=at)
    # Of several revisions the latest: one row for each time can be known at one moment.
    latest = {(row.series_id, row.starts_at): row for row in taken.order_by("known_at", "pk")}
    taken.delete()
    for row in latest.values():
        row.pk, row.known_at = None, max(at, row.ends_at)
    Measurement.objects.bulk_create(
        latest.values(),
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["series", "starts_at", "known_at"],
        update_fields=["ends_at", "value"],
    )


def _series(source: FeedSource, signal: Signal, unit: str) -> Series:
    series, _ = Series.objects.get_or_create(source=source, signal=signal, defaults={"unit": unit})
    if series.unit != unit:
        raise ApiRefused(
            f"It tells {signal.replace('_', ' ')} in {unit}, and before in {series.unit}. "
            "Delete what is stored of it."
        )
    return series


def _store_forecast(
    series: Series, issued_at: datetime, slots: Sequence[Slot], known_at: datetime
) -> bool:
    """Store an issue, or what a later fetch adds at its end, and say whether it is new.

    What was stored of an issue stays as it was: decisions were made by it.
    """
    ends_at = slots[-1].ends_at
    stored = Forecast.objects.filter(series=series, issued_at=issued_at).first()
    if stored is None:
        Forecast.objects.create(
            series=series,
            issued_at=issued_at,
            known_at=known_at,
            ends_at=ends_at,
            slots=Forecast.packed(list(slots)),
        )
    elif ends_at > stored.ends_at:
        added = [slot for slot in slots if slot.starts_at >= stored.ends_at]
        stored.slots += Forecast.packed(added)
        stored.ends_at = ends_at
        stored.save(update_fields=["slots", "ends_at"])
    return stored is None


def _store_measurements(series: Series, slots: Sequence[Slot], known_at: datetime) -> int:
    """Store a row for each slot that is new or revised, and return how many these are."""
    rows = (
        Measurement.objects.filter(series=series, known_at__lte=known_at)
        .filter(starts_at__gte=slots[0].starts_at, starts_at__lte=slots[-1].starts_at)
        .order_by("known_at")
        .values_list("starts_at", "ends_at", "value")
    )
    latest = {start: (end, value) for start, end, value in rows}
    new = [slot for slot in slots if latest.get(slot.starts_at) != (slot.ends_at, slot.value)]
    measurements = [
        Measurement(
            series=series,
            starts_at=slot.starts_at,
            ends_at=slot.ends_at,
            value=slot.value,
            known_at=known_at,
        )
        for slot in new
    ]
    # A conflict is a revision in the same microsecond: the later one counts, as in `latest`.
    Measurement.objects.bulk_create(
        measurements,
        batch_size=1000,
        update_conflicts=True,
        unique_fields=["series", "starts_at", "known_at"],
        update_fields=["ends_at", "value"],
    )
    return len(new)
