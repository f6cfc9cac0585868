"""What a feed answered: looked through, then stored so that it can be asked for as it was known at any time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite

from django.db import transaction

from core.feeds import UNITS, Signal, Slot
from core.models import FeedSource, Forecast, Measurement, Series
from core.net.errors import ApiRefused
from core.planning.forecast import apart

LONGEST_SLOT = timedelta(days=1)
AHEAD = timedelta(minutes=5)
"""How far a source's clock may run before ours."""


@dataclass
class FeedAnswer:
    """Slots by what they are of, in order, without overlap. `at`: when the answer was there, from then on it is known."""

    at: datetime
    forecasts: dict[tuple[Signal, datetime], Sequence[Slot]] = field(default_factory=dict)
    measurements: dict[Signal, Sequence[Slot]] = field(default_factory=dict)
    left_out: int = 0

    @property
    def units(self) -> dict[Signal, str]:
        some = [slots[0] for slots in (*self.forecasts.values(), *self.measurements.values())]
        return {slot.signal: slot.unit for slot in some}


def looked_through(
    slots: Iterable[Slot], since: datetime, until: datetime, at: datetime
) -> FeedAnswer:
    """What makes sense and was asked for. What a forecast says of the time before its issue is no forecast, and not kept."""
    answer, units = FeedAnswer(at), dict[Signal, str]()
    forecasts: dict[tuple[Signal, datetime], list[Slot]] = {}
    measurements: dict[Signal, list[Slot]] = {}
    for slot in slots:
        if not _makes_sense(slot, at) or units.setdefault(slot.signal, slot.unit) != slot.unit:
            answer.left_out += 1
        elif slot.ends_at <= since or slot.starts_at >= until:
            continue
        elif slot.issued_at is None:
            measurements.setdefault(slot.signal, []).append(slot)
        elif slot.ends_at > slot.issued_at:
            forecasts.setdefault((slot.signal, slot.issued_at), []).append(slot)
    answer.forecasts = {key: apart(said) for key, said in forecasts.items()}
    answer.measurements = {signal: apart(measured) for signal, measured in measurements.items()}
    return answer


def _makes_sense(slot: Slot, now: datetime) -> bool:
    times = (slot.starts_at, slot.ends_at, slot.issued_at or slot.starts_at)
    return (
        all(time.utcoffset() is not None for time in times)
        and slot.starts_at < slot.ends_at <= slot.starts_at + LONGEST_SLOT
        and times[2] <= now + AHEAD  # issued, or measured, in the future
        and isinstance(slot.value, int | float)
        and isfinite(slot.value)
        and _is_unit(slot.unit, slot.signal)
    )


def _is_unit(unit: str, signal: Signal) -> bool:
    if signal is Signal.PRICE:
        return unit.endswith(UNITS[signal]) and 3 < len(unit) <= 20
    return unit == UNITS[signal]


def store(source_pk: int, answer: FeedAnswer) -> tuple[int, int]:
    """How many forecasts, and how many measurements, are new. Raises ApiRefused if the source went over to another unit.

    The row of the source is locked meanwhile, so that two processes that fetched the same store it once.
    """
    with transaction.atomic():
        source = FeedSource.objects.select_for_update().get(pk=source_pk)
        series = {signal: _series(source, signal, unit) for signal, unit in answer.units.items()}
        forecasts = sum(
            _store_forecast(series[signal], at, said, answer.at)
            for (signal, at), said in answer.forecasts.items()
        )
        measurements = sum(
            _store_measured(series[signal], said, answer.at)
            for signal, said in answer.measurements.items()
        )
        source.fetched_at, source.failures, source.error, source.refused, source.retry_at = (
            answer.at,
            0,
            "",
            False,
            None,
        )
        source.save()
    return forecasts, measurements


def _series(source: FeedSource, signal: Signal, unit: str) -> Series:
    series, _ = Series.objects.get_or_create(source=source, signal=signal, defaults={"unit": unit})
    if series.unit != unit:
        raise ApiRefused(
            f"It tells {signal.replace('_', ' ')} in {unit}, and before in {series.unit}. Delete what is stored of it."
        )
    return series


def _store_forecast(
    series: Series, issued_at: datetime, slots: Sequence[Slot], known_at: datetime
) -> bool:
    """An issue is what it was when it was first fetched. What a later fetch tells of it reaches further, and is added."""
    ends_at = slots[-1].ends_at
    known = Forecast.objects.filter(series=series, issued_at=issued_at).first()
    if known is None:
        Forecast.objects.create(
            series=series,
            issued_at=issued_at,
            known_at=known_at,
            ends_at=ends_at,
            slots=Forecast.packed(list(slots)),
        )
    elif ends_at > known.ends_at:
        known.slots += Forecast.packed([slot for slot in slots if slot.starts_at >= known.ends_at])
        known.ends_at = ends_at
        known.save(update_fields=["slots", "ends_at"])
    return known is None


def _store_measured(series: Series, slots: Sequence[Slot], known_at: datetime) -> int:
    """A row for each slot that was not known, or known as something else."""
    rows = (
        Measurement.objects.filter(series=series, known_at__lte=known_at)
        .filter(starts_at__gte=slots[0].starts_at, starts_at__lte=slots[-1].starts_at)
        .order_by("known_at")
        .values_list("starts_at", "ends_at", "value")
    )
    latest = {start: (end, value) for start, end, value in rows}
    new = [slot for slot in slots if latest.get(slot.starts_at) != (slot.ends_at, slot.value)]
    Measurement.objects.bulk_create(
        [
            Measurement(
                series=series,
                starts_at=s.starts_at,
                ends_at=s.ends_at,
                value=s.value,
                known_at=known_at,
            )
            for s in new
        ],
        batch_size=1000,
        update_conflicts=True,  # known at the very same time
        unique_fields=["series", "starts_at", "known_at"],
        update_fields=["ends_at", "value"],
    )
    return len(new)
