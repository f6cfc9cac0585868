"""The ladder of forecasts: each rung, the joins between them, and what is said of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.feeds import Signal, Slot, clean_slots
from core.planning.forecast import Outlook, Rung, layered, outlook, smoothed

NOW = datetime(2026, 3, 11, 12, 10, tzinfo=UTC)  # a Wednesday
HALF_HOUR = timedelta(minutes=30)
HOUR = timedelta(hours=1)
NOON = NOW - timedelta(minutes=10)


def forecast(hours, issued_at=NOW, starts_at=NOON, value=100.0):
    """Half-hours from noon on."""
    return [
        Slot(
            starts_at + number * HALF_HOUR,
            starts_at + (number + 1) * HALF_HOUR,
            value,
            "gCO2/kWh",
            issued_at,
        )
        for number in range(int(hours * 2))
    ]


def measured(days, value=lambda at: 200.0, length=HALF_HOUR, until=NOON):
    slots = [until - (number + 1) * length for number in range(int(timedelta(days=days) / length))]
    return [Slot(start, start + length, value(start), "gCO2/kWh") for start in reversed(slots)]


def look(forecast=(), measurements=(), hours=24, now=NOW):
    return outlook(
        Signal.CARBON_INTENSITY, now, now + hours * HOUR, forecast, measurements, every=HALF_HOUR
    )


def is_whole(slots):
    return all(one.ends_at == other.starts_at for one, other in pairwise(slots))


def test_a_young_forecast_that_reaches_is_live_and_not_mentioned():
    seen = look(forecast(48, issued_at=NOW - 89 * timedelta(minutes=1)), measured(28))
    assert (seen.rung, seen.typical_from, seen.source(NOW)) == (Rung.LIVE, None, "")


def test_it_starts_with_the_slot_that_holds_now_and_ends_with_the_one_that_reaches_the_end():
    seen = look(forecast(96, starts_at=NOON - 24 * HOUR))
    assert seen.slots[0] == seen.at(NOW)
    assert seen.slots[0].starts_at == NOON
    assert seen.slots[-1].starts_at < NOW + 24 * HOUR <= seen.slots[-1].ends_at


def test_a_forecast_three_intervals_old_is_the_last_one():
    seen = look(forecast(48, issued_at=NOW - 90 * timedelta(minutes=1)))
    assert (seen.rung, seen.source(NOW)) == (Rung.LAST, "by the last forecast, 1 h old")


def test_a_forecast_that_begins_later_is_not_live():
    assert look(forecast(48, starts_at=NOON + HOUR)).rung is Rung.LAST


def test_a_typical_day_begins_where_the_forecast_ends():
    seen = look(forecast(1.5), measured(7))
    assert (seen.rung, seen.typical_from) == (Rung.LIVE, NOON + 1.5 * HOUR)
    assert is_whole(seen.slots)
    assert [slot.value for slot in seen.slots[:5]] == [100, 100, 100, 200, 200]
    assert seen.source(NOW) == "by the forecast, and by a typical day after 13:30 UTC"


def test_a_typical_slot_is_cut_where_the_forecast_ends_within_it():
    seen = look(forecast(1.5), measured(7, length=HOUR))
    assert is_whole(seen.slots)
    assert (seen.slots[3].starts_at, seen.slots[3].ends_at) == (NOON + 1.5 * HOUR, NOON + 2 * HOUR)


def test_a_forecast_that_is_over_is_not_used():
    seen = look(forecast(2, issued_at=NOW - 72 * HOUR, starts_at=NOON - 3 * HOUR), measured(7))
    assert (seen.rung, seen.issued_at, seen.source(NOW)) == (Rung.TYPICAL, None, "by a typical day")
    assert seen.slots[0] == seen.at(NOW)
    assert seen.slots[0].starts_at == NOON


def test_a_typical_slot_is_the_median_of_its_time_of_day():
    def peak_at_six(at):
        return {18: at.day}.get(at.hour, 50.0)

    seen = look(measurements=measured(7, peak_at_six, length=HOUR))
    assert seen.at(NOON + 6 * HOUR).value == 6  # of the working days 4, 5, 6, 9 and 10
    assert seen.at(NOON + 7 * HOUR).value == 50


def test_working_days_and_weekends_are_apart_once_there_are_two_of_each():
    def quiet_weekends(at):
        return 10.0 if at.weekday() >= 5 else 90.0

    friday = NOON + 2 * 24 * HOUR
    for days, expected in ((14, 10), (4, 90)):
        seen = look(measurements=measured(days, quiet_weekends, until=friday), now=friday, hours=48)
        assert seen.at(friday).value == 90
        assert seen.at(friday + 24 * HOUR).value == expected


@pytest.mark.parametrize(("days", "rung"), [(3, Rung.TYPICAL), (2.9, Rung.NONE), (0, Rung.NONE)])
def test_a_typical_day_needs_three_days(days, rung):
    assert look(measurements=measured(days)).rung is rung


def test_a_typical_day_is_of_the_last_four_weeks():
    def changed(at):
        return 1.0 if NOW - at <= timedelta(days=28) else 1000.0

    assert {slot.value for slot in look(measurements=measured(60, changed)).slots} == {1.0}


def test_odd_lengths_are_left_out_and_holes_stay_holes():
    whole = measured(7)
    odd = [slot for slot in whole if slot.starts_at.hour != 20] + [
        Slot(NOON, NOON + timedelta(minutes=7), 9999.0, "gCO2/kWh")
    ]
    seen = look(measurements=odd)
    assert seen.at(NOON + 8 * HOUR) is None
    assert {slot.value for slot in seen.slots} == {200.0}


def test_without_anything_there_is_no_outlook():
    seen = look()
    assert seen == Outlook(Signal.CARBON_INTENSITY)
    assert seen.source(NOW) == "without a forecast"


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (timedelta(hours=5), "5 h old"),
        (timedelta(minutes=95), "1 h old"),
        (timedelta(hours=80), "3 days old"),
    ],
)
def test_the_age_of_the_last_forecast_is_told(age, said):
    seen = look(forecast(6, issued_at=NOW - age), measured(4))
    assert seen.source(NOW) == f"by the last forecast, {said}, and by a typical day after 18:00 UTC"


def test_another_day_is_named():
    source = look(forecast(24), measured(4), hours=48).source(NOW)
    assert source.endswith("after 12:00 UTC on Thursday")


def test_what_overlaps_is_cut_and_the_first_of_two_counts():
    first, again, second = (
        Slot(NOON, NOON + HOUR, 1.0, "x"),
        Slot(NOON, NOON + HOUR, 2.0, "x"),
        Slot(NOON + HALF_HOUR, NOON + HOUR, 3.0, "x"),
    )
    assert clean_slots([second, first, again]) == [Slot(NOON, NOON + HALF_HOUR, 1.0, "x"), second]
    assert clean_slots([]) == []


def test_slots_of_no_length_or_without_a_finite_value_are_left_out():
    good = Slot(NOON, NOON + HOUR, 1.0, "x")
    empty, backwards = replace(good, ends_at=NOON), replace(good, ends_at=NOON - HOUR)
    endless, nothing = replace(good, value=float("inf")), replace(good, value=float("nan"))
    assert clean_slots([endless, empty, backwards, nothing, good]) == [good]


@given(
    starts=st.integers(-200, 200),
    hours=st.integers(0, 60),
    length=st.sampled_from([5, 7, 15, 30, 60, 1440]),
    days=st.integers(0, 30),
    until=st.integers(1, 5000),
)
def test_slots_never_overlap_begin_by_now_and_reach_the_end(starts, hours, length, days, until):
    slots = forecast(hours, starts_at=NOON + starts * timedelta(minutes=7))
    seen = outlook(
        Signal.CARBON_INTENSITY,
        NOW,
        NOW + timedelta(minutes=until),
        slots,
        measured(days, length=timedelta(minutes=length)),
        every=HALF_HOUR,
    )
    assert all(one.ends_at <= other.starts_at for one, other in pairwise(seen.slots))
    assert all(slot.starts_at < slot.ends_at and slot.ends_at > NOW for slot in seen.slots)
    if days >= 3 and 1440 % length == 0:
        assert seen.slots[-1].ends_at >= NOW + timedelta(minutes=until)
        assert is_whole(seen.slots)


def test_smoothing_goes_most_of_the_way_to_the_mean_around_and_leaves_holes_open():
    half, start = timedelta(minutes=30), datetime(2026, 3, 1, tzinfo=UTC)
    told = [(0, 100.0), (1, 200.0), (5, 40.0)]
    found = tuple(
        Slot(start + place * half, start + (place + 1) * half, value, "gCO2/kWh")
        for place, value in told
    )
    assert [slot.value for slot in smoothed(found, half)] == [140.0, 160.0, 40.0]
    assert [slot.value for slot in smoothed(found, timedelta())] == [100.0, 200.0, 40.0]
    assert [slot.starts_at for slot in smoothed(found, half)] == [slot.starts_at for slot in found]
    assert smoothed((), half) == ()


def test_a_short_issue_does_not_hide_a_long_one():
    short = forecast(3, value=50.0)
    long = forecast(48, issued_at=NOW - 6 * HOUR, value=100.0)
    seen = look(layered([short, long]), measured(28))
    assert is_whole(seen.slots)
    assert [slot.value for slot in seen.slots[:8]] == [50.0] * 6 + [100.0] * 2
    assert (seen.rung, seen.typical_from) == (Rung.LIVE, None)
    assert seen.source(NOW) == "by the newest forecast up to 15:00 UTC, then by an older one"


def test_the_age_of_the_last_forecast_stands_between_commas():
    issues = [forecast(8, issued_at=NOW - 5 * HOUR), forecast(48, issued_at=NOW - 9 * HOUR)]
    seen = look(layered(issues), measured(28))
    assert seen.source(NOW) == (
        "by the last forecast, 5 h old, up to 20:00 UTC, then by an older one"
    )


def test_after_the_earlier_issue_comes_the_typical_day():
    issues = [forecast(3), forecast(6, issued_at=NOW - 6 * HOUR)]
    seen = look(layered(issues), measured(28))
    assert is_whole(seen.slots)
    assert seen.source(NOW) == (
        "by the newest forecast up to 15:00 UTC, then by an older one, "
        "and by a typical day after 18:00 UTC"
    )


def test_an_earlier_issue_fills_gaps_and_what_comes_before():
    late = forecast(2, starts_at=NOON + HOUR)
    holed = [late[0], late[-1]]
    early = forecast(4, issued_at=NOW - HOUR, value=7.0)
    whole = layered([holed, early])
    assert is_whole(whole)
    assert [slot.value for slot in whole] == [7.0, 7.0, 100.0, 7.0, 7.0, 100.0, 7.0, 7.0]


def test_a_slot_that_is_covered_in_part_is_cut():
    short = forecast(1, starts_at=NOON + HALF_HOUR / 2)
    whole = layered([short, forecast(2, issued_at=NOW - HOUR, value=7.0)])
    assert is_whole(whole) and clean_slots(whole) == whole
    assert [(slot.ends_at - slot.starts_at) / HALF_HOUR for slot in whole] == [0.5, 1, 1, 0.5, 1]


def test_one_issue_alone_stays_as_it_is():
    assert layered([forecast(6)]) == forecast(6)
    assert layered([]) == []
