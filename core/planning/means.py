"""Running means of clean slots, weighted by time. Pure functions."""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

from core.feeds import Slot


class RunningMeans:
    """Answer the mean of slots around a moment. What no slot covers does not count."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._edges = [time for slot in slots for time in (slot.starts_at, slot.ends_at)]
        self._sums, self._lengths = [0.0], [0.0]
        for slot in slots:
            # A gap between two slots adds nothing to either sum.
            seconds = (slot.ends_at - slot.starts_at).total_seconds()
            self._sums += [self._sums[-1], self._sums[-1] + slot.value * seconds]
            self._lengths += [self._lengths[-1], self._lengths[-1] + seconds]

    def around(self, slot: Slot, span: timedelta) -> float:
        """Return the mean from `span` before the start of one of the slots to `span` after its end.

        The slot itself is always covered, so there is a mean.
        """
        low, first = self._until(slot.starts_at - span)
        high, last = self._until(slot.ends_at + span)
        return (high - low) / (last - first)

    def rise(self, slot: Slot, span: timedelta) -> float:
        """Return the mean of `span` after one of the slots, less that of `span` before it.

        Where nothing is covered, the slot itself stands for what lies before or after.
        """
        before = self._between(slot.starts_at - span, slot.starts_at)
        after = self._between(slot.ends_at, slot.ends_at + span)
        if before is None:
            before = slot.value
        if after is None:
            after = slot.value
        return after - before

    def _between(self, start: datetime, end: datetime) -> float | None:
        low, first = self._until(start)
        high, last = self._until(end)
        if last == first:
            return None
        return (high - low) / (last - first)

    def _until(self, time: datetime) -> tuple[float, float]:
        """Return the integral, and the seconds covered, from the first slot to a time."""
        place = bisect_right(self._edges, time)
        # Edges alternate: an even number of them before a time means it lies in no slot.
        if place % 2 == 0:
            return self._sums[place], self._lengths[place]
        into = (time - self._edges[place - 1]).total_seconds()
        value = self._slots[place // 2].value
        return self._sums[place] + value * into, self._lengths[place] + into
