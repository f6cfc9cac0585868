"""Correct a forecast by what was learnt from the errors of those before it. Pure functions.

The correction of a slot is a sum of a few weighted *features*: by how much the slot differs from
the running means around it and from a typical day (a low half-hour of a forecast is half noise, the
more so the further ahead), from what the forecasts of the last hours said of it (what changes from
one issue to the next is partly noise, and plans made anew would chase it), how fast it rises or
falls (a forecast may come early or late), and how wrong forecasts of this time of day were, lately
and yesterday. The weights are those with which the forecasts of the last four weeks would have been
least wrong; `learner.py` finds them. Measured in bench/README.md.

Forecasts averaged over their issues: R. N. Hoffman, E. Kalnay, Lagged average forecasting, Tellus
35A (1983).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from math import exp
from typing import Any, Self

from core.feeds import Signal, Slot
from core.planning.means import RunningMeans

MINUTE = timedelta(minutes=1)
PLACE = 30 * MINUTE
PLACES = 48
"""Of a day, in UTC: half-hours."""
NARROW, WIDE, WIDEST = 90 * MINUTE, 180 * MINUTE, 360 * MINUTE
FADES = timedelta(hours=1)
"""A forecast of the next moments is surer: what holds of them only fades e times in it."""
EVERY = timedelta(hours=3)
"""One forecast of so much time is looked at: those between them say nearly the same."""
EARLIER_FROM, EARLIER_UNTIL = EVERY / 2, EVERY * 9 / 2
"""How long ago the earlier forecasts were known that a new one is compared with: four of them."""
FEATURES = 14
DIGITS = 6
CALIBRATED_EVERY = timedelta(days=1)


def may_be_calibrated(signal: Signal) -> bool:
    """Say whether to correct forecasts of it: not what was agreed on, nor warnings of a danger.

    A correction is right on the average, and a danger is never average.
    """
    return not (signal.is_exact or signal.is_danger)


def places_of(slot: Slot) -> Iterator[int]:
    """Yield the half-hours of the day that a slot lies in."""
    start = slot.starts_at
    first = (start.hour * 60 + start.minute) // 30
    yield first
    into = (start.minute % 30) * MINUTE + timedelta(seconds=start.second)
    for more in range(1, min(PLACES, -((slot.starts_at - slot.ends_at - into) // PLACE))):
        yield (first + more) % PLACES


def on_grid(time: datetime) -> datetime:
    """Return the last whole EVERY since midnight, UTC: when forecasts are looked at."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (time - midnight) // EVERY * EVERY


def earlier_means(forecasts: Iterable[Sequence[Slot]]) -> dict[datetime, float]:
    """Return the mean of what earlier forecasts said of each slot, by its start."""
    said: dict[datetime, list[float]] = {}
    for slots in forecasts:
        for slot in slots:
            said.setdefault(slot.starts_at, []).append(slot.value)
    return {start: sum(values) / len(values) for start, values in said.items()}


@dataclass(frozen=True, slots=True)
class DayProfile:
    """What is known by half-hour of the day: typical values, and how much forecasts were too low.

    `bias` is over weeks, `recent` of the last time; `typical` is None while it is unknown.
    """

    typical: tuple[float | None, ...]
    bias: tuple[float, ...]
    recent: tuple[float, ...]


def features(
    slots: Sequence[Slot],
    known_at: datetime,
    day: DayProfile,
    earlier: Mapping[datetime, float],
    stride: int = 1,
    first: int = 0,
) -> Iterator[tuple[Slot, list[float]]]:
    """Yield slots of a forecast that was known at a time, with their features.

    From the `first` on, each `stride`th. `earlier` is of earlier_means().
    """
    means = RunningMeans(slots)
    for slot in slots[first::stride]:
        place = next(places_of(slot))
        narrow, wide, widest = (means.around(slot, span) for span in (NARROW, WIDE, WIDEST))
        typical = day.typical[place]
        shrinking = [
            narrow - slot.value,
            wide - narrow,
            widest - wide,
            typical - widest if typical is not None else 0.0,
            day.bias[place],
            earlier.get(slot.starts_at, slot.value) - slot.value,
        ]
        others = [day.recent[place], means.rise(slot, NARROW)]
        ahead = max(slot.starts_at - known_at, timedelta(0))
        near = exp(-(ahead / FADES))
        yield slot, [*shrinking, *others, *(near * each for each in shrinking)]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How to correct a forecast: learnt from so many `days` of errors.

    No corrected value is beyond what was measured in these weeks, `least` and `most`, and what the
    forecast itself said.
    """

    days: int
    weights: tuple[float, ...]
    day: DayProfile
    least: float
    most: float

    def corrected(
        self, slots: Sequence[Slot], known_at: datetime, earlier: Iterable[Sequence[Slot]] = ()
    ) -> tuple[Slot, ...]:
        """Return the slots of a forecast with corrected values.

        `earlier` are the forecasts that were known from EARLIER_UNTIL to EARLIER_FROM ago.
        """
        changed = []
        for slot, found in features(slots, known_at, self.day, earlier_means(earlier)):
            pairs = zip(self.weights, found, strict=True)
            value = slot.value + sum(weight * feature for weight, feature in pairs)
            value = min(max(value, min(self.least, slot.value)), max(self.most, slot.value))
            changed.append(replace(slot, value=value))
        return tuple(changed)

    def as_json(self) -> dict[str, Any]:
        return {
            name: _rounded(value)
            for name, value in (asdict(self) | asdict(self.day)).items()
            if name != "day"
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self | None:
        """Read it back. None of nothing, or of what another version stored."""
        if len(stored.get("weights", ())) != FEATURES:
            return None
        typical, bias, recent = (tuple(stored[name]) for name in ("typical", "bias", "recent"))
        day = DayProfile(typical, bias, recent)
        weights = tuple(stored["weights"])
        return cls(stored["days"], weights, day, stored["least"], stored["most"])


def _rounded(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    # By significant digits: a weight may be small, a value large.
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
