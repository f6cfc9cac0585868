"""Energy counters that restart, wrap, or are of another device: never a negative or absurd use."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.planning.metering import MOST_KILOWATTS, used, uses

AT = datetime(2026, 11, 21, tzinfo=UTC)
HOUR = timedelta(hours=1)
TEN_MINUTES = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("before", "after", "kwh"),
    [
        (100.0, 100.4, 0.4),
        (100.0, 100.0, 0.0),
        (123.4, 0.2, 0.2),  # began anew
        (0.0, 0.3, 0.3),
        (9_999.8, 0.3, 0.5),  # wrapped at four digits
        (99_999.9, 0.0, 0.1),
        (4_294_967.2, 0.1, 0.196),  # wrapped at 32 bits of Wh
        (123.4, 5_432.1, 0.0),  # another device, with a count of its own
        (5_432.1, 123.4, 0.0),
        (5.003, 5.002, 0.0),  # it only rounds
    ],
)
def test_what_was_used_between_two_readings(before, after, kwh):
    assert used(before, after, TEN_MINUTES) == pytest.approx(kwh)


def test_after_a_silence_as_much_as_the_connection_carries_is_believed():
    assert used(100, 400, 10 * HOUR) == 300
    assert used(100, 700, 10 * HOUR) == 0


counts = st.floats(0, 1e9, allow_nan=False)


@given(st.lists(counts, min_size=2, max_size=20), st.integers(1, 120))
def test_no_use_is_negative_or_more_than_a_connection_carries(numbers, minutes):
    every = timedelta(minutes=minutes)
    readings = [(AT + place * every, number) for place, number in enumerate(numbers)]
    for use in uses(readings):
        assert 0 <= use.kwh <= MOST_KILOWATTS * max(every / HOUR, 1)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=30), st.integers(0, 10**6))
def test_a_counter_that_only_grows_counts_what_it_grew(steps, first):
    count, readings = first, [(AT, first / 1000)]
    for place, step in enumerate(steps):
        count += step
        readings.append((AT + (place + 1) * TEN_MINUTES, count / 1000))
    assert sum(use.kwh for use in uses(readings)) == pytest.approx(sum(steps) / 1000)
