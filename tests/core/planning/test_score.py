"""Was it worth it: jobs settled by measurements, warnings counted against events."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.feeds import Slot
from core.planning import Job, Window, score
from core.planning.score import Costs, WarningScore

NIGHT = datetime(2026, 11, 21, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEASURED = (300, 200, 100, 100, 200, 300)
"""gCO2/kWh, hour by hour from 22:00."""


def at(hours):
    return NIGHT + hours * HOUR


def ran(*spans):
    return [Window(at(start), at(end)) for start, end in spans]


def slots(values=MEASURED):
    return [
        Slot(at(hour), at(hour + 1), float(value), "gCO2/kWh")
        for hour, value in enumerate(values)
        if value is not None
    ]


def job(minutes=120, **terms):
    return Job(at(0), at(6), minutes, **terms)


def test_a_job_is_compared_with_switching_on_at_once_and_with_hindsight():
    settled = score.score_plan(job(), ran((1, 3)), slots())
    assert settled.costs == Costs("gCO2", actual=300, at_once=500, ideal=200)
    assert settled.costs.saving == 200
    assert settled.costs.share == pytest.approx(2 / 3)


def test_waiting_can_be_a_mistake():
    settled = score.score_plan(job(60), ran((5, 6)), slots((200, 100, 100, 100, 200, 300)))
    assert settled.costs.saving == -100
    assert settled.costs.share == -1


def test_where_nothing_was_to_be_saved_there_is_no_share():
    assert score.score_plan(job(), ran((1, 3)), slots([150] * 6)).costs.share is None


def test_a_job_half_done_is_compared_with_as_many_minutes():
    settled = score.score_plan(job(120, min_on=2 * HOUR), ran((2, 3)), slots())
    assert settled.minutes == 60
    assert settled.costs == Costs("gCO2", actual=100, at_once=300, ideal=100)


def test_a_job_that_did_not_run_saved_nothing():
    settled = score.score_plan(job(), [], [])
    assert settled.costs.saving == 0
    assert settled.costs.share is None
    assert not settled.missing


def test_what_ran_beyond_the_job_is_told_apart():
    settled = score.score_plan(job(), ran((1, 4)), slots())
    assert (settled.minutes, settled.beyond, settled.beyond_cost) == (120, 60, 100)
    assert settled.costs.actual == 300


def test_what_ran_outside_of_the_job_is_not_counted():
    assert score.score_plan(job(), ran((-2, 1), (5, 9)), slots()).minutes == 120


def test_the_power_counts():
    assert score.score_plan(job(watts=500), ran((1, 3)), slots()).costs.actual == 150


def test_with_a_gap_in_the_measurements_nobody_knows_the_ideal():
    settled = score.score_plan(job(), ran((2, 4)), slots((300, 200, 100, 100, None, 300)))
    assert settled.costs == Costs("gCO2", actual=200, at_once=500, ideal=None)
    assert settled.missing == ("the ideal",)
    assert not settled.costs.is_complete


def test_with_a_gap_where_it_ran_nobody_knows_what_it_cost():
    assert score.score_plan(job(), ran((2, 4)), slots((300, 200, 100, None, 200, 300))).missing == (
        "what it cost",
        "the ideal",
    )


def test_with_a_gap_at_the_start_nobody_knows_what_at_once_had_cost():
    settled = score.score_plan(job(), ran((2, 4)), slots((None, 200, 100, 100, 200, 300)))
    assert settled.costs.at_once is None


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 500), min_size=6, max_size=6), st.sets(st.integers(0, 5), min_size=1)
)
def test_nothing_is_better_than_hindsight(values, hours):
    settled = score.score_plan(
        job(60 * len(hours)),
        score.joined(ran(*((hour, hour + 1) for hour in hours))),
        slots(values),
    )
    assert settled.costs.ideal <= min(settled.costs.actual, settled.costs.at_once) + 1e-6


def test_only_what_is_known_in_full_and_in_one_unit_is_summed():
    known, partly, other = (
        Costs("gCO2", 1, 3, 1),
        Costs("gCO2", 100, None, 100),
        Costs("GBP", 7, 8, 7),
    )
    assert score.total([known, partly, known, other]) == Costs("gCO2", 2, 6, 2)
    assert score.total([partly]) == Costs()


def test_what_did_not_run_and_has_no_unit_does_not_spoil_the_sum():
    assert score.total([Costs("", 0, 0, 0), Costs("gCO2", 1, 3, 1)]) == Costs("gCO2", 1, 3, 1)


def test_a_warning_in_force_when_the_event_begins_is_a_hit():
    warned = score.score_warnings(ran((1, 4)), ran((2, 3)))
    assert warned == WarningScore(hits=1, lead=HOUR)
    assert (warned.pod, warned.far, warned.csi) == (1, 0, 1)


def test_a_warning_that_ended_before_the_event_is_a_false_alarm_and_a_miss():
    assert score.score_warnings(ran((1, 2)), ran((2, 3))) == WarningScore(misses=1, false_alarms=1)


def test_a_late_warning_is_a_miss_but_no_false_alarm():
    assert score.score_warnings(ran((2.5, 4)), ran((2, 3))) == WarningScore(misses=1, late=1)


def test_one_warning_of_two_events_is_two_hits():
    assert score.score_warnings(ran((1, 6)), ran((2, 3), (4, 5))) == WarningScore(
        hits=2, lead=2 * HOUR
    )


def test_two_warnings_of_one_event_are_one_hit():
    assert score.score_warnings(ran((1, 3), (3.5, 4)), ran((2, 5))) == WarningScore(
        hits=1, lead=HOUR
    )


def test_the_contingency_table_gives_the_ratios():
    warned = WarningScore(hits=3, misses=1, false_alarms=2)
    assert (warned.pod, warned.far, warned.csi) == (0.75, 0.4, 0.5)


def test_a_ratio_of_nothing_is_none():
    warned = WarningScore()
    assert (warned.pod, warned.far, warned.csi, warned.lead) == (None, None, None, None)


def test_slots_at_or_above_the_threshold_that_touch_are_one_event():
    assert score.events(slots((1, 5, 6, 1, 5, 0)), 5) == ran((1, 3), (4, 5))


def test_episodes_close_together_are_one():
    assert score.joined(ran((3, 4), (0, 1), (0.5, 2)), apart=HOUR) == ran((0, 4))
