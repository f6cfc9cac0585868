"""How right forecasts were, by how far ahead they looked. Pure functions.

Only what was foretold counts: a slot that had begun when its forecast became known is left out.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import NamedTuple

from core.feeds import Slot
from core.planning import Window

HOUR = timedelta(hours=1)
LEADS = tuple(timedelta(hours=hours) for hours in (0, 1, 3, 6, 12, 24, 48))
"""The edges of the table: up to 1 h ahead, 1 to 3 h, and so on."""


class KnownForecast(NamedTuple):
    """The slots of a forecast, and since when it was known here."""

    known_at: datetime
    slots: Sequence[Slot]


@dataclass
class LeadScore:
    """Errors (forecast less measured) of slots that begin from `least` up to `most` ahead.

    `bias` above zero: it foretold too much.
    """

    least: timedelta
    most: timedelta
    count: int = 0
    _sum: float = field(default=0, repr=False)
    _sum_of_sizes: float = field(default=0, repr=False)

    @property
    def hours(self) -> str:
        """Return its edges: 1-3 h."""
        return f"{self.least / HOUR:g}-{self.most / HOUR:g} h"

    def as_json(self) -> dict[str, float | None]:
        return {
            "from_hours": self.least / HOUR,
            "to_hours": self.most / HOUR,
            "slots": self.count,
            "mae": self.mae,
            "bias": self.bias,
        }

    def add(self, error: float) -> None:
        self.count += 1
        self._sum += error
        self._sum_of_sizes += abs(error)

    @property
    def bias(self) -> float | None:
        return self._sum / self.count if self.count else None

    @property
    def mae(self) -> float | None:
        """The mean absolute error."""
        return self._sum_of_sizes / self.count if self.count else None


def by_lead(forecasts: Iterable[KnownForecast], measured: Sequence[Slot]) -> list[LeadScore]:
    """Compare forecasts with clean measurements. Slots that were not measured in full do not count.

    The lead of a slot is the time from when its forecast was known to its start.
    """
    found = [LeadScore(least, most) for least, most in zip(LEADS, LEADS[1:], strict=False)]
    ends = [slot.ends_at for slot in measured]
    for known_at, slots in forecasts:
        for slot in slots:
            lead = slot.starts_at - known_at
            if not LEADS[0] <= lead < LEADS[-1]:
                continue
            actual = measured_of(measured, ends, slot)
            if actual is not None:
                found[bisect_right(LEADS, lead) - 1].add(slot.value - actual)
    return found


def measured_of(measured: Sequence[Slot], ends: Sequence[datetime], of: Slot) -> float | None:
    """Return what a slot is compared with; None if there is a gap.

    Of a chance: whether it happened at any time of the slot. Else the mean.
    """
    mean = measured_mean(measured, ends, of)
    if mean is None or not of.signal.is_chance:
        return mean
    first = bisect_right(ends, of.starts_at)
    within = takewhile(lambda slot: slot.starts_at < of.ends_at, islice(measured, first, None))
    return max(slot.value for slot in within)


def measured_mean(measured: Sequence[Slot], ends: Sequence[datetime], of: Slot) -> float | None:
    """Return what was measured in a slot's time, weighted by time; None if there is a gap."""
    at, total = of.starts_at, 0.0
    place = bisect_right(ends, at)
    while at < of.ends_at:
        if place == len(measured) or measured[place].starts_at > at:
            return None
        until = min(measured[place].ends_at, of.ends_at)
        total += measured[place].value * (until - at).total_seconds()
        at, place = until, place + 1
    return total / (of.ends_at - of.starts_at).total_seconds()


CHANCES = (0, 1, 3, 10, 20, 30, 40, 50, 70, 100)
"""The edges of the table of reliability, in percent."""


@dataclass
class Chances:
    """How chances of `least` up to `most` percent came out: how often it then happened."""

    least: float
    most: float
    count: int = 0
    happened: int = 0
    _sum: float = field(default=0, repr=False)
    _sum_of_squares: float = field(default=0, repr=False)

    def add(self, chance: float, actual: float) -> None:
        self.count += 1
        self.happened += actual > 0
        self._sum += chance
        self._sum_of_squares += (chance - actual) ** 2

    @property
    def foretold(self) -> float:
        """The mean chance, in percent."""
        return self._sum / self.count

    @property
    def seen(self) -> float:
        """In so many percent of the slots it happened."""
        return 100 * self.happened / self.count

    def as_json(self) -> dict[str, float]:
        return {"slots": self.count, "foretold": self.foretold, "happened": self.seen}


@dataclass
class Reliability:
    """The table, and the Brier score: the mean square error of chances between 0 and 1.

    `no_skill` is the score of who always tells how often it happens.
    """

    rows: list[Chances]

    @property
    def count(self) -> int:
        return sum(row.count for row in self.rows)

    @property
    def brier(self) -> float:
        return sum(row._sum_of_squares for row in self.rows) / self.count / 100**2

    @property
    def no_skill(self) -> float:
        rate = sum(row.happened for row in self.rows) / self.count
        return rate * (1 - rate)

    def as_json(self) -> dict[str, object]:
        rows = [row.as_json() for row in self.rows]
        return {"brier": self.brier, "brier_of_no_skill": self.no_skill, "chances": rows}


def reliability(forecasts: Iterable[KnownForecast], measured: Sequence[Slot]) -> Reliability | None:
    """Compare foretold chances with what happened; None where nothing was measured of them."""
    rows = [Chances(least, most) for least, most in pairwise(CHANCES)]
    ends = [slot.ends_at for slot in measured]
    for known_at, slots in forecasts:
        for slot in slots:
            actual = measured_of(measured, ends, slot)
            if slot.ends_at > known_at and actual is not None:
                row = min(bisect_right(CHANCES, slot.value), len(rows)) - 1
                rows[row].add(slot.value, actual)
    known = [row for row in rows if row.count]
    return Reliability(known) if known else None


def warnings(
    forecasts: Sequence[KnownForecast],
    threshold: float,
    ahead: timedelta,
    lasts: timedelta,
    now: datetime,
) -> Iterator[Window]:
    """Yield when a danger was foretold for the time up to `ahead`: by the newest forecast then.

    A forecast, of which the next is known later, holds for `lasts` at most.
    """
    following = [*(forecast.known_at for forecast in forecasts[1:]), now]
    for (known_at, slots), replaced_at in zip(forecasts, following, strict=True):
        end = min(replaced_at, known_at + lasts, now)
        for slot in slots:
            begins, ends = max(known_at, slot.starts_at - ahead), min(end, slot.ends_at)
            if slot.value >= threshold and begins < ends:
                yield Window(begins, ends)
