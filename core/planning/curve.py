"""What running costs over time, as whole numbers: sums and ties are exact. Times are whole numbers of any one unit."""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

Span = tuple[int, int]
"""From, up to and not including."""


class Curve:
    """Pieces (from, up to, rate) in order of time, apart from each other. Where there is no piece the rate is unknown."""

    def __init__(self, pieces: Iterable[tuple[int, int, int]]) -> None:
        self.pieces = list(pieces)
        self._starts = [start for start, _, _ in self.pieces]
        self._sums = [0, *accumulate((end - start) * rate for start, end, rate in self.pieces)]
        self.stretches = merged((start, end) for start, end, _ in self.pieces)
        """Where the rate is known without a gap."""

    def integral(self, span: Span) -> int:
        """Unknown rates count as 0."""
        return self._until(span[1]) - self._until(span[0])

    def _until(self, time: int) -> int:
        index = bisect_right(self._starts, time) - 1
        if index < 0:
            return 0
        start, end, rate = self.pieces[index]
        return self._sums[index] + (min(time, end) - start) * rate

    def covers(self, span: Span) -> bool:
        return any(start <= span[0] and span[1] <= end for start, end in self.stretches)

    def stretch_from(self, time: int) -> Span:
        """The known time from there on; empty if the rate is not known then."""
        return next(
            ((time, end) for start, end in self.stretches if start <= time < end), (time, time)
        )

    def cut(self, since: int) -> "Curve":
        return Curve(
            (max(start, since), end, rate) for start, end, rate in self.pieces if end > since
        )


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order of time, those that touch or overlap made one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        elif start < end:
            result.append((start, end))
    return result


def length(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)
