"""What is learnt of a forecast's errors: the sums, the weights, and what they may change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.feeds import Signal, Slot
from core.planning.calibration import (
    EVERY,
    FEATURES,
    PLACES,
    Calibration,
    DayProfile,
    earlier_means,
    may_be_calibrated,
    places_of,
)
from core.planning.forecast import outlook
from core.planning.learner import Learner
from core.planning.means import RunningMeans
from core.planning.ridge import Moments, fitted, total

HALF_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
BOUNDED = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = st.floats(-100, 100)
ROWS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=30)


def slots(values, start=START):
    return [
        Slot(start + place * HALF_HOUR, start + (place + 1) * HALF_HOUR, value, "gCO2/kWh", start)
        for place, value in enumerate(values)
    ]


def actual(at):
    """What is measured: low at night, and never the same on two days."""
    night = 100 if at.hour < 6 else 200
    return night + Random(f"{at:%Y-%m-%d}").uniform(-20, 20)


def taught(days, says, until=START):
    """Return who saw so many days of forecasts, each 48 h, and of what was measured."""
    learner, at, seen = Learner(), until - days * DAY, until - days * DAY
    while at <= until:
        while seen + HALF_HOUR <= at:
            learner.measured(Slot(seen, seen + HALF_HOUR, actual(seen), "gCO2/kWh"))
            seen += HALF_HOUR
        ahead = (at + place * HALF_HOUR for place in range(96))
        learner.forecast(slots([says(at, one) for one in ahead], at), at)
        at += EVERY
    return learner


@BOUNDED
@given(ROWS)
def test_the_error_by_sums_is_that_of_the_rows(rows):
    moments = Moments(2)
    for *x, y in rows:
        moments.add(x, y)
    weights = [0.5, -2.0]
    left = sum((y - 0.5 * a + 2 * b) ** 2 for a, b, y in rows)
    assert moments.squared_error(weights) == pytest.approx(left, rel=1e-6, abs=1e-3)


@BOUNDED
@given(ROWS)
def test_weights_leave_no_more_error_than_none_do(rows):
    moments = Moments(2)
    for *x, y in rows:
        moments.add(x, y)
    assert moments.squared_error(fitted(moments, 10)) <= moments.yy * (1 + 1e-6) + 1e-3


@BOUNDED
@given(NUMBERS, NUMBERS)
def test_without_a_prior_the_weights_are_found_that_made_the_rows(first, second):
    random, moments = Random(1), Moments(2)  # noqa: S311 (no secret)
    for _ in range(50):
        x = [random.gauss(0, 1), random.gauss(0, 3)]
        moments.add(x, first * x[0] + second * x[1])
    assert fitted(moments, 0) == pytest.approx([first, second], abs=1e-6)


def test_a_feature_that_is_always_zero_has_no_weight():
    moments = Moments(2)
    moments.add([1.0, 0.0], 3.0)
    assert fitted(moments, 0) == pytest.approx([3.0, 0.0])


def test_sums_of_parts_are_the_sum_of_all():
    parts = [Moments(1), Moments(1)]
    parts[0].add([2.0], 1.0)
    parts[1].add([3.0], 5.0)
    whole = total(parts, 1)
    assert (whole.rows, whole.yy, whole.xy, whole.xx) == (2, 26.0, [17.0], [[13.0]])


@BOUNDED
@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=40), st.integers(0, 39))
def test_a_running_mean_lies_between_the_least_and_the_most(values, place):
    made = slots(values)
    mean = RunningMeans(made).around(made[place % len(made)], HOUR)
    assert min(values) - 1e-6 <= mean <= max(values) + 1e-6


def test_a_running_mean_is_that_of_what_is_around():
    made = slots([1.0, 2.0, 6.0, 100.0])
    assert RunningMeans(made).around(made[1], HALF_HOUR) == pytest.approx(3.0)


def test_a_rise_is_from_what_lies_before_a_slot_to_what_lies_after():
    made = slots([1.0, 2.0, 6.0, 100.0])
    means = RunningMeans(made)
    assert means.rise(made[1], HALF_HOUR) == pytest.approx(5.0)
    assert means.rise(made[2], HOUR) == pytest.approx(98.5)
    assert means.rise(made[0], HALF_HOUR) == pytest.approx(1.0)
    assert means.rise(made[3], HALF_HOUR) == pytest.approx(94.0)
    assert RunningMeans(made[:1]).rise(made[0], HALF_HOUR) == 0


def test_a_slot_lies_in_the_half_hours_it_overlaps():
    at = START + 23 * HOUR + HALF_HOUR
    assert list(places_of(Slot(at, at + HOUR, 1.0, "gCO2/kWh"))) == [47, 0]
    odd = at + timedelta(minutes=20)
    assert list(places_of(Slot(odd, odd + HALF_HOUR, 1.0, "gCO2/kWh"))) == [47, 0]


WEIGHTS = st.lists(st.floats(-5, 5), min_size=FEATURES, max_size=FEATURES).map(tuple)
DAYS = st.floats(-500, 500).map(lambda value: (value,) * PLACES)


@BOUNDED
@given(WEIGHTS, DAYS, DAYS, DAYS, st.lists(st.floats(0, 500), min_size=1, max_size=60))
def test_no_value_goes_beyond_what_was_measured_or_foretold(weights, typical, bias, recent, values):
    calibration = Calibration(28, weights, DayProfile(typical, bias, recent), 50, 300)
    made = slots(values)
    changed = calibration.corrected(made, START)
    for before, after in zip(made, changed, strict=True):
        assert min(50, before.value) <= after.value <= max(300, before.value)
        assert replace(after, value=before.value) == before


@BOUNDED
@given(WEIGHTS, DAYS)
def test_what_is_stored_is_read_back_nearly_the_same(weights, day):
    calibration = Calibration(28, weights, DayProfile(day, day, day), 50, 300)
    again = Calibration.from_json(calibration.as_json())
    assert again is not None
    assert again.weights == pytest.approx(weights, rel=1e-5)
    assert (again.days, again.least, again.most) == (28, 50, 300)
    assert again.as_json() == calibration.as_json()


@pytest.mark.parametrize("stored", [{}, {"weights": [1.0]}])
def test_what_another_version_stored_corrects_nothing(stored):
    assert Calibration.from_json(stored) is None


def test_a_forecast_that_is_always_too_high_is_corrected():
    learnt = taught(20, lambda _, at: actual(at) + 60).calibration(START)
    assert learnt is not None
    assert learnt.days == 20
    values = [actual(START + place * HALF_HOUR) for place in range(96)]
    corrected = learnt.corrected(slots([value + 60 for value in values]), START)
    off = [abs(slot.value - value) for slot, value in zip(corrected, values, strict=True)]
    assert sum(off) / len(off) < 20


def test_what_earlier_forecasts_said_of_a_slot_is_averaged():
    before, first = slots([10.0, 20.0]), slots([40.0], START + HALF_HOUR)
    assert earlier_means([before, first]) == {START: 10.0, START + HALF_HOUR: 30.0}


def noisy(known_at, at):
    """What a forecast says whose noise is new in each issue."""
    return actual(at) + Random(f"{known_at} {at}").gauss(0, 40)


def mean_error(made):
    return sum(abs(slot.value - actual(slot.starts_at)) for slot in made) / len(made)


def test_a_forecast_whose_changes_are_noise_is_moved_to_those_before_it():
    learner = taught(20, noisy)
    learnt = learner.calibration(START)
    made = slots([noisy(START + HOUR, START + place * HALF_HOUR) for place in range(90)])
    alone = learnt.corrected(made, START + HOUR)
    beside = learnt.corrected(made, START + HOUR, learner.earlier(START + HOUR))
    assert mean_error(beside) < 0.85 * mean_error(alone) < mean_error(made)


def test_a_forecast_that_comes_late_is_moved_forward():
    def late(known_at, at):
        return actual(at - HOUR)

    learnt = taught(20, late).calibration(START)
    made = slots([late(START, START + place * HALF_HOUR) for place in range(48)])
    at_six = [place for place in range(48) if place in (10, 11, 12, 13)]
    corrected = learnt.corrected(made, START)
    before = sum(abs(made[place].value - actual(made[place].starts_at)) for place in at_six)
    after = sum(abs(corrected[place].value - actual(made[place].starts_at)) for place in at_six)
    assert after < before / 2


def test_the_forecasts_that_one_is_compared_with_are_of_the_last_hours():
    learner = taught(2, noisy, START)
    # Each three hours, from a midnight on: known 1.5 to 13.5 h ago.
    assert [made[0].starts_at for made in learner.earlier(START + HOUR)] == [
        START - hours * HOUR for hours in (12, 9, 6, 3)
    ]


def test_with_less_than_a_week_nothing_is_corrected():
    assert taught(6, lambda _, at: actual(at) + 60).calibration(START) is None


def test_a_forecast_that_is_right_is_left_alone():
    assert taught(20, lambda _, at: actual(at)).calibration(START) is None


@pytest.mark.parametrize(
    ("signal", "may"),
    [(Signal.CARBON_INTENSITY, True), (Signal.PRICE, False), (Signal.CAPE, False)],
)
def test_neither_what_was_agreed_on_nor_a_danger_is_corrected(signal, may):
    assert may_be_calibrated(signal) is may


def test_an_outlook_says_that_it_is_corrected_and_keeps_what_was_issued():
    learnt = taught(20, lambda _, at: actual(at) + 60).calibration(START)
    made = slots([actual(START) + 60] * 96)
    seen = outlook(
        Signal.CARBON_INTENSITY, START, START + DAY, made, (), HALF_HOUR, calibration=learnt
    )
    assert seen.issued == tuple(made[:48])
    assert seen.as_issued(START) == made[0]
    assert seen.slots[0].value < made[0].value
    assert seen.kind == "live forecast, corrected"
    assert seen.source(START) == (
        "by the forecast, corrected by its errors of the last 20 days "
        f"(now {seen.slots[0].value:.3g}, {made[0].value:.3g} as issued)"
    )
