"""A feed, `local`, that answers over real HTTP what a test tells it to."""

from datetime import timedelta

HALF_HOUR = timedelta(minutes=30)

FEED = """
from datetime import datetime, timedelta
from core import feeds
from core.feeds import Signal, Slot

class Feed(feeds.Feed):
    label = "Local"
    signals = (Signal.CARBON_INTENSITY, Signal.CAPE)
    ahead = timedelta(hours=24)
    asked = []

    def fetch(self, region, since, until):
        self.asked.append((since, until))
        for start, minutes, value, issued, unit in self.http.get(f"slots/{region}"):
            starts_at = datetime.fromisoformat(start)
            ends_at = starts_at + timedelta(minutes=minutes)
            issued_at = datetime.fromisoformat(issued) if issued else None
            yield Slot(starts_at, ends_at, float(value), unit, issued_at)
"""


def said(start, values, issued_at=None, unit="gCO2/kWh"):
    """Half-hours as the server tells them."""
    issued = issued_at.isoformat() if issued_at else None
    return [
        ((start + number * HALF_HOUR).isoformat(), 30, value, issued, unit)
        for number, value in enumerate(values)
    ]
