"""What devices used and what it cost, next to sums that are made in another way."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.feeds import Signal
from core.models import (
    Attribute,
    FeedSource,
    HourlyStatistics,
    Measurement,
    Observation,
    Series,
    Silence,
    Site,
)
from core.tasks.costs import Period, Use, costs, total, words
from core.tasks.retention import Kept
from core.tasks.roll_up import roll_up
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NOON = datetime(2026, 6, 17, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 6, 10, 23, tzinfo=UTC)
"""Of 11 June in London: with 17 June the first of seven days."""


@pytest.fixture
def home(settings):
    settings.FEEDS = ["carbon_intensity_gb", "octopus_agile:C"]
    Site.objects.create(name="Home", zone="Europe/London")


def meter(name="energy", unit="kWh", vendor_id="plug"):
    device = make_device(make_gateway(address=f"http://{vendor_id}"), vendor_id)
    if name == "power":
        return device.attributes.get(name="power")
    return Attribute.objects.create(device=device, name=name, kind="number", unit=unit)


def said(attribute, readings, heard_at=None):
    Observation.objects.bulk_create(
        Observation(attribute=attribute, observed_at=at, number=number) for at, number in readings
    )
    attribute.heard_at = heard_at or readings[-1][0]
    attribute.save()


def measured(signal, unit, value_at, since=MIDNIGHT, until=NOON):
    """Half-hours of a signal."""
    names = {Signal.PRICE: ("octopus_agile", "C")}
    feed, region = names.get(signal, ("carbon_intensity_gb", ""))
    source = FeedSource.objects.create(feed=feed, region=region)
    series = Series.objects.create(source=source, signal=signal, unit=unit)
    at = since
    while at < until:
        end = at + 30 * MINUTE
        Measurement.objects.create(
            series=series, starts_at=at, ends_at=end, value=value_at(at), known_at=end
        )
        at = end


WEEK = Period.of_days(7)


def cost_of(attribute, period=WEEK, now=NOON):
    [found] = costs([attribute.device], now, period)
    return found


def kwh_by_day(found):
    return {day.day: pytest.approx(use.kwh) for day, use in found.parts if use.kwh}


def growing(start, minutes, step, count=0.0, every=10):
    return [
        (start + place * every * MINUTE, count + place * step)
        for place in range(minutes // every + 1)
    ]


def test_each_day_of_the_clock_at_home_has_its_kwh(home):
    energy = meter()
    # 0.1 kWh each ten minutes for 26 hours, from 22:00 in London.
    said(energy, growing(datetime(2026, 6, 14, 21, tzinfo=UTC), 26 * 60, 0.1))
    found = cost_of(energy)
    assert kwh_by_day(found) == {14: 1.2, 15: 14.4}
    # Those before the first that is known are no days without use.
    assert [day for day, _ in found.parts] == [date(2026, 6, 14 + n) for n in range(4)]
    assert (found.source, found.total.kwh) == ("energy", pytest.approx(15.6))


@pytest.mark.parametrize(("unit", "factor"), [("Wh", 1000), ("kWh", 1), ("MWh", 0.001)])
def test_a_counter_may_count_in_any_unit_of_energy(home, unit, factor):
    energy = meter(unit=unit)
    said(energy, growing(NOON - 3 * HOUR, 120, 0.1 * factor))
    assert cost_of(energy).total.kwh == pytest.approx(1.2)


def test_a_counter_that_begins_anew_within_an_hour_is_read_exactly(home):
    energy, start = meter(), NOON - 2 * HOUR
    said(energy, [*growing(start, 30, 0.1, 40.0), *growing(start + 40 * MINUTE, 40, 0.1, 0.05)])
    # 0.3 before; 0.05 since it began anew, and 0.4 after.
    assert cost_of(energy).total.kwh == pytest.approx(0.75)


def test_a_counter_that_wraps_goes_on(home):
    energy = meter()
    said(energy, [(NOON - 3 * HOUR, 99_999.7), (NOON - HOUR, 0.4)])
    assert cost_of(energy).total.kwh == pytest.approx(0.7)


@pytest.mark.parametrize("count", [0.0, 5_432.1, 987_654.0])
def test_another_device_in_its_place_is_no_use(home, count):
    energy = meter()
    said(energy, [*growing(NOON - 5 * HOUR, 60, 0.1, 700.0), *growing(NOON - HOUR, 60, 0.1, count)])
    assert cost_of(energy).total.kwh == pytest.approx(1.2, abs=0.01)


def test_what_a_counter_counted_in_a_silence_is_spread_over_it(home):
    energy = meter()
    silent_from, heard_again = NOON - 40 * HOUR, NOON - 10 * HOUR
    said(energy, [(silent_from, 10.0), (heard_again, 16.0)])
    Silence.objects.create(
        attribute=energy, starts_at=silent_from + MINUTE, ends_at=heard_again - MINUTE
    )
    found = cost_of(energy)
    assert found.total.kwh == pytest.approx(6)
    assert set(kwh_by_day(found)) == {15, 16, 17}


def test_without_a_counter_the_power_is_added_up_and_silence_is_no_energy(home):
    power = meter("power")
    start = NOON - 10 * HOUR
    said(power, [(start, 1000), (start + 6 * HOUR, 500)], heard_at=start + 8 * HOUR)
    Silence.objects.create(attribute=power, starts_at=start + 2 * HOUR, ends_at=start + 5 * HOUR)
    found = cost_of(power)
    # 1 kW for 6 hours but the 3 silent ones, 500 W for 2, and nothing since it was last heard.
    assert found.total.kwh == pytest.approx(3 + 1) and found.source == "power"


def test_what_is_given_back_is_not_used(home):
    returned = meter("energy_returned")
    said(returned, growing(NOON - 2 * HOUR, 60, 0.1))
    assert costs([returned.device], NOON, WEEK)[0].source == "power"


def test_sums_are_those_of_an_independent_computation(home):
    """By each reading and each hour on its own, over a week of odd times."""
    random = Random(7)  # noqa: S311 (a test)
    energy, at, count, readings = meter(), MIDNIGHT, 3.0, []
    while at < NOON:
        readings.append((at, count))
        at += timedelta(seconds=random.randint(200, 900))
        count += random.choice([0, 0, 0.05, 0.3])
    said(energy, readings)
    measured(Signal.CARBON_INTENSITY, "gCO2/kWh", lambda at: 100 + at.hour * 7 + at.minute)
    measured(Signal.PRICE, "GBP/kWh", lambda at: 0.3 - at.hour * 0.02)
    found = cost_of(energy)
    assert found.total.kwh == pytest.approx(readings[-1][1] - 3.0)
    grams = money = 0.0
    hour = MIDNIGHT
    while hour < NOON:
        before = [count for at, count in readings if at <= hour][-1]
        after = [count for at, count in readings if at <= hour + HOUR][-1]
        grams += (after - before) * (100 + hour.hour * 7 + 15)
        money += (after - before) * (0.3 - hour.hour * 0.02)
        hour += HOUR
    assert found.total.grams == pytest.approx(grams)
    assert found.total.money == {"GBP": pytest.approx(money)}
    assert found.total.grams_of == found.total.money_of == pytest.approx(found.total.kwh)


def test_where_nothing_was_measured_the_cost_is_not_known(home):
    energy = meter()
    said(energy, growing(NOON - 4 * HOUR, 180, 0.1))
    measured(Signal.PRICE, "GBP/kWh", lambda at: -0.1, since=NOON - 2 * HOUR)
    told = cost_of(energy).total.as_json()
    assert (told["grams_co2"], told["grams_of_kwh"]) == (None, 0)
    # Below 0 one is paid; of the first two hours the price is not known.
    assert told["money"] == [{"currency": "GBP", "amount": pytest.approx(-0.06)}]
    assert (told["kwh"], told["money_of_kwh"]) == (pytest.approx(1.8), pytest.approx(0.6))


def test_less_than_a_watt_hour_is_no_power_of_ten():
    assert words(Use(kwh=0.00008)).kwh == "0 kWh"
    assert words(Use(kwh=0.0512)).kwh == "0.051 kWh"


def test_money_is_never_summed_up_over_two_currencies(home):
    pounds, euros = meter(), meter(vendor_id="other")
    for one in (pounds, euros):
        said(one, growing(NOON - 2 * HOUR, 60, 0.1))
    measured(Signal.PRICE, "GBP/kWh", lambda at: 0.2)
    series = Series.objects.create(
        source=FeedSource.objects.create(feed="octopus_agile", region="D"),
        signal="price",
        unit="EUR/kWh",
    )
    Measurement.objects.create(
        series=series, starts_at=NOON - 2 * HOUR, ends_at=NOON, value=0.5, known_at=NOON
    )
    euros.device.region = "octopus_agile:D"
    both = costs([pounds.device, euros.device], NOON, WEEK)
    assert total(one.total for one in both).money == {
        "EUR": pytest.approx(0.3),
        "GBP": pytest.approx(0.12),
    }


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_days_of_23_and_25_hours_have_the_energy_of_as_many(home, day, hours):
    energy, noon = meter(), datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC)
    said(energy, growing(noon - 48 * HOUR, 96 * 60, 0.1, every=60))
    found = dict(cost_of(energy, Period.of_days(3), noon + 36 * HOUR).parts)
    assert found[noon.date()].kwh == pytest.approx(hours / 10)


def test_the_number_of_queries_does_not_grow_with_devices_or_history(home):
    meters = [meter(vendor_id=f"plug-{number}") for number in range(6)]
    for one in meters:
        said(one, growing(NOON - 200 * HOUR, 199 * 60, 0.1))
    counts = []
    for some in (meters[:1], meters):
        with CaptureQueriesContext(connection) as queries:
            costs([one.device for one in some], NOON, WEEK)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 8


def test_costs_are_the_same_by_hours_and_when_the_observations_are_gone(home, settings):
    energy = meter()
    power = meter("power", vendor_id="heater")
    first = growing(MIDNIGHT, 1500, 0.1, count=70)
    said(energy, first + growing(first[-1][0] + 20 * MINUTE, 3000, 0.05))
    Silence.objects.create(
        attribute=energy, starts_at=MIDNIGHT + 20 * HOUR, ends_at=MIDNIGHT + 22 * HOUR + MINUTE
    )
    said(power, [(at, 100 * count) for at, count in growing(MIDNIGHT, 3000, 0.1)])
    before = {one.pk: kwh_by_day(cost_of(one)) for one in (energy, power)}
    assert sum(day.expected for day in before[energy.pk].values()) > 25
    roll_up()
    assert {one.pk: kwh_by_day(cost_of(one)) for one in (energy, power)} == before
    roll_up(Kept(NOON, days=1))
    assert Observation.objects.count() < 4
    assert {one.pk: kwh_by_day(cost_of(one)) for one in (energy, power)} == before


YEAR = Period.of_months(12)


def any_life(seed, since, until):
    """Make what a counter may say, and its silences: it restarts, wraps, jitters, is replaced."""
    random = Random(seed)
    readings, silences, at, count = [], [], since, random.choice([0.0, 12.0, 9_999.2])
    while at < until:
        readings.append((at, count))
        wait = timedelta(seconds=random.randint(300, 2_400))
        if random.random() < 0.1:
            # At a full hour: that is of the hour before.
            wait = HOUR - (at - MIDNIGHT) % HOUR
        if random.random() < 0.02:
            wait = timedelta(hours=random.randint(1, 60), minutes=17)
            silences.append((at + MINUTE, at + wait - random.choice([0, 1]) * MINUTE))
        at += wait
        count += random.choice([0, 0.02, 0.3])
        happens = random.random()
        if happens < 0.05:
            count = random.choice([0.0, 0.4])
        elif happens < 0.06:
            count = random.choice([3_000.0, 9_999.9])
        elif happens < 0.1:
            count = max(0.0, count - 0.01)
        count = count - 10_000 if count >= 10_000 else count
    return readings, silences


@pytest.mark.parametrize("seed", range(5))
def test_any_counter_costs_the_same_by_observations_by_hours_and_when_they_are_gone(home, seed):
    energy = meter()
    readings, silences = any_life(seed, NOON - timedelta(days=40), NOON)
    said(energy, readings)
    Silence.objects.bulk_create(
        Silence(attribute=energy, starts_at=start, ends_at=end) for start, end in silences
    )
    measured(Signal.CARBON_INTENSITY, "gCO2/kWh", lambda at: 100 + at.hour)
    periods = (WEEK, Period.of_days(31), YEAR)
    before = [cost_of(energy, period) for period in periods]
    assert before[-1].total.kwh > 50
    for told in before:
        assert all(0 <= use.kwh < 24 * 50 * 30 for _, use in told.parts)
    roll_up()
    assert [near(cost_of(energy, period)) for period in periods] == before
    roll_up(Kept(NOON, days=2))
    assert Observation.objects.count() < len(readings) / 5
    assert [near(cost_of(energy, period)) for period in periods] == before


def near(found):
    return Near(found)


class Near:
    """Costs that are those of others but for rounding."""

    def __init__(self, found):
        self.found = found

    def __eq__(self, other):
        assert self.found.known_since == other.known_since
        assert [begins for begins, _ in self.found.parts] == [begins for begins, _ in other.parts]
        for (begins, one), (_, two) in zip(self.found.parts, other.parts, strict=True):
            assert one.kwh == pytest.approx(two.kwh, abs=1e-6), begins
            assert one.grams == pytest.approx(two.grams, abs=1e-3), begins
        return True


def test_months_are_those_of_the_clock_at_home_and_the_sum_of_their_days(home):
    energy = meter()
    # From the last hour of April in London, an hour after that of UTC.
    start = datetime(2026, 4, 30, 22, tzinfo=UTC)
    said(energy, growing(start, 40 * 24 * 60, 0.1, every=60))
    months = cost_of(energy, YEAR)
    told = {begins.month: use.kwh for begins, use in months.parts}
    assert told == {4: pytest.approx(0.1), 5: pytest.approx(74.4), 6: pytest.approx(21.5)}
    days = cost_of(energy, Period.of_days(17))
    assert days.parts[0][0] == date(2026, 6, 1)
    assert days.total.kwh == pytest.approx(told[6])
    assert months.total.kwh == pytest.approx(sum(told.values()))


def test_costs_say_from_which_day_on_anything_is_known(home):
    energy, power = meter(), meter("power", vendor_id="heater")
    said(energy, growing(NOON - 50 * HOUR, 180, 0.1))
    said(power, [(NOON - 30 * HOUR, 100), (NOON - 29 * HOUR, 100)])
    assert cost_of(energy, YEAR).known_since == date(2026, 6, 15)
    assert cost_of(power, YEAR).known_since == date(2026, 6, 16)
    assert cost_of(meter(vendor_id="new"), YEAR).known_since is None


def test_where_the_clock_is_half_an_hour_off_a_year_is_the_same_without_observations(home):
    Site.objects.update(zone="Asia/Kolkata")
    energy = meter()
    readings, _ = any_life(3, NOON - timedelta(days=40), NOON)
    said(energy, readings)
    before = cost_of(energy, YEAR)
    roll_up(Kept(NOON, days=2))
    assert [near(cost_of(energy, YEAR))] == [before]
    week = cost_of(energy, WEEK)
    assert all(0 <= use.kwh < 50 for _, use in week.parts)


def test_a_year_takes_few_queries(home):
    """A counter that begins anew each day has its hours read once more, all at once."""
    meters = [meter(vendor_id=f"plug-{number}") for number in range(3)]
    for one in meters:
        readings = growing(NOON - timedelta(days=300), 299 * 24 * 60, 0.1, every=60)
        said(one, [(at, count % 2.4) for at, count in readings])
    roll_up()
    with CaptureQueriesContext(connection) as queries:
        found = costs([one.device for one in meters], NOON, YEAR)
    assert len(queries) <= 30
    assert found[0].total.kwh == pytest.approx(299 * 2.3, rel=0.05)


def test_hours_of_an_earlier_version_tell_the_most_that_was_counted(home):
    energy, start = meter(), NOON - 80 * HOUR
    said(energy, [*growing(start, 30, 0.1, 40.0), *growing(start + 40 * MINUTE, 4000, 0.1, 0.05)])
    before = cost_of(energy, WEEK).total.kwh
    roll_up(Kept(NOON, days=1))
    HourlyStatistics.objects.update(counted_kwh=None, counted_before_kwh=None)
    assert cost_of(energy, WEEK).total.kwh == pytest.approx(before)
