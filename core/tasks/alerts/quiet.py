"""Quiet hours, by the clock of the home."""

from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo


class QuietHours(NamedTuple):
    """From when to when, also past midnight."""

    begin: time
    end: time

    def until(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """Return when the quiet hours that it is in end; None if it is in none."""
        local = now.astimezone(zone)
        at = local.time()
        is_past_midnight = self.begin > self.end
        is_evening = at >= self.begin and (is_past_midnight or at < self.end)
        is_morning = is_past_midnight and at < self.end
        if not (is_evening or is_morning):
            return None
        # From an evening past midnight they end on the next day.
        day = local.date() + timedelta(days=is_evening and is_past_midnight)
        return datetime.combine(day, self.end, zone).astimezone(UTC)
