"""What is still to come of a plan, made to last as long as is wanted now: what was delivered is never quite what was planned."""

from collections.abc import Sequence

from core.planning.curve import Span, length
from core.planning.minimum_times import MINUTE, Limits


def refitted(
    spans: Sequence[Span], wanted: int, now: int, bounds: Span, limits: Limits
) -> list[Span]:
    """The last runs are left out or end earlier, or the first ends later; by less than a minute nothing is changed.
    Empty if that does not fit."""
    result = [(max(start, now), end) for start, end in spans if end > now]
    while result and length(result[:-1]) >= wanted:
        result.pop()
    missing = wanted - length(result)
    if result and abs(missing) >= MINUTE:
        index = 0 if missing > 0 else -1
        start, end = result[index]
        result[index] = (start, end + missing)
    fits = result and bounds[0] <= result[0][0] and result[-1][1] <= bounds[1]
    begun = Limits(limits.min_on, limits.min_off, 0 if result and result[0][0] == now else None)
    return result if fits and begun.allow(result, now) else []
