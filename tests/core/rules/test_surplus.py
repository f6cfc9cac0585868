"""`surplus`: on while more is left over than it draws, by a meter or by the forecast."""

from datetime import timedelta

import pytest

from core import rules
from core.feeds.solar import SOLAR_POWER
from core.rules import Other, Undecided
from core.rules._past import Past, Stretch
from tests.core.rules.situations import HOUR, decide, outlook, slots, utc

NOW = "2026-06-01 12:00"
MINUTE = timedelta(minutes=1)


def said(*stretches, is_on=False, changed_minutes_ago=None, **options):
    """Each stretch is from which minute to which, before now, and what the meter says."""
    past = Past(
        10 * MINUTE,
        tuple(
            Stretch(utc(NOW) - first * MINUTE, utc(NOW) - last * MINUTE, watts, watts)
            for first, last, watts in stretches
        ),
    )
    meter = Other("Meter", {"power": stretches[-1][2]}, {"power": past})
    changed_at = None
    if changed_minutes_ago is not None:
        changed_at = utc(NOW) - changed_minutes_ago * MINUTE
    options = {"meter": 7, "watts": 1000, "hysteresis": 200, "minutes": 10, **options}
    return decide(
        NOW, "surplus", is_on=is_on, options=options, others={7: meter}, changed_at=changed_at
    )


@pytest.mark.parametrize(
    ("stretches", "wanted"),
    [
        ([(10, 0, -1200.0)], True),
        ([(10, 0, -1000.0)], False),
        ([(10, 4, -900.0), (4, 0, -3000.0)], False),
        ([(8, 0, -3000.0)], False),
        ([(10, 5, -3000.0), (4, 0, -3000.0)], False),
        ([(10, 0, 500.0)], False),
    ],
)
def test_it_goes_on_when_its_watts_were_fed_in_for_so_long(stretches, wanted):
    assert said(*stretches).value is wanted


@pytest.mark.parametrize(
    ("stretches", "wanted"),
    [
        ([(10, 0, -5.0)], True),
        ([(10, 0, 200.0)], True),
        ([(10, 0, 201.0)], False),
        ([(10, 3, 190.0), (3, 0, 2000.0)], True),
        ([(9, 0, 2000.0)], True),
    ],
)
def test_it_goes_off_when_more_was_bought_for_so_long(stretches, wanted):
    assert said(*stretches, is_on=True).value is wanted


def test_what_the_meter_said_before_the_last_switch_does_not_count():
    assert said((10, 0, 900.0), is_on=True, changed_minutes_ago=4).value is True
    assert said((10, 0, 900.0), is_on=True, changed_minutes_ago=10).value is False
    assert said((10, 0, -1200.0), changed_minutes_ago=4).value is False


def test_a_part_may_be_bought():
    assert said((10, 0, -600.0), may_buy=500).value is True
    assert said((10, 0, 600.0), is_on=True, may_buy=500).value is True
    assert said((10, 0, 701.0), is_on=True, may_buy=500).value is False


def test_a_meter_whose_positive_values_are_fed_in():
    assert said((10, 0, 1200.0), positive_is="fed in").value is True
    assert said((10, 0, 900.0), positive_is="fed in").value is False
    assert said((10, 0, -201.0), is_on=True, positive_is="fed in").value is False
    assert said((10, 0, -200.0), is_on=True, positive_is="fed in").value is True


def test_the_reason_says_what_flows_and_for_how_long():
    assert said((10, 0, -1200.0)).reason == (
        "Meter feeds in 1200 W: enough for its 1000 W for 10 min"
    )
    waits = said((4, 0, -1200.0))
    assert waits.reason == "Meter feeds in 1200 W: enough for its 1000 W for 4 of 10 min"
    assert waits.until == utc(NOW) + 6 * MINUTE
    assert said((10, 0, -5.0)).reason == "Meter feeds in 5 W: its 1000 W are not covered"
    stays = said((10, 0, 50.0), is_on=True)
    assert stays.reason == "Meter buys 50 W with it on: it stays on"
    ends = said((10, 0, 300.0), is_on=True)
    assert ends.reason == "Meter buys 300 W with it on: more than 200 W for 10 min"


def test_at_once_where_no_minutes_are_asked_for():
    assert said((1, 0, -1200.0), minutes=0).reason == (
        "Meter feeds in 1200 W: enough for its 1000 W"
    )


# By the forecast

SUN = outlook(slots("2026-06-01 10:00", [100, 900, 1400, 1350, 1100, 300], HOUR, SOLAR_POWER))


def expected(now, is_on=False, **fields):
    options = {"watts": 1000, "home_uses": 300, "hysteresis": 200, **fields.pop("options", {})}
    return decide(now, "surplus", SUN, is_on=is_on, options=options, **fields)


@pytest.mark.parametrize(
    ("hour", "is_on", "wanted"),
    [(11, False, False), (12, False, True), (13, True, True), (14, True, True), (15, True, False)],
)
def test_without_a_meter_the_forecast_of_the_panels_counts(hour, is_on, wanted):
    assert expected(f"2026-06-01 {hour}:10", is_on).value is wanted


def test_it_says_until_when_the_panels_are_expected_to_cover_it():
    decision = expected(NOW)
    assert decision.until == utc("2026-06-01 14:00")
    said = "1400 W are expected of the panels now, and 1300 W are needed"
    assert decision.reason.startswith(said)


def test_while_the_meter_is_silent_the_forecast_counts_and_the_reason_says_so():
    decision = expected(NOW, options={"meter": 7}, others={7: Other("Meter", {})})
    assert decision.value is True
    assert decision.reason.startswith("no fresh value of power is known of Meter: 1400 W are")


def test_without_either_nothing_is_decided():
    with pytest.raises(Undecided, match="no meter is named, and nothing is known of the power"):
        decide(NOW, "surplus")
    with pytest.raises(Undecided, match="Meter, and nothing is known of the power of the panels"):
        decide(NOW, "surplus", options={"meter": 7}, others={7: Other("Meter", {})})


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"watts": 0}, "watts: 0 is not the power of anything"),
        ({"may_buy": 1000}, "may_buy: 1000 of 1000 W: it is always on"),
        ({"home_uses": -1}, "home_uses: -1 is less than 0"),
        ({"minutes": -1}, "minutes: -1 is not between 0 and 1440"),
    ],
)
def test_what_makes_no_sense_is_refused(options, why):
    with pytest.raises(ValueError, match=why):
        rules.load("surplus").read(options)
