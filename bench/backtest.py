"""Measure what forecasts save in a real year: Great Britain 2023, 3 hours before 07:00 every day.

The year is not part of this repository: BENCH_GB_INTENSITY names the file (columns from, to,
forecast, actual), or it lies in ../shared/data. Source: NESO Carbon Intensity API, CC BY 4.0. It
has one forecast for each half-hour, the last one before it.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from bench.table import Row, is_quick, show
from core import rules
from core.tasks.backtesting import past
from core.tasks.backtesting.backtest import BacktestResult, backtest
from core.tasks.backtesting.device import BacktestSettings

BESIDE = (
    Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "gb_intensity_2023.csv.gz"
)
LONDON = ZoneInfo("Europe/London")
SINCE = datetime(2023, 1, 1, tzinfo=LONDON)
TARGET = 0.9


@dataclass(frozen=True)
class Case:
    """`is_target`: this is the one the target is set for. The others show where the limits are."""

    what: str
    options: dict[str, str]
    with_forecasts: bool = True
    is_target: bool = False


NIGHT = {"after": "22:00"}
IN_ONE_RUN = {"contiguous": "yes"}
CASES = (
    Case("in the day before, in one run", IN_ONE_RUN, is_target=True),
    Case("in the day before, split", {}, is_target=True),
    Case("from 22:00, in one run", NIGHT | IN_ONE_RUN),
    Case("from 22:00, split", NIGHT),
    Case("in the day before, in one run, without forecasts", IN_ONE_RUN, with_forecasts=False),
)
NOTE = """
The file's forecast is the last one before each half-hour; those of the evening before are less
good. "Without forecasts" is the floor: a typical day of what had been measured. Jobs that were
not measured in full (a gap of 46 hours in October, five half-hours in January) are not
compared. Those with a target decide every ten minutes, the others every thirty."""


def main() -> None:
    path = Path(os.environ.get("BENCH_GB_INTENSITY") or BESIDE)
    if not path.is_file():
        print(
            "\nbacktest is left out: set BENCH_GB_INTENSITY to a file of a year, "
            "with the columns from, to, forecast, actual."
        )
        return
    until = datetime(2024, 1, 1, tzinfo=LONDON)
    if is_quick():
        until = datetime(2023, 2, 1, tzinfo=LONDON)
    rows = [row for case in CASES for row in measured(case, path, until)]
    days = (until - SINCE).days
    show(f"Backtest, Great Britain 2023, {days} days, 3 hours at 1 kW before 07:00 daily", rows)
    print(NOTE)


def measured(case: Case, path: Path, until: datetime) -> list[Row]:
    history = past.from_file(path)
    if not case.with_forecasts:
        history.forecasts = past.LastForecasts([])
    rule = rules.load("cleanest_hours")
    settings = BacktestSettings(
        rule,
        rule.read(case.options),
        SINCE.astimezone(UTC),
        until.astimezone(UTC),
        timedelta(minutes=10 if case.is_target else 30),
        LONDON,
    )
    began = time.process_time()
    result = backtest(settings, {history.signal: history})
    return rows_of(case, result, time.process_time() - began)


def rows_of(case: Case, result: BacktestResult, seconds: float) -> list[Row]:
    costs = result.costs
    assert costs.actual is not None and costs.at_once is not None
    assert costs.ideal is not None and costs.share is not None
    kg = (
        f"{costs.actual / 1000:.1f} kgCO2; {costs.at_once / 1000:.1f} at once, "
        f"{costs.ideal / 1000:.1f} with hindsight"
    )
    target = {"target": f">= {TARGET:.0%}", "met": costs.share >= TARGET} if case.is_target else {}
    jobs = (
        f"{len(result.jobs)} jobs, {len(result.compared)} measured in full; "
        f"{result.switches} switches, {result.changes} changes of plan; {seconds:.0f} s of CPU"
    )
    share = f"{costs.share:.1%} of the ideal saving"
    return [
        Row(f"3 h {case.what}", kg, share, **target),
        Row("", jobs, f"{result.undelivered} not delivered", "0", result.undelivered == 0),
    ]


if __name__ == "__main__":
    main()
