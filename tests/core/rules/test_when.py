"""`when`: a value of this device or another one, against a limit or a word."""

import pytest

from core.rules import Other, Undecided
from tests.core.rules.situations import decide

NOW = "2026-06-01 12:00"


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
    assert (decision.value, decision.reason) == (True, "the on of Heater is off, not on")
