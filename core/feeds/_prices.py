"""What feeds of prices share: prices that differ by the hour, fees and taxes on top."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from core.feeds import Slot, option
from core.schedule import first_moment, time_of_day

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HIGHEST = 100.0
"""Of a currency per kWh: far more than was ever paid. Markets go from -0.5 to 5 EUR."""
NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
HOURS = re.compile(
    rf"(?:(?P<first>[A-Z][a-z]{{2}})(?:-(?P<last>[A-Z][a-z]{{2}}))? )?"
    rf"(?P<start>[0-9:]{{4,5}})-(?P<end>[0-9:]{{4,5}}) (?P<price>{NUMBER})"
)


class Hours(NamedTuple):
    """A price of some hours: from `start` to `end` of the clock, on these days (0 is Monday).

    Hours that reach over midnight are those of the day on which they begin.
    """

    days: frozenset[int]
    start: timedelta
    end: timedelta
    price: float


class Spell(NamedTuple):
    """A price that holds from one time to another."""

    starts_at: datetime
    ends_at: datetime
    price: float


@dataclass(frozen=True)
class Tariff:
    """A price, and others for some hours; of several that hold at a time the last one counts."""

    usual: float = 0.0
    hours: tuple[Hours, ...] = ()

    def spells(self, since: datetime, until: datetime, zone: tzinfo) -> Iterator[Spell]:
        """Yield what holds from `since` to `until`, without a gap, an hour at most each.

        The hours begin when the clock first shows their time, so that they may last an hour more
        or less on the days when the clock is changed.
        """
        reduced = list(self._reduced(since, until, zone))
        edges = {since, until, *_whole_hours(since, until)}
        for spell in reduced:
            edges |= {spell.starts_at, spell.ends_at}
        times = sorted(edge for edge in edges if since <= edge <= until)
        for starts_at, ends_at in zip(times, times[1:], strict=False):
            prices = [one.price for one in reduced if one.starts_at <= starts_at < one.ends_at]
            yield Spell(starts_at, ends_at, prices[-1] if prices else self.usual)

    def _reduced(self, since: datetime, until: datetime, zone: tzinfo) -> Iterator[Spell]:
        # A day before: its hours may reach over midnight.
        first, last = since.astimezone(zone).date() - DAY, until.astimezone(zone).date()
        for hours in self.hours:
            day = first
            while day <= last:
                if day.weekday() in hours.days:
                    ends_on = day if hours.end > hours.start else day + DAY
                    starts_at = first_moment(day, hours.start, zone)
                    yield Spell(starts_at, first_moment(ends_on, hours.end, zone), hours.price)
                day += DAY


def _whole_hours(since: datetime, until: datetime) -> Iterator[datetime]:
    at = since.replace(minute=0, second=0, microsecond=0)
    while at < until:
        if at >= since:
            yield at
        at += HOUR


def read_tariff(text: str) -> Tariff:
    """Read "0.28, 00:30-04:30 0.07, Mon-Fri 16:00-19:00 0.45". Raises ValueError with a sentence.

    The first number is the usual price; without one it is 0.
    """
    usual, hours = 0.0, list[Hours]()
    for place, part in enumerate(text.split(",")):
        written = " ".join(part.split())
        if not written and place == 0:
            continue
        if place == 0 and re.fullmatch(NUMBER, written, re.ASCII):
            usual = _price(written)
        else:
            hours.append(_hours(written))
    return Tariff(usual, tuple(hours))


def _hours(written: str) -> Hours:
    found = HOURS.fullmatch(written)
    first, last = (found["first"], found["last"]) if found else (None, None)
    if not found or not {first, last} <= {*DAYS, None}:
        raise ValueError(
            f"{written!r} is no price of some hours. "
            "Examples: 00:30-04:30 0.07, Mon-Fri 16:00-19:00 0.45, Sun 10:00-14:00 0.05"
        )
    start, end = time_of_day(found["start"]), time_of_day(found["end"])
    return Hours(_days(first, last), start, end, _price(found["price"]))


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    begin = DAYS.index(first)
    # Days may go past the end of a week, as Sat-Mon does.
    count = (DAYS.index(last or first) - begin) % 7 + 1
    return frozenset((begin + place) % 7 for place in range(count))


def _price(written: str) -> float:
    price = float(written)
    if abs(price) > HIGHEST:
        raise ValueError(f"{written} is no price of a kWh, in the currency itself, not in cents.")
    return price


@dataclass(frozen=True)
class MarketOptions:
    """What a household pays on top of the price of a market."""

    fees: str = option(
        "", "Grid fees and the like on top, also by the hour: 0.12, 17:00-20:00 0.20", "per kWh"
    )
    vat: float = option(0, "Tax on price and fees", "%")

    def __post_init__(self) -> None:
        read_tariff(self.fees)
        if not 0 <= self.vat <= 100:
            raise ValueError(f"vat: {self.vat:g} is not between 0 and 100 %.")


def with_fees(slots: Sequence[Slot], options: MarketOptions, zone: tzinfo) -> Iterable[Slot]:
    """Return what a household pays; a slot is cut where the fees change. Slots are in order."""
    tariff = read_tariff(options.fees)
    if not options.vat and tariff == Tariff():
        return slots
    return _added(slots, tariff, 1 + options.vat / 100, zone)


def _added(slots: Sequence[Slot], tariff: Tariff, factor: float, zone: tzinfo) -> Iterator[Slot]:
    for slot in slots:
        if not tariff.hours:
            yield replace(slot, value=(slot.value + tariff.usual) * factor)
            continue
        for spell in tariff.spells(slot.starts_at, slot.ends_at, zone):
            value = (slot.value + spell.price) * factor
            yield replace(slot, starts_at=spell.starts_at, ends_at=spell.ends_at, value=value)


def issued(ends_at: datetime, now: datetime) -> datetime | None:
    """Return the issue of a price: None once its time is over, when it is what was paid.

    A market tells prices of a day, known since the afternoon before, without saying when it did.
    """
    return now if ends_at > now else None


def now() -> datetime:
    return datetime.now(UTC)
