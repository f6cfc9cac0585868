"""The cheapest runs when no run and no pause may be too short.

Exact where all times and lengths given are whole minutes: then a cheapest answer switches at whole minutes too. If they are
not, now and lengths are rounded up to whole minutes, and the deadline down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from core.planning.curve import Curve, Span
from core.planning.search import Search

MINUTE = 60_000_000
"""In microseconds, the unit outside."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`forced`: for how long what runs when the curve begins must go on at least; None if nothing runs then."""

    min_on: int
    min_off: int
    forced: int | None = None

    def allow(self, spans: list[Span], start: int) -> bool:
        pauses = [after[0] - before[1] for before, after in pairwise(spans)]
        lengths = [end - begin for begin, end in spans]
        if self.forced is not None:
            if spans[0][0] == start:
                lengths[0] += self.min_on - self.forced
            elif self.forced:
                return False
            else:
                pauses.append(spans[0][0] - start)
        return all(pause >= self.min_off for pause in pauses) and all(
            one >= self.min_on for one in lengths
        )


def limited(curve: Curve, amount: int, limits: Limits, latest: bool = False) -> list[Span]:
    """Runs of that length in all. If no runs are exactly that long in all, then the shortest that are longer; else the
    longest there are."""
    begin = curve.pieces[0][0]
    origin = begin // MINUTE if limits.forced is not None else _minutes(begin)
    early = max(0, begin - origin * MINUTE)
    forced = (
        None if limits.forced is None else _minutes(limits.forced + early if limits.forced else 0)
    )
    pieces = list(_in_minutes(curve, origin))
    if not pieces:
        return []
    search = Search(
        Curve(pieces),
        _minutes(amount + early),
        _minutes(limits.min_on),
        _minutes(limits.min_off),
        forced,
        latest,
    )
    runs = [
        (max((origin + start) * MINUTE, begin), (origin + end) * MINUTE)
        for start, end in search.best()
    ]
    return [run for run in runs if run[0] < run[1]]


def _in_minutes(curve: Curve, origin: int) -> Iterator[tuple[int, int, int]]:
    """Since the origin. What is no whole minute at the edge of the known time is left out."""
    last = curve.pieces[0][0]
    for start, end, rate in curve.pieces:
        first = max(start // MINUTE, origin) if start == last else _minutes(start)
        if first < end // MINUTE:
            yield first - origin, end // MINUTE - origin, rate
        last = end


def _minutes(ticks: int) -> int:
    """Rounded up."""
    return -(-ticks // MINUTE)
