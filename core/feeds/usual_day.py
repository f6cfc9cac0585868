"""A model, and an example of one: a usual day of the last weeks, moved by the latest error.

What was measured at the same time of day (UTC), the middle of the weeks known; plus how far the
last hour was off, of which half is left after six hours. Copy it to make your own.
"""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from statistics import fmean, median

from core import feeds
from core.feeds import Frame, Signal, Slot

HALF_LIFE = timedelta(hours=6)
LATEST = timedelta(hours=1)


class Feed(feeds.Model):
    label = "A usual day, moved by the latest error"
    signals = (Signal.CARBON_INTENSITY,)

    def predict(self, frame: Frame, now: datetime) -> Iterator[Slot]:
        days: dict[time, list[float]] = {}
        for slot in frame.measured:
            days.setdefault(slot.starts_at.time(), []).append(slot.value)
        usual = {at: median(values) for at, values in days.items()}
        # The newest may be late. What is older than three hours says nothing of now.
        latest = [slot for slot in frame.measured if slot.starts_at >= now - 3 * LATEST][-2:]
        errors = [slot.value - usual[slot.starts_at.time()] for slot in latest]
        error = fmean(errors) if errors else 0.0
        length = frame.measured[-1].ends_at - frame.measured[-1].starts_at
        starts_at = frame.measured[-1].ends_at
        while starts_at < frame.until:
            if starts_at >= now and starts_at.time() in usual:
                left = 0.5 ** ((starts_at - now) / HALF_LIFE)
                value = usual[starts_at.time()] + error * left
                yield frame.slot(starts_at, starts_at + length, value)
            starts_at += length
