"""Feeds: sources of outside data, one file each, found by its name.

This is the whole contract; `replay.py` is an example. A feed normalises units (see UNITS) and times
(aware, UTC), and uses neither Django nor the database. `http` comes from outside, bound to the
feed's address, credential and limits.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from inspect import isabstract
from itertools import chain, pairwise
from math import isfinite
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar

from core import plug_in, plug_ins

if TYPE_CHECKING:
    from core.net.http import Http  # loads requests, which most commands do not need


class Signal(StrEnum):
    """What a slot's value is of. Average and marginal intensity are never mixed."""

    CARBON_INTENSITY = "carbon_intensity"
    """Of the average kilowatt-hour in the grid."""
    MARGINAL_INTENSITY = "marginal_intensity"
    """Of one kilowatt-hour more."""
    PRICE = "price"
    LIGHTNING = "lightning"
    """Flashes seen near the place in an hour."""
    LIGHTNING_POTENTIAL = "lightning_potential"
    """The lightning potential index: electric activity in the updraught of a cloud."""
    CAPE = "cape"
    """Convective available potential energy: what a thunderstorm could live on."""


UNITS = {
    Signal.CARBON_INTENSITY: "gCO2/kWh",
    Signal.MARGINAL_INTENSITY: "gCO2/kWh",
    Signal.PRICE: "/kWh",
    Signal.LIGHTNING: "flashes/h",
    Signal.LIGHTNING_POTENTIAL: "J/kg",
    Signal.CAPE: "J/kg",
}
"""A price's unit has the currency in front: GBP/kWh."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that holds from `starts_at` up to, not including, `ends_at`.

    Without `issued_at` it is a measurement, else it is of the forecast issued then.
    """

    starts_at: datetime
    ends_at: datetime
    value: float
    unit: str
    issued_at: datetime | None = None
    signal: Signal = Signal.CARBON_INTENSITY


class Feed(ABC):
    """A client for one source, made for one piece of work and thrown away; used by one thread."""

    label: ClassVar[str]
    signals: ClassVar[tuple[Signal, ...]]
    address: ClassVar[str] = ""
    """The base URL; empty if the feed needs no network."""
    every: ClassVar[timedelta] = timedelta(minutes=30)
    """How often the source has something new. A forecast is live for three times this."""
    ahead: ClassVar[timedelta] = timedelta(hours=48)
    """How far it looks ahead."""
    behind: ClassVar[timedelta] = timedelta(hours=24)
    """For how long a measurement may still be missing or revised: so far back each fetch looks."""
    is_replayed: ClassVar[bool] = False
    """Whether it tells data of another time as if it were of now: all that comes of it says so."""
    needs_credential: ClassVar[bool] = False
    region_hint: ClassVar[str] = "none: there is one"
    by_place: ClassVar[bool] = False
    """Whether a region may be a place, "latitude,longitude" in degrees: "51.50,-0.12"."""

    def __init__(self, http: "Http | None" = None) -> None:
        self._http = http

    @property
    def http(self) -> "Http":
        if self._http is None:
            raise TypeError(f"{self.label} needs to be made with an http")
        return self._http

    @abstractmethod
    def fetch(self, region: str, since: datetime, until: datetime) -> Iterable[Slot]:
        """Return slots that overlap the time from `since` to `until`.

        Forecasts and measurements, each in order of time. Without an issue time of the source's
        own, a forecast is issued when it is fetched. Raises ApiError (try again later) and
        ApiRefused (a person must act: the region, the credential).
        """


class UnknownFeed(LookupError):
    """There is no file for this feed (any more), or it is broken."""


def names() -> list[str]:
    return plug_ins("feeds")


def load(name: str) -> type[Feed]:
    feed: type[Feed] = plug_in("feeds", name, _complaint, UnknownFeed).Feed
    return feed


def _complaint(module: ModuleType) -> str:
    feed = getattr(module, "Feed", None)
    is_one = isinstance(feed, type) and feed is not Feed and not isabstract(feed)
    return "" if is_one else "it has no whole class Feed(Feed)"


def is_replayed(name: str) -> bool:
    """Tell whether data of this feed is of another time. Of one that does not load: no."""
    try:
        return load(name).is_replayed
    except UnknownFeed:
        return False


# What every feed needs to read an answer

LONGEST_SLOT = timedelta(days=1)
_DEGREES = r"\s*([+-]?[0-9]{1,3}(?:\.[0-9]{1,12})?)\s*"


def place(region: str) -> tuple[float, float] | None:
    """Return latitude and longitude of a region such as "51.50,-0.12"; None if it is no place."""
    found = re.fullmatch(f"{_DEGREES},{_DEGREES}", region)
    if not found:
        return None
    latitude, longitude = map(float, found.groups())
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def number(value: object, least: float, most: float) -> float | None:
    """Return a number from an answer; None if it is none, or out of bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)


def moment(text: object, zone: tzinfo = UTC) -> datetime | None:
    """Return a time from an answer, in UTC; one without a zone is of this one.

    None if it is none, or of another century.
    """
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if found is None or not 2000 <= found.year < 2100:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def in_order(slots: Iterable[Slot], since: datetime, until: datetime) -> list[Slot]:
    """Return the slots of an answer that overlap the time from `since` to `until`.

    By signal, measurements before forecasts, in order of time. Left out: what ends before it
    starts, lasts longer than a day, or overlaps the one before it.
    """
    series: dict[tuple[str, bool], list[Slot]] = {}

    def rank(slot: Slot) -> tuple[str, bool, datetime, datetime]:
        return slot.signal, slot.issued_at is not None, slot.starts_at, slot.ends_at

    for slot in sorted(slots, key=rank):
        before = series.setdefault((slot.signal, slot.issued_at is not None), [])
        is_whole = timedelta(0) < slot.ends_at - slot.starts_at <= LONGEST_SLOT
        if is_whole and not (before and slot.starts_at < before[-1].ends_at):
            before.append(slot)
    ordered = chain.from_iterable(series.values())
    return [slot for slot in ordered if max(slot.starts_at, since) < min(slot.ends_at, until)]


# What comes in, from feeds, files and the database


def clean_slots(slots: Iterable[Slot]) -> list[Slot]:
    """Return slots of one series in order of time, apart, each of some length and a finite value.

    Called once, where slots come in: an answer that is stored, revisions that are merged, a file.
    Everything behind it relies on it: forecasts, the planner, scores, backtests. Of slots with the
    same start the first counts; what reaches into the next slot is cut off.
    """
    usable = [slot for slot in slots if slot.starts_at < slot.ends_at and isfinite(slot.value)]
    if all(slot.ends_at <= later.starts_at for slot, later in pairwise(usable)):
        return usable
    first: dict[datetime, Slot] = {}
    for slot in usable:
        first.setdefault(slot.starts_at, slot)
    ordered = [first[start] for start in sorted(first)]
    cut = []
    for slot, later in pairwise(ordered):
        overlaps = slot.ends_at > later.starts_at
        cut.append(replace(slot, ends_at=later.starts_at) if overlaps else slot)
    return [*cut, ordered[-1]]
