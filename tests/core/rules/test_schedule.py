from datetime import timedelta

import pytest

from core import rules
from tests.core.rules.situations import LONDON, decide, utc

WEEK = "mon-fri 07:00-09:00, 17:30-22:00; sat sun 08:00-23:00"
MINUTE = timedelta(minutes=1)


def said(now, on=WEEK, zone=LONDON):
    return decide(now, "schedule", options={"on": on}, zone=zone)


def hours_on(day_before, on):
    """How long it is on in the 48 h from a time on, by asking every minute."""
    start = utc(day_before)
    return (
        sum(
            said((start + step * MINUTE).isoformat()[:16], on).value
            for step in range(0, 48 * 60, 10)
        )
        / 6
    )


@pytest.mark.parametrize(
    ("now", "wanted", "until"),
    [
        ("2026-06-01 05:59", False, "2026-06-01 06:00"),  # Monday, 06:59 in London
        ("2026-06-01 06:00", True, "2026-06-01 08:00"),
        ("2026-06-01 08:00", False, "2026-06-01 16:30"),
        ("2026-06-01 20:59", True, "2026-06-01 21:00"),
        ("2026-06-05 21:00", False, "2026-06-06 07:00"),  # Friday night, then Saturday's window
        ("2026-06-07 21:59", True, "2026-06-07 22:00"),
        ("2026-06-07 22:00", False, "2026-06-08 06:00"),
    ],
)
def test_on_in_the_windows_of_the_week_by_the_clock_at_the_device(now, wanted, until):
    decision = said(now)
    assert (decision.value, decision.until) == (wanted, utc(until))


def test_the_reason_tells_the_next_change():
    assert said("2026-06-01 06:30").reason == "the schedule says on until 09:00"
    assert (
        said("2026-06-01 12:00", on="wed 07:00-08:00").reason
        == "the schedule says off until Wed 07:00"
    )


def test_a_night_belongs_to_the_day_it_starts_on():
    nights = "fri 22:00-06:00"
    assert not said("2026-06-05 04:00", nights).value
    assert said("2026-06-05 22:00", nights).until == utc("2026-06-06 05:00")
    assert said("2026-06-06 04:59", nights).value
    assert not said("2026-06-06 05:00", nights).value


def test_windows_that_touch_or_overlap_are_one():
    assert said("2026-06-01 06:30", "07:00-09:00, 08:00-10:00, 10:00-11:00").until == utc(
        "2026-06-01 10:00"
    )


def test_midnight_is_no_change_where_both_days_are_on():
    assert said("2026-06-01 20:00", "mon 12:00-24:00; tue 00:00-06:00").until == utc(
        "2026-06-02 05:00"
    )


def test_always_on_has_no_end():
    decision = said("2026-06-01 12:00", "00:00-24:00")
    assert (decision.value, decision.until, decision.reason) == (
        True,
        None,
        "the schedule says on at all times",
    )


def test_one_window_a_week_is_found_from_just_after_it():
    assert said("2026-06-01 08:00", "mon 07:00-08:00").until == utc("2026-06-08 06:00")


@pytest.mark.parametrize(
    ("night", "on", "hours"),
    [
        ("2026-03-28 12:00", "22:00-06:00", 7 + 8),  # the clock goes forward on the 29th
        ("2026-10-24 12:00", "22:00-06:00", 9 + 8),  # and back on the 25th
        ("2026-03-28 12:00", "sun 01:15-01:45", 0),  # left out
        ("2026-03-28 12:00", "sun 01:30-03:00", 1),
        ("2026-10-24 12:00", "sun 01:00-01:30", 0.5),  # comes twice, and counts once
        ("2026-10-24 12:00", "sun 00:00-03:00", 4),
    ],
)
def test_days_of_23_and_25_hours(night, on, hours):
    assert hours_on(night, on) == hours


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("sat sun 08:00-09:00", {5, 6}),
        ("sat, sun 08:00-09:00", {5, 6}),
        ("fri-mon 08:00-09:00", {4, 5, 6, 0}),
        ("Monday 08:00-09:00", {0}),
        ("tues-thurs 8:00 - 9:00", {1, 2, 3}),
        ("08:00–09:00", set(range(7))),
        (" mon 08:00-09:00 ; ; ", {0}),
    ],
)
def test_ways_to_write_days(text, days):
    from core.rules.schedule import week

    spans = week(text)
    assert {day for day in range(7) if spans[day]} == days
    assert all(
        span == (timedelta(hours=8), timedelta(hours=9)) for windows in spans for span in windows
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("xyz 07:00-08:00", "on: 'xyz' is no day. Days: mon"),
        ("m 07:00-08:00", "on: 'm' is no day"),
        ("mon", "on: 'mon' has no window. Example: mon-fri 07:00-09:00"),
        ("mon 07:00", "on: '07:00' is no window. Example"),
        ("mon 07:00-25:00", "on: '25:00' is no time of day"),
        ("mon 07:00-07:00", "on: '07:00-07:00' ends when it starts. All day is 00:00-24:00"),
        ("mon 07:00-08:00 tue 09:00-10:00", "on: 'tue' is no window"),
        (";", "on: there is no window"),
        ("-", "on: "),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(text, why):
    with pytest.raises(ValueError, match=why):
        rules.load("schedule").read({"on": text})


def test_a_window_in_the_hour_that_is_left_out_is_looked_for_in_the_weeks_after():
    """From Sunday 2026-03-22 after the window on: the next one, 2026-03-29, is skipped."""
    decision = said("2026-03-22 12:00", on="sun 01:15-01:45")
    assert (decision.value, decision.until) == (False, utc("2026-04-05 00:15"))
    assert decision.reason == "the schedule says off until Sun 5 Apr 01:15"


def test_a_window_in_the_hour_that_comes_twice_is_on_once():
    night = utc("2026-10-25 00:00")
    minutes = [night + step * MINUTE for step in range(180)]
    on = [at for at in minutes if said(f"{at:%Y-%m-%d %H:%M}", on="sun 01:15-01:45").value]
    assert (on[0], len(on)) == (utc("2026-10-25 00:15"), 30)
