"""Measure what the rule `surplus` makes of a year of sun, next to a timer, and to hindsight.

The year is made (made_sun.py), so that anybody can run this: the table shows what the rule does
with sun, not what a household would save. The others run for as many minutes: a timer of fixed
hours, at once in the morning, and the best minutes of the same days with hindsight.
"""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from bench.made_sun import STEP, Home, made_home
from bench.table import Row, is_quick, show
from core import rules
from core.models import Attribute, Device, Gateway, Observation
from core.planning.precedence import Limits
from core.readings import Kind
from core.tasks.backtesting.backtest import BacktestResult, backtest
from core.tasks.backtesting.device import BacktestSettings
from core.tasks.backtesting.others import others_named
from core.tasks.events.outbox import publishing

FIRST = date(2023, 1, 1)
WATTS = 2000
STEPS_A_DAY = 144
NOON, MORNING = 12.0, 7.0
TARGET = 0.9
LIMITS = Limits(min_on=timedelta(minutes=20), min_off=timedelta(minutes=20))
NOTE = """
Sun, clouds and the home's use are made, with a seed; the meter is read every ten minutes. The
others run for as long as the rule: with hindsight in the best minutes of each day for as long as on
that day, the timer and from 07:00 on every day for as long as on the mean. "Caught" is how much of
the time it ran in which all of it was left over."""


@dataclass(frozen=True)
class Case:
    what: str
    options: dict[str, float]
    has_meter: bool = True
    is_target: bool = False


CASES = (
    Case("by the meter, 10 min", {"minutes": 10}, is_target=True),
    Case("by the meter, 0 min", {"minutes": 0}),
    Case("by the meter, 10 min, 500 W may be bought", {"minutes": 10, "may_buy": 500}),
    Case("by the forecast alone", {"home_uses": 300}, has_meter=False),
)


def main() -> None:
    days = 60 if is_quick() else 365
    home = made_home(date(2023, 6, 1) if is_quick() else FIRST, days)
    meter = store(home)
    rows = [row for case in CASES for row in measured(case, home, meter, days)]
    sums = sum(home.given) / 6000, sum(home.used) / 6000
    title = f"Surplus, {days} days of made sun, {WATTS} W; panels {sums[0]:,.0f} kWh, home "
    show(f"{title}{sums[1]:,.0f} kWh", rows)
    print(NOTE)


def store(home: Home) -> Device:
    with publishing():
        gateway = Gateway.objects.create(vendor="shelly", name="Meters", address="http://127.0.0.1")
        meter = Device.objects.create(gateway=gateway, vendor_id="meter", name="Meter")
    power = Attribute.objects.create(device=meter, name="power", kind=Kind.NUMBER, unit="W")
    power.heard_at = home.at(len(home.used))
    power.save()
    Observation.objects.bulk_create(
        (
            Observation(attribute=power, observed_at=home.at(step), number=watts)
            for step, watts in enumerate(home.bought)
        ),
        batch_size=5000,
    )
    return meter


def measured(case: Case, home: Home, meter: Device, days: int) -> list[Row]:
    rule = rules.load("surplus")
    written = {"watts": WATTS, **case.options, **({"meter": meter.pk} if case.has_meter else {})}
    since, until = home.begins_at, home.at(days * STEPS_A_DAY)
    settings = BacktestSettings(rule, rule.read(written), since, until, STEP, limits=LIMITS)
    others = others_named(rule, written, since, until)
    history = home.history()
    began = time.process_time()
    result = backtest(settings, {history.signal: history}, None, others)
    return rows_of(case, result, home, days, time.process_time() - began)


def rows_of(case: Case, result: BacktestResult, home: Home, days: int, seconds: float) -> list[Row]:
    ran = steps_of(result, home)
    extra = [max(0.0, watts + WATTS) - max(0.0, watts) for watts in home.bought]
    mean = round(len(ran) / days)
    compared = {
        "from 07:00 on": every_day(days, mean, MORNING * 6),
        f"a timer around {NOON:.0f}:00": every_day(days, mean, NOON * 6 - mean / 2),
        "with hindsight": best(ran, extra),
    }
    own = share(ran, extra)
    others = ", ".join(f"{share(steps, extra):.1%} {what}" for what, steps in compared.items())
    ideal = own / share(compared["with hindsight"], extra)
    target = (f">= {TARGET:.0%}", ideal >= TARGET) if case.is_target else ("", None)
    used = len(ran) / 6 * WATTS / 1000
    free = [step for step, watts in enumerate(extra) if watts == 0]
    caught = len(set(free) & set(ran)) / len(free)
    switches = f"{result.switches / days:.1f} switches a day"
    detail = f"{used:,.0f} kWh; {caught:.0%} caught; {switches}; {seconds:.0f} s of CPU"
    return [
        Row(case.what, f"{own:.1%} left over; {others}", f"{ideal:.1%} of hindsight", *target),
        Row("", detail),
    ]


def steps_of(result: BacktestResult, home: Home) -> list[int]:
    """Return the steps in which it ran."""
    steps: list[int] = []
    for window in result.on:
        first = (window.starts_at - home.begins_at) // STEP
        steps += range(first, (window.ends_at - home.begins_at) // STEP)
    return steps


def every_day(days: int, count: int, first: float) -> list[int]:
    starts = [day * STEPS_A_DAY + round(first) for day in range(days)]
    return [start + step for start in starts for step in range(count)]


def best(ran: Sequence[int], extra: Sequence[float]) -> list[int]:
    """Return the steps of each day in which least is bought, as many as it ran on that day."""
    found: list[int] = []
    for day in sorted({step // STEPS_A_DAY for step in ran}):
        count = sum(step // STEPS_A_DAY == day for step in ran)
        of_day = range(day * STEPS_A_DAY, (day + 1) * STEPS_A_DAY)
        found += sorted(of_day, key=lambda step: extra[step])[:count]
    return found


def share(steps: Iterable[int], extra: Sequence[float]) -> float:
    """Return which part of what is used is left over."""
    bought = [extra[step] for step in steps]
    return 1 - sum(bought) / (WATTS * len(bought)) if bought else 0.0


if __name__ == "__main__":
    main()
