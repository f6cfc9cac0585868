"""What running costs over time, in whole numbers, so that sums and ties are exact.

Times are whole numbers of any one unit.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

Span = tuple[int, int]
"""Start and end; the end is not part of it."""


class Curve:
    """Pieces (start, end, rate) in order of time, apart. Between pieces the rate is unknown."""

    def __init__(self, pieces: Iterable[tuple[int, int, int]]) -> None:
        self.pieces = list(pieces)
        self._starts = [start for start, _, _ in self.pieces]
        # Sums up to each piece: any integral is two look-ups, O(log n).
        self._sums = [0, *accumulate((end - start) * rate for start, end, rate in self.pieces)]
        self.stretches = merged((start, end) for start, end, _ in self.pieces)
        """Spans without a gap between pieces."""

    def integral(self, span: Span) -> int:
        """Return the cost of a span. Unknown rates count as 0."""
        return self._until(span[1]) - self._until(span[0])

    def _until(self, time: int) -> int:
        index = bisect_right(self._starts, time) - 1
        if index < 0:
            return 0
        start, end, rate = self.pieces[index]
        # In the gap after a piece nothing more is added.
        return self._sums[index] + (min(time, end) - start) * rate

    def covers(self, span: Span) -> bool:
        return any(start <= span[0] and span[1] <= end for start, end in self.stretches)

    def cut(self, since: int) -> "Curve":
        """Return the curve from a time on."""
        return Curve(
            (max(start, since), end, rate) for start, end, rate in self.pieces if end > since
        )


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order of time; those that touch or overlap become one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        # An empty span is no run.
        elif start < end:
            result.append((start, end))
    return result


def length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
