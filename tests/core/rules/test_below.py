from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import rules
from core.feeds import Signal
from core.planning.forecast import Rung
from core.rules import Undecided
from tests.core.rules.situations import decide, outlook, situation, slots, utc

NOW = "2026-06-01 12:00"
DAY = [float(value) for value in range(100, 148)]  # half-hours, ever dearer


def said(values, now=NOW, is_on=False, **options):
    return decide(now, "below", outlook(slots(NOW, values)), is_on=is_on, options=options)


@pytest.mark.parametrize(
    ("value", "is_on", "wanted"),
    [
        (149.9, False, True),
        (149.9, True, True),
        (150, False, False),
        (155, False, False),
        (155, True, True),
        (160, True, True),
        (160.1, True, False),
        (160.1, False, False),
        (0, False, True),
        (-5, False, True),
    ],
)
def test_between_on_and_off_it_stays_as_it_is(value, is_on, wanted):
    assert said([value], is_on=is_on).value is wanted


def test_a_value_that_wavers_around_the_threshold_switches_once():
    is_on, states = False, []
    for value in [152, 149, 151, 148, 159, 151, 161, 159, 151]:
        is_on = said([value], is_on=is_on).value
        states.append(is_on)
    assert states == [False, True, True, True, True, True, False, False, False]


def test_the_reason_tells_the_value_and_the_limit():
    assert said([120]).reason == "120 gCO2/kWh is below 150"
    assert said([170]).reason == "170 gCO2/kWh is above 160"
    assert said([155], is_on=True).reason == "155 gCO2/kWh is between 150 and 160: it stays on"


def test_on_lasts_until_the_first_slot_that_is_too_much():
    assert said([120, 158, 161, 120]).until == utc("2026-06-01 13:00")


def test_off_lasts_until_the_first_slot_that_is_low_enough():
    assert said([170, 155, 150, 149]).until == utc("2026-06-01 13:30")


def test_what_never_ends_lasts_as_far_as_is_known():
    assert said([120, 120, 120]).until == utc("2026-06-01 13:30")


def test_nothing_is_expected_beyond_a_gap():
    early, late = slots(NOW, [120]), slots("2026-06-01 14:00", [120])
    assert decide(NOW, "below", outlook(early + late)).until == utc("2026-06-01 12:30")


def test_a_percentile_is_that_share_of_the_coming_day():
    chosen = [
        said(DAY[place:] + DAY[:place], percentile=25, hysteresis=0).value for place in range(48)
    ]
    assert sum(chosen) == 12
    assert all(chosen[:12])


def test_a_percentile_has_a_dead_band_of_percentage_points():
    values = [DAY[14], *DAY[:14], *DAY[15:]]
    assert said(values, percentile=25, is_on=True).value is True
    assert said(values, percentile=25, is_on=False).value is False


def test_a_percentile_counts_time_not_slots():
    quarters = slots(NOW, [100.0] * 4, timedelta(minutes=15))
    hours = slots("2026-06-01 13:00", [200.0, 210.0, 220.0, *[300.0] * 20], timedelta(hours=1))
    now = outlook([replace(slot, issued_at=None) for slot in quarters + hours])
    now = replace(now, issued_at=None)
    assert (
        decide(NOW, "below", now, options={"percentile": 5}).reason
        == "100 gCO2/kWh is among the lowest 5 % of 24 h"
    )
    options = {"percentile": 10, "hysteresis": 0}
    assert decide(NOW, "below", now, options=options).until == utc("2026-06-01 14:00")


def test_what_comes_after_a_day_does_not_count_for_a_percentile():
    assert said([*DAY, *[1.0] * 48], percentile=10).value is True


def test_a_day_without_low_or_high_is_not_among_the_lowest():
    assert said([100.0] * 48, percentile=25).value is False

    assert said([100.0] * 48, percentile=25, is_on=True).value is False


@pytest.mark.parametrize("percentile", [5, 25, 29, 35, 50, 80])
@pytest.mark.parametrize("begins_on", [False, True])
def test_equal_values_belong_together(percentile, begins_on):
    """Two tariffs: seven cheap hours, seventeen dear ones. For three days it follows itself."""
    tariff = [*[0.30] * 17, *[0.09] * 7] * 5
    is_on, hours = begins_on, []
    for hour in range(72):
        prices = outlook(slots(NOW, tariff[hour : hour + 48], timedelta(hours=1)))
        is_on = decide(NOW, "below", prices, is_on=is_on, options={"percentile": percentile}).value
        hours.append((is_on, tariff[hour]))
    assert all(is_on == (price == 0.09) for is_on, price in hours)


def test_the_lowest_tariff_may_last_longer_than_asked_for_and_says_so():
    prices = outlook(slots(NOW, [*[0.09] * 7, *[0.30] * 17], timedelta(hours=1)))
    reason = decide(NOW, "below", prices, options={"percentile": 25}).reason
    assert reason == "0.09 gCO2/kWh is the lowest of 24 h"


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=24, max_size=24),
    st.sampled_from([5, 25, 50]),
)
def test_no_dear_hour_is_taken_while_a_cheaper_one_is_left(tariff, percentile):
    prices = [
        said([*tariff[hour:], *tariff[:hour]], percentile=percentile, hysteresis=0).value
        for hour in range(24)
    ]
    taken = {price for price, is_on in zip(tariff, prices, strict=True) if is_on}
    left = {price for price, is_on in zip(tariff, prices, strict=True) if not is_on}
    assert not taken or not left or max(taken) < min(left)
    dear = [price for price in tariff if price in taken and price > min(tariff)]
    assert len(dear) <= 24 * percentile / 100


def test_another_signal_is_looked_at_if_wanted():
    prices = outlook(slots(NOW, [0.05], signal=Signal.PRICE))
    options = {"signal": "price", "threshold": "0.1", "hysteresis": "0.02"}
    assert decide(NOW, "below", prices, options=options).reason == "0.05 /kWh is below 0.1"


def test_a_forecast_that_is_not_live_is_told():
    old = outlook(slots(NOW, [120]), Rung.TYPICAL, typical_from=utc(NOW))
    assert decide(NOW, "below", old).reason.endswith("is below 150, by a typical day")


@pytest.mark.parametrize(
    "known", [(), (outlook(slots("2026-06-01 13:00", [120])),)], ids=["nothing", "only of later"]
)
def test_without_a_value_of_now_nothing_is_decided(known):
    with pytest.raises(Undecided, match="nothing is known of the carbon intensity now"):
        decide(NOW, "below", *known)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"hysteresis": -1}, "hysteresis: -1 is less than 0"),
        ({"percentile": 100}, "percentile: 100 is not between"),
        ({"percentile": 95}, "hysteresis: with the percentile it is 100 or more"),
        ({"signal": "weather"}, "signal: 'weather' is none of"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        rules.load("below").read(options)


def test_nothing_depends_on_anything_but_the_situation():
    now = situation(NOW, "below", outlook(slots(NOW, [120])))
    assert rules.load("below").decide(now) == rules.load("below").decide(now)
