"""Fit what is still to come of a plan to what is wanted now.

What was delivered is never quite what was planned.
"""

from collections.abc import Sequence

from core.planning.curve import Span, length
from core.planning.minimum_times import MINUTE, MinimumTimes


def resized_runs(
    runs: Sequence[Span], wanted: int, now: int, bounds: Span, limits: MinimumTimes
) -> list[Span]:
    """Return the runs after now, `wanted` long in all; empty if that does not fit.

    Too much: the last runs are left out or end earlier. Too little: the first ends later. A
    difference of less than a minute changes nothing.
    """
    result = [(max(start, now), end) for start, end in runs if end > now]
    # The last run is left out only if those before it are enough without it.
    while result and length(result[:-1]) >= wanted:
        result.pop()
    if not result:
        return []
    missing = wanted - length(result)
    if abs(missing) >= MINUTE:
        index = 0 if missing > 0 else -1
        start, end = result[index]
        result[index] = (start, end + missing)
    if result[0][0] < bounds[0] or result[-1][1] > bounds[1]:
        return []
    # A run that was cut at now began earlier: from here it need not last for `min_on`.
    begun = MinimumTimes(limits.min_on, limits.min_off, 0 if result[0][0] == now else None)
    return result if begun.allow(result, now) else []
