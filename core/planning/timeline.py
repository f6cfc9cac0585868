"""Values over time: each holds until the next; where the device was silent there is a gap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice


@dataclass(frozen=True, slots=True)
class Piece:
    """A value that held from `start` to `end`; the two are equal where it was seen only once.

    `is_inferred`: nobody saw it; it follows from something else.
    """

    start: datetime
    end: datetime
    value: float
    is_inferred: bool = False


def held(
    points: Sequence[tuple[datetime, float]],
    silences: Sequence[tuple[datetime, datetime]],
    start: datetime,
    until: datetime,
) -> list[Piece]:
    """Return the pieces of the line between `start` and `until`.

    Points and silences are in order of time; the first may be before `start`. A value from before a
    silence holds again after it if there was no other: the device answered, and had nothing new.
    """
    # Cut to length because without points there must be no end either.
    ends = [*(at for at, _ in points[1:]), until][: len(points)]
    pieces: list[Piece] = []
    first = 0
    for (at, value), end in zip(points, ends, strict=True):
        begin, end = max(at, start), min(end, until)
        # `begin` never goes back: a silence that is over is over for all that follow.
        while first < len(silences) and silences[first][1] <= begin:
            first += 1
        # A value seen only once has no length, and is kept all the same.
        if begin < end or begin == end == at:
            pieces += _without(islice(silences, first, None), begin, end, value)
    return pieces


def _without(
    silences: Iterator[tuple[datetime, datetime]], begin: datetime, end: datetime, value: float
) -> Iterator[Piece]:
    heard_from = begin
    for silent_from, silent_to in silences:
        if silent_from > end:
            break
        if silent_from >= heard_from:
            yield Piece(heard_from, silent_from, value)
        heard_from = silent_to
    if heard_from < end or heard_from == begin:
        yield Piece(heard_from, end, value)


def from_samples(times: Sequence[datetime], values: Sequence[float | None]) -> list[Piece]:
    """Return pieces from samples. Each holds until the next sample, unless that one is missing."""
    pieces = []
    for place, (time, value) in enumerate(zip(times, values, strict=True)):
        if value is None:
            continue
        is_followed = place + 1 < len(times) and values[place + 1] is not None
        pieces.append(Piece(time, times[place + 1] if is_followed else time, value))
    return pieces
