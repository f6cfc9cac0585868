"""When tasks run: spans of time and lines of a crontab, also where clocks are changed."""

from datetime import UTC, datetime, timedelta

import pytest

from core.schedule import Every, read_schedule, read_schedules, slots

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shown(line, since, days=1, zone="UTC"):
    found = slots(read_schedule(line, zone), since, since + timedelta(days=days))
    return [slot.strftime("%d %H:%M") for slot in found]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 */6 * * *", ["01 18:00", "02 00:00", "02 06:00", "02 12:00"]),
        ("30 7,19 * * *", ["01 19:30", "02 07:30"]),
        ("5-59/20 13 * * *", ["01 13:05", "01 13:25", "01 13:45"]),
        ("50/5 13 * * *", ["01 13:50", "01 13:55"]),
        ("0 8 * * mon-fri", ["02 08:00"]),
        ("0 8 * mar 1", ["02 08:00"]),
        ("0 8 2 * 7", ["02 08:00"]),  # the second of the month, or a Sunday
        ("0 8 3 * 7", []),
        ("0 13 * * 0", ["01 13:00"]),
    ],
)
def test_a_line_of_a_crontab_is_read_as_cron_reads_it(line, expected):
    assert shown(line, NOON) == expected


def test_a_time_that_the_clock_skips_is_an_hour_later_and_one_shown_twice_counts_once():
    spring = datetime(2026, 3, 28, 22, tzinfo=UTC)
    autumn = datetime(2026, 10, 24, 21, tzinfo=UTC)
    assert shown("30 2 * * *", spring, zone="Europe/Berlin") == ["29 01:30"]
    assert shown("30 2 * * *", autumn, zone="Europe/Berlin") == ["25 00:30"]


@pytest.mark.parametrize("change", [datetime(2026, 3, 28, 22), datetime(2026, 10, 24, 21)])
def test_what_runs_each_half_hour_does_so_while_clocks_are_changed(change):
    found = shown("*/30 * * * *", change.replace(tzinfo=UTC), zone="Europe/Berlin")
    assert len(found) == len(set(found)) == 48


def test_slots_around_a_time():
    line = read_schedule("*/10 6-22 * * *", "UTC")
    night = NOON.replace(hour=3)
    assert line.previous(night) == NOON.replace(day=28, month=2, hour=22, minute=50)
    assert line.next(night) == NOON.replace(hour=6)
    assert line.previous(NOON) == NOON
    assert line.next(NOON) == NOON + timedelta(minutes=10)
    assert line.usual_gap == timedelta(minutes=10)
    assert line.gap(night) == timedelta(hours=7, minutes=10)


def test_what_was_done_before_a_pause_is_not_late_in_it_nor_at_its_end():
    line = read_schedule("*/10 6-22 * * *", "UTC")
    for hour in (3, 6):
        now = NOON.replace(hour=hour)
        assert now - line.late_after(now) < NOON.replace(day=28, month=2, hour=22, minute=50)
    assert line.late_after(NOON) == timedelta(minutes=20)


def test_the_29th_of_february_comes_again():
    line = read_schedule("0 0 29 2 *", "UTC")
    assert line.next(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


def test_a_span_has_slots_at_its_multiples():
    every = Every(timedelta(minutes=7))
    assert every.next(NOON) - every.previous(NOON) == timedelta(minutes=7)
    assert every.previous(every.next(NOON)) == every.next(NOON)


def test_of_tasks_that_are_not_named_the_span_counts():
    spans = dict.fromkeys(("poll_devices", "do_something_awesome"), timedelta(minutes=10))
    read = read_schedules("poll_devices = 2; ", spans, "UTC")
    assert [one.usual_gap for one in read.values()] == [
        timedelta(minutes=2),
        timedelta(minutes=10),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("poll=5", "does not begin with poll_devices="),
        ("poll_devices", "does not begin with"),
        ("poll_devices=0", "is no number of minutes"),
        ("poll_devices=nan", "is no number of minutes"),
        ("poll_devices=* * *", "neither a number of minutes nor five fields"),
        ("poll_devices=60 * * * *", "is not between 0 and 59"),
        ("poll_devices=5-1 * * * *", "is not between"),
        ("poll_devices=*/0 * * * *", "has no step"),
        ("poll_devices=a * * * *", "is no value"),
        ("poll_devices=0 0 30 2 *", "names no day that there is"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(text, why):
    with pytest.raises(ValueError, match=why):
        read_schedules(text, {"poll_devices": timedelta(minutes=10)}, "UTC")
