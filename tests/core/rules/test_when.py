"""`when`: a value of this device or another one, against a limit or a word."""

from dataclasses import replace
from datetime import timedelta

import pytest

from core.rules import Other, Undecided
from core.rules._past import Past, Stretch
from tests.core.rules.situations import decide, situation, utc

NOW = "2026-06-01 12:00"
MINUTE = timedelta(minutes=1)


def said(values, is_on=False, **options):
    others = {7: Other("Sensor", values)}
    return decide(NOW, "when", is_on=is_on, options={"device": 7, **options}, others=others)


@pytest.mark.parametrize(
    ("test", "value", "is_on", "wanted"),
    [
        ("above", 25.1, False, True),
        ("above", 25, False, False),
        ("above", 24, True, True),
        ("above", 23.9, True, False),
        ("below", 24.9, False, True),
        ("below", 25, False, False),
        ("below", 26, True, True),
        ("below", 26.1, True, False),
        ("above", -5, True, False),
    ],
)
def test_between_limit_and_hysteresis_it_stays_as_it_is(test, value, is_on, wanted):
    assert said({"temperature": value}, is_on, test=test).value is wanted


@pytest.mark.parametrize(("value", "is_on", "wanted"), [(26, True, False), (24.5, False, False)])
def test_it_switches_off_then_where_it_is_told_to(value, is_on, wanted):
    assert said({"temperature": value}, is_on, then="off").value is wanted
    assert said({"temperature": 20}, is_on, then="off").value is True


@pytest.mark.parametrize(
    ("value", "wanted", "is_so"),
    [(True, "on", True), (False, "on", False), (False, "off", True), ("Heat", "heat", True)],
)
def test_a_state_or_a_word(value, wanted, is_so):
    decision = said({"window_open": value}, attribute="window_open", test="is", value=wanted)
    assert decision.value is is_so


def test_the_reason_tells_whose_value_and_the_limit():
    assert said({"temperature": 26}).reason == "the temperature of Sensor is 26, above 25"
    stays = "the temperature of Sensor is 24.5, between 25 and 24: it stays as it is"
    assert said({"temperature": 24.5}, is_on=True).reason == stays
    wet = said({"wet": False}, attribute="wet", test="is")
    assert wet.reason == "the wet of Sensor is off, not on"


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        ({}, {}, "no fresh value of temperature is known of Sensor"),
        ({"temperature": 26}, {"device": 8}, "device 8, which it looks at, is not there any more"),
        ({"temperature": True}, {}, "is no number: compare it with is"),
        ({"temperature": 26}, {"test": "is"}, "is a number: compare it with above or below"),
        ({"temperature": True}, {"test": "is", "value": "warm"}, "on or off, and never warm"),
    ],
)
def test_what_is_not_known_is_not_guessed(values, options, why):
    with pytest.raises(Undecided, match=why):
        said(values, **options)


def test_without_another_device_it_looks_at_its_own():
    decision = decide(NOW, "when", options={"attribute": "on", "test": "is", "then": "off"})
    assert (decision.value, decision.reason) == (True, "Heater is off, not on")


# For so many minutes


def past_of(*stretches, looked_back=10):
    """Each is from which minute to which, before now, and the value."""
    made = tuple(
        Stretch(utc(NOW) - first * MINUTE, utc(NOW) - last * MINUTE, value, value)
        for first, last, value in stretches
    )
    return Past(looked_back * MINUTE, made)


def said_after(*stretches, is_on=False, attribute="temperature", **options):
    values, past = {attribute: stretches[-1][2]}, {attribute: past_of(*stretches)}
    options = {"device": 7, "attribute": attribute, "minutes": 10, **options}
    others = {7: Other("Sensor", values, past)}
    return decide(NOW, "when", is_on=is_on, options=options, others=others)


@pytest.mark.parametrize(
    ("stretches", "options", "wanted"),
    [
        ([(10, 0, 26.0)], {}, True),
        ([(10, 4, 25.5), (4, 0, 26.0)], {}, True),
        ([(10, 4, 25.0), (4, 0, 26.0)], {}, False),
        ([(9, 0, 26.0)], {}, False),
        ([(10, 7, 26.0), (6, 0, 26.0)], {}, False),
        ([(10, 0, 24.0)], {"test": "below"}, True),
        ([(10, 1, 26.0), (1, 0, 24.0)], {"test": "below"}, False),
        ([(10, 0, 26.0)], {"then": "off"}, True),
        ([(5, 0, 26.0)], {"minutes": 5}, True),
    ],
)
def test_it_has_to_be_known_to_be_so_for_all_of_its_minutes(stretches, options, wanted):
    if options.get("then") == "off":
        assert said_after(*stretches, is_on=True, **options).value is False
    else:
        assert said_after(*stretches, **options).value is wanted


def test_a_state_has_to_last_too():
    is_wet = {"attribute": "wet", "test": "is", "value": "on"}
    assert said_after((10, 0, True), **is_wet).value is True
    decision = said_after((10, 3, False), (3, 0, True), **is_wet)
    assert (decision.value, decision.reason) == (False, "the wet of Sensor is on for 3 of 10 min")
    assert decision.until == utc(NOW) + 7 * MINUTE


def test_what_is_as_it_is_to_be_stays_so_without_its_minutes():
    """The value was within the hysteresis a moment ago."""
    assert said_after((10, 2, 24.5), (2, 0, 26.0), is_on=True).value is True
    assert said_after((10, 2, 26.0), (2, 0, 23.0), is_on=True).value is False


def test_more_than_a_day_is_refused():
    with pytest.raises(ValueError, match="minutes: 1441 is not between 0 and 1440"):
        said({"temperature": 26}, minutes=1441)


# What every rule may ask


def asked(past, **how):
    return Other("Sensor", {"temperature": 26.0}, {"temperature": past}).was("temperature", **how)


def test_values_that_are_one_stretch_are_so_if_the_lowest_and_the_highest_are():
    past = Past(10 * MINUTE, (Stretch(utc(NOW) - 10 * MINUTE, utc(NOW), 24.0, 27.0),))
    assert asked(past, above=23, for_minutes=10)
    assert not asked(past, above=24, for_minutes=10)
    assert asked(past, below=28, for_minutes=10)
    assert not asked(past, below=27, for_minutes=10)
    assert not asked(past, equal=24.0, for_minutes=10)


def test_a_rule_that_asks_for_more_than_its_file_says_is_told():
    with pytest.raises(LookupError, match="it asks for 30 min of temperature and is told 10"):
        asked(past_of((10, 0, 26.0)), above=25, for_minutes=30)


def test_what_was_before_a_time_is_not_looked_at():
    past = past_of((10, 0, 26.0))
    after = utc(NOW) - 4 * MINUTE
    assert past.since(above=25, after=after) == after
    assert past.since(above=27, after=after) is None


def test_the_own_past_is_asked_in_the_same_words():
    past = {"temperature": past_of((10, 0, 26.0))}
    now = situation(NOW, "when", past=past)
    with pytest.raises(Undecided, match="no fresh value of temperature is known of Heater"):
        now.was("temperature", above=25, for_minutes=10)
    values = {"on": False, "temperature": 26.0}
    assert replace(now, values=values).was("temperature", above=25, for_minutes=10)
