"""Learn from a feed's own forecasts and measurements how to correct its next ones.

Strictly forward: what is learnt at a time is from what was known by then.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from core.feeds import Slot
from core.planning.accuracy import KnownForecast, measured_mean
from core.planning.calibration import (
    EARLIER_FROM,
    EARLIER_UNTIL,
    EVERY,
    FEATURES,
    PLACE,
    PLACES,
    Calibration,
    DayProfile,
    earlier_means,
    features,
    on_grid,
    places_of,
)
from core.planning.ridge import Moments, fitted, total

DAY = timedelta(days=1)
LEARNS_FOR = timedelta(days=28)
READS = 2 * LEARNS_FOR
"""What is learnt from the last weeks starts from typical values of the weeks before."""
LEAST = timedelta(days=7)
"""With less it does not begin."""
TRIAL = timedelta(days=7)
"""What was learnt before the last days is tried on them."""
MOST_ROWS = 48
"""Slots of one forecast that are learnt from."""
PRIOR_ROWS = 300
"""Of 300, 1,000 and 3,000, tried on the whole of 2023 (bench/README.md): it hardly matters."""
FORGETS = 1 / 14
"""Of a half-hour's mean, by each day."""
PRIOR_DAYS = 4
"""A bias is believed half after so many days."""


@dataclass
class _Issue:
    """A forecast, its features by what was known when it was, and their sums once it is over."""

    known_at: datetime
    rows: list[tuple[Slot, list[float]]]
    moments: Moments | None = None


@dataclass
class _Mean:
    total: float = 0
    weight: float = 0

    def add(self, value: float, weight: float) -> None:
        keep = 1 - weight * FORGETS
        self.total = self.total * keep + value * weight
        self.weight = self.weight * keep + weight


@dataclass
class Learner:
    """Told of forecasts and measurements in the order in which they became known."""

    _issues: deque[_Issue] = field(default_factory=deque)
    _newest: Sequence[Slot] = ()
    _last: deque[KnownForecast] = field(default_factory=deque)
    _measured: list[Slot] = field(default_factory=list)
    _typical: list[_Mean] = field(default_factory=lambda: [_Mean() for _ in range(PLACES)])
    _bias: list[_Mean] = field(default_factory=lambda: [_Mean() for _ in range(PLACES)])
    _recent: list[float] = field(default_factory=lambda: [0.0] * PLACES)

    def measured(self, slot: Slot) -> None:
        """Take in a measurement. A revision of an earlier one is left out."""
        place = bisect_left(self._measured, slot.starts_at, key=_start)
        is_known = place < len(self._measured) and self._measured[place].starts_at < slot.ends_at
        if is_known or (place and self._measured[place - 1].ends_at > slot.starts_at):
            return
        self._measured.insert(place, slot)
        forecast = self._forecast_of(slot)
        weight = min(1.0, (slot.ends_at - slot.starts_at) / PLACE)
        for half_hour in places_of(slot):
            self._typical[half_hour].add(slot.value, weight)
            if forecast is not None:
                self._bias[half_hour].add(slot.value - forecast, weight)
                self._recent[half_hour] = slot.value - forecast

    def forecast(self, slots: Sequence[Slot], known_at: datetime) -> None:
        """Take in a forecast: clean slots, those that are over when it is known left out."""
        first = bisect_right(slots, known_at, key=_end)
        slots = slots[first:]
        if not slots:
            return
        stride = -(-len(slots) // MOST_ROWS)
        # Each time other slots, so that none is left out for ever.
        offset = int(known_at.timestamp() // EVERY.total_seconds()) % stride
        earlier = earlier_means(self.earlier(known_at))
        rows = list(features(slots, known_at, self._profile(), earlier, stride, offset))
        ahead = [(slot, found) for slot, found in rows if slot.starts_at >= known_at]
        self._issues.append(_Issue(known_at, ahead))
        self._newest = slots
        self._last.append(KnownForecast(known_at, slots))

    def earlier(self, now: datetime) -> list[Sequence[Slot]]:
        """Return the forecasts of the last hours that one of now is compared with."""
        while self._last and now - self._last[0].known_at >= EARLIER_UNTIL:
            self._last.popleft()
        return [one.slots for one in self._last if now - one.known_at >= EARLIER_FROM]

    def calibration(self, now: datetime) -> Calibration | None:
        """Return what was learnt; None if it is too little, or would not have helped lately."""
        self._forget(now)
        sums = [(issue.known_at, self._moments(issue, now)) for issue in self._issues]
        sums = [(known_at, found) for known_at, found in sums if found.rows]
        if not sums or now - sums[0][0] < LEAST or not self._measured:
            return None
        trial_from = now - min(TRIAL, (now - sums[0][0]) / 3)
        # Those issued in between would know of what they are tried on.
        earlier = total((one for at, one in sums if at < trial_from - 2 * DAY), FEATURES)
        trial = total((one for at, one in sums if at >= trial_from), FEATURES)
        if trial.squared_error(fitted(earlier, PRIOR_ROWS)) >= trial.yy:
            return None
        values = [slot.value for slot in self._measured]
        return Calibration(
            round((now - sums[0][0]) / DAY),
            tuple(fitted(total((one for _, one in sums), FEATURES), PRIOR_ROWS)),
            self._profile(),
            min(values),
            max(values),
        )

    def _forget(self, now: datetime) -> None:
        since = now - LEARNS_FOR
        while self._issues and self._issues[0].known_at < since:
            self._issues.popleft()
        del self._measured[: bisect_left(self._measured, since, key=_start)]

    def _moments(self, issue: _Issue, now: datetime) -> Moments:
        """Return the sums over what was measured of a forecast so far."""
        if issue.moments is not None:
            return issue.moments
        ends = [slot.ends_at for slot in self._measured]
        found = Moments(FEATURES)
        for slot, x in issue.rows:
            actual = measured_mean(self._measured, ends, slot)
            if actual is not None:
                found.add(x, actual - slot.value)
        # Measurements come late: it is summed up for good a day after its end.
        if not issue.rows or issue.rows[-1][0].ends_at + DAY < now:
            issue.moments = found
        return found

    def _forecast_of(self, slot: Slot) -> float | None:
        """Return what the newest forecast before it said of a measured slot."""
        middle = slot.starts_at + (slot.ends_at - slot.starts_at) / 2
        place = bisect_right(self._newest, middle, key=_end)
        if place == len(self._newest) or self._newest[place].starts_at > middle:
            return None
        return self._newest[place].value

    def _profile(self) -> DayProfile:
        typical = [mean.total / mean.weight if mean.weight else None for mean in self._typical]
        bias = [mean.total / (mean.weight + PRIOR_DAYS) for mean in self._bias]
        return DayProfile(tuple(typical), _smooth(bias, 1), _smooth(self._recent, 3))


class Measured(NamedTuple):
    """A measurement and when it became known."""

    known_at: datetime
    slot: Slot


class Forecasts(Protocol):
    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        """Return a key that differs when the forecast does, and the newest forecast as of `now`.

        The slots are clean. Times do not go back.
        """


class Lessons:
    """Tell a learner what became known, in that order: of live data and in a backtest.

    `measured` is in order of `known_at`. Forecasts are looked at each EVERY.
    """

    def __init__(self, since: datetime, forecasts: Forecasts, measured: Iterator[Measured]) -> None:
        self.learner = Learner()
        self._forecasts, self._measured = forecasts, measured
        self._next = next(measured, None)
        self._at = on_grid(since) + EVERY
        self._key: object = None

    def until(self, now: datetime) -> Learner:
        """Return the learner, told of all that was known by now. Times do not go back."""
        while self._at <= now:
            self._measure(self._at)
            key, slots = self._forecasts.at(self._at)
            # Without a new one since then there is nothing more to learn.
            if key != self._key:
                self.learner.forecast(slots, self._at)
            self._key = key
            self._at += EVERY
        self._measure(now)
        return self.learner

    def _measure(self, now: datetime) -> None:
        while self._next and self._next.known_at <= now:
            self.learner.measured(self._next.slot)
            self._next = next(self._measured, None)


def _smooth(values: Sequence[float], around: int) -> tuple[float, ...]:
    """Return the means of each and so many before and after it, around the clock."""
    size = len(values)
    span = range(-around, around + 1)
    return tuple(
        sum(values[(place + step) % size] for step in span) / len(span) for place in range(size)
    )


def _start(slot: Slot) -> datetime:
    return slot.starts_at


def _end(slot: Slot) -> datetime:
    return slot.ends_at
