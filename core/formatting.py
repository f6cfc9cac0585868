"""Words for values, times and states: one place for pages and for terminal commands."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from core.models import Attribute, DeviceCommand, Freshness
from core.models.device_command import State
from core.readings import Kind, Source, Value

FRESHNESS_MEANS = {
    Freshness.UNREACHABLE: "its gateway does not answer, or cannot reach it",
    Freshness.STALE: "its own measurement is older than a day",
    Freshness.LATE: "not polled for more than two intervals",
    Freshness.NEVER: "not heard yet",
    Freshness.FRESH: "heard recently",
    Freshness.PAUSED: "disabled by a person",
}

STATE_WORDS = {
    State.REQUESTED: "pressed, not sent yet",
    State.SENDING: "being sent",
    State.ACCEPTED: "accepted, not seen in effect yet",
    State.CONFIRMED: "confirmed",
    State.FAILED: "failed",
    State.SUPERSEDED: "replaced by a newer command",
    State.EXPIRED: "never sent: it took too long",
    State.UNCONFIRMED: "accepted, but never seen in effect",
}

SOURCE_WORDS = {
    Source.HUMAN: "a person",
    Source.FAIL_SAFE: "the fail-safe",
    Source.GUARD: "the guard",
    Source.RULE: "the rule",
}

MOMENT = timedelta(seconds=5)
"""What is nearer than this is now."""

# What a person looks for first. Anything else follows in the vendor's order.
FOREMOST = ("power", "temperature", "humidity", "brightness", "mode", "locked", "energy")


def value_text(value: Value | None, unit: str = "") -> str:
    """The value with its unit: on, 21.5 °C, 1,234 W. An en dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = number_text(value) if isinstance(value, int | float) else value
    return f"{text}{'' if unit in ('%', '°') else ' '}{unit}" if unit else text


def number_text(number: float) -> str:
    """Round to the digits a person reads: 0.031, 4.25, 21.5, 431.2, 12,345."""
    size = abs(number)
    if size >= 1e9 or 0 < size < 0.001:
        return f"{number:.4g}"
    text = f"{number:,.{0 if size >= 10_000 else 1 if size >= 100 else 2 if size >= 1 else 3}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def named_value(attribute: Attribute) -> str:
    """The value with its name: power 1,850 W, locked on. `on` itself needs no name."""
    value = value_text(attribute.value, attribute.unit)
    return value if attribute.name == "on" else f"{label(attribute)} {value}"


def label(attribute: Attribute) -> str:
    return attribute.name.replace("_", " ")


def ago(time: datetime, now: datetime) -> str:
    """How long ago, or how long from now, in the largest unit that fits."""
    distance = abs(now - time)
    if distance < MOMENT:
        return "just now"
    seconds = distance.total_seconds()
    size, unit = next(
        row for row in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")) if seconds >= row[0]
    )
    words = f"{int(seconds // size)} {unit}"
    return f"in {words}" if time > now else f"{words} ago"


def due(time: datetime, now: datetime) -> str:
    """When what is awaited comes, such as the next poll: in a moment, else as `ago` says it."""
    return "in a moment" if abs(now - time) < MOMENT else ago(time, now)


def is_overdue(time: datetime, now: datetime) -> bool:
    """Whether what was awaited for then should have come: `due` says no more "in a moment"."""
    return now - time >= MOMENT


def span_text(minutes: float) -> str:
    """A length of time: 45 min, 2 h, 2 h 30 min."""
    hours, rest = divmod(round(minutes), 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def option_label(name: str, unit: str = "") -> str:
    """With its unit, unless it ends in it: Gain, %; Lead minutes. Flashes in flashes/h need no
    word but the unit."""
    label = name.replace("_", " ").capitalize()
    if unit.startswith(f"{name}/"):
        return unit[:1].upper() + unit[1:]
    has_unit = label.lower().split()[-1].startswith(unit.lower())
    return label if has_unit else f"{label}, {unit}"


def option_text(value: object, unit: str = "") -> str:
    """The value of a rule's option: 180 gCO2/kWh, on, carbon intensity, none."""
    if isinstance(value, bool | int | float):
        return value_text(value, unit)
    text = str(value).replace("_", " ")
    return (f"{text} {unit}" if unit else text) if text else "none"


def press_text(attribute: Attribute, value: bool) -> str:
    """Return the label of the button that sends this value."""
    if attribute.name == "locked":
        return "Lock" if value else "Unlock"
    return f"Turn {'' if attribute.name == 'on' else label(attribute) + ' '}{value_text(value)}"


def order_text(command: DeviceCommand) -> str:
    """Return the value of a command: on, target temperature 21 °C. Reads its attribute."""
    text = value_text(command.value, command.attribute.unit)
    return text if command.attribute.name == "on" else f"{label(command.attribute)} {text}"


def command_text(command: DeviceCommand) -> str:
    """Return the value and the state of a command. Reads its attribute."""
    return f"{order_text(command)}: {STATE_WORDS[State(command.state)]}"


def foremost(attributes: list[Attribute], most: int) -> list[Attribute]:
    """The attributes worth showing in a line: those that have a value now come first. A switch has
    its own control and is left out."""
    places = {name: place for place, name in enumerate(FOREMOST)}
    values = [attribute for attribute in attributes if not attribute.is_switch]
    return sorted(values, key=lambda one: (not one.available, _prominence(one, places), one.pk))[
        :most
    ]


def drawn(attributes: list[Attribute]) -> Attribute | None:
    """Return the attribute for the sparkline: a measured number, else any, else a switch."""
    charted = foremost([one for one in attributes if one.has_chart], len(attributes))
    return next(
        (one for one in charted if one.is_measured),
        next((one for one in charted), next((one for one in attributes if one.is_switch), None)),
    )


def _prominence(attribute: Attribute, places: dict[str, int]) -> int:
    kind = {Kind.NUMBER: 0, Kind.BOOLEAN: 1, Kind.CHOICE: 1}.get(Kind(attribute.kind), 2)
    return places.get(attribute.name, len(places) + kind)


def counted(count: int, one: str, more: str = "") -> str:
    """Write a number with its noun: 1 device, 2 devices, 3 switches (`more` where an s is not
    enough)."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def counts_text(counts: Mapping[str, int]) -> str:
    """Write counts that are not zero, by what they are of in the plural: 1 gateway, 40 stored."""
    said = []
    # PostgreSQL keeps no order of keys.
    for what, count in sorted(counts.items()):
        noun, space, rest = what.partition(" ")
        if count == 1:
            noun = noun.removesuffix("s")
        if count:
            said.append(f"{count:,} {noun}{space}{rest}")
    return ", ".join(said)


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align the columns of rows with spaces."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
