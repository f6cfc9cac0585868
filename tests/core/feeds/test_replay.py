"""The replay, by what its files hold."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.feeds import Signal, replay
from core.feeds.replay import Feed

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST_DAY = (
    datetime(2026, 8, 8, tzinfo=UTC) + 20 * replay.STORMS
)  # the first of the five, in November
FOLDER = Path(replay.__file__).parent


def fetch(now, since, until, signal):
    return [slot for slot in Feed().fetch("", now + since, now + until) if slot.signal is signal]


def carbon(now, since, until):
    return fetch(now, since, until, Signal.CARBON_INTENSITY)


def lightning(now, since, until):
    return fetch(now, since, until, Signal.LIGHTNING)


def told(slots):
    return [(f"{slot.starts_at:%H:%M}", slot.value) for slot in slots]


def test_half_hours_that_are_over_are_measured_and_the_others_foreseen(now):
    slots = carbon(now, -HOUR, HOUR)
    assert [f"{slot.starts_at:%H:%M}" for slot in slots] == [
        "11:00",
        "11:30",
        "12:00",
        "12:30",
        "13:00",
    ]
    assert [slot.issued_at for slot in slots] == [None, None, *[now.replace(minute=0)] * 3]


def test_a_forecast_is_issued_at_the_half_hour_of_the_fetch_whatever_is_asked_for(
    now, time_machine
):
    time_machine.move_to(now + HOUR / 2, tick=False)
    assert {slot.issued_at for slot in carbon(now, HOUR, 9 * HOUR)} == {now.replace(minute=30)}


def test_of_the_past_there_are_only_measurements(now):
    slots = carbon(now, -DAY, -HOUR)
    assert len(slots) == 47
    assert {slot.issued_at for slot in slots} == {None}


def test_what_is_told_stands_in_the_file(now):
    row = (now - replay.STARTS_AT) % replay.FORTNIGHT // replay.HALF_HOUR
    before, current = (
        (FOLDER / "replay.csv").read_text().splitlines()[1 + row : 3 + row]
    )  # two lines of comment
    [measured, foreseen] = carbon(now, -HOUR / 2, timedelta(minutes=1))
    assert (measured.value, foreseen.value) == (
        float(before.split(",")[1]),
        float(current.split(",")[0]),
    )


def test_the_measurement_of_a_half_hour_replaces_its_forecast_once_it_is_over(now, time_machine):
    [foreseen] = carbon(now, timedelta(0), timedelta(minutes=1))
    time_machine.move_to(now + HOUR, tick=False)
    [measured] = carbon(now, timedelta(0), timedelta(minutes=1))
    assert (measured.starts_at, measured.issued_at) == (foreseen.starts_at, None)


def test_the_fortnight_comes_again(now):
    assert told(carbon(now - 14 * DAY, -DAY, -HOUR)) == told(carbon(now, -DAY, -HOUR))


def test_lightning_is_a_rate_of_what_one_look_saw(now, time_machine):
    time_machine.move_to(FIRST_DAY + 22 * HOUR, tick=False)
    # 2026-08-08T20:35:20,160,10,30 and 21:04:00,140,6,20
    slots = lightning(FIRST_DAY, 20.5 * HOUR, 21.5 * HOUR)
    assert told(slots) == [("20:30", 225), ("21:00", 154.3)]
    assert {(slot.unit, slot.issued_at) for slot in slots} == {("flashes/h", None)}


def test_half_hours_nobody_looked_at_are_left_out(time_machine):
    time_machine.move_to(FIRST_DAY + DAY, tick=False)
    measured = [start for start, _ in told(lightning(FIRST_DAY, timedelta(0), 6 * HOUR))]
    assert measured == ["00:30", "02:30", "03:30", "05:00", "05:30"]


def test_two_hours_are_foreseen_by_the_newest_look_that_was_over(time_machine):
    time_machine.move_to(FIRST_DAY + 21 * HOUR + timedelta(minutes=5), tick=False)
    slots = lightning(FIRST_DAY, 21 * HOUR, DAY)
    assert told(slots) == [
        (time, 75) for time in ("21:00", "21:30", "22:00", "22:30")
    ]  # 30 flashes in 160 s, a ninth of it
    assert {slot.issued_at for slot in slots} == {FIRST_DAY + 21 * HOUR}


def test_a_look_that_is_not_over_is_not_known_yet(time_machine):
    time_machine.move_to(FIRST_DAY + timedelta(hours=20, minutes=36), tick=False)
    assert {value for _, value in told(lightning(FIRST_DAY, 20.5 * HOUR, DAY))} == {
        5.7
    }  # of 19:49, not of 20:35


@pytest.mark.parametrize("day", range(5))
def test_each_day_has_quiet_hours_and_a_storm(day, time_machine):
    time_machine.move_to(FIRST_DAY + 5 * DAY, tick=False)
    values = [slot.value for slot in lightning(FIRST_DAY, day * DAY, (day + 1) * DAY)]
    assert sum(value == 0 for value in values) >= 8
    assert sum(value > 50 for value in values) >= 4


@pytest.mark.parametrize("day", range(5))
def test_each_day_has_a_warning_and_an_all_clear(day, time_machine):
    expected = []
    for half_hours in range(48):
        time_machine.move_to(FIRST_DAY + day * DAY + half_hours * HOUR / 2, tick=False)
        expected.append(lightning(FIRST_DAY + day * DAY, half_hours * HOUR / 2, DAY * 2)[0].value)
    assert expected.count(0) >= 6
    assert sum(value > 20 for value in expected) >= 6


def test_the_files_name_source_and_licence_and_are_small():
    for name, licence in (("replay.csv", "CC BY 4.0"), ("replay_lightning.csv", "public domain")):
        text = (FOLDER / name).read_text()
        assert "# Source:" in text and licence in text
        assert len(text) < 30_000
