"""What energy counters counted. Pure functions over readings in kWh.

A counter only grows, until it begins anew: it is reset, wraps at the end of its digits, or another
device with its own count takes its place. None of these may look like use.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from core.planning.timeline import Piece

HOUR = timedelta(hours=1)
MOST_KILOWATTS = 50.0
"""More flows through no household's connection (3 x 63 A are 43 kW): the counter is another one."""
LEAST_DROP = 0.1
"""Of the count: less is a counter that rounds or repeats, not one that begins anew. So does Home
Assistant with `total_increasing`."""
WRAPS_WITHIN = 0.001
"""Of its range: so near to its end a counter wrapped rather than began anew."""
# The largest count and one, in kWh: four to nine digits of kWh, and 32 bits of Wh.
RANGES = (*(10.0**digits for digits in range(4, 10)), 2**32 / 1000)


@dataclass(frozen=True, slots=True)
class Use:
    """How much was used from one time to another."""

    starts_at: datetime
    ends_at: datetime
    kwh: float


def uses(readings: Sequence[tuple[datetime, float]]) -> Iterator[Use]:
    """Yield what was counted between each reading and the next. Readings are in order of time."""
    for (start, before), (end, after) in pairwise(readings):
        yield Use(start, end, used(before, after, end - start))


def counted(pieces: Iterable[Piece]) -> float:
    """Return the kWh that a line in kWh grew by: from each of its pieces to the next.

    A value that was heard until the next one came grew at once: MOST_KILOWATTS bounds that too.
    """
    return sum(
        used(before.value, after.value, after.start - before.end)
        for before, after in pairwise(pieces)
    )


def used(before: float, after: float, time: timedelta) -> float:
    """Return the kWh between two readings of a counter; 0 where it cannot be told."""
    most = MOST_KILOWATTS * max(time / HOUR, 1.0)
    if after >= before:
        return after - before if after - before <= most else 0.0
    if before - after < LEAST_DROP * before:
        return 0.0
    end = min((end for end in RANGES if end > before), default=0.0)
    if end and end - before <= min(WRAPS_WITHIN * end, most):
        return end - before + after if end - before + after <= most else 0.0
    # It begins anew at 0; a count that is too high for that is of another device.
    return after if after <= most else 0.0
