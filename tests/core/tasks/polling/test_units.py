"""Units: one quantity is converted, another is not."""

import pytest

from core.tasks.polling.units import SCALES, are_convertible, converted


@pytest.mark.parametrize(
    ("number", "unit", "wanted", "expected"),
    [
        (1.5, "kW", "W", 1500),
        (1500, "W", "kW", 1.5),
        (2, "mW", "W", 0.002),
        (2, "MW", "W", 2_000_000),
        (1, "kWh", "MJ", 3.6),
        (250, "Wh", "kWh", 0.25),
        (230_000, "mV", "V", 230),
        (68, "°F", "°C", 20),
        (-40, "°C", "°F", -40),
        (0, "°C", "K", 273.15),
        (1013.25, "hPa", "kPa", 101.325),
        (1, "bar", "Pa", 100_000),
        (36, "km/h", "m/s", 10),
        (1, "m³", "L", 1000),
        (7, "%", "%", 7),
    ],
)
def test_a_unit_of_the_same_quantity_is_converted(number, unit, wanted, expected):
    assert converted(number, unit, wanted) == expected


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [("W", "Wh"), ("W", "VA"), ("°C", "%"), ("", "W"), ("W", ""), ("W", "w"), ("m", "min")],
)
def test_another_quantity_is_not(unit, wanted):
    assert not are_convertible(unit, wanted)
    with pytest.raises(KeyError):
        converted(1, unit, wanted)


@pytest.mark.parametrize("unit", SCALES)
def test_there_and_back_is_the_same(unit):
    for wanted in SCALES:
        if are_convertible(unit, wanted):
            assert converted(converted(7, unit, wanted), wanted, unit) == pytest.approx(7, rel=1e-9)
