"""Feeds scored by what was measured later, next to a computation of the test's own.

Forecasts and measurements are half-hours of Great Britain in April 2023 from core/feeds/replay.csv
(NESO Carbon Intensity API, CC BY 4.0).
"""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import pytest
from django.core.management import call_command

import core.feeds
from core.feeds import Signal
from core.models import FeedSource, Forecast, Measurement, Series
from core.tasks.score_feeds import score_feeds

START = datetime(2026, 3, 2, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)
NOW = START + timedelta(days=3)
LINES = (Path(core.feeds.__file__).parent / "replay.csv").read_text().splitlines()
REAL = [tuple(map(float, line.split(","))) for line in LINES if not line.startswith("#")]
pytestmark = pytest.mark.django_db


def series_of(signal=Signal.CARBON_INTENSITY):
    source, _ = FeedSource.objects.get_or_create(feed="carbon_intensity_gb", region="")
    return Series.objects.create(source=source, signal=signal, unit=core.feeds.signal(signal).unit)


def measure(series, values, start=START):
    Measurement.objects.bulk_create(
        Measurement(
            series=series,
            starts_at=start + place * HALF_HOUR,
            ends_at=start + (place + 1) * HALF_HOUR,
            value=value,
            known_at=start + (place + 1) * HALF_HOUR,
        )
        for place, value in enumerate(values)
    )


def foretell(series, issued_at, values, start=None, known_at=None):
    start = start or issued_at
    slots = [
        [(start + place * HALF_HOUR).timestamp(), (start + (place + 1) * HALF_HOUR).timestamp(), x]
        for place, x in enumerate(values)
    ]
    Forecast.objects.create(
        series=series,
        issued_at=issued_at,
        known_at=known_at or issued_at,
        ends_at=start + len(values) * HALF_HOUR,
        slots=slots,
    )


@pytest.fixture
def grid():
    """Three days of measurements, and each six hours what was expected of the next 24 h."""
    series = series_of()
    measure(series, [actual for _, actual in REAL[:144]])
    for place in range(0, 120, 12):
        expected = [forecast + 0.5 * ahead for ahead, (forecast, _) in enumerate(REAL[place:][:48])]
        foretell(series, START + place * HALF_HOUR, expected)
    return series


def test_errors_by_lead_are_those_of_an_independent_computation(grid):
    [score] = score_feeds(NOW)
    for lead in score.leads:
        errors = []
        for issue in range(0, 120, 12):
            for ahead in range(48):
                hours, slot = ahead / 2, issue + ahead
                if lead.least / HOUR <= hours < lead.most / HOUR and slot < 144:
                    errors.append(REAL[slot][0] + 0.5 * ahead - REAL[slot][1])
        assert lead.count == len(errors)
        if errors:
            assert lead.bias == pytest.approx(fmean(errors))
            assert lead.mae == pytest.approx(fmean(map(abs, errors)))


def told():
    return [score.as_json() for score in score_feeds(NOW)]


def test_what_was_known_only_when_it_had_begun_does_not_count(grid):
    before = told()
    nonsense, late = [1e6] * 6, START + 30 * HALF_HOUR + timedelta(minutes=1)
    foretell(grid, late - 10 * HOUR, nonsense, start=late - 3 * HOUR, known_at=late)
    assert told() == before


def test_what_is_not_measured_yet_does_not_count(grid):
    before = told()
    foretell(grid, NOW - HOUR, [1e6] * 4, start=NOW)
    assert told() == before


def test_what_was_known_after_now_does_not_count(grid):
    before = told()
    foretell(grid, START + HOUR / 4, [1e6] * 40, start=START + HOUR, known_at=NOW + HOUR)
    assert told() == before


def test_a_longer_slot_is_compared_with_the_mean_of_what_was_measured(grid):
    Forecast.objects.all().delete()
    start, end = START + HOUR, START + 2 * HOUR
    Forecast.objects.create(
        series=grid,
        issued_at=START,
        known_at=START,
        ends_at=end,
        slots=[[start.timestamp(), end.timestamp(), 100.0]],
    )
    lead = score_feeds(NOW)[0].leads[1]
    assert lead.bias == pytest.approx(100 - (REAL[2][1] + REAL[3][1]) / 2)


def test_events_are_counted_with_their_lead_time():
    """Lightning at 6:00 and 12:00; warned of the first an hour before, and of one at 18:00."""
    series = series_of(Signal.LIGHTNING)
    measure(series, [30 if place in (12, 24) else 0 for place in range(48)])
    for place in range(0, 47):
        issued_at = START + place * HALF_HOUR
        foretell(series, issued_at, [50 if place + k in (12, 36) else 0 for k in range(4)])
    warned = score_feeds(START + timedelta(days=1))[0].as_json()["events"]
    counted = {name: warned[name] for name in ("hits", "misses", "false_alarms")}
    assert counted == {"hits": 1, "misses": 1, "false_alarms": 1}
    assert (warned["pod"], warned["far"], warned["csi"]) == (0.5, 0.5, pytest.approx(1 / 3))
    assert warned["lead_minutes"] == 60


def test_of_an_event_before_the_first_forecast_nobody_could_warn():
    series = series_of(Signal.LIGHTNING)
    measure(series, [30 if place in (12, 22) else 0 for place in range(48)])
    foretell(series, START + 20 * HALF_HOUR, [50 if place == 2 else 0 for place in range(20)])
    [score] = score_feeds(START + timedelta(days=1))
    assert (score.warned.hits, score.warned.misses) == (1, 0)
    Measurement.objects.filter(starts_at__gte=START + 20 * HALF_HOUR).delete()
    assert "events" not in score_feeds(START + timedelta(days=1))[0].as_json()


def test_chances_are_scored_by_how_often_it_then_happened():
    """Lightning in 2 of 40 half-hours, foretold with 60% both times; else 0%, and once 60%."""
    series = series_of(Signal.LIGHTNING_CHANCE)
    measure(series, [100 if place in (12, 24) else 0 for place in range(41)])
    for place in range(1, 41):
        issued_at = START + place * HALF_HOUR
        foretell(series, issued_at, [60 if place in (12, 24, 30) else 0])
    [score] = score_feeds(START + timedelta(days=1))
    told = score.as_json()["reliability"]
    assert told["chances"] == [
        {"slots": 37, "foretold": 0, "happened": 0},
        {"slots": 3, "foretold": pytest.approx(60), "happened": pytest.approx(200 / 3)},
    ]
    assert told["brier"] == pytest.approx((2 * 0.4**2 + 0.6**2) / 40)
    assert told["brier_of_no_skill"] == pytest.approx(0.05 * 0.95)
    assert "foretold, %  happened, %" in score.in_words()
    assert "Brier score 0.0170; 0.0475 without skill" in score.in_words()


def test_a_chance_of_an_hour_happened_if_it_did_at_any_time_of_it():
    series = series_of(Signal.LIGHTNING_CHANCE)
    measure(series, [100 if place == 13 else 0 for place in range(20)])
    start, end = START + 12 * HALF_HOUR, START + 14 * HALF_HOUR
    Forecast.objects.create(
        series=series,
        issued_at=START + 11 * HALF_HOUR,
        known_at=START + 11 * HALF_HOUR,
        ends_at=end,
        slots=[[start.timestamp(), end.timestamp(), 80.0]],
    )
    [score] = score_feeds(START + timedelta(days=1))
    assert score.leads[0].bias == -20
    assert score.reliability.rows[0].seen == 100


def test_a_feed_whose_file_is_gone_is_scored_all_the_same(grid):
    FeedSource.objects.update(feed="nobody")
    assert told()[0]["leads"][0]["slots"] > 0


def test_the_command_shows_a_table_or_json(grid, time_machine):
    time_machine.move_to(NOW)
    shown, as_json = io.StringIO(), io.StringIO()
    call_command("score_feeds", stdout=shown)
    call_command("score_feeds", "--json", stdout=as_json)
    assert json.loads(as_json.getvalue()) == told()
    assert "0-1 h" in shown.getvalue() and "carbon_intensity_gb" in shown.getvalue()


def test_without_forecasts_it_says_what_to_do():
    shown = io.StringIO()
    call_command("score_feeds", stdout=shown)
    assert "fetch_forecasts" in shown.getvalue()
