"""Learning from what is stored: once a day, of one series a fetch, and never from the future."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from core.feeds import Signal, Slot
from core.models import Calibration, FeedSource, Forecast, Measurement, Series
from core.tasks import prune
from core.tasks.backtesting import past
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.calibrate import calibrate
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
HALF_HOUR, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)
LOCAL = Region("local", "13")
INTENSITY = Signal.CARBON_INTENSITY


@pytest.fixture(autouse=True)
def at_noon(time_machine, source):
    time_machine.move_to(NOW, tick=False)


def actual(at):
    return (100.0 if at.hour < 6 else 200.0) + at.day


def stored(days=20, region="13", signal=INTENSITY, unit="gCO2/kWh", noise=0.0, until=NOW):
    """Store forecasts, each 3 h a new one of 48 h and too high, and what was measured."""
    source, _ = FeedSource.objects.get_or_create(feed="local", region=region)
    series = Series.objects.create(source=source, signal=signal, unit=unit)
    add(series, until - days * DAY, until, noise=noise)
    return series


def add(series, since, until, too_high=60.0, noise=0.0):
    issues, measurements, at = [], [], since
    while at <= until:
        ahead = [at + place * HALF_HOUR for place in range(96)]
        slots = []
        for one in ahead:
            value = actual(one) + too_high + Random(f"{at} {one}").gauss(0, noise)
            slots.append(Slot(one, one + HALF_HOUR, value, series.unit))
        issues.append(
            Forecast(
                series=series,
                issued_at=at,
                known_at=at,
                ends_at=slots[-1].ends_at,
                slots=Forecast.packed(slots),
            )
        )
        at += 3 * HOUR
    at = since
    while at + HALF_HOUR <= until:
        end = at + HALF_HOUR
        row = Measurement(series=series, starts_at=at, ends_at=end, value=actual(at), known_at=end)
        measurements.append(row)
        at = end
    Forecast.objects.bulk_create(issues)
    Measurement.objects.bulk_create(measurements)


def look(at=NOW):
    return AsOf(at).outlook(LOCAL, INTENSITY, at + DAY)


def test_a_forecast_is_corrected_for_decisions_from_then_on():
    series = stored()
    assert calibrate([LOCAL]) == 1
    seen, before = look(), look(NOW - timedelta(microseconds=1))
    assert seen.calibrated_days == 20
    assert (before.calibrated_days, before.issued) == (0, ())
    errors = [abs(slot.value - actual(slot.starts_at)) for slot in seen.slots]
    assert sum(errors) / len(errors) < 30
    assert [slot.value for slot in seen.issued] == [
        actual(slot.starts_at) + 60 for slot in seen.issued
    ]
    assert Calibration.objects.get().series == series


def test_what_becomes_known_later_changes_nothing():
    series = stored()
    calibrate([LOCAL])
    row, seen = Calibration.objects.get(), look()
    row.delete()
    later = NOW + timedelta(microseconds=1)
    # Measurements of the past that are revised later, forecasts and measurements of later, and
    # what was learnt later.
    for old in Measurement.objects.filter(series=series, starts_at__gte=NOW - 3 * DAY):
        old.pk, old.known_at, old.value = None, later, 5000.0
        old.save()
    add(series, NOW + 3 * HOUR, NOW + 3 * DAY, too_high=-500.0)
    Calibration.objects.create(series=series, fitted_at=later, learnt={})
    calibrate([LOCAL])
    again = Calibration.objects.as_fitted_at(NOW).get()
    assert again.learnt == row.learnt
    assert look() == seen


def test_a_noisy_forecast_is_compared_with_those_of_the_last_hours_and_none_known_later():
    series = stored(days=10, noise=40.0)
    calibrate([LOCAL])
    seen = look()
    Forecast.objects.filter(series=series, known_at__lt=NOW - 14 * HOUR).delete()
    assert look() == seen
    add(series, NOW + 3 * HOUR, NOW + DAY, noise=40.0)
    assert look() == seen
    Forecast.objects.filter(series=series, known_at__lt=NOW).delete()
    assert look() != seen


def test_a_backtest_corrects_as_was_done_live():
    stored(days=10, noise=40.0)
    calibrate([LOCAL])
    history = past.from_database(LOCAL, INTENSITY, NOW, NOW + DAY)
    replayed = [slot.value for slot in history.outlook(NOW).slots]
    # What is stored of a calibration is rounded.
    assert replayed[:48] == pytest.approx([slot.value for slot in look().slots], rel=1e-4)


def test_it_learns_once_a_day_and_raises_the_version_of_cached_answers(time_machine):
    series = stored()
    version = series.source.history_version
    assert calibrate([LOCAL]) == 1
    series.source.refresh_from_db()
    assert series.source.history_version == version + 1
    time_machine.move_to(NOW + DAY - timedelta(minutes=1), tick=False)
    assert calibrate([LOCAL]) == 0
    time_machine.move_to(NOW + DAY, tick=False)
    assert calibrate([LOCAL]) == 1


def test_each_fetch_learns_of_one_series_in_turn():
    stored()
    stored(region="7")
    regions = [LOCAL, Region("local", "7")]
    assert [calibrate(regions) for _ in range(3)] == [1, 1, 0]
    assert Calibration.objects.values("series").distinct().count() == 2


def test_a_fetch_learns(source):
    source.answers["13"] = []
    stored(days=8)
    fetch_regions([LOCAL])
    assert Calibration.objects.count() == 1


def test_with_too_little_history_there_is_a_row_that_corrects_nothing():
    stored(days=5)
    calibrate([LOCAL])
    assert Calibration.objects.get().learnt == {}
    assert look().calibrated_days == 0


@pytest.mark.parametrize(
    ("signal", "unit"), [(Signal.PRICE, "GBP/kWh"), (Signal.CAPE, Signal.CAPE.unit)]
)
def test_neither_prices_nor_dangers_are_learnt_of(signal, unit):
    stored(signal=signal, unit=unit)
    assert calibrate([LOCAL]) == 0


def test_one_of_the_future_is_not_used_and_puts_nothing_off():
    series = stored()
    Calibration.objects.create(series=series, fitted_at=NOW + 30 * DAY, learnt={})
    assert calibrate([LOCAL]) == 1
    assert Calibration.objects.get().fitted_at == NOW


def test_old_ones_are_pruned(settings):
    series = stored(days=1)
    Calibration.objects.create(series=series, fitted_at=NOW - 500 * DAY, learnt={})
    Calibration.objects.create(series=series, fitted_at=NOW, learnt={})
    assert prune.prune()["calibrations"] == 1
    assert Calibration.objects.get().fitted_at == NOW


def test_the_reads_are_bounded(django_assert_max_num_queries):
    stored(days=60)
    # 56 days of 8 forecasts each, 50 at a time.
    with django_assert_max_num_queries(20):
        calibrate([LOCAL])


def test_reading_it_costs_no_query_of_its_own(django_assert_num_queries):
    for region in ("13", "7"):
        series = stored(days=1, region=region)
        for days in range(3):
            fitted_at = NOW - days * DAY
            Calibration.objects.create(series=series, fitted_at=fitted_at, learnt={})
    # Series with how each is corrected (too little was learnt: not at all); of each the newest
    # forecast, none that reaches further.
    as_of = AsOf(NOW)
    with django_assert_num_queries(5):
        for region in ("13", "7"):
            as_of.outlook(Region("local", region), INTENSITY, NOW + DAY)


def test_a_correction_costs_two_queries(django_assert_num_queries):
    stored()
    calibrate([LOCAL])
    as_of = AsOf(NOW)
    # Series; the newest forecast, none that reaches further; which came before it, and those.
    with django_assert_num_queries(5):
        as_of.outlook(LOCAL, INTENSITY, NOW + DAY)
        as_of.outlook(LOCAL, INTENSITY, NOW + 2 * HOUR)


def test_what_decides_starts_without_numpy():
    program = (
        "import django, sys; django.setup(); import core.tasks.decide; "
        "import core.tasks.forecasts.calibrate; sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0  # noqa: S603
