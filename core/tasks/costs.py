"""What devices used, and what that cost: kWh, grams of CO2 and money, by the day or the month.

From the energy counter of a device where it has one, else from its power where that was heard. What
lies in a silence is counted by the counter, spread evenly over it; without a counter it is not
known, and is not counted. Carbon and money are what was measured of the hour, at the device's
region. Nothing is summed up over two currencies.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, Q

from core.feeds import Signal
from core.formatting import number_text
from core.models import Attribute, Device, Site
from core.models.device import DeviceQuerySet
from core.models.hourly import end_of_hour
from core.tasks.counting import Counted, counted_by_hour
from core.tasks.observations import spans
from core.tasks.polling.units import are_convertible, converted
from core.tasks.rates import CARBON, Rate, Rates
from core.tasks.scorecard import Jobs, cost_text, jobs_between
from core.tasks.tables import Block, Table

MOST_DAYS = 31
MOST_MONTHS = 12
DEVICES_AT_ONCE = 50
HOURS_AT_ONCE = 100_000
"""Hours of all devices that are in memory at once: 12 devices in a year."""
HOUR = timedelta(hours=1)
METER, POWER = "energy", "power"
Json = dict[str, Any]


@dataclass(frozen=True)
class Period:
    """The last `count` days or months of the clock at home; this one, which is not over, included.

    Where that clock is half an hour off, months begin with the first whole hour in UTC.
    """

    count: int = 7
    by_month: bool = False

    @classmethod
    def of_days(cls, days: int) -> "Period":
        return cls(min(max(days, 1), MOST_DAYS))

    @classmethod
    def of_months(cls, months: int) -> "Period":
        return cls(min(max(months, 1), MOST_MONTHS), by_month=True)

    def begins(self, day: date) -> date:
        """Return when the day or month of a day begins."""
        return day.replace(day=1) if self.by_month else day

    def first_day(self, today: date) -> date:
        if not self.by_month:
            return today - timedelta(days=self.count - 1)
        # In months since year 0, so that January follows December as any other.
        months = 12 * today.year + today.month - self.count
        return date(months // 12, months % 12 + 1, 1)

    def hours(self, now: datetime, zone: ZoneInfo) -> list[datetime]:
        """Return the hours of it, up to the end of the one that is not over."""
        first = self.first_day(now.astimezone(zone).date())
        at = datetime.combine(first, time(), zone).astimezone(UTC)
        if self.by_month:
            at = end_of_hour(at)
        times = [at]
        while at < now:
            at += HOUR
            times.append(at)
        return times


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
    return Words(f"{_kwh_text(use.kwh)} kWh", grams, money)


def _kwh_text(kwh: float) -> str:
    """To a watt-hour: less is 0, and not 8e-05."""
    return number_text(round(kwh, 3))


def _part(known: float, kwh: float) -> str:
    """Say of how much of the energy a cost is, unless it is of all but a percent."""
    return f" for {_kwh_text(known)} kWh" if kwh - known > 0.01 * kwh else ""


@dataclass(frozen=True)
class DeviceCosts:
    """The days or months of a device, the oldest first, and their sum.

    They begin with the first of which anything is known. Each is a date with what was used: a month
    is its first day. `source`: "energy" or "power".
    """

    device: Device
    source: str
    parts: Sequence[tuple[date, Use]]
    is_replayed: bool = False
    """Carbon or price are of another time: see core/feeds/__init__.py."""
    jobs: Jobs | None = None
    """Its plans whose deadlines were in this time."""
    known_since: date | None = None
    """The first day of these of which anything is known; None: there is none."""
    by_month: bool = False

    @property
    def saved(self) -> str:
        """What its plans saved against switching on at once, in words; "" without any."""
        if self.jobs is None or not self.jobs.settled or self.jobs.costs.saving is None:
            return ""
        return cost_text(self.jobs.costs.saving, self.jobs.costs.unit)

    @property
    def total(self) -> Use:
        return total(use for _, use in self.parts)

    def as_json(self) -> Json:
        days, months = [], []
        for begins, use in self.parts:
            if self.by_month:
                months.append({"month": f"{begins:%Y-%m}", **use.as_json()})
            else:
                days.append({"day": begins.isoformat(), **use.as_json()})
        return {
            "device": self.device.pk,
            "name": str(self.device),
            "measured_by": self.source,
            "is_replayed": self.is_replayed,
            "known_since": self.known_since.isoformat() if self.known_since else None,
            "days": days,
            "months": months,
            "total": self.total.as_json(),
            "jobs": self.jobs.as_json() if self.jobs else None,
        }


def total(some: Iterable[Use]) -> Use:
    return sum(some, Use())


def parts_of_all(found: Iterable[DeviceCosts]) -> list[tuple[date, Use]]:
    """Sum up the days or months of devices, the oldest first."""
    by_part: dict[date, Use] = {}
    for one in found:
        for begins, use in one.parts:
            by_part[begins] = by_part.get(begins, Use()) + use
    return sorted(by_part.items())


def costs(devices: Collection[Device], now: datetime, period: Period) -> list[DeviceCosts]:
    """Return the costs of those devices that measure energy or power.

    The number of queries grows with the time that is not summed up by the hour yet, with devices
    that have no counter, and with counters that began anew.
    """
    site = Site.home()
    times = period.hours(now, site.clock)
    rates = Rates(site, times, now)
    jobs = jobs_between(devices, times[0], now)
    meters = {pk: meter for pk, meter in _meters(devices).items() if meter}
    measured = [device for device in devices if device.pk in meters]
    parts = _Parts(period, times, site.clock)
    found = []
    at_once = max(1, min(DEVICES_AT_ONCE, HOURS_AT_ONCE // len(times)))
    for start in range(0, len(measured), at_once):
        some = measured[start : start + at_once]
        hourly = _by_hour([meters[device.pk] for device in some], times, now)
        for device in some:
            meter = meters[device.pk]
            counted = hourly[meter.pk]
            carbon, price = (rates.of(device, signal) for signal in (CARBON, Signal.PRICE))
            known_since = parts.day_of(counted.known_since)
            found.append(
                DeviceCosts(
                    device,
                    METER if is_counter(meter) else POWER,
                    parts.of(counted.hourly, carbon, price, known_since),
                    rates.are_replayed(device),
                    jobs.get(device.pk),
                    known_since,
                    period.by_month,
                )
            )
    return found


class _Parts:
    """Sums hours up by the days or months that they are in."""

    def __init__(self, period: Period, times: Sequence[datetime], zone: ZoneInfo) -> None:
        self._zone, self._period = zone, period
        days = [at.astimezone(zone).date() for at in times[:-1]]
        self._begins = [period.begins(day) for day in days]

    def day_of(self, at: datetime | None) -> date | None:
        return at.astimezone(self._zone).date() if at else None

    def of(
        self,
        hourly: Sequence[float],
        carbon: Sequence[Rate | None],
        prices: Sequence[Rate | None],
        known_since: date | None,
    ) -> list[tuple[date, Use]]:
        """Sum up the days or months of which anything is known: no others were without use."""
        if known_since is None:
            return []
        first = self._period.begins(known_since)
        sums = {begins: _Sum() for begins in self._begins if begins >= first}
        rows = zip(self._begins, hourly, carbon, prices, strict=True)
        for begins, kwh, intensity, price in rows:
            if kwh:
                sums[begins].add(kwh, intensity, price)
        return [(begins, one.use()) for begins, one in sums.items()]


class _Sum:
    """Adds up hours: in a year of a hundred devices there are a million."""

    def __init__(self) -> None:
        self._kwh = self._grams = self._grams_of = self._money_of = 0.0
        self._money: dict[str, float] = {}

    def add(self, kwh: float, carbon: Rate | None, price: Rate | None) -> None:
        self._kwh += kwh
        if carbon:
            self._grams += kwh * carbon.value
            self._grams_of += kwh
        if price:
            currency = price.unit.partition("/")[0]
            self._money[currency] = self._money.get(currency, 0.0) + kwh * price.value
            self._money_of += kwh

    def use(self) -> Use:
        return Use(self._kwh, self._grams, self._grams_of, self._money, self._money_of)


def _by_hour(
    meters: Sequence[Attribute], times: Sequence[datetime], now: datetime
) -> dict[int, Counted]:
    found = counted_by_hour([one for one in meters if is_counter(one)], times, now)
    for meter in meters:
        if meter.pk not in found:
            found[meter.pk] = _integrated(meter, times, now)
    return found


def measured_devices(devices: DeviceQuerySet) -> DeviceQuerySet:
    """Return those that measure energy or power, by name."""
    meters = Attribute.objects.filter(
        Q(name__startswith=METER) | Q(name=POWER), device=OuterRef("pk"), kind="number"
    )
    return devices.filter(Exists(meters)).select_related("gateway").order_by("name", "pk")


COLUMNS = {
    **{"device": int, "name": str, "measured_by": str, "is_replayed": bool},
    **{"kwh": float, "grams_co2": float, "grams_of_kwh": float},
    **{"currency": str, "amount": float, "money_of_kwh": float},
}


def cost_table(devices: DeviceQuerySet, now: datetime, period: Period) -> Table:
    """Return a row for each device, day or month, and currency; of some devices at a time."""
    columns = {"month" if period.by_month else "day": str, **COLUMNS}
    return Table(columns, _blocks(list(devices), now, period, list(columns)))


def _blocks(
    devices: Sequence[Device], now: datetime, period: Period, columns: Sequence[str]
) -> Iterator[Block]:
    for start in range(0, len(devices), DEVICES_AT_ONCE):
        found = costs(devices[start : start + DEVICES_AT_ONCE], now, period)
        yield [row for one in found for row in _rows(one, columns)]


def _rows(one: DeviceCosts, columns: Sequence[str]) -> Iterator[list[Any]]:
    told = one.as_json()
    for part in told["months"] or told["days"]:
        # A row also where no price is known.
        for money in part["money"] or [{"currency": None, "amount": None}]:
            values = {**told, **part, **money}
            yield [values[name] for name in columns]


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
    # False comes first: `energy` itself, then those of phases and channels.
    counters.sort(key=lambda row: row.name != METER)
    power = [row for row in rows if row.name == POWER and are_convertible(row.unit, "W")]
    return next(iter([*counters, *power]), None)


def _integrated(meter: Attribute, times: Sequence[datetime], now: datetime) -> Counted:
    """Return the kWh of each hour by the power, of as much of it as was heard."""
    hourly, known_since = list[float](), None
    for span in spans(meter, times, now):
        if span.mean is None:
            hourly.append(0.0)
            continue
        known_since = known_since or span.starts_at
        watts = converted(span.mean, meter.unit, "W")
        hours = (span.ends_at - span.starts_at) / HOUR
        # What is fed in is below 0, and no use.
        hourly.append(max(watts, 0.0) / 1000 * span.coverage * hours)
    return Counted(hourly, known_since)
