"""How values and times are said."""

from datetime import UTC, datetime, timedelta

import pytest

from core.formatting import (
    ago,
    drawn,
    due,
    foremost,
    is_overdue,
    number_text,
    option_label,
    option_text,
    press_text,
    span_text,
    value_text,
)
from core.models import Attribute

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.0312, "0.031"),
        (-0.0004, "-0.0004"),
        (4.256, "4.26"),
        (21.5, "21.5"),
        (100.0, "100"),
        (431.25, "431.2"),
        (12345.6, "12,346"),
        (1e12, "1e+12"),
    ],
)
def test_numbers_have_as_many_digits_as_people_read(number, text):
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "W", "–"),
        (True, "", "on"),
        (False, "", "off"),
        (21.5, "°C", "21.5 °C"),
        (50.0, "%", "50%"),
        ("heat", "", "heat"),
    ],
)
def test_values_are_said_with_their_unit(value, unit, text):
    assert value_text(value, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2, "just now"),
        (59, "59 s ago"),
        (60, "1 min ago"),
        (7199, "1 h ago"),
        (3 * 86400, "3 d ago"),
        (-90, "in 1 min"),
    ],
)
def test_times_are_said_in_the_largest_unit_that_fits(seconds, text):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


@pytest.mark.parametrize(
    ("seconds", "text", "is_over"),
    [
        (90, "in 1 min", False),
        (5, "in 5 s", False),
        (4.9, "in a moment", False),
        (-4.9, "in a moment", False),
        (-5, "5 s ago", True),
    ],
)
def test_what_is_awaited_comes_in_a_moment_until_it_is_overdue(seconds, text, is_over):
    time = NOW + timedelta(seconds=seconds)
    assert (due(time, NOW), is_overdue(time, NOW)) == (text, is_over)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "0 min"), (45, "45 min"), (120, "2 h"), (150.4, "2 h 30 min"), (1500, "25 h")],
)
def test_lengths_of_time_are_said_in_hours_and_minutes(minutes, text):
    assert span_text(minutes) == text


@pytest.mark.parametrize(
    ("name", "unit", "label"),
    [
        ("gain", "%", "Gain, %"),
        ("lead_minutes", "min", "Lead minutes"),
        ("on_after", "", "On after"),
        ("flashes", "flashes/h", "Flashes/h"),
    ],
)
def test_an_option_is_labelled_with_its_unit_unless_it_ends_in_it(name, unit, label):
    assert option_label(name, unit) == label


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (180.0, "gCO2/kWh", "180 gCO2/kWh"),
        (0, "W", "0 W"),
        (True, "", "on"),
        ("carbon_intensity", "", "carbon intensity"),
        ("", "", "none"),
    ],
)
def test_options_are_said_in_words(value, unit, text):
    assert option_text(value, unit) == text


def attribute(pk, name, kind="number", writable=False):
    return Attribute(pk=pk, name=name, kind=kind, writable=writable)


def test_what_people_look_for_comes_first_and_a_switch_is_left_out():
    of_it = [
        attribute(1, "on", "boolean", True),
        attribute(2, "voltage"),
        attribute(3, "note", "text"),
        attribute(4, "power"),
    ]
    assert [one.name for one in foremost(of_it, 2)] == ["power", "voltage"]


def test_what_has_no_value_now_gives_way_to_what_has():
    before, now = attribute(1, "value (mm)"), attribute(2, "value")
    before.available = False
    assert foremost([before, now], 1) == [now]
    assert drawn([before, now]) == now


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        (
            [
                attribute(1, "on", "boolean", True),
                attribute(2, "target", writable=True),
                attribute(3, "power"),
            ],
            "power",
        ),
        (
            [attribute(1, "on", "boolean", True), attribute(2, "brightness", writable=True)],
            "brightness",
        ),
        ([attribute(1, "note", "text"), attribute(2, "on", "boolean", True)], "on"),
    ],
)
def test_the_day_is_drawn_of_what_tells_most(attributes, name):
    chosen = drawn(attributes)
    assert chosen and chosen.name == name


def test_nothing_is_drawn_of_text():
    assert drawn([attribute(1, "note", "text")]) is None


@pytest.mark.parametrize(
    ("name", "says"), [("on", "Turn on"), ("locked", "Lock"), ("child_lock", "Turn child lock on")]
)
def test_a_button_says_what_it_does(name, says):
    assert press_text(attribute(1, name, "boolean", True), True) == says
