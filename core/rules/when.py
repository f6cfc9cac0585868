"""On or off when an attribute of this or another device is above or below a limit, or is a value.

Between the limit and the hysteresis it stays as it is, so that a value that wavers switches
nothing. Where the value is not known, nothing is decided; a time in which nothing was heard does
not count towards its minutes.
"""

from dataclasses import dataclass
from datetime import timedelta

from core.readings import Value, yes_or_no
from core.rules import (
    Decision,
    Situation,
    Undecided,
    attribute_option,
    device_option,
    option,
    past_option,
)

SIGNALS = ()
REACT = True
"""A window that opens is answered as soon as its device tells of it."""


@dataclass(frozen=True)
class Options:
    device: int = device_option("Whose attribute is looked at")
    attribute: str = attribute_option(
        "temperature", "What is looked at, as the device's page names it", of="device"
    )
    test: str = option("above", "How it is compared", choices=["above", "below", "is"])
    limit: float = option(25, "With the test above or below: in the unit of the attribute")
    hysteresis: float = option(
        1, "How far the value has to go back past the limit to end it, in its unit"
    )
    value: str = option("on", "With the test is: on, off, or a word such as open")
    minutes: float = past_option(
        0, "How long it has to be so before it counts; 0: it counts at once"
    )
    then: str = option(
        "on", "What this device is while it is so; else the opposite", "", ["on", "off"]
    )

    def __post_init__(self) -> None:
        if self.hysteresis < 0:
            raise ValueError(f"hysteresis: {self.hysteresis:g} is less than 0.")
        if not self.attribute.strip():
            raise ValueError("attribute: it is empty.")


def decide(situation: Situation) -> Decision:
    options = situation.options
    other = situation.other(options.device)
    value = other.value(options.attribute)
    shown = _shown(options.attribute, other.name)
    if options.test == "is":
        is_so, compared = _is(value, options.value, shown)
    else:
        is_so, compared = _beyond(situation, value, shown)
    if is_so and options.minutes and not _was_so(situation):
        return _after_its_minutes(situation, value, f"{shown} {compared}")
    return Decision(is_so == (options.then == "on"), f"{shown} {compared}")


def _shown(attribute: str, name: str) -> str:
    """Say what is looked at: the temperature of Sensor. A lamp that is on is just that."""
    return name if attribute == "on" else f"the {attribute.replace('_', ' ')} of {name}"


def _was_so(situation: Situation) -> bool:
    """Whether the device already is as it is to be while it is so: then it stays as it is."""
    wanted: bool = situation.options.then == "on"
    return situation.is_on == wanted


def _after_its_minutes(situation: Situation, value: Value, said: str) -> Decision:
    """Once it is so for long enough it counts."""
    options, now = situation.options, situation.now
    since = situation.other(options.device).since(
        options.attribute,
        above=options.limit if options.test == "above" else None,
        below=options.limit if options.test == "below" else None,
        equal=value if options.test == "is" else None,
    )
    since = since or now
    ends_at, wanted = since + timedelta(minutes=options.minutes), options.then == "on"
    if ends_at <= now:
        return Decision(wanted, f"{said} for {options.minutes:g} min")
    lasted = (now - since) / timedelta(minutes=1)
    return Decision(
        not wanted, f"{said} for {int(lasted)} of {options.minutes:g} min", until=ends_at
    )


def _is(value: Value, wanted: str, shown: str) -> tuple[bool, str]:
    if isinstance(value, bool):
        answer = yes_or_no(wanted)
        if answer is None:
            raise Undecided(f"{shown} is on or off, and never {wanted}")
        is_so = value is answer
    elif isinstance(value, str):
        is_so = value.casefold() == wanted.strip().casefold()
    else:
        raise Undecided(f"{shown} is a number: compare it with above or below")
    told = ("on" if value else "off") if isinstance(value, bool) else value
    return is_so, f"is {told}" + ("" if is_so else f", not {wanted}")


def _beyond(situation: Situation, value: Value, shown: str) -> tuple[bool, str]:
    options = situation.options
    if isinstance(value, bool | str):
        raise Undecided(f"{shown} is no number: compare it with is")
    sign = 1 if options.test == "above" else -1
    beyond = sign * (value - options.limit)
    if beyond > 0:
        return True, f"is {value:.4g}, {options.test} {options.limit:g}"
    if _was_so(situation) and beyond >= -options.hysteresis:
        end = options.limit - sign * options.hysteresis
        return True, f"is {value:.4g}, between {options.limit:g} and {end:g}: it stays as it is"
    return False, f"is {value:.4g}, not {options.test} {options.limit:g}"
