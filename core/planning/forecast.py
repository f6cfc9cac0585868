"""What to expect of an outside signal, from the best source there is. Pure functions.

The sources form a ladder. Its rungs: a live forecast; the last one, as far as it reaches; a typical
day, from what was measured at the same time of day in the weeks before; none, and then a rule can
only meet its deadline.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from statistics import median

from core.feeds import Signal, Slot
from core.planning.calibration import Calibration
from core.planning.means import RunningMeans

DAY = timedelta(days=1)
TYPICAL_OF = timedelta(days=28)
"""The weeks that a typical day is made of."""
LEAST_OF_A_TYPICAL_DAY = timedelta(days=3)
LIVE_FOR = 3
"""A forecast is live until it is as old as so many intervals of its feed."""
NOISE = 0.8
"""The share of noise in what sets a slot apart from those around it. Less than all of it, so that a
short dip that is deep still wins over what lies beside it. Measured in bench/README.md."""


REPLAYED = "replayed data"


class Rung(StrEnum):
    LIVE = "live forecast"
    LAST = "last forecast"
    TYPICAL = "typical day"
    NONE = "no forecast"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of a signal: clean slots, from the one that holds now on.

    `rung` is that of the slot that holds now (or the first one); from `typical_from` on the slots
    are of a typical day. `issued_at` is of the forecast that holds now, None without one: later
    slots may be of an earlier issue that reaches further. `is_replayed`: all of it is of another
    time, see core/feeds/__init__.py. `calibrated_days`: of so many days of its own errors the
    forecast was corrected, 0 if it was not; `issued` are its slots as they were issued then.
    """

    signal: Signal
    slots: tuple[Slot, ...] = ()
    rung: Rung = Rung.NONE
    issued_at: datetime | None = None
    typical_from: datetime | None = None
    is_replayed: bool = False
    calibrated_days: int = 0
    issued: tuple[Slot, ...] = ()

    def at(self, time: datetime) -> Slot | None:
        """Return the slot that holds a time."""
        return next((slot for slot in self.slots if slot.starts_at <= time < slot.ends_at), None)

    @property
    def earlier_from(self) -> datetime | None:
        """Return where the slots of an earlier issue begin, None if there are none."""
        for slot in self.slots:
            if slot.starts_at == self.typical_from:
                break
            if slot.issued_at != self.issued_at:
                return slot.starts_at
        return None

    @property
    def kind(self) -> str:
        """Return what it is, for a caption: "live forecast", "typical day, of replayed data"."""
        if not self.is_replayed:
            return f"{self.rung}, corrected" if self.calibrated_days else self.rung
        return REPLAYED if self.rung is Rung.LIVE else f"{self.rung}, of {REPLAYED}"

    def origin(self, now: datetime) -> str:
        """Return source() for a line of its own, and whether the data is replayed."""
        replayed = f"{REPLAYED} of another time, not live" if self.is_replayed else ""
        return "; ".join(filter(None, (self.source(now), replayed)))

    def source(self, now: datetime, clock: Callable[[datetime], str] | None = None) -> str:
        """Return where it comes from, for the end of a sentence; "" for a live forecast.

        Else such as "by the last forecast, 5 h old", "by a typical day", "by the forecast, and by a
        typical day after 14:00 UTC" or "by the newest forecast up to 15:00 UTC, then by an older
        one". `clock` shows a time in another way, such as the rule's own.
        """
        if self.rung is Rung.NONE:
            return "without a forecast"
        if self.rung is Rung.TYPICAL:
            return "by a typical day"
        if self.rung is Rung.LIVE:
            forecast = "by the newest forecast" if self.earlier_from else "by the forecast"
        else:
            age = f", {_age(now - self.issued_at)} old" if self.issued_at else ""
            forecast = f"by the last forecast{age}"
        if self.calibrated_days:
            forecast += self._correction(now)
        if not self.earlier_from and not self.typical_from:
            return "" if self.rung is Rung.LIVE and not self.calibrated_days else forecast

        def shown(time: datetime) -> str:
            return clock(time) if clock else _clock(time, now)

        if self.earlier_from:
            closed = "," if "," in forecast else ""
            forecast += f"{closed} up to {shown(self.earlier_from)}, then by an older one"
        if self.typical_from:
            forecast += f", and by a typical day after {shown(self.typical_from)}"
        return forecast

    def as_issued(self, time: datetime) -> Slot | None:
        """Return the slot that holds a time as it was issued; None if nothing was corrected."""
        held = (slot for slot in self.issued if slot.starts_at <= time < slot.ends_at)
        return next(held, None)

    def _correction(self, now: datetime) -> str:
        """Say that it was corrected, and what that makes of the value now."""
        said = f", corrected by its errors of the last {self.calibrated_days} days"
        issued, corrected = self.as_issued(now), self.at(now)
        if issued is None or corrected is None:
            return said
        values = f"{_number(corrected.value)}, {_number(issued.value)} as issued"
        return f"{said} (now {values})"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _clock(time: datetime, now: datetime) -> str:
    day = "" if time.date() == now.date() else f" on {time:%A}"
    return f"{time:%H:%M} UTC{day}"


def layered(issues: Sequence[Sequence[Slot]]) -> list[Slot]:
    """Return slots of the first issue, and of each later one where those before have none.

    Each issue is clean slots; so is the result. A slot that is covered in part is cut.
    """
    whole: list[Slot] = []
    for issue in issues:
        whole = sorted([*whole, *_uncovered(issue, whole)], key=_start)
    return whole


def _uncovered(slots: Sequence[Slot], covered: Sequence[Slot]) -> Iterator[Slot]:
    """Yield what of the slots lies in none of the others."""
    for slot in slots:
        start = slot.starts_at
        for other in _between(covered, slot.starts_at, slot.ends_at):
            if start < other.starts_at:
                yield replace(slot, starts_at=start, ends_at=other.starts_at)
            start = other.ends_at
        if start < slot.ends_at:
            yield replace(slot, starts_at=start)


def outlook(
    signal: Signal,
    now: datetime,
    until: datetime,
    forecast: Sequence[Slot],
    measurements: Sequence[Slot],
    every: timedelta,
    is_replayed: bool = False,
    calibration: Calibration | None = None,
    earlier: Iterable[Sequence[Slot]] = (),
) -> Outlook:
    """Return what to expect from `now` up to `until`.

    `forecast` is what the issues known by `now` say, see layered(); `measurements` are those of the
    weeks before, as of `now`; both are clean slots. `every` is how often the feed has something
    new. `earlier` are forecasts of the last hours, see Calibration.corrected(). The last slot may
    reach beyond `until`.
    """
    ahead = _between(forecast, now, until)
    reach = ahead[-1].ends_at if ahead else now
    # After a forecast the first typical slot is cut, so that no two slots overlap.
    typical = _typical(measurements, now, reach, until, cut=bool(ahead)) if reach < until else ()
    slots = (*ahead, *typical)
    if not slots:
        return Outlook(signal)
    corrected = ahead
    if calibration and ahead:
        # All of the forecast, whatever is asked for: what lies around a slot corrects it.
        following = _between(forecast, now, forecast[-1].ends_at)
        corrected = calibration.corrected(following, now, earlier)[: len(ahead)]
    return Outlook(
        signal,
        (*corrected, *typical),
        rung=_rung(ahead, now, every),
        issued_at=ahead[0].issued_at if ahead else None,
        typical_from=typical[0].starts_at if typical else None,
        is_replayed=is_replayed,
        calibrated_days=calibration.days if calibration and ahead else 0,
        issued=slots if calibration and ahead else (),
    )


def _between(slots: Sequence[Slot], since: datetime, until: datetime) -> Sequence[Slot]:
    """Return the slots that overlap this time."""
    # Clean slots do not overlap, so their ends are in order of time too.
    first = bisect_right(slots, since, key=_end)
    return slots[first : bisect_left(slots, until, lo=first, key=_start)]


def _rung(ahead: Sequence[Slot], now: datetime, every: timedelta) -> Rung:
    if not ahead:
        return Rung.TYPICAL
    issued_at = ahead[0].issued_at
    # Even a young forecast is not live if it begins only later.
    is_young = issued_at is not None and now - issued_at < LIVE_FOR * every
    return Rung.LIVE if is_young and ahead[0].starts_at <= now else Rung.LAST


def _typical(
    measurements: Sequence[Slot], now: datetime, since: datetime, until: datetime, cut: bool
) -> tuple[Slot, ...]:
    """Return slots of a typical day from the one that holds `since` on, `cut` there or whole."""
    first = bisect_left(measurements, now - TYPICAL_OF, key=_start)
    last = bisect_left(measurements, now, lo=first, key=_start)
    typical_day = _TypicalDay.of(measurements[first:last])
    slots = tuple(typical_day.slots(since, until)) if typical_day else ()
    if cut and slots and slots[0].starts_at < since:
        return (replace(slots[0], starts_at=since), *slots[1:])
    return slots


@dataclass(frozen=True, slots=True)
class _TypicalDay:
    """What was measured, by the slot of the day (UTC), on working days and at weekends."""

    like: Slot
    length: timedelta
    values: Mapping[tuple[int, bool], Sequence[float]]

    @classmethod
    def of(cls, measurements: Sequence[Slot]) -> "_TypicalDay | None":
        """Return it, or None if too little was measured.

        Slots of another length than most are left out: they have no place in the day's grid.
        """
        if not measurements:
            return None
        lengths = Counter(slot.ends_at - slot.starts_at for slot in measurements)
        [(length, count)] = lengths.most_common(1)
        # This counts what was measured, not the time from the first to the last.
        if length > DAY or count * length < LEAST_OF_A_TYPICAL_DAY:
            return None
        seconds, values = length.total_seconds(), dict[tuple[int, bool], list[float]]()
        for slot in measurements:
            start = slot.starts_at
            if slot.ends_at - start == length:
                place = int((start.hour * 3600 + start.minute * 60 + start.second) // seconds)
                values.setdefault((place, start.weekday() >= 5), []).append(slot.value)
        return cls(measurements[-1], length, values)

    def slots(self, since: datetime, until: datetime) -> Iterator[Slot]:
        """Yield the slots that overlap this time and have a value.

        The last one of a day ends at midnight, so that a length that is no part of a day begins
        each day anew.
        """
        # The first slot is the one that holds `since`, and may start before it.
        midnight = datetime.combine(since, time(), since.tzinfo)
        start = midnight + (since - midnight) // self.length * self.length
        while start < until:
            end = min(start + self.length, midnight + DAY)
            value = self.value((start - midnight) // self.length, start.weekday() >= 5)
            if value is not None:
                yield replace(self.like, starts_at=start, ends_at=end, value=value)
            if end == midnight + DAY:
                midnight = end
            start = end

    def value(self, place: int, at_weekend: bool) -> float | None:
        """Return the median of days of this kind if there are two of each, else of all days."""
        same = self.values.get((place, at_weekend), ())
        other = self.values.get((place, not at_weekend), ())
        values = same if min(len(same), len(other)) >= 2 else (*same, *other)
        return median(values) if values else None


def _age(age: timedelta) -> str:
    # An issuer's clock may be ahead of ours.
    minutes = max(0, age // timedelta(minutes=1))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def _start(slot: Slot) -> datetime:
    return slot.starts_at


def _end(slot: Slot) -> datetime:
    return slot.ends_at


Outlooks = Mapping[Signal, Outlook]


# All devices of a region have one forecast.
@lru_cache(maxsize=32)
def smoothed(slots: tuple[Slot, ...], span: timedelta) -> tuple[Slot, ...]:
    """Return each slot moved by NOISE towards the mean from `span` before its start to `span` after
    its end.

    Most of what makes a slot of a forecast lower than those around it is noise, and a planner that
    looks for the lowest finds just those. Statisticians call the remedy shrinkage. Measured in
    bench/README.md.
    """
    means = RunningMeans(slots)
    moved = []
    for slot in slots:
        mean = means.around(slot, span)
        moved.append(replace(slot, value=slot.value + NOISE * (mean - slot.value)))
    return tuple(moved)
