"""Rules by prices: below 0, on days of 23 and 25 hours, in one currency. Checked by brute force."""

from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from zoneinfo import ZoneInfo

import pytest

from core import planning
from core.feeds import Signal, Slot
from core.planning import Job, MixedUnits, Window
from core.planning.forecast import Outlook, Rung
from core.rules import Undecided
from core.rules.cleanest_hours import Options
from core.schedule import first_moment
from tests.core.rules.situations import decide, outlook, slots, utc

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
SHORT, LONG, USUAL = "2026-03-29", "2026-10-25", "2026-11-21"


def prices(start, values, unit="EUR/kWh", length=HOUR):
    return tuple(
        Slot(start + n * length, start + (n + 1) * length, value, unit, start, Signal.PRICE)
        for n, value in enumerate(values)
    )


def day_of(day, seed):
    """The market's day, midnight to midnight by its clock, with prices above and below 0."""
    date = datetime.fromisoformat(day).date()
    start = first_moment(date, timedelta(), BERLIN)
    end = first_moment(date + timedelta(days=1), timedelta(), BERLIN)
    random = Random(seed)  # noqa: S311 (a test)
    values = [round(random.uniform(-0.2, 0.4), 3) for _ in range((end - start) // HOUR)]
    return start, end, prices(start, values)


def decided(start, end, known, **options):
    return decide(
        f"{start:%Y-%m-%d %H:%M}",
        "cleanest_hours",
        Outlook(Signal.PRICE, known, Rung.LIVE, start),
        options={"signal": "price", "before": "00:00", "minutes": 180, **options},
        zone=BERLIN,
    )


@pytest.mark.parametrize(("day", "hours"), [(SHORT, 23), (USUAL, 24), (LONG, 25)])
@pytest.mark.parametrize("seed", range(8))
def test_the_cheapest_hours_of_any_day_are_those_of_brute_force(day, hours, seed):
    start, end, known = day_of(day, seed)
    assert len(known) == hours
    values = [slot.value for slot in known]
    split = decided(start, end, known).plan
    assert split.cost == pytest.approx(min(map(sum, combinations(values, 3))))
    assert (split.unit, split.job.deadline) == ("EUR", end)
    run = decided(start, end, known, contiguous=True).plan
    best = min(sum(values[n : n + 3]) for n in range(hours - 2))
    assert run.cost == pytest.approx(best) and len(run.windows) == 1


def test_the_cheapest_hours_say_so_with_the_currency():
    start, end, known = day_of(USUAL, 1)
    reason = decided(start, end, known).reason
    assert "the cheapest 3 h before" in reason and "EUR/kWh" in reason


def test_a_price_is_not_smoothed():
    """One cheap hour between two dear ones is cheap: a price has no noise."""
    assert Options(signal="price").superlative == "cheapest"
    start = utc(f"{USUAL} 00:00")
    known = prices(start, [0.5, 0.5, -0.1, 0.5, 0.3, 0.3, 0.3])
    plan = decided(start, start + 7 * HOUR, known, minutes=60, before="07:00").plan
    assert plan.windows[0].starts_at == start + 2 * HOUR


def test_below_0_is_below_a_threshold_of_0():
    cheap = outlook(slots(f"{USUAL} 12:00", [-0.01, 0.02], signal=Signal.PRICE))
    options = {"signal": "price", "threshold": 0, "hysteresis": 0.01}
    assert decide(f"{USUAL} 12:00", "below", cheap, options=options).value is True
    assert decide(f"{USUAL} 12:30", "below", cheap, options=options).value is False


def priced(unit):
    start = utc(f"{USUAL} 12:00")
    return Outlook(Signal.PRICE, prices(start, [0.1], unit), Rung.LIVE, start)


def test_a_threshold_in_one_currency_says_nothing_of_prices_in_another():
    options = {"signal": "price", "threshold": 0.2, "currency": "GBP"}
    assert decide(f"{USUAL} 12:10", "below", priced("GBP/kWh"), options=options).value is True
    with pytest.raises(Undecided, match="the threshold is in GBP, and the price in EUR/kWh"):
        decide(f"{USUAL} 12:10", "below", priced("EUR/kWh"), options=options)
    # The lowest percent of a day are so in any currency.
    relative = {**options, "percentile": 20}
    decide(f"{USUAL} 12:10", "below", priced("EUR/kWh"), options=relative)


def test_prices_in_two_currencies_are_not_compared():
    start = datetime(2026, 11, 21, tzinfo=UTC)
    mixed = (*prices(start, [0.1]), *prices(start + HOUR, [0.09], "GBP/kWh"))
    job = Job(start, start + 2 * HOUR, 60)
    with pytest.raises(MixedUnits, match="EUR/kWh and in GBP/kWh cannot be compared"):
        planning.plan(job, mixed, start)
    with pytest.raises(MixedUnits):
        planning.cost([Window(start, start + 2 * HOUR)], mixed, 1000)
