"""What devices used, and what that cost: kWh, grams of CO2 and money, by the day.

From the energy counter of a device where it has one, else from its power where that was heard. What
lies in a silence is counted by the counter, spread evenly over it; without a counter it is not
known, and is not counted. Carbon and money are what was measured of the hour, at the device's
region. Nothing is summed up over two currencies.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q

from core import feeds
from core.feeds import Signal, Slot
from core.formatting import number_text
from core.models import Attribute, Device, HourlyStatistics, Observation, Site
from core.models.device import DeviceQuerySet
from core.models.hourly import hour_of
from core.planning.metering import uses
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for
from core.tasks.observations import spans, summed_up_until
from core.tasks.polling.units import are_convertible, converted
from core.tasks.scorecard import Jobs, cost_text, jobs_between
from core.tasks.tables import Block, Table

MOST_DAYS = 31
"""Each hour costs two seeks of an index for each counter, until it is summed up."""
MOST_POINTS = 400
"""Times in one query: two parameters each, of the 999 that old versions of SQLite allow."""
MOST_READINGS = 20_000
DEVICES_AT_ONCE = 50
HOUR = timedelta(hours=1)
METER, POWER, CARBON = "energy", "power", Signal.CARBON_INTENSITY
Json = dict[str, Any]


@dataclass(frozen=True)
class Use:
    """What was used, and what is known of its cost: of so many kWh each.

    `money` is by currency. `by_power`: it was added up from the power, so that silences are
    missing.
    """

    kwh: float = 0.0
    grams: float = 0.0
    grams_of: float = 0.0
    money: Mapping[str, float] = field(default_factory=dict)
    money_of: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        money = dict(self.money)
        for currency, amount in other.money.items():
            money[currency] = money.get(currency, 0.0) + amount
        return Use(
            self.kwh + other.kwh,
            self.grams + other.grams,
            self.grams_of + other.grams_of,
            money,
            self.money_of + other.money_of,
        )

    def as_json(self) -> Json:
        """Amounts are null where nothing is known; `..._of_kwh` says of how much they are."""
        return {
            "kwh": round(self.kwh, 6),
            "grams_co2": round(self.grams, 3) if self.grams_of else None,
            "grams_of_kwh": round(self.grams_of, 6),
            "money": [
                {"currency": currency, "amount": round(amount, 6)}
                for currency, amount in sorted(self.money.items())
            ],
            "money_of_kwh": round(self.money_of, 6),
        }


class Words(NamedTuple):
    """What was used, for people; an en dash where a cost is not known."""

    kwh: str
    grams: str
    money: str


def words(use: Use) -> Words:
    grams, money = "–", "–"
    if use.grams_of:
        grams = cost_text(use.grams, "gCO2") + _part(use.grams_of, use.kwh)
    if use.money:
        amounts = [cost_text(amount, currency) for currency, amount in sorted(use.money.items())]
        money = " + ".join(amounts) + _part(use.money_of, use.kwh)
    return Words(f"{number_text(use.kwh)} kWh", grams, money)


def _part(known: float, kwh: float) -> str:
    """Say of how much of the energy a cost is, unless it is of all but a percent."""
    return f" for {number_text(known)} kWh" if kwh - known > 0.01 * kwh else ""


@dataclass(frozen=True)
class DeviceCosts:
    """The days of a device, the oldest first, and their sum. `source`: "energy" or "power"."""

    device: Device
    source: str
    days: Sequence[tuple[date, Use]]
    is_replayed: bool = False
    """Carbon or price are of another time: see core/feeds/__init__.py."""
    jobs: Jobs | None = None
    """Its plans whose deadlines were in these days."""

    @property
    def saved(self) -> str:
        """What its plans saved against switching on at once, in words; "" without any."""
        if self.jobs is None or not self.jobs.settled or self.jobs.costs.saving is None:
            return ""
        return cost_text(self.jobs.costs.saving, self.jobs.costs.unit)

    @property
    def total(self) -> Use:
        return total(use for _, use in self.days)

    def as_json(self) -> Json:
        return {
            "device": self.device.pk,
            "name": str(self.device),
            "measured_by": self.source,
            "is_replayed": self.is_replayed,
            "days": [{"day": day.isoformat(), **use.as_json()} for day, use in self.days],
            "total": self.total.as_json(),
            "jobs": self.jobs.as_json() if self.jobs else None,
        }


def total(some: Iterable[Use]) -> Use:
    return sum(some, Use())


def costs(devices: Collection[Device], now: datetime, days: int = 7) -> list[DeviceCosts]:
    """Return the costs of those devices that measure energy or power: of today and days before.

    Days are those of the home's clock. The number of queries grows with the number of days, and of
    devices that have no counter.
    """
    site = Site.home()
    times = hours_of(now, min(max(days, 1), MOST_DAYS), site.clock)
    meters = {pk: meter for pk, meter in _meters(devices).items() if meter}
    counted = _counted([one for one in meters.values() if is_counter(one)], times, now)
    rates = _Rates(site, times, now)
    jobs = jobs_between(devices, times[0], now)
    found = []
    for device in devices:
        meter = meters.get(device.pk)
        if meter is None:
            continue
        hourly = counted[meter.pk] if is_counter(meter) else _integrated(meter, times, now)
        carbon, price = (rates.of(device, signal) for signal in (CARBON, Signal.PRICE))
        by_day: dict[date, Use] = {}
        for hour, kwh in zip(times, hourly, strict=False):
            day = hour.astimezone(site.clock).date()
            priced = _priced(kwh, carbon.get(hour), price.get(hour))
            by_day[day] = by_day.get(day, Use()) + priced
        source = METER if is_counter(meter) else POWER
        is_replayed, planned = rates.are_replayed(device), jobs.get(device.pk)
        found.append(DeviceCosts(device, source, sorted(by_day.items()), is_replayed, planned))
    return found


def measured_devices(devices: DeviceQuerySet) -> DeviceQuerySet:
    """Return those that measure energy or power, by name."""
    meters = Attribute.objects.filter(
        Q(name__startswith=METER) | Q(name=POWER), device=OuterRef("pk"), kind="number"
    )
    return devices.filter(Exists(meters)).select_related("gateway").order_by("name", "pk")


COLUMNS = {
    **{"day": str, "device": int, "name": str, "measured_by": str, "is_replayed": bool},
    **{"kwh": float, "grams_co2": float, "grams_of_kwh": float},
    **{"currency": str, "amount": float, "money_of_kwh": float},
}


def cost_table(devices: DeviceQuerySet, now: datetime, days: int) -> Table:
    """Return a row for each device, day and currency; of some devices at a time."""
    return Table(COLUMNS, _blocks(list(devices), now, days))


def _blocks(devices: Sequence[Device], now: datetime, days: int) -> Iterator[Block]:
    for start in range(0, len(devices), DEVICES_AT_ONCE):
        found = costs(devices[start : start + DEVICES_AT_ONCE], now, days)
        yield [row for one in found for row in _rows(one)]


def _rows(one: DeviceCosts) -> Iterator[list[Any]]:
    for day in one.as_json()["days"]:
        for money in day["money"] or [{"currency": None, "amount": None}]:
            values = {**day, **money, "device": one.device.pk, "name": str(one.device)}
            values |= {"measured_by": one.source, "is_replayed": one.is_replayed}
            yield [values[name] for name in COLUMNS]


def hours_of(now: datetime, days: int, zone: tzinfo) -> list[datetime]:
    """Return the hours of whole days of the clock, up to the end of the hour that is not over."""
    first = now.astimezone(zone).date() - timedelta(days=days - 1)
    at = datetime.combine(first, time(), zone).astimezone(UTC)
    times = [at]
    while at < now:
        at += HOUR
        times.append(at)
    return times


def is_counter(meter: Attribute) -> bool:
    return are_convertible(meter.unit, "kWh")


def _meters(devices: Collection[Device]) -> dict[int, Attribute | None]:
    """Return what each device is measured by: its counter, else its power."""
    attributes: dict[int, list[Attribute]] = {device.pk: [] for device in devices}
    rows = Attribute.objects.filter(device__in=attributes, kind="number")
    for row in rows.select_related("device").order_by("pk"):
        attributes[row.device_id].append(row)
    return {pk: _meter(rows) for pk, rows in attributes.items()}


def _meter(rows: Sequence[Attribute]) -> Attribute | None:
    """Return the counter `energy`, or another one of what was used; else `power`."""
    counters = [
        row
        for row in rows
        if is_counter(row) and row.name.startswith(METER) and "returned" not in row.name
    ]
    counters.sort(key=lambda row: row.name != METER)
    power = [row for row in rows if row.name == POWER and are_convertible(row.unit, "W")]
    return next(iter([*counters, *power]), None)


def _counted(
    meters: Sequence[Attribute], times: Sequence[datetime], now: datetime
) -> dict[int, list[float]]:
    """Return the kWh of each hour, by counter.

    A counter is read at the edges of hours; where it began anew within one, all it said then is.
    """
    found = {}
    for start in range(0, len(meters), DEVICES_AT_ONCE):
        some = meters[start : start + DEVICES_AT_ONCE]
        readings = _readings(some, [min(at, now) for at in times])
        for meter in some:
            found[meter.pk] = _by_hour(meter, readings[meter.pk], times)
    return found


def _readings(
    meters: Sequence[Attribute], times: Sequence[datetime]
) -> dict[int, list[float | None]]:
    """Read counters at the edges of hours: of hours that are summed up, then of observations."""
    places = {meter.pk: bisect_left(times, summed_up_until(meter, times)) for meter in meters}
    found = HourlyStatistics.objects.numbers_at(places, times[: max(places.values(), default=0)])
    for pk, place in places.items():
        del found[pk][place:]
    for start in range(min(places.values(), default=0), len(times), MOST_POINTS):
        part = times[start : start + MOST_POINTS]
        for pk, numbers in Observation.objects.all().sample(list(found), part).items():
            found[pk] += numbers[max(0, len(found[pk]) - start) :]
    for meter in meters:
        for place, at in enumerate(times):
            # Nobody heard it since; what it said last may have changed.
            number, heard_at = found[meter.pk][place], meter.heard_at
            is_known = number is not None and heard_at is not None and at - HOUR < heard_at
            found[meter.pk][place] = converted(number or 0, meter.unit, "kWh") if is_known else None
    return found


def _by_hour(
    meter: Attribute, readings: Sequence[float | None], times: Sequence[datetime]
) -> list[float]:
    hourly = [0.0] * (len(times) - 1)
    known = [(place, number) for place, number in enumerate(readings) if number is not None]
    if known and known[0][0] > 0:
        # It was heard for the first time within an hour.
        place = known[0][0]
        hourly[place - 1] = sum(
            use.kwh for use in uses(list(_raw(meter, times[place - 1], times[place])))
        )
    for (first, before), (last, after) in pairwise(known):
        start, end = times[first], times[last]
        kwh = sum(use.kwh for use in uses([(start, before), (end, after)]))
        if kwh != after - before:  # it began anew, or is another one
            told = _told_within(meter, start, end)
            kwh = sum(use.kwh for use in uses([(start, before), *told, (end, after)]))
        for place in range(first, last):
            hourly[place] += kwh / (last - first)
    return hourly


def _told_within(
    meter: Attribute, start: datetime, end: datetime
) -> Iterator[tuple[datetime, float]]:
    """Yield what a counter told that did not only grow: all of it, or the most it told."""
    if meter.pruned_until is None or start >= meter.pruned_until:
        yield from _raw(meter, start, end)
        return
    hours = HourlyStatistics.objects.filter(attribute=meter, starts_at__gte=hour_of(start))
    row = hours.filter(starts_at__lt=end, maximum__isnull=False).order_by("-maximum").first()
    if row:
        yield start + (end - start) / 2, converted(row.maximum or 0, meter.unit, "kWh")


def _raw(meter: Attribute, start: datetime, end: datetime) -> Iterator[tuple[datetime, float]]:
    rows = Observation.objects.between(start, end).filter(attribute=meter, number__isnull=False)
    for at, number in rows.values_list("observed_at", "number")[:MOST_READINGS]:
        yield at, converted(number or 0, meter.unit, "kWh")


def _integrated(meter: Attribute, times: Sequence[datetime], now: datetime) -> list[float]:
    """Return the kWh of each hour by the power, of as much of it as was heard."""
    found = []
    for starts_at, ends_at, mean, _, _, coverage in spans(meter, times, now):
        watts = converted(mean, meter.unit, "W") if mean is not None else 0.0
        found.append(max(watts, 0.0) / 1000 * coverage * ((ends_at - starts_at) / HOUR))
    return found


class _Rates:
    """What was measured of each hour, read once for each region."""

    def __init__(self, site: Site, times: Sequence[datetime], now: datetime) -> None:
        self._site, self._times, self._known = site, times, AsOf(now)
        self._read: dict[tuple[Region, Signal], dict[datetime, Slot]] = {}

    def are_replayed(self, device: Device) -> bool:
        regions = [self._region(device, signal) for signal in (CARBON, Signal.PRICE)]
        return any(feeds.is_replayed(region.feed) for region in regions if region)

    def _region(self, device: Device, signal: Signal) -> Region | None:
        try:
            return region_for(device, signal, self._site)
        except LookupError:  # the decision of the device says what is missing
            return None

    def of(self, device: Device, signal: Signal) -> Mapping[datetime, Slot]:
        """Return the mean of each hour, of as much of it as is known; empty without a feed."""
        region = self._region(device, signal)
        if region is None:
            return {}
        if (region, signal) not in self._read:
            slots = self._known.measurements(region, signal, self._times[0], self._times[-1])
            self._read[region, signal] = _hourly(slots, signal, self._times)
        return self._read[region, signal]


def _hourly(
    slots: Sequence[Slot], signal: Signal, times: Sequence[datetime]
) -> dict[datetime, Slot]:
    found: dict[datetime, Slot] = {}
    place = 0
    for starts_at, ends_at in pairwise(times):
        while place < len(slots) and slots[place].ends_at <= starts_at:
            place += 1
        seconds = amount = 0.0
        at = place
        while at < len(slots) and slots[at].starts_at < ends_at:
            slot, at = slots[at], at + 1
            within = min(slot.ends_at, ends_at) - max(slot.starts_at, starts_at)
            seconds += within.total_seconds()
            amount += within.total_seconds() * slot.value
        if seconds:
            unit = slots[place].unit
            found[starts_at] = Slot(starts_at, ends_at, amount / seconds, unit, None, signal)
    return found


def _priced(kwh: float, carbon: Slot | None, price: Slot | None) -> Use:
    money = {price.unit.partition("/")[0]: kwh * price.value} if price else {}
    return Use(
        kwh,
        kwh * carbon.value if carbon else 0.0,
        kwh if carbon else 0.0,
        money,
        kwh if price else 0.0,
    )
