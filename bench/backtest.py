"""Measure what forecasts save in a real year: Great Britain 2023, 3 hours before 07:00 every day.

The year is not part of this repository: BENCH_GB_INTENSITY names the file (columns from, to,
forecast, actual), or it lies in ../shared/data. Source: NESO Carbon Intensity API, CC BY 4.0. It
has one forecast for each half-hour, the last one before it. Nobody knew that 48 hours ahead, so
what it saves is more than anybody could; beside it stand models of forecasts that are revised.
Next to switching on at once, a timer at fixed hours of the night, and the best with hindsight.
"""

import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache, partial
from itertools import accumulate
from pathlib import Path
from random import Random

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from bench.fixed_hours import FIXED_HOURS, LONDON, cost_at_fixed_hours
from bench.table import Row, is_quick, show
from core import rules
from core.feeds import Slot
from core.tasks.backtesting import past
from core.tasks.backtesting.backtest import BacktestResult, backtest
from core.tasks.backtesting.device import BacktestSettings

BESIDE = (
    Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "gb_intensity_2023.csv.gz"
)
SINCE = datetime(2023, 1, 1, tzinfo=LONDON)
TARGET = 0.9
HALF_HOUR, BLOCK = timedelta(minutes=30), timedelta(hours=3)
AHEAD = timedelta(hours=48)
OFF_AT_FIRST = 30
"""gCO2/kWh: the standard deviation of what a forecast 48 h ahead changes until it is the last one.
Assumed: the file does not tell."""
STEP = OFF_AT_FIRST / (AHEAD / HALF_HOUR) ** 0.5

NOISE, NOISE_AROUND = 27, 30
"""gCO2/kWh, standard deviation, of the last forecasts and of the measured: with it the mean error
from 1.5 h ahead on is the 24 g that forecasts really issued have, where the last have 9.9."""
ALIKE, SAME = 0.85, 0.9
"""Correlations, assumed: of the noise of neighbouring half-hours, and of one in the next issue."""


class Forecasts(Enum):
    LAST = "last-minute forecasts"
    REVISED = "revised forecasts"
    ISSUED = "forecasts as issued"
    AROUND = "forecasts as issued, around the measured"
    NONE = "no forecasts"


@dataclass(frozen=True)
class Case:
    """`is_target`: this is the one the target is set for. The others show where the limits are."""

    what: str
    options: dict[str, str]
    forecasts: Forecasts = Forecasts.LAST
    is_target: bool = False


NIGHT = {"after": "22:00"}
IN_ONE_RUN = {"contiguous": "yes"}
ONCE = {"gain": "100"}
"""No new plan saves all that the old one costs: the first one is kept."""
CASES = (
    Case("in the day before, in one run", IN_ONE_RUN, is_target=True),
    Case("in the day before, split", {}, is_target=True),
    Case("from 22:00, in one run", NIGHT | IN_ONE_RUN),
    Case("from 22:00, split", NIGHT),
    Case("in the day before, in one run", IN_ONE_RUN, Forecasts.REVISED),
    Case("in the day before, split", {}, Forecasts.REVISED),
    *(
        Case(f"from 22:00, {what}, planned {how}", NIGHT | run | again, forecasts)
        for forecasts in (Forecasts.ISSUED, Forecasts.AROUND)
        for what, run in (("in one run", IN_ONE_RUN), ("split", {}))
        for how, again in (("anew", {}), ("once", ONCE))
    ),
    Case("in the day before, in one run", IN_ONE_RUN, Forecasts.NONE),
)
NOTE = """
The file's forecast is the last one before each half-hour, as if it had been known 48 h ahead:
nobody had these then. "Revised" is a model in its place: issued each half-hour, 48 h ahead it is
off from the last one by 30 gCO2/kWh (standard deviation, assumed), and becomes it by random steps.
"As issued" is a model with the mean error of forecasts that were really issued, about 24 gCO2/kWh
beyond 1.5 h; "planned once" keeps the first plan, whatever comes. "No forecasts" is a typical day
of what had been measured. Jobs that were not measured in full (a gap of 46 hours in October, five
half-hours in January), or of which nothing was known, are not compared. Those with a target decide
every ten minutes, the others every thirty."""


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
    if case.forecasts is Forecasts.NONE:
        history.forecasts = past.LastForecasts([])
    if case.forecasts is Forecasts.REVISED:
        assert isinstance(history.forecasts, past.LastForecasts)
        history.forecasts = revised(history.forecasts.slots, until)
    if case.forecasts is Forecasts.ISSUED:
        assert isinstance(history.forecasts, past.LastForecasts)
        history.forecasts = issued(history.forecasts.slots, until, NOISE)
    if case.forecasts is Forecasts.AROUND:
        history.forecasts = issued(history.measured, until, NOISE_AROUND)
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
    return rows_of(case, result, history.measured, time.process_time() - began)


def revised(last: Sequence[Slot], until: datetime) -> past.Forecasts:
    """Make forecasts that are issued each half-hour and end as the last-minute ones.

    Each revision moves every three hours of what is ahead by a random step (a martingale model of
    forecast evolution; the seed is fixed).
    """

    @lru_cache(maxsize=200_000)
    def error(block: int, revisions_left: int) -> float:
        if not revisions_left:
            return 0
        step = Random(f"{block} {revisions_left}").gauss(0, STEP)
        return error(block, revisions_left - 1) + step

    def seen(slot: Slot, issued_at: datetime) -> Slot:
        block, place = divmod(slot.starts_at - SINCE, BLOCK)
        begins_in = slot.starts_at - place - issued_at
        wrong_by = error(block, max(0, begins_in // HALF_HOUR))
        return replace(slot, value=max(0, slot.value + wrong_by), issued_at=issued_at)

    @lru_cache(maxsize=200)
    def slots(issued_at: datetime) -> Sequence[Slot]:
        first = bisect_left(last, issued_at, key=past.starts_at)
        end = bisect_left(last, issued_at + AHEAD, lo=first, key=past.starts_at)
        return [seen(slot, issued_at) for slot in last[first:end]]

    issues, at = list[past.Issue](), SINCE.astimezone(UTC)
    while at < until:
        issues.append(past.Issue(at, at, at + AHEAD, partial(slots, at)))
        at += HALF_HOUR
    return past.IssuedForecasts(issues, past.ForecastKind.ISSUED)


def issued(around: Sequence[Slot], until: datetime, noise_size: float) -> past.Forecasts:
    """Make forecasts as wrong as those that are really issued, each half-hour anew.

    From 1.5 h ahead on each is off by noise of this size; neighbours are alike, and so are issues
    that follow one another. The seed is fixed.
    """
    random = Random(2023)
    steps = AHEAD // HALF_HOUR

    def beside(before: float, alike: float) -> float:
        return alike * before + (1 - alike**2) ** 0.5 * random.gauss(0, 1)

    def line() -> list[float]:
        return list(accumulate(range(steps), lambda before, _: beside(before, ALIKE), initial=0.0))

    def slots(issued_at: datetime, noise: array[float]) -> Sequence[Slot]:
        first = bisect_left(around, issued_at, key=past.starts_at)
        end = bisect_left(around, issued_at + AHEAD, lo=first, key=past.starts_at)
        made = []
        for slot in around[first:end]:
            ahead = (slot.starts_at - issued_at) // HALF_HOUR
            wrong_by = noise_size * min(1, ahead / 3) * noise[ahead]
            value = max(0, slot.value + wrong_by)
            made.append(replace(slot, value=value, issued_at=issued_at))
        return made

    issues, at, noise = list[past.Issue](), SINCE.astimezone(UTC), line()
    while at < until:
        shifted = [*noise[1:], beside(noise[-1], ALIKE)]
        changed = (1 - SAME**2) ** 0.5
        noise = [SAME * old + changed * new for old, new in zip(shifted, line(), strict=True)]
        issues.append(past.Issue(at, at, at + AHEAD, partial(slots, at, array("d", noise))))
        at += HALF_HOUR
    return past.IssuedForecasts(issues, past.ForecastKind.ISSUED)


def rows_of(
    case: Case, result: BacktestResult, measured: Sequence[Slot], seconds: float
) -> list[Row]:
    costs = result.costs
    fixed = sum(cost_at_fixed_hours(job.job, measured) for job in result.compared)
    assert costs.actual is not None and costs.at_once is not None
    assert costs.ideal is not None and costs.share is not None
    kg = (
        f"{costs.actual / 1000:.1f} kgCO2; {costs.at_once / 1000:.1f} at once, "
        f"{fixed / 1000:.1f} {FIXED_HOURS}, {costs.ideal / 1000:.1f} with hindsight"
    )
    target = {"target": f">= {TARGET:.0%}", "met": costs.share >= TARGET} if case.is_target else {}
    jobs = (
        f"{len(result.jobs)} jobs, {len(result.compared)} compared; {result.switches} switches, "
        f"{result.changes / len(result.jobs):.2f} changes of plan a job; {seconds:.0f} s of CPU"
    )
    fixed_share = (costs.at_once - fixed) / (costs.at_once - costs.ideal)
    share = f"{costs.share:.1%} of the ideal saving; {FIXED_HOURS} {fixed_share:.1%}"
    return [
        Row(f"{case.forecasts.value}: 3 h {case.what}", kg, share, **target),
        Row("", jobs, f"{result.undelivered} not delivered", "0", result.undelivered == 0),
    ]


if __name__ == "__main__":
    main()
