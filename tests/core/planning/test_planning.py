"""The planner, next to a brute force that tries every way to run on a small grid, and by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.feeds import Slot
from core.planning import Job, Window, WindowPlan, at_once, cost, plan, stable_plan
from core.planning.curve import Curve
from core.planning.search import Grid, Search, runs_of
from tests.core.planning.brute_force import (
    HOUR,
    MINUTE,
    NIGHT,
    Small,
    check,
    check_in_one_run,
    runs,
    steps_of,
)

quickly = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


steps = st.sampled_from([MINUTE, timedelta(seconds=7.3), timedelta(hours=1)])
values = st.one_of(st.none(), *[st.integers(-2, 3)] * 4)
worlds = st.tuples(
    st.lists(values, min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 8),
    st.booleans(),
)
fits = worlds.filter(lambda world: world[2] < len(world[0]) * world[1] <= 10)


@given(world=fits, step=steps)
@quickly
def test_the_cheapest_split_is_that_of_brute_force_at_any_resolution(world, step):
    small = Small(*world, step=step)
    made, ways = small.planned(), list(small.every_way())
    check(small, made, ways)
    equal = [way for way in ways if small.rank(way) == small.rank(steps_of(small, made))]
    assert not ways or len(made.windows) == min(len(runs(way)) for way in equal)


@given(world=fits, step=steps)
@quickly
def test_the_cheapest_run_is_that_of_brute_force_at_any_resolution(world, step):
    small = Small(*world, step=step)
    made = small.planned(contiguous=True)
    ways = [way for way in small.every_way() if len(runs(way)) == 1]
    check(small, made, ways)
    equal = [way for way in ways if small.rank(way) == small.rank(steps_of(small, made))]
    assert not ways or steps_of(small, made) == (max(equal) if small.latest else min(equal))


@given(
    world=fits,
    limits=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    past=st.tuples(st.none() | st.integers(0, 4), st.none() | st.integers(0, 4)),
)
@settings(quickly, max_examples=1500)
def test_with_minimum_times_the_cheapest_split_is_that_of_brute_force_on_minutes(
    world, limits, past
):
    on, off = past
    small = Small(*world, *limits, on=on, off=off if on is None else None)
    check(small, small.planned(), list(small.every_way()))


@given(
    world=fits,
    limits=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    past=st.tuples(st.none() | st.integers(0, 4), st.none() | st.integers(0, 4)),
)
@settings(quickly, max_examples=1000)
def test_in_one_run_with_minimum_times_it_is_as_long_and_cheap_as_by_brute_force(
    world, limits, past
):
    on, off = past
    check_in_one_run(Small(*world, *limits, on=on, off=off if on is None else None))


@given(
    values=st.lists(st.integers(0, 9), min_size=4, max_size=8),
    seconds=st.integers(0, 90 * 60),
    minutes=st.integers(1, 90),
    limits=st.tuples(st.integers(0, 40), st.integers(1, 40)),
    lasted=st.none() | st.integers(0, 100 * 60),
    contiguous=st.booleans(),
)
@settings(quickly, max_examples=400)
def test_no_pause_is_shorter_than_the_least_time_off_at_whatever_second_it_begins(
    values, seconds, minutes, limits, lasted, contiguous
):
    min_on, min_off = (limit * MINUTE for limit in limits)
    todo = job(minutes, 30 * len(values), min_on=min_on, min_off=min_off, contiguous=contiguous)
    now = at(seconds / 60)
    on_since = None if lasted is None else now - timedelta(seconds=lasted)
    made = plan(todo, night(*values), now, on_since)
    windows = list(made.windows)
    ended = [window.ends_at for window in windows]
    if on_since and windows and windows[0].starts_at > now:
        ended.insert(0, max(now, on_since + min_on))
    elif windows:
        windows.pop(0)
    pauses = [window.starts_at - end for end, window in zip(ended, windows, strict=False)]
    assert all(pause >= min_off for pause in pauses)


@given(
    rates=st.lists(st.integers(0, 50), min_size=6, max_size=10),
    lengths=st.tuples(
        st.integers(30, 110), st.sampled_from([20, 30, 45, 47]), st.sampled_from([0, 7, 15, 30])
    ),
    forced=st.none() | st.integers(0, 20),
)
@settings(quickly, max_examples=60)
def test_what_the_search_leaves_out_early_is_never_the_best(rates, lengths, forced):
    curve = Curve((k * 30 - bool(k) * 13, k * 30 + 17, rate) for k, rate in enumerate(rates))
    search = Search(curve, *lengths, forced, False)
    everything = Grid(search, range(curve.pieces[-1][1] + 1)).answers(float("inf"), search.wanted)
    assert sum(map(curve.integral, search.best())) == sum(
        map(curve.integral, runs_of(everything[search.wanted]))
    )


# By hand: a night of half-hours, or of whatever slots; times are minutes after midnight.


def night(*values: float | None, minutes: int = 30, unit: str = "gCO2/kWh") -> list[Slot]:
    pairs = enumerate(values)
    return [
        Slot(at(k * minutes), at((k + 1) * minutes), value, unit)
        for k, value in pairs
        if value is not None
    ]


def at(minutes: float) -> datetime:
    return NIGHT + minutes * MINUTE


def job(minutes: float, deadline: float = 120, **options) -> Job:
    return Job(at(0), at(deadline), minutes, **options)


def of(made: WindowPlan) -> list[tuple[float, float]]:
    return [
        ((window.starts_at - NIGHT) / MINUTE, (window.ends_at - NIGHT) / MINUTE)
        for window in made.windows
    ]


def test_a_run_may_start_with_a_slot_or_end_with_one():
    assert of(plan(job(45, contiguous=True), night(9, 1, 2, 9), at(0))) == [(30, 75)]
    assert of(plan(job(45, contiguous=True), night(9, 2, 1, 9), at(0))) == [(45, 90)]


def test_the_cheapest_slots_come_first_and_the_last_is_partly_used():
    made = plan(job(75, 180), night(5, 1, 9, 2, 9, 3), at(0))
    assert of(made) == [(30, 60), (90, 120), (150, 165)]
    assert made.cost == pytest.approx(0.5 * 1 + 0.5 * 2 + 0.25 * 3)


def test_cost_is_of_the_power_drawn_and_tells_its_unit():
    made = plan(job(60, watts=2500), night(0.2, 0.1, 0.1, 0.3, unit="GBP/kWh"), at(0))
    assert (made.cost, made.unit) == (pytest.approx(0.25), "GBP")
    assert plan(job(60), night(1, 1, 1, 1), at(0)).unit == "gCO2"


def test_planning_in_the_middle_of_a_slot_begins_there():
    assert of(plan(job(20), night(1, 5, 5, 5), at(10))) == [(10, 30)]


def test_opening_and_deadline_may_lie_inside_slots():
    assert of(plan(Job(at(10), at(50), 30, latest=True), night(1, 1, 1), at(0))) == [(20, 50)]


@pytest.mark.parametrize(("latest", "windows"), [(False, [(0, 40)]), (True, [(80, 120)])])
@pytest.mark.parametrize("contiguous", [False, True])
def test_among_equals_it_is_the_earliest_or_the_latest_in_one_run(latest, windows, contiguous):
    todo = job(40, latest=latest, contiguous=contiguous)
    assert of(plan(todo, night(3, 3, 3, 3), at(0))) == windows


def test_among_equally_cheap_splits_the_one_with_fewer_runs_is_taken():
    assert of(plan(job(60, 180), night(2, 9, 1, 2, 9, 2), at(0))) == [(60, 120)]


def test_what_was_delivered_is_not_planned_again():
    assert of(plan(job(60, delivered=45), night(3, 1, 2, 2), at(20))) == [(30, 45)]
    done = plan(job(60, delivered=60.5), night(3, 1, 2, 2), at(20))
    assert (done.windows, done.cost, done.short_minutes) == ((), 0, 0)


@pytest.mark.parametrize("contiguous", [False, True])
def test_when_the_deadline_is_too_near_all_that_is_left_is_used(contiguous):
    made = plan(job(60, contiguous=contiguous), night(3, 1, 2, 2), at(75))
    assert (of(made), made.short_minutes) == ([(75, 120)], 15)


def test_without_slots_nothing_is_planned_and_all_is_short():
    made = plan(job(60), [], at(0))
    assert (made.windows, made.cost, made.unit, made.short_minutes) == ((), 0, "", 60)
    assert plan(job(60), night(1), at(500)).short_minutes == 60


def test_it_never_runs_where_no_value_is_known():
    assert of(plan(job(60, contiguous=True), night(9, 9, None, 1), at(0))) == [(0, 60)]
    made = plan(job(100), night(9, 9, None, 1), at(0))
    assert (of(made), made.short_minutes) == ([(0, 60), (90, 120)], 10)


def test_a_forecast_of_nothing_and_a_negative_price_are_values():
    made = plan(job(60), night(0, 1, -3, 1), at(0))
    assert (of(made), made.cost) == ([(0, 30), (60, 90)], -1.5)


def test_slots_may_be_of_mixed_lengths():
    slots = [
        *night(5, 1, 5, minutes=5),
        Slot(at(15), at(60), 3, "gCO2/kWh"),
        Slot(at(60), at(120), 2, "gCO2/kWh"),
    ]
    assert of(plan(job(70), slots, at(0))) == [(5, 10), (55, 120)]


@pytest.mark.parametrize(
    ("day", "hours"), [(datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)]
)
def test_days_on_which_the_clock_changes_have_the_hours_they_have(day, hours):
    midnight = day.replace(tzinfo=ZoneInfo("Europe/London"))
    start, end = midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
    slots = [Slot(start + k * HOUR, start + (k + 1) * HOUR, k, "gCO2/kWh") for k in range(30)]
    everything = plan(Job(midnight, midnight + timedelta(days=1), 30 * 60), slots, midnight)
    assert everything.windows == (Window(start, end),)
    assert everything.short_minutes == (30 - hours) * 60


def test_a_remainder_shorter_than_the_minimum_is_rounded_up_only_where_it_stands_alone():
    limits = {"min_on": 30 * MINUTE}
    assert of(plan(job(60, delivered=50, **limits), night(5, 1, 5, 5), at(0))) == [(30, 60)]
    assert of(plan(job(40, **limits), night(5, 1, 2, 5), at(0))) == [(30, 70)]
    rest = job(60, delivered=50, **limits)
    assert of(plan(rest, night(1, 5, 5, 5), at(0), on_since=at(-50))) == [(0, 10)]


@pytest.mark.parametrize("contiguous", [False, True])
def test_where_less_than_the_least_time_on_is_left_that_is_used(contiguous):
    todo = job(60, min_on=30 * MINUTE, contiguous=contiguous)
    made = plan(todo, night(1, 1, 1, 1), at(100))
    assert (of(made), made.short_minutes) == ([(100, 120)], 40)
    short = job(1, 1, min_on=2 * MINUTE, contiguous=contiguous)
    assert of(plan(short, night(5, 1, minutes=1), at(0))) == [(0, 1)]


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_run_that_must_go_on_beyond_the_deadline_is_planned_until_then(contiguous):
    todo = job(60, min_on=30 * MINUTE, contiguous=contiguous)
    made = plan(todo, night(1, 1, 1, 1), at(100), on_since=at(95))
    assert (of(made), made.short_minutes) == ([(100, 120)], 40)


@pytest.mark.parametrize("contiguous", [False, True])
def test_a_run_that_must_go_on_into_a_gap_is_planned_until_then_and_the_rest_after_a_pause(
    contiguous,
):
    todo = job(50, min_on=30 * MINUTE, min_off=20 * MINUTE, contiguous=contiguous)
    made = plan(todo, night(1, None, 9, 1), at(20), on_since=at(5))
    assert (of(made), made.short_minutes) == ([(20, 30), (80, 120)], 0)


@pytest.mark.parametrize("delivered", [0, 5])
def test_one_run_that_a_gap_would_cut_short_waits_for_a_slot_that_holds_it(delivered):
    todo = job(5 + delivered, delivered=delivered, min_on=2 * MINUTE, contiguous=True)
    made = plan(todo, night(1, None, 9, 9), at(29), on_since=at(20))
    assert (of(made), made.short_minutes) == ([(60, 65)], 0)
    made = plan(todo, night(1, None, 9, 9), at(28), on_since=at(27))
    assert (of(made), made.short_minutes) == ([(28, 29), (60, 64)], 0)


@pytest.mark.parametrize("second", [1, 30, 59])
def test_a_pause_that_begins_within_a_minute_lasts_as_long_as_any(second):
    limits = {"min_on": 30 * MINUTE, "min_off": 30 * MINUTE}
    now = at(second / 60)
    made = plan(job(30, **limits), night(9, 1, 2, 9), now, on_since=at(-60))
    assert of(made) == [(31, 61)]


def test_a_run_goes_on_until_its_minimum_is_over_and_without_a_new_start():
    limits = {"min_on": 30 * MINUTE, "min_off": 10 * MINUTE}
    slots = night(9, 1, 1, 9)
    assert of(plan(job(60, **limits), slots, at(5), on_since=at(-5))) == [(5, 25), (35, 75)]
    assert of(plan(job(60, contiguous=True, **limits), slots, at(5), on_since=at(-5))) == [(5, 65)]


def test_a_run_that_has_begun_to_deliver_is_not_broken():
    begun = job(60, delivered=10, contiguous=True)
    assert of(plan(begun, night(9, 1, 1, 9), at(10), on_since=at(0))) == [(10, 60)]


def test_a_pause_that_has_begun_is_not_cut_short():
    limits = {"min_off": 60 * MINUTE}
    assert of(plan(job(30, **limits), night(1, 2, 3, 4), at(0), off_since=at(-10))) == [(50, 80)]
    in_one = job(30, contiguous=True, **limits)
    assert of(plan(in_one, night(1, 1, 1, 1), at(0), off_since=at(-10))) == [(50, 80)]


def test_with_limits_now_may_be_any_second():
    limits = {"min_on": 30 * MINUTE, "min_off": 20 * MINUTE}
    assert of(plan(job(35, **limits), night(1, 9, 1, 9), at(0.12))) == [(55, 90)]
    going_on = plan(
        job(60, delivered=10.12, **limits), night(1, 9, 1, 9), at(10.12), on_since=at(0)
    )
    assert of(going_on) == [(10.12, 30), (60, 90)]


def test_the_cost_of_windows_is_unknown_where_no_slot_covers_them():
    slots = night(1, 2, None, 4)
    assert cost([Window(at(15), at(45))], slots, 2000) == pytest.approx(2 * (0.25 * 1 + 0.25 * 2))
    assert cost([Window(at(45), at(75))], slots, 1000) is None
    assert cost([], slots, 1000) == 0


def test_at_once_is_from_the_opening_on_as_long_as_it_takes():
    made = at_once(job(45, delivered=20), night(4, 2, 1, 1))
    assert (of(made), made.cost) == ([(0, 45)], pytest.approx(2.5))
    cut = at_once(job(45, deadline=40), night(4, None, 1, 1))
    assert (of(cut), cut.cost, cut.short_minutes) == ([(0, 40)], 2, 15)


# Stability.


def made_of(windows: list[tuple[float, float]], slots: list[Slot], **options) -> WindowPlan:
    spans = tuple(Window(at(start), at(end)) for start, end in windows)
    return WindowPlan(job(60, 240, **options), spans, cost(spans, slots, 1000) or 0, "gCO2")


def test_a_plan_is_kept_and_priced_anew_for_a_small_gain_and_given_up_for_a_large_one():
    previous = made_of([(0, 60)], night(1, 1, 1, 1))
    slots = night(100, 100, 97, 97)
    still = stable_plan(previous, plan(previous.job, slots, at(0)), slots, at(0))
    assert (of(still), still.cost) == ([(0, 60)], 100)
    slots = night(100, 100, 90, 90)
    assert of(stable_plan(previous, plan(previous.job, slots, at(0)), slots, at(0))) == [(60, 120)]


def test_a_plan_that_is_being_carried_out_goes_on_though_delivery_is_not_quite_as_planned():
    slots = night(100, 100, 99, 99)
    previous = made_of([(0, 60)], slots)
    for delivered, end in [(20, 60), (12, 68), (25, 55), (19.5, 60)]:
        fresh = plan(replace(previous.job, delivered=delivered), slots, at(20), on_since=at(0))
        assert of(stable_plan(previous, fresh, slots, at(20))) == [(20, end)]


def test_a_plan_that_delivers_no_longer_or_is_of_another_job_is_given_up():
    slots = night(5, 5, 4.9, 4.9, 9, 9, 9, 9)
    fresh = plan(job(60, 120), slots, at(30))
    assert stable_plan(made_of([(180, 240)], slots), fresh, slots, at(30)) == fresh
    assert stable_plan(made_of([(0, 60)], slots, contiguous=True), fresh, slots, at(0)) == fresh
    assert stable_plan(made_of([], slots), fresh, slots, at(30)) == fresh
    done = plan(job(60, 240, delivered=60), slots, at(30))
    assert stable_plan(made_of([(0, 60)], slots), done, slots, at(30)) == done


def test_a_plan_that_would_cut_a_pause_short_is_given_up():
    slots = night(9, 1, 1, 1)
    previous = made_of([(0, 30), (40, 70)], slots, min_off=10 * MINUTE)
    since = {"on_since": at(0)}
    fresh = plan(replace(previous.job, delivered=30), slots, at(35), **since)
    assert of(stable_plan(previous, fresh, slots, at(35), 9, **since)) == of(fresh) != [(40, 70)]
    since = {"off_since": at(30)}
    fresh = plan(replace(previous.job, delivered=30), slots, at(35), **since)
    assert of(stable_plan(previous, fresh, slots, at(35), 9, **since)) == [(40, 70)]


def test_around_a_cost_of_nothing_a_trifle_is_no_gain():
    slots = night(10, -10, 9.9, -10)
    previous = made_of([(0, 60)], slots)
    fresh = plan(previous.job, night(10, -10.1, 9.9, -10), at(0))
    assert of(stable_plan(previous, fresh, slots, at(0), gain=2)) == [(0, 60)]
    free = night(0, 0, 0, 0)
    fresh = plan(previous.job, free, at(0))
    assert of(stable_plan(made_of([(60, 120)], free), fresh, free, at(0))) == [(60, 120)]
    paid = night(0, 0, -1, -1)
    fresh = plan(previous.job, paid, at(0))
    assert of(stable_plan(made_of([(0, 60)], paid), fresh, paid, at(0))) == [(60, 120)]


@given(
    first=st.lists(st.integers(90, 110), min_size=8, max_size=8),
    shifts=st.lists(st.lists(st.integers(-1, 1), min_size=8, max_size=8), min_size=23, max_size=23),
    limits=st.booleans(),
)
@settings(quickly, max_examples=40)
def test_a_forecast_that_trembles_by_a_percent_never_switches_a_run_off(first, shifts, limits):
    todo = job(60, 240, min_on=20 * MINUTE) if limits else job(60, 240)
    followed, delivered, on_since, planned = None, 0.0, None, None
    for tick, shift in enumerate([[0] * 8, *shifts]):
        values = [value + more for value, more in zip(first, shift, strict=True)]
        slots, now = night(*values), at(10 * tick)
        fresh = plan(replace(todo, delivered=delivered), slots, now, on_since)
        if followed and followed.windows:
            followed = stable_plan(followed, fresh, slots, now)
        else:
            followed = fresh
        planned = planned or of(followed)
        was_planned = any(start <= 10 * tick < end for start, end in planned)
        assert followed.is_on(now) == was_planned or delivered >= 60
        on_since = (on_since or now) if followed.is_on(now) else None
        delivered += 10 if followed.is_on(now) else 0
    assert delivered >= 60
