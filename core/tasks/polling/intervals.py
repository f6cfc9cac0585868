"""How often a device that pushes does so, and from when on its silence means that it is dead.

Its own times of measurement count, not those of arrival: neither a slow network nor a message that
is sent again changes anything.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings

from core.models.freshness import STALE_AFTER

MISSED = 2.5
"""Intervals: one message may be lost, and the next be late, before a device is stale."""
LEAST_STATED = timedelta(minutes=1)
"""Nobody looks more often than that."""
SHRINKS_BY = 1 / 16
"""Of the difference, with each message: a burst of messages says little of the next silence."""
GROWS_BY = 1 / 4
GROWS_TO = 2
"""Times the interval so far, after a silence that was too long by it. A device that was dead for a
week is not one of weekly messages."""


class Interval(NamedTuple):
    """What is stored of how a device pushes. `every` None: of one message nothing follows."""

    pushed_at: datetime | None = None
    every: timedelta | None = None
    is_stated: bool = False

    def after(self, pushed_at: datetime, stated: timedelta | None) -> "Interval":
        """Return it after a message whose newest measurement is of `pushed_at`.

        A stated interval holds until another is stated.
        """
        newest = max(pushed_at, self.pushed_at or pushed_at)
        if stated is not None:
            return Interval(newest, stated, is_stated=True)
        if self.is_stated or self.pushed_at is None or newest == self.pushed_at:
            return self._replace(pushed_at=newest)
        return self._replace(pushed_at=newest, every=self._measured(newest - self.pushed_at))

    def _measured(self, gap: timedelta) -> timedelta:
        if self.every is None:
            return min(gap, STALE_AFTER)
        before = max(self.every, settings.POLL_INTERVAL)
        if gap > MISSED * before:
            return min(gap, GROWS_TO * before)
        return before + (gap - before) * (GROWS_BY if gap > before else SHRINKS_BY)

    @property
    def due_at(self) -> datetime | None:
        """When it is silent too long; None if it never pushed."""
        if self.pushed_at is None:
            return None
        if self.every is None:
            return self.pushed_at + STALE_AFTER
        least = LEAST_STATED if self.is_stated else settings.POLL_INTERVAL
        return self.pushed_at + MISSED * max(self.every, least)
