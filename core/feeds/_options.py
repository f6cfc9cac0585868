"""Options of rules and feeds: frozen dataclasses, read from what was stored or typed.

Every field has a default. It may carry `help` (a line for people), `unit`, `choices` (a list of
words). `__post_init__` refuses what makes no sense: it raises ValueError with a sentence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import Any

from core.readings import yes_or_no

LONGEST_PAST = 24 * 60
"""Minutes: further back no rule looks."""


def option(default: Any, help: str, unit: str = "", choices: Sequence[str] = ()) -> Any:
    """A field of Options, with what forms and commands say about it."""
    return field(default=default, metadata={"help": help, "unit": unit, "choices": tuple(choices)})


def device_option(help: str, nobody: str = "this device") -> Any:
    """A field of Options, of type int, that names a device by its number.

    0 is `nobody`: the device of the rule itself, unless that is said in other words.
    """
    return field(default=0, metadata={"help": help, "device": True, "nobody": nobody})


def may_be_itself(option: Any) -> bool:
    """Whether 0, in an option that names a device, is the device itself."""
    return bool(option.metadata["nobody"] == "this device")


def attribute_option(default: str, help: str, of: str) -> Any:
    """A field of Options, of type str, that names an attribute of the device that option `of` does.

    A rule is only set if that device has it.
    """
    return field(default=default, metadata={"help": help, "attribute_of": of})


def past_option(default: float, help: str) -> Any:
    """A field of Options, of type float: so many minutes of the past a rule is told of."""
    return field(default=default, metadata={"help": help, "unit": "min", "past": True})


def past_options(options: type[Any]) -> dict[str, float]:
    """Return the options that say how many minutes of the past are looked at, with defaults."""
    looking = [field for field in fields(options) if field.metadata.get("past")]
    return {field.name: float(str(field.default)) for field in looking}


def device_options(options: type[Any]) -> list[str]:
    """Return the names of the options that name a device."""
    return [field.name for field in fields(options) if field.metadata.get("device")]


def attribute_options(options: type[Any], of: str) -> dict[str, str]:
    """Return the options that name an attribute of the device of option `of`, with defaults."""
    return {
        field.name: str(field.default)
        for field in fields(options)
        if field.metadata.get("attribute_of") == of
    }


def read_options(owner: str, options: type[Any], written: Mapping[str, object]) -> Any:
    """Make options from what was stored or typed, by name; left out, or "", is the default.

    Raises ValueError with a sentence for an unknown name or a value that makes no sense.
    """
    known = {field.name: field for field in fields(options)}
    if unknown := sorted(set(written) - set(known)):
        names = ", ".join(known) or "none"
        raise ValueError(f"{owner} has no option {', '.join(unknown)}. It has: {names}.")
    # A form sends "" for what is left empty.
    given = {name: value for name, value in written.items() if value not in ("", None)}
    return options(**{name: _read(known[name], value) for name, value in given.items()})


def read_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Read NAME=VALUE, many of them. Raises ValueError with a sentence."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name.strip() or not equals:
            raise ValueError(f"{pair!r} is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found


def _read(option: Any, written: object) -> object:
    """Read a value of the option's type, from JSON or as it was typed.

    The files keep their annotations as types, not as strings.
    """
    kind = option.type
    if kind is bool:
        return _read_bool(option.name, written)
    is_number_like = isinstance(written, int | float | str) and not isinstance(written, bool)
    if kind in (int, float) and is_number_like:
        number = _read_number(option.name, kind, written)
        if option.metadata.get("past") and not 0 <= number <= LONGEST_PAST:
            raise ValueError(f"{option.name}: {number:g} is not between 0 and {LONGEST_PAST}.")
        return number
    if kind is str and isinstance(written, str):
        allowed = option.metadata.get("choices")
        if allowed and written not in allowed:
            raise ValueError(f"{option.name}: {written!r} is none of {', '.join(allowed)}.")
        return written
    raise ValueError(f"{option.name}: {written!r} is of the wrong kind.")


def _read_number(name: str, kind: type[int] | type[float], written: Any) -> float:
    try:
        number = float(written)
    except (ValueError, OverflowError):
        raise ValueError(f"{name}: {written!r} is no number.") from None
    # The bounds also refuse NaN and infinity; checked first, because int() fails on those.
    if not -1e15 < number < 1e15 or kind is int and number != int(number):
        whole = "whole " if kind is int else ""
        raise ValueError(f"{name}: {written!r} is no {whole}number that makes sense.")
    return kind(number)


def _read_bool(name: str, written: object) -> bool:
    answer = yes_or_no(str(written))
    if answer is None:
        raise ValueError(f"{name}: {written!r} is neither yes nor no.")
    return answer
