"""Readings: what a vendor client returns before it is stored, and the kinds of value there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

Value = float | bool | str

LONGEST_TEXT = 255
LONGEST_NAME = 120
MOST_CHOICES = 500
"""Words of a choice: a light strip has some 200 effects. Of one with more, any text is taken."""
SHOWN_CHOICES = 300
"""Characters of them in a sentence."""
LARGEST_NUMBER = 1e15  # the largest magnitude a home can mean: beyond it a meter is broken


class Kind(StrEnum):
    """The kinds of value an attribute can have.

    Stored in two columns: number and boolean as a float, choice and text as text.
    """

    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    TEXT = "text"

    @property
    def is_number(self) -> bool:
        return self in (Kind.NUMBER, Kind.BOOLEAN)


class Cause(StrEnum):
    """Who or what gave an attribute its value, where the vendor's answer has it."""

    ORDER = "order"
    """Something that speaks the vendor's API: we, or another program."""
    PERSON = "person"
    """A button, a wall switch, the vendor's app."""
    TIMER = "timer"
    """A timer in the device ran out."""
    RESTART = "restart"
    """What the device does when it gets power."""


class Source(StrEnum):
    """Who decides. Stored with its orders. Who goes first: `core.planning.precedence.ORDER`.

    HUMAN is a person's hold or order, RULE is a rule's plan.
    """

    HUMAN = "human"
    FAIL_SAFE = "fail-safe"
    GUARD = "guard"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One thing a device reports or accepts, as its vendor describes it.

    `unit` is the usual symbol (W, kWh, °C, %, V, A, Hz, lx). `minimum` and `maximum` bound what may
    be stored and ordered; `choices` are the words a choice can take. `step`: what is ordered is
    rounded to so much, counted from `minimum`, or from 0. `tolerance`: the device itself may round
    what is ordered by so much.
    """

    name: str
    kind: Kind = Kind.NUMBER
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    writable: bool = False
    step: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device behind a gateway, as discovery found it.

    `vendor_id` is the vendor's own id, unique in the gateway. `wakes_every` is for a device on
    battery that sleeps, and cannot be reached until it wakes; None: it is always there. Devices of
    one gateway with the same `hardware` are one thing for people, called `hardware_name`.
    """

    vendor_id: str
    name: str
    attributes: tuple[AttributeSpec, ...]
    model: str = ""
    wakes_every: timedelta | None = None
    hardware: str = ""
    hardware_name: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value of one attribute, as the vendor returned it.

    `value` None: the vendor answered that it has no value now; with `reachable` False, because it
    cannot reach the device. `observed_at` is the vendor's own time of measurement (aware); None: it
    gave none, and the time of the call stands for it. `cause` None: the vendor does not say.
    `spec` is what the attribute is by the same answer, with the unit of this value; None: the
    answer does not say, and it is what discovery found.
    """

    vendor_id: str
    attribute: str
    value: Value | None
    observed_at: datetime | None = None
    reachable: bool = True
    cause: Cause | None = None
    spec: AttributeSpec | None = None


class Unacceptable(ValueError):
    """A value that the attribute cannot have. The message says why."""


def clean_value(
    value: object,
    kind: Kind,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
) -> float | str:
    """Return the value as it is stored: a finite float for number and boolean, else text.

    Readings and orders alike are checked here. True is stored as 1.0 but a boolean is no number;
    NaN, infinity and text beyond 255 characters are refused; in text, what cannot be printed
    becomes a U+FFFD. Raises Unacceptable.
    """
    if kind is Kind.BOOLEAN:
        if not isinstance(value, bool):
            raise Unacceptable(f"{value!r:.80} is neither true nor false")
        return float(value)
    if kind is Kind.NUMBER:
        return _clean_number(value, minimum, maximum)
    if not isinstance(value, str):
        raise Unacceptable(f"{value!r:.80} is no text")
    if len(value) > LONGEST_TEXT:
        raise Unacceptable(f"the text is longer than {LONGEST_TEXT} characters")
    value = printable(value)
    if kind is Kind.CHOICE and choices and value not in choices:
        raise Unacceptable(f"{value!r:.80} is none of {', '.join(choices):.{SHOWN_CHOICES}}")
    return value


def _clean_number(value: object, minimum: float | None, maximum: float | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unacceptable(f"{value!r:.80} is no number")
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER or math.isnan(value):
        raise Unacceptable("the number is not finite, or larger than anything a home can mean")
    if minimum is not None and value < minimum:
        raise Unacceptable(f"{value:g} is below the least, {minimum:g}")
    if maximum is not None and value > maximum:
        raise Unacceptable(f"{value:g} is above the most, {maximum:g}")
    # Adding zero makes 0.0 of -0.0, which one database keeps and the other does not.
    return value + 0.0


def rounded(
    number: float, step: float | None, minimum: float | None, maximum: float | None
) -> float:
    """Round to the nearest whole number of steps from the minimum (or 0), within the range."""
    if not step or step <= 0:
        return number
    first = minimum or 0.0
    steps = round((number - first) / step)
    nearest = float(f"{first + steps * step:.12g}")  # 0.3, not 0.30000000000000004
    # The range need not be a whole number of steps.
    if maximum is not None and nearest > maximum:
        nearest = float(f"{nearest - step:.12g}")
    return nearest


def printable(text: str) -> str:
    """Replace each character that cannot be printed by U+FFFD.

    Those are control characters (which clear a terminal, or forge a line), marks that turn the
    direction of writing, NUL, and halves of characters (lone surrogates).
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def clean_name(text: object) -> str:
    """Make a vendor's name for something fit to be stored and shown.

    Removes control characters and what is beyond 120 characters; returns "" for nothing.
    """
    shown = "".join(character for character in str(text or "") if character.isprintable())
    return shown.strip()[:LONGEST_NAME]


YES = frozenset({"on", "yes", "true", "1"})
NO = frozenset({"off", "no", "false", "0"})


def yes_or_no(text: str) -> bool | None:
    """Read a typed yes or no, in upper or lower case. None if it is neither."""
    word = text.strip().lower()
    if word in YES:
        return True
    return False if word in NO else None


def typed_value(text: str, kind: Kind) -> Value:
    """Read what a person typed as a value of this kind. Raises Unacceptable.

    `clean_value()` checks the rest: the range, the choices, the length.
    """
    if kind is Kind.NUMBER:
        try:
            return float(text)
        except ValueError:
            raise Unacceptable(f"{text!r} is no number") from None
    switched = yes_or_no(text) if kind is Kind.BOOLEAN else None
    return text if switched is None else switched
