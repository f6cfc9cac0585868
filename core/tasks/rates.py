"""What energy cost in each hour: carbon and money, as they were measured."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from core import feeds
from core.feeds import Signal, Slot
from core.models import Device, Site
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

CARBON = Signal.CARBON_INTENSITY


class Rate(NamedTuple):
    """The mean of an hour, of as much of it as is known."""

    value: float
    unit: str


class Rates:
    """What was measured of each hour, read once for each region. Nothing after `now` is known."""

    def __init__(self, site: Site, times: Sequence[datetime], now: datetime) -> None:
        self._site, self._times, self._known = site, times, AsOf(now)
        self._read: dict[tuple[Region | None, Signal], list[Rate | None]] = {}

    def are_replayed(self, device: Device) -> bool:
        regions = [self._region(device, signal) for signal in (CARBON, Signal.PRICE)]
        return any(feeds.is_replayed(region.feed) for region in regions if region)

    def of(self, device: Device, signal: Signal) -> Sequence[Rate | None]:
        """Return one for each hour."""
        key = self._region(device, signal), signal
        if key not in self._read:
            self._read[key] = self._hourly(*key)
        return self._read[key]

    def _region(self, device: Device, signal: Signal) -> Region | None:
        try:
            return region_for(device, signal, self._site)
        except LookupError:  # the decision of the device says what is missing
            return None

    def _hourly(self, region: Region | None, signal: Signal) -> list[Rate | None]:
        slots: Sequence[Slot] = ()
        if region is not None:
            slots = self._known.measurements(region, signal, self._times[0], self._times[-1])
        return _means(slots, self._times)


def _means(slots: Sequence[Slot], times: Sequence[datetime]) -> list[Rate | None]:
    found: list[Rate | None] = []
    place = 0
    for starts_at, ends_at in pairwise(times):
        # Both are in order of time: it is one walk along the two.
        while place < len(slots) and slots[place].ends_at <= starts_at:
            place += 1
        seconds = amount = 0.0
        at = place
        while at < len(slots) and slots[at].starts_at < ends_at:
            slot, at = slots[at], at + 1
            within = min(slot.ends_at, ends_at) - max(slot.starts_at, starts_at)
            seconds += within.total_seconds()
            amount += within.total_seconds() * slot.value
        found.append(Rate(amount / seconds, slots[place].unit) if seconds else None)
    return found
