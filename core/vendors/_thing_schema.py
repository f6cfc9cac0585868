"""What a Thing Description says of a value: its kind, its choices, its range, its unit."""

import re
from typing import Any

from core.readings import MOST_CHOICES, Kind, Unacceptable, clean_name, clean_value

LONGEST_UNIT = 20
UNITS = {
    **dict.fromkeys(("percent", "percentage"), "%"),
    **dict.fromkeys(("celsius", "degree celsius", "degreecelsius", "deg_c", "cel"), "°C"),
    **dict.fromkeys(("fahrenheit", "degree fahrenheit", "degreefahrenheit", "deg_f"), "°F"),
    **dict.fromkeys(("watt", "watts"), "W"),
    **dict.fromkeys(("kilowatt", "kilow"), "kW"),
    **dict.fromkeys(("watt hour", "watt-hour", "w-hr", "w.h"), "Wh"),
    **dict.fromkeys(("kilowatt hour", "kilowatt-hour", "kilow-hr", "kw.h"), "kWh"),
    **dict.fromkeys(("volt", "volts"), "V"),
    **dict.fromkeys(("ampere", "amperes"), "A"),
    "hertz": "Hz",
    "lux": "lx",
    "kelvin": "K",
}
"""Units as names, in QUDT's words and in UCUM's, all in lower case. Symbols stay as they are."""


def kind_of(schema: dict[str, Any]) -> tuple[Kind | None, tuple[str, ...]]:
    kind, choices = schema.get("type"), schema.get("enum")
    if kind == "boolean":
        return Kind.BOOLEAN, ()
    if kind in ("number", "integer"):
        return Kind.NUMBER, ()
    if kind != "string":
        return None, ()
    if not isinstance(choices, list) or not choices or len(choices) > MOST_CHOICES:
        return Kind.TEXT, ()
    if not all(_is_choice(word) for word in choices):
        return Kind.TEXT, ()
    return Kind.CHOICE, tuple(dict.fromkeys(choices))


def _is_choice(word: object) -> bool:
    try:
        return bool(word) and clean_value(word, Kind.TEXT) == word
    except Unacceptable:
        return False


def finite(value: object) -> float | None:
    try:
        number = clean_value(value, Kind.NUMBER)
    except Unacceptable:
        return None
    return number if isinstance(number, float) else None


def unit_symbol(unit: object) -> str:
    """Return the symbol of a unit: of `unit:DEG_C`, `Cel` and `degree celsius` all the same."""
    if not isinstance(unit, str):
        return ""
    separators = "[#:/]" if "://" in unit else ":"
    name = re.split(separators, unit)[-1].strip().lower()
    return UNITS.get(name) or clean_name(unit)[:LONGEST_UNIT]
