"""Measure what "cheapest hours" saves by prices that are known from the afternoon before.

The year of prices is made (made_prices.py), so that anybody can run this: the table shows what the
code does with prices, not what a household would save. Next to switching on as soon as the job
opens, a timer that runs at fixed hours of the night, and the cheapest with hindsight.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from bench.fixed_hours import FIXED_HOURS, LONDON, cost_at_fixed_hours
from bench.made_prices import history, made_prices
from bench.table import Row, is_quick, show
from core import rules
from core.feeds import Slot
from core.tasks.backtesting.backtest import BacktestResult, backtest
from core.tasks.backtesting.device import BacktestSettings

FIRST = date(2023, 1, 1)
TARGET = 0.95


@dataclass(frozen=True)
class Case:
    what: str
    options: dict[str, str]
    is_known: bool = False
    """All prices are known before the job opens: only then is there a target."""


CASES = (
    Case("before 07:00, in one run", {"contiguous": "yes"}),
    Case("before 07:00, split", {}),
    Case("from 22:00 to 07:00, in one run", {"contiguous": "yes", "after": "22:00"}, True),
)
NOTE = """
The prices are made, with a seed: a usual day, sun, wind and noise. They are known from 16:00 of the
day before, when the job before 07:00 has been open for nine hours: what comes later than 23:00 is a
typical day until then."""


def main() -> None:
    days = 31 if is_quick() else 365
    slots = made_prices(FIRST, days)
    below = sum(slot.value < 0 for slot in slots) / len(slots)
    rows = [row for case in CASES for row in measured(case, slots, days)]
    title = f"Cheapest hours, {days} days of made prices ({below:.1%} below 0), 3 h at 1 kW daily"
    show(title, rows)
    print(NOTE)


def measured(case: Case, slots: list[Slot], days: int) -> list[Row]:
    rule, known = rules.load("cleanest_hours"), history(slots)
    since = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=LONDON).astimezone(UTC)
    until = (since.astimezone(LONDON) + timedelta(days=days - 1)).astimezone(UTC)
    options = rule.read({"signal": "price", **case.options})
    settings = BacktestSettings(rule, options, since, until, timedelta(minutes=30), LONDON)
    began = time.process_time()
    result = backtest(settings, {known.signal: known})
    return rows_of(case, result, slots, time.process_time() - began)


def rows_of(case: Case, result: BacktestResult, slots: list[Slot], seconds: float) -> list[Row]:
    costs = result.costs
    fixed = sum(cost_at_fixed_hours(job.job, slots) for job in result.compared)
    share = (costs.at_once - costs.actual) / (costs.at_once - costs.ideal)
    sums = (
        f"{costs.actual:.2f} GBP; {costs.at_once:.2f} at once, {fixed:.2f} {FIXED_HOURS}, "
        f"{costs.ideal:.2f} with hindsight"
    )
    detail = (
        f"{len(result.jobs)} jobs, {len(result.compared)} compared; {result.switches} switches; "
        f"{seconds:.0f} s of CPU"
    )
    target = (f">= {TARGET:.0%}", share >= TARGET) if case.is_known else ("", None)
    return [
        Row(case.what, sums, f"{share:.1%} of the ideal saving", *target),
        Row("", detail, f"{result.undelivered} not delivered", "0", not result.undelivered),
    ]


if __name__ == "__main__":
    main()
