"""Units of measurement, and which of them tell the same quantity.

The symbols are those that Home Assistant writes. Each table holds a quantity: how many of its first
unit one of the others is.
"""

from typing import NamedTuple


class Scale(NamedTuple):
    """How a unit becomes the first one of its quantity: times `factor`, plus `offset`."""

    quantity: str
    factor: float
    offset: float = 0.0


FACTORS: dict[str, dict[str, float]] = {
    "power": {"W": 1, "mW": 1e-3, "kW": 1e3, "MW": 1e6, "GW": 1e9},
    "energy": {
        **{"Wh": 1, "mWh": 1e-3, "kWh": 1e3, "MWh": 1e6, "GWh": 1e9},
        **{"J": 1 / 3600, "kJ": 1 / 3.6, "MJ": 1e3 / 3.6, "GJ": 1e6 / 3.6},
    },
    "apparent power": {"VA": 1, "kVA": 1e3},
    "reactive power": {"var": 1, "kvar": 1e3},
    "voltage": {"V": 1, "mV": 1e-3, "kV": 1e3},
    "current": {"A": 1, "mA": 1e-3},
    "frequency": {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "pressure": {
        **{"hPa": 1, "Pa": 0.01, "kPa": 10, "mbar": 1, "cbar": 10, "bar": 1000},
        **{"mmHg": 1.33322387415, "inHg": 33.8638866667, "psi": 68.9475729318},
    },
    "length": {
        **{"m": 1, "mm": 1e-3, "cm": 0.01, "km": 1e3},
        **{"in": 0.0254, "ft": 0.3048, "yd": 0.9144, "mi": 1609.344},
    },
    "volume": {"L": 1, "mL": 1e-3, "m³": 1e3, "ft³": 28.316846592, "gal": 3.785411784},
    "flow": {"L/min": 1, "L/h": 1 / 60, "m³/h": 1e3 / 60, "gal/min": 3.785411784},
    "mass": {"kg": 1, "g": 1e-3, "mg": 1e-6, "lb": 0.45359237, "oz": 0.028349523125},
    "speed": {"m/s": 1, "km/h": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600, "ft/s": 0.3048},
    "rain": {"mm/h": 1, "in/h": 25.4},
    "time": {"s": 1, "ms": 1e-3, "min": 60, "h": 3600, "d": 86_400},
}
SCALES: dict[str, Scale] = {
    unit: Scale(quantity, factor)
    for quantity, units in FACTORS.items()
    for unit, factor in units.items()
} | {
    "°C": Scale("temperature", 1),
    "K": Scale("temperature", 1, -273.15),
    "°F": Scale("temperature", 5 / 9, -160 / 9),
}


def are_convertible(unit: str, wanted: str) -> bool:
    """Whether both are the same unit, or tell the same quantity."""
    if unit == wanted:
        return True
    ours, theirs = SCALES.get(unit), SCALES.get(wanted)
    return ours is not None and theirs is not None and ours.quantity == theirs.quantity


def converted(number: float, unit: str, wanted: str) -> float:
    """Convert between two units of one quantity, to twelve digits. Raises KeyError for others."""
    if unit == wanted:
        return number
    ours, theirs = SCALES[unit], SCALES[wanted]
    if ours.quantity != theirs.quantity:
        raise KeyError(f"{unit} cannot be converted to {wanted}")
    first = number * ours.factor + ours.offset
    # Without binary noise: 68 °F is 20 °C, not 20.000000000000004.
    return float(f"{(first - theirs.offset) / theirs.factor:.12g}")
