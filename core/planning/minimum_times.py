"""Find the cheapest runs when no run and no pause may be too short.

Exact where all times and lengths given are whole minutes: then a cheapest answer switches at whole
minutes too. If they are not, now and lengths are rounded up to whole minutes, the deadline down.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from core.planning.curve import Curve, Span, length
from core.planning.search import Search

MINUTE = 60_000_000
"""In microseconds, the unit outside."""


@dataclass(frozen=True, slots=True)
class MinimumTimes:
    """The shortest run and pause allowed.

    `forced`: how long a run that is on when the curve begins must still last; None if it is off.
    """

    min_on: int
    min_off: int
    forced: int | None = None

    def allow(self, runs: list[Span], start: int) -> bool:
        """Say whether runs keep to these times, on a curve that begins at `start`."""
        pauses = [after[0] - before[1] for before, after in pairwise(runs)]
        lengths = [end - begin for begin, end in runs]
        if self.forced is not None:
            if runs[0][0] == start:
                # The run began earlier: what it has lasted already counts.
                lengths[0] += self.min_on - self.forced
            elif self.forced:
                return False
            else:
                pauses.append(runs[0][0] - start)
        if any(pause < self.min_off for pause in pauses):
            return False
        return all(run >= self.min_on for run in lengths)


def runs_with_minimum_times(
    curve: Curve, amount: int, limits: MinimumTimes, latest: bool = False
) -> list[Span]:
    """Return runs of that length in all.

    If no runs are exactly that long in all, then the shortest that are longer; else the longest.
    """
    begin = curve.pieces[0][0]
    if limits.forced != 0 or begin % MINUTE == 0:
        return _searched(curve, amount, limits, latest)
    # It may stop now, in the middle of a minute. Its minute began earlier, but its pause does not:
    # so going on, at least until the next whole minute, and stopping now are two searches.
    after_pause = curve.cut(begin + limits.min_off)
    going_on = _searched(curve, amount, replace(limits, forced=1), latest)
    stopping = _searched(after_pause, amount, replace(limits, forced=None), latest)

    def rank(runs: list[Span]) -> tuple[bool, int, int]:
        missing = amount - length(runs)
        # Lengths are rounded to whole minutes: less than a minute is no difference.
        return missing > 0, abs(missing) // MINUTE, sum(map(curve.integral, runs))

    return min(going_on, stopping, key=rank)


def _searched(curve: Curve, amount: int, limits: MinimumTimes, latest: bool) -> list[Span]:
    if not curve.pieces:
        return []
    begin = curve.pieces[0][0]
    # A run that is on goes on from now: its minute counts from the whole minute before, and the
    # part of that minute which is over is wanted on top.
    origin = begin // MINUTE if limits.forced is not None else _minutes(begin)
    over = max(0, begin - origin * MINUTE)
    forced = None
    if limits.forced is not None:
        forced = _minutes(limits.forced + over) if limits.forced else 0
    pieces = list(_in_minutes(curve, origin))
    if not pieces:
        return []
    search = Search(
        Curve(pieces),
        _minutes(amount + over),
        _minutes(limits.min_on),
        _minutes(limits.min_off),
        forced,
        latest,
    )
    runs = []
    for start, end in search.best():
        run = (max((origin + start) * MINUTE, begin), (origin + end) * MINUTE)
        if run[0] < run[1]:
            runs.append(run)
    return runs


def _in_minutes(curve: Curve, origin: int) -> Iterator[tuple[int, int, int]]:
    """Yield pieces in minutes since the origin, without what is no whole minute before a gap."""
    last = curve.pieces[0][0]
    for start, end, rate in curve.pieces:
        first = max(start // MINUTE, origin) if start == last else _minutes(start)
        if first < end // MINUTE:
            yield first - origin, end // MINUTE - origin, rate
        last = end


def _minutes(ticks: int) -> int:
    """Round up to whole minutes."""
    return -(-ticks // MINUTE)
