"""Feeds: sources of outside data, one file each, found by its name.

This is the whole contract; `replay.py` is an example. A feed normalises units (see Signal) and
times (aware, UTC), and uses neither Django nor the database. `http` comes from outside, bound to
the feed's address, credential and limits.
"""

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from inspect import isabstract
from itertools import chain, pairwise
from math import isfinite
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from core import plug_in, plug_ins
from core.feeds import _options
from core.feeds._options import option as option  # for the files of feeds
from core.net.errors import ApiError

if TYPE_CHECKING:
    from core.feeds._strikes import Strike
    from core.net.http import Http  # loads requests, which most commands do not need


class Signal(str):
    """A named outside quantity: what a slot's value is of. It is equal to its name.

    `unit` is that of all its values; of money the end of it, with the currency in front: GBP/kWh.
    `meaning` says for people what it is. `is_cost`: a rule may look for when it is least.
    `is_danger`: the most ahead matters, not the least. `is_exact`: its forecasts are agreed on, as
    prices are, and have no noise. `is_chance`: how likely, in percent, something is to happen in
    the time of the slot; of a measurement 100 if it did, else 0.

    A feed's file makes those that only it knows: `RAIN = Signal("rain", "mm/h", "rain")`.
    """

    CARBON_INTENSITY: ClassVar["Signal"]
    MARGINAL_INTENSITY: ClassVar["Signal"]
    PRICE: ClassVar["Signal"]
    LIGHTNING: ClassVar["Signal"]
    LIGHTNING_CHANCE: ClassVar["Signal"]
    LIGHTNING_POTENTIAL: ClassVar["Signal"]
    CAPE: ClassVar["Signal"]
    POWER: ClassVar["Signal"]

    def __init__(
        self,
        name: str,
        unit: str = "",
        meaning: str = "",
        *,
        is_cost: bool = False,
        is_danger: bool = False,
        is_exact: bool = False,
        is_chance: bool = False,
    ) -> None:
        self.unit = unit
        self.meaning = meaning or name.replace("_", " ")
        self.is_cost, self.is_danger, self.is_exact = is_cost, is_danger, is_exact
        self.is_chance = is_chance

    def __new__(cls, name: str, *_: str, **__: bool) -> "Signal":
        return super().__new__(cls, name)

    def has_unit(self, unit: str) -> bool:
        """Whether values may come in it. A currency has three letters."""
        if self.unit.startswith("/"):
            return bool(re.fullmatch(f"[A-Z]{{3}}{re.escape(self.unit)}", unit))
        return unit == self.unit


# What several feeds tell, or a rule knows by name. Average and marginal intensity are never mixed.
Signal.CARBON_INTENSITY = Signal(
    "carbon_intensity", "gCO2/kWh", "carbon intensity of the grid", is_cost=True
)
Signal.MARGINAL_INTENSITY = Signal(
    "marginal_intensity", "gCO2/kWh", "marginal carbon intensity of the grid", is_cost=True
)
"""Of one kilowatt-hour more."""
Signal.PRICE = Signal("price", "/kWh", "price of electricity", is_cost=True, is_exact=True)
Signal.LIGHTNING = Signal("lightning", "flashes/h", "lightning nearby", is_danger=True)
"""Flashes seen near the place in an hour."""
Signal.LIGHTNING_CHANCE = Signal(
    "lightning_chance", "%", "chance of lightning nearby", is_danger=True, is_chance=True
)
Signal.LIGHTNING_POTENTIAL = Signal(
    "lightning_potential", "J/kg", "lightning potential", is_danger=True
)
"""The lightning potential index: electric activity in the updraught of a cloud."""
Signal.CAPE = Signal("cape", "J/kg", "energy for thunderstorms (CAPE)", is_danger=True)
"""Convective available potential energy: what a thunderstorm could live on."""
Signal.POWER = Signal("power", "W", "power")
"""Electric power that a device of ours measures: of the home, a roof, a heat pump."""

COMMON = (
    Signal.CARBON_INTENSITY,
    Signal.MARGINAL_INTENSITY,
    Signal.PRICE,
    Signal.LIGHTNING,
    Signal.LIGHTNING_CHANCE,
    Signal.LIGHTNING_POTENTIAL,
    Signal.CAPE,
    Signal.POWER,
)
_COMMON_BY_NAME = {str(one): one for one in COMMON}


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


@dataclass(frozen=True)
class NoOptions:
    """The options of a feed that has none."""


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
    rests: ClassVar[bool] = True
    """Whether it is left alone for longer and longer while it fails, for up to six hours."""
    is_replayed: ClassVar[bool] = False
    """Whether it tells data of another time as if it were of now: all that comes of it says so."""
    needs_credential: ClassVar[bool] = False
    region_hint: ClassVar[str] = "none: there is one"
    Options: ClassVar[type[Any]] = NoOptions
    """A frozen dataclass (core/feeds/_options.py), set by <NAME>_OPTIONS in the environment."""
    by_place: ClassVar[bool] = False
    """Whether a region may be a place, "latitude,longitude" in degrees: "51.50,-0.12"."""
    uses_strikes: ClassVar[bool] = False
    """Whether it is given the strikes of lightning that were pushed to the API."""
    strikes: "Sequence[Strike]" = ()
    """Those, in order of time."""

    def __init__(self, http: "Http | None" = None, options: Any = None, zone: tzinfo = UTC) -> None:
        """`zone` is that of the home's clock."""
        self._http = http
        self.options = self.Options() if options is None else options
        self.zone = zone

    @property
    def http(self) -> "Http":
        if self._http is None:
            raise TypeError(f"{self.label} needs to be made with an http")
        return self._http

    @classmethod
    def address_by(cls, options: Any) -> str:
        """Return the base URL; a feed whose options hold one says so."""
        return cls.address

    @abstractmethod
    def fetch(self, region: str, since: datetime, until: datetime) -> Iterable[Slot]:
        """Return slots that overlap the time from `since` to `until`.

        Forecasts and measurements, each in order of time. Without an issue time of the source's
        own, a forecast is issued when it is fetched. Raises ApiError (try again later) and
        ApiRefused (a person must act: the region, the credential).
        """


@dataclass(frozen=True)
class Frame:
    """What a model may know at `now`, and nothing that was fetched later.

    `measured` are clean slots of what it learns from, by the revisions known then, none that had
    not ended; `expected` what the source itself forecast, from now on. `until` is how far to look.
    """

    now: datetime
    until: datetime
    signal: Signal
    unit: str
    measured: tuple[Slot, ...] = ()
    expected: tuple[Slot, ...] = ()

    def slot(self, starts_at: datetime, ends_at: datetime, value: float) -> Slot:
        """Make a slot of the prediction."""
        return Slot(starts_at, ends_at, float(value), self.unit, self.now, self.signal)

    def pandas(self) -> Any:
        """Return `measured` as a pandas Series by start; `pip install pandas`."""
        import pandas  # an extra, and slow to load

        starts = pandas.DatetimeIndex([slot.starts_at for slot in self.measured])
        return pandas.Series([slot.value for slot in self.measured], index=starts, dtype=float)


class Model(Feed):
    """A feed that is calculated here from what another feed, or a device of ours, measured:
    `usual_day.py` and `usual_power.py` are examples.

    Its region is where it learns: "carbon_intensity_gb:13"; or "device:12.power", the attribute of
    the device with that number; empty: the next feed in FEEDS that offers its first signal. What
    was measured there is passed on as its own, so that it is scored as every feed is.
    """

    region_hint = "where it learns, such as carbon_intensity_gb:13 or device:12.power"
    looks_back: ClassVar[timedelta] = timedelta(days=28)

    def __init__(self, http: "Http | None" = None, frame: Frame | None = None) -> None:
        super().__init__(http)
        self.frame = frame

    @abstractmethod
    def predict(self, frame: Frame, now: datetime) -> Iterable[Slot]:
        """Return slots from `now` on. Whatever it raises is a failure of this feed alone."""

    def fetch(self, region: str, since: datetime, until: datetime) -> Iterable[Slot]:
        if self.frame is None:
            raise ApiError("It was given nothing to learn from.")
        if since >= until:
            return
        yield from (slot for slot in self.frame.measured if slot.ends_at > since)
        for slot in self.predict(self.frame, self.frame.now):
            # It says itself what it is a prediction of, but never when it was made.
            yield replace(slot, issued_at=self.frame.now)


class UnknownFeed(LookupError):
    """There is no file for this feed (any more), or it is broken."""


def names() -> list[str]:
    return plug_ins("feeds")


def read_options(name: str, text: str) -> Any:
    """Read the options of a feed as typed in a shell: kwp=5 fees='0.12, 17:00-20:00 0.2'.

    Raises ValueError with a sentence, UnknownFeed.
    """
    return _options.read_options(name, load(name).Options, _options.read_pairs(shlex.split(text)))


def load(name: str) -> type[Feed]:
    feed: type[Feed] = plug_in("feeds", name, _complaint, UnknownFeed).Feed
    return feed


def _complaint(module: ModuleType) -> str:
    feed = getattr(module, "Feed", None)
    is_one = isinstance(feed, type) and feed not in (Feed, Model) and not isabstract(feed)
    return "" if is_one else "it has no whole class Feed(Feed)"


@cache
def signals() -> tuple[Signal, ...]:
    """Return every signal that a feed tells, the common ones first. Broken files tell none.

    What two files call the same is the same; it has the unit of the first.
    """
    found = {str(signal): signal for signal in COMMON}
    for name in names():
        try:
            told = load(name).signals
        except UnknownFeed:
            continue
        for signal in told:
            found.setdefault(str(signal), signal)
    return tuple(found.values())


def signal(name: str) -> Signal:
    """Return a signal by its name, such as a stored one; without a unit if no feed tells it."""
    known = _COMMON_BY_NAME.get(name)
    return known or next((one for one in signals() if one == name), Signal(name))


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
        # A day at most: longer than any that is expected, and a sign of a wrong time.
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
    # Mostly they are in order and apart already: nothing is copied then.
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
