from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import rules
from core.feeds import Signal
from core.planning.forecast import Outlook, Rung
from core.planning.precedence import Limits
from tests.core.rules.situations import HALF_HOUR, LONDON, decide, outlook, slots, utc

EVENING = "2026-06-01 20:00"
NIGHT = [200.0] * 8 + [150.0] * 3 + [90.0] * 6 + [180.0] * 20
"""From 20:00 on: dear, better from midnight, best from 01:30 to 04:30, dear again.

07:00 is after 22 half-hours.
"""
FORECAST = outlook(slots(EVENING, NIGHT))


def said(
    now, known=FORECAST, is_on=False, plan=None, delivered=0.0, zone=UTC, since=None, **options
):
    outlooks = [known] if known else []
    started = utc(since) if since else None
    terms = {
        "options": options,
        "zone": zone,
        "plan": plan,
        "delivered": delivered,
        "changed_at": started,
    }
    return decide(now, "cleanest_hours", *outlooks, is_on=is_on, **terms)


def clocks(plan):
    return [(f"{window.starts_at:%H:%M}", f"{window.ends_at:%H:%M}") for window in plan.windows]


def lived(start, stop, outlook_at, every=timedelta(minutes=10), **options):
    """Decide every ten minutes and do as decided: the plans, and the minutes it was on in all."""
    at, is_on, since, plan, delivered, plans = utc(start), False, None, None, 0.0, []
    while at < utc(stop):
        known = outlook_at(at)
        now = at.isoformat()[:16]
        decision = said(
            now, known, is_on, plan, delivered, since=since and since.isoformat()[:16], **options
        )
        plan = decision.plan
        if decision.value is not is_on:
            is_on, since = decision.value, at
        delivered += 10 if is_on else 0
        plans.append(clocks(plan) if plan else [])
        at += every
    return plans, delivered


# The plan


def test_it_waits_for_the_cleanest_hours():
    decision = said(EVENING)
    assert not decision.value
    assert decision.until == utc("2026-06-02 01:30")
    assert clocks(decision.plan) == [("01:30", "04:30")]
    assert decision.reason == (
        "it waits for 01:30: the cleanest 3 h before 07:00 are 01:30 to 04:30: "
        "90 gCO2/kWh instead of 200 at once"
    )


def test_it_runs_in_them():
    decision = said("2026-06-02 01:30")
    assert decision.value
    assert decision.until == utc("2026-06-02 04:30")
    assert decision.reason == "the cleanest 3 h before 07:00 are 01:30 to 04:30: 90 gCO2/kWh"


def test_in_the_middle_of_a_run_the_sentence_is_of_what_is_still_to_run():
    plan = said("2026-06-02 01:30").plan
    night = outlook(slots("2026-06-02 03:00", [90.0, 80.0, 70.0] + [180.0] * 9))
    decision = said(
        "2026-06-02 03:00", night, is_on=True, plan=plan, delivered=90, since="2026-06-02 01:30"
    )
    assert decision.reason == (
        "the cleanest 1 h 30 min before 07:00 for the rest are 03:00 to 04:30: 80 gCO2/kWh"
    )


def test_time_that_was_not_run_is_in_no_sentence():
    """It was off from 02:30 to 03:30, though planned to run."""
    plan = said("2026-06-02 01:30").plan
    decision = said(
        "2026-06-02 03:30", is_on=True, plan=plan, delivered=60, since="2026-06-02 03:30"
    )
    assert "2 h before 07:00" in decision.reason
    assert clocks(decision.plan) == [("03:30", "05:30")]


def test_the_cleanest_is_said_only_of_what_is():
    dip = [200.0] * 6 + [100.0] + [200.0] * 5 + [110.0] * 6 + [200.0] * 10
    known, options = outlook(slots(EVENING, dip)), {"minutes": 30, "contiguous": "yes"}
    assert said(EVENING, known, **options, smooth=0).reason == (
        "it waits for 23:00: the cleanest 30 min in one run before 07:00 are 23:00 to 23:30: "
        "100 gCO2/kWh instead of 200 at once"
    )
    assert said(EVENING, known, **options).reason == (
        "it waits for 03:00: 30 min in one run before 07:00 are planned for 03:00 to 03:30: "
        "110 gCO2/kWh (at best 100) instead of 200 at once"
    )


def test_where_no_forecast_reaches_the_sentence_says_what_is_assumed():
    known = outlook(slots(EVENING, [200.0, 100.0, 100.0]))
    assert said(EVENING, known, minutes=60).reason.endswith(
        " instead of 150 at once; the mean is assumed where nothing is forecast"
    )


def test_it_is_done_when_the_minutes_were_delivered():
    plan = said("2026-06-02 01:30").plan
    decision = said("2026-06-02 04:30", is_on=True, plan=plan, delivered=180)
    assert (decision.value, decision.until, decision.plan) == (False, utc("2026-06-02 07:00"), plan)
    assert decision.reason == "done: 180 of 180 minutes before 07:00"


def test_minutes_that_nobody_has_counted_yet_are_not_run_twice():
    plan = said("2026-06-02 01:30").plan
    decision = said("2026-06-02 04:30", is_on=True, plan=plan, delivered=172)
    assert not decision.value
    assert decision.reason == "done: 180 of 180 minutes before 07:00"


def test_minutes_that_were_missed_are_run_later():
    plan = said("2026-06-02 01:30").plan
    decision = said("2026-06-02 04:30", is_on=False, plan=plan, delivered=120)
    assert decision.value
    assert sum(
        (window.ends_at - window.starts_at for window in decision.plan.windows), timedelta()
    ) == timedelta(minutes=60)


def test_after_the_deadline_the_next_day_begins_from_nothing():
    plan = said("2026-06-02 01:30").plan
    forecast = outlook(slots("2026-06-02 07:00", [100.0] * 47 + [50.0] * 3))
    decision = said("2026-06-02 07:00", forecast, plan=plan, delivered=180)
    assert decision.plan.job.delivered == 0
    assert decision.plan.job.deadline == utc("2026-06-03 07:00")


def test_the_job_opens_at_the_deadline_before_or_at_a_time_of_day():
    assert said(EVENING).plan.job.opens_at == utc("2026-06-01 07:00")
    assert said(EVENING, after="22:00").plan.job.opens_at == utc("2026-06-01 22:00")
    assert said(EVENING, after="06:00", minutes=30).plan.job.opens_at == utc("2026-06-02 06:00")


def test_nothing_runs_before_it_opens():
    assert clocks(said(EVENING, after="03:00").plan) == [("03:00", "06:00")]


def test_in_one_run_or_in_several():
    values = [200.0] * 4 + [90.0] * 2 + [200.0] * 4 + [80.0] * 2 + [200.0] * 20
    forecast = outlook(slots(EVENING, values))
    assert clocks(said(EVENING, forecast, minutes=120).plan) == [
        ("22:00", "23:00"),
        ("01:00", "02:00"),
    ]
    assert len(said(EVENING, forecast, minutes=120, contiguous="yes").plan.windows) == 1


def test_several_runs_are_all_told():
    values = [200.0] * 4 + [90.0] * 2 + [200.0] * 4 + [80.0] * 2 + [200.0] * 20
    reason = said(EVENING, outlook(slots(EVENING, values)), minutes=120).reason
    assert (
        "the cleanest 2 h before 07:00 are 22:00 to 23:00 and 01:00 to 02:00: 85 gCO2/kWh" in reason
    )


def test_of_equals_the_earliest_or_the_latest():
    flat = outlook(slots(EVENING, [100.0] * 30))
    assert clocks(said(EVENING, flat).plan) == [("20:00", "23:00")]
    assert clocks(said(EVENING, flat, ties="latest").plan) == [("04:00", "07:00")]


def test_the_cheapest_hours():
    prices = outlook(slots(EVENING, [0.3] * 10 + [0.1] * 6 + [0.3] * 20, signal=Signal.PRICE))
    assert "the cheapest 3 h before 07:00 are 01:00 to 04:00: 0.1 /kWh instead of 0.3 at once" in (
        said(EVENING, prices, signal="price").reason
    )


def test_least_times_of_the_device_are_respected():
    values = [200.0] * 4 + [90.0] + [200.0] * 4 + [80.0] + [200.0] * 20
    known, options = outlook(slots(EVENING, values)), {"minutes": 60}
    hour = Limits(min_on=timedelta(hours=1))
    plan = decide(EVENING, "cleanest_hours", known, options=options, limits=hour).plan
    assert [window.ends_at - window.starts_at for window in plan.windows] == [timedelta(hours=1)]


def test_too_late_for_all_of_it_is_told():
    decision = said("2026-06-02 06:00")
    assert decision.value
    assert decision.reason.endswith("; 2 h more do not fit")


# A plan that stays


def wobbling(share):
    """Forecast anew every half-hour, each value off by this share, by a hash of its time."""

    def outlook_at(at):
        issue = at - (at - utc(EVENING)) % HALF_HOUR
        wobbled = [
            replace(
                slot,
                value=slot.value
                * (1 + share * (((index * 7 + int(issue.timestamp()) // 1800 * 13) % 11) / 5 - 1)),
            )
            for index, slot in enumerate(slots(EVENING, [100.0] * 30))
            if slot.ends_at > at
        ]
        return outlook(wobbled)

    return outlook_at


def starts(share, gain):
    """When the plan says that it first runs, as told from evening until the run."""
    plans, delivered = lived(
        EVENING, "2026-06-02 07:00", wobbling(share), gain=gain, contiguous="yes", after="22:00"
    )
    assert delivered == 180
    return {plan[0][0] for plan in plans[:12]}


def test_a_plan_stays_when_the_forecast_wobbles():
    assert len(starts(share=0.02, gain=5)) == 1
    assert len(starts(share=0.02, gain=0)) > 1


def test_a_plan_changes_when_the_forecast_does():
    plan = said(EVENING).plan
    better = outlook(slots(EVENING, NIGHT[:16] + [20.0] * 6))
    assert clocks(said("2026-06-01 21:00", better, plan=plan).plan) == [("04:00", "07:00")]


def test_how_much_has_to_be_gained_is_an_option():
    plan = said(EVENING).plan
    slightly_better = outlook(slots(EVENING, NIGHT[:17] + [80.0] * 6))
    assert clocks(said("2026-06-01 21:00", slightly_better, plan=plan, gain=50).plan) == [
        ("01:30", "04:30")
    ]
    assert clocks(said("2026-06-01 21:00", slightly_better, plan=plan, gain=1).plan) == [
        ("04:00", "07:00")
    ]


def test_other_options_make_another_plan():
    plan = said(EVENING).plan
    assert clocks(
        said("2026-06-01 21:00", plan=plan, ties="latest", minutes=60, smooth=0).plan
    ) == [("03:30", "04:30")]


@pytest.mark.parametrize(
    "options", [{}, {"contiguous": "yes"}, {"minutes": 50}, {"after": "23:00"}, {"minutes": 600}]
)
def test_whatever_is_wanted_is_delivered_in_time(options):
    _, delivered = lived("2026-06-01 20:00", "2026-06-02 07:00", lambda at: FORECAST, **options)
    assert delivered == int(options.get("minutes", 180))


# Forecasts that end early, and none


def short_until(end):
    """What is known ends at a time, and nothing new comes."""

    def outlook_at(at):
        left = [slot for slot in FORECAST.slots if slot.ends_at > at and slot.ends_at <= utc(end)]
        return outlook(left) if left else Outlook(Signal.CARBON_INTENSITY)

    return outlook_at


def test_a_forecast_that_ends_early_is_used_as_far_as_it_holds_the_job():
    known = short_until("2026-06-02 03:00")(utc(EVENING))
    assert clocks(said(EVENING, known).plan) == [("00:00", "03:00")]


@pytest.mark.parametrize(
    "end", ["2026-06-01 20:30", "2026-06-01 22:00", "2026-06-02 01:00", "2026-06-02 06:30"]
)
@pytest.mark.parametrize("options", [{}, {"contiguous": "yes"}])
def test_the_deadline_is_met_wherever_the_forecast_ends(end, options):
    _, delivered = lived(EVENING, "2026-06-02 07:00", short_until(end), **options)
    assert delivered == 180


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-50, 300), max_size=22),
    minutes=st.sampled_from([10, 50, 180, 400, 660]),
    contiguous=st.sampled_from(["yes", "no"]),
)
def test_whatever_comes_the_job_is_done_before_the_deadline_and_not_twice(
    values, minutes, contiguous
):
    known = slots(EVENING, values)

    def outlook_at(at):
        left = [slot for slot in known if slot.ends_at > at]
        return outlook(left) if left else None

    _, delivered = lived(
        EVENING, "2026-06-02 07:00", outlook_at, minutes=minutes, contiguous=contiguous
    )
    assert delivered == minutes


def test_where_too_little_is_known_only_what_is_better_than_the_mean_is_used():
    dear_first = outlook(slots(EVENING, [200.0, 100.0]))
    decision = said(EVENING, dear_first)
    assert not decision.value
    assert decision.until == utc("2026-06-01 20:30")


def test_without_a_forecast_the_deadline_is_met_with_a_margin():
    decision = said(EVENING, None)
    assert (decision.value, decision.until) == (False, utc("2026-06-02 03:40"))
    assert (
        decision.reason == "it waits for 03:40: no forecast: on 03:40 to 06:40, to be done by 07:00"
    )
    assert said("2026-06-02 03:40", None).value is True
    assert (
        said("2026-06-02 03:40", None).reason
        == "no forecast: on 03:40 to 06:40, to be done by 07:00"
    )


def test_without_a_forecast_it_runs_as_long_as_wanted_and_no_longer():
    plans, delivered = lived(EVENING, "2026-06-02 07:00", lambda at: None)
    assert delivered == 180


def test_what_is_left_when_the_forecast_vanishes_goes_on_as_planned():
    plan = said("2026-06-02 01:30").plan
    decision = said("2026-06-02 03:00", None, is_on=True, plan=plan, delivered=90)
    assert decision.value
    assert decision.reason == "no forecast: on 03:00 to 04:30, to be done by 07:00"


def limited(now, known, is_on=False, since=None):
    """A job of a minute, for a device that runs for two at least."""
    short = Limits(min_on=timedelta(minutes=2))
    options = {"minutes": 1, "contiguous": "yes"}
    outlooks = [known] if known else []
    terms = {"options": options, "limits": short, "changed_at": since and utc(since)}
    return decide(now, "cleanest_hours", *outlooks, is_on=is_on, **terms)


@pytest.mark.parametrize("known", [FORECAST, None])
def test_a_job_shorter_than_the_least_time_on_lasts_the_least_time_or_says_why_not(known):
    [window] = limited(EVENING, known).plan.windows
    assert window.ends_at - window.starts_at == timedelta(minutes=2)
    late = limited("2026-06-02 06:59", known)
    assert clocks(late.plan) == [("06:59", "07:00")]
    assert late.reason.endswith("; its least time on, 2 min, does not fit before 07:00")
    assert limited("2026-06-02 06:57", known).reason.count("does not fit") == 0


def test_without_a_forecast_a_run_that_goes_on_lasts_its_least_time_from_its_start():
    decision = limited("2026-06-02 06:50", None, is_on=True, since="2026-06-02 06:49")
    assert clocks(decision.plan) == [("06:50", "06:51")]


def test_where_a_pause_lasts_until_the_deadline_the_sentence_says_so():
    rest = Limits(min_off=timedelta(hours=1))
    terms = {"limits": rest, "changed_at": utc("2026-06-02 06:20")}
    assert decide("2026-06-02 06:30", "cleanest_hours", FORECAST, **terms).reason == (
        "no time is left before 07:00 after its least time off: 0 of 180 minutes are done"
    )


def test_without_a_forecast_and_too_late_it_runs_at_once():
    decision = said("2026-06-02 06:30", None)
    assert (decision.value, decision.until) == (True, utc("2026-06-02 07:00"))
    assert decision.reason.endswith("to be done by 07:00; 2 h 30 min more do not fit")


@pytest.mark.parametrize("known", [FORECAST, None])
@pytest.mark.parametrize("is_on", [False, True])
def test_a_change_ahead_of_now_by_a_wrong_clock_holds_no_plan_back(known, is_on):
    terms = {"limits": Limits(HALF_HOUR, HALF_HOUR), "options": {"minutes": 60}}
    outlooks = [known] if known else []
    wrong = decide(
        "2026-06-02 01:30",
        "cleanest_hours",
        *outlooks,
        is_on=is_on,
        changed_at=utc("2026-06-02 11:30"),
        **terms,
    )
    right = decide("2026-06-02 01:30", "cleanest_hours", *outlooks, is_on=is_on, **terms)
    assert wrong == right


def test_a_typical_day_is_told():
    typical = outlook(slots(EVENING, NIGHT), Rung.TYPICAL, typical_from=utc(EVENING))
    assert said(EVENING, typical).reason.endswith("instead of 200 at once, by a typical day")


# The clock at the device


def around(day):
    return outlook(slots(f"{day} 12:00", [100.0] * 60))


@pytest.mark.parametrize(
    ("now", "deadline", "hours"),
    [
        ("2026-06-01 12:00", "2026-06-02 06:00", 24),
        ("2026-03-28 12:00", "2026-03-29 06:00", 23),
        ("2026-10-24 12:00", "2026-10-25 07:00", 25),
    ],
)
def test_a_day_from_seven_to_seven_may_have_23_or_25_hours(now, deadline, hours):
    job = said(now, around(now[:10]), zone=LONDON).plan.job
    assert job.deadline == utc(deadline)
    assert job.deadline - job.opens_at == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("now", "deadline"),
    [
        ("2026-03-28 12:00", "2026-03-29 01:00"),  # 01:30 is left out: done when the clock jumps
        ("2026-10-24 12:00", "2026-10-25 00:30"),  # 01:30 comes twice: done by the first
    ],
)
def test_a_deadline_that_does_not_exist_or_comes_twice(now, deadline):
    assert said(now, around(now[:10]), zone=LONDON, before="01:30").plan.job.deadline == utc(
        deadline
    )


def test_between_the_two_half_past_ones_the_next_day_has_begun():
    job = said("2026-10-25 01:15", around("2026-10-25"), zone=LONDON, before="01:30").plan.job
    assert (job.opens_at, job.deadline) == (utc("2026-10-25 00:30"), utc("2026-10-26 01:30"))


def test_sentences_tell_the_time_at_the_device():
    assert said(EVENING, zone=LONDON).reason.startswith(
        "it waits for 02:30: the cleanest 3 h before 07:00"
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"before": "7 am"}, "before: '7 am' is no time of day"),
        ({"after": "24:00"}, "after: '24:00' is no time of day"),
        ({"minutes": 0}, "minutes: 0 is not between 1 and the 1440"),
        ({"minutes": 1441}, "minutes: 1441 is not between"),
        (
            {"after": "05:00", "minutes": 121},
            "minutes: 121 is not between 1 and the 120 that there are a day",
        ),
        ({"watts": 0}, "watts: 0 is not the power of anything"),
        ({"gain": -1}, "gain: -1 is not between 0 and 100"),
        (
            {"signal": "cape"},
            "signal: 'cape' is none of carbon_intensity, marginal_intensity, price",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        rules.load("cleanest_hours").read(options)


def test_a_single_low_half_hour_is_half_noise():
    night = [200.0] * 6 + [180.0] + [200.0] * 5 + [185.0] * 6 + [200.0] * 10
    assert clocks(said(EVENING, outlook(slots(EVENING, night)), minutes=30, contiguous=True).plan)[
        0
    ] > ("02:00", "")
    exact = said(
        EVENING, outlook(slots(EVENING, night)), minutes=30, contiguous=True, smooth=0
    ).plan
    assert clocks(exact) == [("23:00", "23:30")]


def test_prices_are_what_they_are():
    night = [0.2] * 6 + [0.18] + [0.2] * 5 + [0.185] * 6 + [0.2] * 10
    prices = outlook(slots(EVENING, night, signal=Signal.PRICE))
    assert clocks(said(EVENING, prices, minutes=30, signal="price").plan) == [("23:00", "23:30")]
