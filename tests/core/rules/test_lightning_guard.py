from datetime import timedelta
from itertools import pairwise

import pytest

from core import rules
from core.feeds import Signal, Slot
from core.planning.forecast import Outlook, Rung
from core.rules import Undecided
from tests.core.rules.situations import HOUR, LONDON, decide, outlook, slots, utc

NOON = "2026-06-01 12:00"
QUARTER = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)


def flashes(*values, start=NOON, length=HOUR):
    return outlook(slots(start, values, length, Signal.LIGHTNING))


def cape(*values, start=NOON):
    return outlook(slots(start, values, HOUR, Signal.CAPE))


def potential(*values, start=NOON):
    return outlook(slots(start, values, HOUR, Signal.LIGHTNING_POTENTIAL))


def said(now, *known, held=None, until=None, **options):
    since, end = utc(held) if held else None, utc(until) if until else None
    return decide(
        now, "lightning_guard", *known, held_off_since=since, held_off_until=end, options=options
    )


@pytest.mark.parametrize(
    ("now", "is_danger"),
    [
        ("2026-06-01 12:58", False),
        ("2026-06-01 13:00", True),  # a lead of an hour
        ("2026-06-01 14:30", True),
        ("2026-06-01 14:59", True),
    ],
)
def test_off_from_the_lead_time_before_a_danger(now, is_danger):
    decision = said(now, flashes(0, 0, 12, 0, 0))
    assert (decision.value, decision.guard) == (not is_danger, is_danger)


def test_a_danger_is_at_or_above_the_threshold():
    assert said(NOON, flashes(2, 0)).value is False
    assert said(NOON, flashes(1.9, 0)).value is True
    assert said(NOON, flashes(2, 0), flashes=3).value is True


def test_it_holds_at_least_until_the_all_clear():
    assert said(NOON, flashes(0, 0, 0)).until is None
    assert said(NOON, flashes(5, 5, 0)).until == utc("2026-06-01 14:30")


def test_a_warning_tells_what_when_and_how_much():
    assert said(NOON, flashes(5, 0)).reason == "lightning until 13:00: 5 flashes/h, danger from 2"
    assert said("2026-06-01 12:30", potential(0, 9)).reason == (
        "lightning possible from 13:00 to 14:00: 9 J/kg, danger from 5"
    )
    assert (
        said(NOON, cape(1800, 0)).reason
        == "thunderstorms possible until 13:00: CAPE 1800 J/kg, danger from 1500"
    )


def test_times_are_those_of_the_clock_at_the_device():
    decision = decide("2026-06-01 12:30", "lightning_guard", flashes(0, 5), zone=LONDON)
    assert decision.reason.startswith("lightning from 14:00 to 15:00")


def test_calm_is_told_with_the_worst_to_come():
    decision = said(NOON, cape(300, 900))
    assert (
        decision.reason
        == "no lightning expected within 60 min: CAPE 900 J/kg at most, danger from 1500"
    )
    assert not decision.guard


def test_calm_leaves_the_device_alone_if_wanted():
    assert said(NOON, flashes(0, 0), on_after="no") is None
    assert said(NOON, flashes(5, 0), on_after="no").value is False


def test_flashes_go_before_what_a_model_says():
    assert said(NOON, cape(3000, 3000), potential(50, 50), flashes(0, 0)).value is True
    assert said(NOON, cape(0, 0), potential(0, 0), flashes(5, 0)).value is False
    assert said(NOON, cape(3000, 3000), potential(0, 0)).value is True


def test_where_flashes_are_not_told_so_far_ahead_the_model_counts():
    short = flashes(0, 0, length=QUARTER)
    assert said(NOON, short, cape(100, 100)).value is True
    assert said(NOON, short, cape(2000, 100)).value is False
    assert said(NOON, short, cape(100, 2000), lead_minutes=90).value is False


# The all-clear


def test_held_until_the_all_clear_after_the_last_danger():
    story = [("12:50", False), ("13:00", False), ("13:29", False), ("13:30", True)]
    for clock, value in story:
        decision = said(f"2026-06-01 {clock}", flashes(5, 0, 0, 0), held=NOON)
        assert (decision.value, decision.guard) == (value, not value), clock


def test_the_hold_tells_when_it_ends():
    decision = said("2026-06-01 13:10", flashes(5, 0, 0), held=NOON)
    assert decision.reason == "no more lightning in sight: all-clear at 13:30"
    assert decision.until == utc("2026-06-01 13:30")


def test_no_all_clear_with_the_next_danger_in_sight():
    assert said("2026-06-01 13:40", flashes(5, 0, 5, 0), held=NOON).value is False


def test_a_danger_that_was_taken_back_is_waited_for_all_the_same():
    assert said("2026-06-01 12:20", flashes(0, 0), held="2026-06-01 12:10").value is False
    assert said("2026-06-01 12:40", flashes(0, 0), held="2026-06-01 12:10").value is True


def test_the_end_that_was_told_counts_where_slots_are_short():
    quiet = flashes(*[0] * 8, start="2026-06-01 13:00", length=QUARTER)
    held = {"held": NOON, "until": "2026-06-01 13:25"}
    assert said("2026-06-01 13:20", quiet, **held).value is False
    assert said("2026-06-01 13:25", quiet, **held).value is True


def test_where_slots_are_short_and_no_end_was_kept_the_hold_is_long_enough_for_one():
    quiet = flashes(*[0] * 12, start="2026-06-01 12:15", length=QUARTER)
    assert said("2026-06-01 13:29", quiet, held=NOON).value is False
    assert said("2026-06-01 13:30", quiet, held=NOON).value is True


def test_without_a_hold_nothing_is_waited_for():
    assert said("2026-06-01 13:10", flashes(5, 0, 0)).value is True


# What is not known


def test_without_any_forecast_nothing_is_decided():
    for known in ((), (Outlook(Signal.CAPE),)):
        with pytest.raises(Undecided, match="no forecast of lightning is known"):
            said(NOON, *known)


def test_a_typical_day_is_no_forecast_of_lightning():
    typical = outlook(slots(NOON, [0] * 4, HOUR, Signal.CAPE), Rung.TYPICAL, typical_from=utc(NOON))
    with pytest.raises(Undecided):
        said(NOON, typical)


def test_a_forecast_that_ends_within_the_lead_gives_no_all_clear():
    partly = outlook(slots(NOON, [0] * 4, HOUR, Signal.CAPE), typical_from=utc("2026-06-01 13:00"))
    assert said(NOON, partly, lead_minutes=59).value is True
    with pytest.raises(Undecided, match="no forecast of lightning from 13:00 on"):
        said("2026-06-01 12:30", partly)


def test_a_danger_counts_even_where_the_rest_is_not_known():
    assert said("2026-06-01 12:30", flashes(5)).value is False


def test_a_hold_goes_on_without_a_forecast_until_its_end_then_it_is_for_the_fail_safe():
    decision = said("2026-06-01 12:40", held=NOON)
    assert (decision.value, decision.guard) == (False, True)
    assert decision.reason.startswith("held off since 12:00, and no forecast")
    with pytest.raises(Undecided):
        said("2026-06-01 13:30", held=NOON)
    assert said("2026-06-01 13:40", held=NOON, until="2026-06-01 14:00").until == utc(
        "2026-06-01 14:00"
    )


def test_an_old_forecast_counts_and_is_told():
    old = outlook(slots(NOON, [0] * 6, HOUR, Signal.CAPE), Rung.LAST)
    assert said("2026-06-01 15:00", old).reason.endswith("by the last forecast, 3 h old")


def test_it_is_a_guard():
    guard = rules.load("lightning_guard")
    assert guard.is_guard
    assert guard.signals(guard.options()) == (
        Signal.LIGHTNING_CHANCE,
        Signal.LIGHTNING,
        Signal.LIGHTNING_POTENTIAL,
        Signal.CAPE,
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"flashes": 0}, "flashes: 0 is no danger"),
        ({"lead_minutes": -1}, "lead_minutes: -1 is not between 0 and 1440"),
        ({"clear_minutes": 2000}, "clear_minutes: 2000 is not between"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        rules.load("lightning_guard").read(options)


# With a nowcast


def nowcast(*chances, start=NOON, rung=Rung.LIVE):
    """The chances until 15, 25 and 60 minutes from then."""
    at, signal = utc(start), Signal.LIGHTNING_CHANCE
    ends = [at + minutes * MINUTE for minutes in (0, 15, 25, 60)]
    spans = zip(pairwise(ends), chances, strict=True)
    told = tuple(Slot(begin, end, chance, "%", at, signal) for (begin, end), chance in spans)
    return outlook(told, rung)


def seen(rate, start=NOON):
    """Flashes of the ten minutes before, which hold for ten more."""
    return flashes(rate, start=start, length=10 * MINUTE)


def test_off_before_the_strike_by_the_chance_of_it():
    decision = said(NOON, nowcast(2, 8, 35), seen(0))
    assert (decision.value, decision.guard) == (False, True)
    assert decision.reason == (
        "lightning may strike nearby from 12:25 to 13:00: chance 35 %, danger from 20"
    )
    assert decision.until == utc("2026-06-01 12:30")
    assert said(NOON, nowcast(2, 8, 35), seen(0), chance=40).value is True


def test_calm_by_a_nowcast_lets_it_on_though_a_model_warns():
    decision = said(NOON, nowcast(1, 2, 3), seen(0), cape(3000, 3000))
    assert decision.value is True
    assert decision.reason.startswith("no lightning expected within 60 min: chance 3 %")


def test_a_strike_that_was_seen_counts_whatever_the_chance():
    assert said(NOON, nowcast(5, 5, 5), seen(6)).value is False


def test_on_again_only_half_an_hour_after_the_last_strike():
    """Strikes until 12:10, seen until 12:20; asked every ten minutes, each with a new nowcast."""
    until, story = None, {}
    for clock in ("12:00", "12:10", "12:20", "12:30", "12:40", "12:50", "13:00"):
        now = f"2026-06-01 {clock}"
        rate = 30 if clock <= "12:10" else 0
        until_text = f"{until:%Y-%m-%d %H:%M}" if until else None
        known = (nowcast(4, 4, 4, start=now), seen(rate, start=now))
        decision = said(now, *known, held=NOON if until else None, until=until_text)
        until = decision.until or until
        story[clock] = decision.value
    assert [clock for clock, value in story.items() if value] == ["12:50", "13:00"]


def test_a_nowcast_need_not_look_as_far_as_the_lead():
    """It is some minutes old when it is used, and ends before the lead does."""
    now = "2026-06-01 12:08"
    assert said(now, nowcast(1, 1, 1), seen(0)).value is True
    assert said(now, nowcast(1, 1, 1), cape(100, 3000)).value is True
    assert said(now, nowcast(1, 1, 1), seen(0), lead_minutes=180).value is True


def test_a_nowcast_that_is_not_live_says_nothing():
    old = nowcast(1, 1, 1, rung=Rung.LAST)
    with pytest.raises(Undecided, match="no forecast of lightning"):
        said("2026-06-01 12:20", old)
    assert said("2026-06-01 12:20", old, cape(100, 100)).value is True


@pytest.mark.parametrize("chance", [0, -1, 101])
def test_a_chance_that_makes_no_sense_is_refused(chance):
    with pytest.raises(ValueError, match="chance: "):
        rules.load("lightning_guard").read({"chance": chance})
