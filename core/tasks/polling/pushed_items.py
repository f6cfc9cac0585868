"""A reading as a device sent it: each part of it is checked by itself.

Its fields are described in core/tasks/receive_readings.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.readings import (
    LARGEST_NUMBER,
    LONGEST_TEXT,
    AttributeSpec,
    Kind,
    Unacceptable,
    Value,
    clean_name,
)
from core.tasks.polling.description import LONGEST_UNIT
from core.tasks.polling.record import clean_time

MOST_CHOICES = 50
LONGEST_INTERVAL = timedelta(days=7)
FIELDS = (
    *("device", "attribute", "value", "time", "unit", "kind", "minimum", "maximum", "choices"),
    *("interval_seconds", "name", "model"),
)


@dataclass(frozen=True)
class PushedItem:
    """A reading as it was sent, each part of it checked by itself."""

    index: int
    device: str
    attribute: str
    value: Value | None
    observed_at: datetime | None
    unit: str | None
    kind: Kind | None
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    interval: timedelta | None
    name: str
    model: str

    def spec(self) -> AttributeSpec:
        """Return what a new attribute is by this reading. Raises Unacceptable."""
        kind = self.kind or _guessed(self.value)
        return AttributeSpec(
            self.attribute,
            kind,
            (self.unit or "") if kind is Kind.NUMBER else "",
            self.minimum if kind is Kind.NUMBER else None,
            self.maximum if kind is Kind.NUMBER else None,
            self.choices if kind is Kind.CHOICE else (),
        )


def _guessed(value: Value | None) -> Kind:
    if value is None:
        raise Unacceptable("it is a new attribute: send a value first, or say its kind")
    if isinstance(value, bool):
        return Kind.BOOLEAN
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER


def read_item(
    index: int, said: object, defaults: Mapping[str, object], now: datetime
) -> PushedItem:
    """Check the parts of a reading. Raises Unacceptable."""
    if not isinstance(said, Mapping):
        raise Unacceptable("it is no object")
    if unknown := said.keys() - set(FIELDS):
        raise Unacceptable(f"there is no field {min(map(str, unknown))!r:.80}")
    fields = {**defaults, **said}
    for name in ("device", "attribute", "value"):
        if name not in fields:
            raise Unacceptable(f"{name} is missing")
    value = fields["value"]
    if not isinstance(value, None | bool | int | float | str):
        raise Unacceptable("value is no number, no text, neither true nor false, and not null")
    item = PushedItem(
        index=index,
        device=_id(fields, "device"),
        attribute=_id(fields, "attribute"),
        value=value,
        observed_at=_time(fields.get("time"), now),
        unit=_unit(fields.get("unit")),
        kind=_kind(fields.get("kind")),
        minimum=_number(fields, "minimum"),
        maximum=_number(fields, "maximum"),
        choices=_choices(fields.get("choices")),
        interval=_interval(fields.get("interval_seconds")),
        name=clean_name(_text(fields, "name")),
        model=clean_name(_text(fields, "model")),
    )
    if item.minimum is not None and item.maximum is not None and item.minimum > item.maximum:
        raise Unacceptable("minimum is above maximum")
    if value is None and "time" in said:
        raise Unacceptable("null says that there is no value now: leave the time out")
    return item


def _id(fields: Mapping[str, object], name: str) -> str:
    said = fields[name]
    if not isinstance(said, str) or not said or clean_name(said) != said:
        raise Unacceptable(f"{name} must be a text of 1 to 120 printable characters")
    return said


def _text(fields: Mapping[str, object], name: str) -> str:
    said = fields.get(name)
    if said is None:
        return ""
    if not isinstance(said, str):
        raise Unacceptable(f"{name} is no text")
    return said


def _time(said: object, now: datetime) -> datetime | None:
    if said is None:
        return None
    try:
        if isinstance(said, str):
            return clean_time(datetime.fromisoformat(said), now)
        if isinstance(said, int | float) and not isinstance(said, bool):
            return clean_time(datetime.fromtimestamp(said, UTC), now)
    except Unacceptable:
        raise
    except (ValueError, OverflowError, OSError):
        pass
    raise Unacceptable("time must be like 2026-11-26T16:00:00Z, with a zone, or seconds since 1970")


def _unit(said: object) -> str | None:
    if said is None:
        return None
    if not isinstance(said, str) or len(said) > LONGEST_UNIT or clean_name(said) != said:
        raise Unacceptable(f"unit must be a text of at most {LONGEST_UNIT} printable characters")
    return said


def _kind(said: object) -> Kind | None:
    if said is None:
        return None
    if isinstance(said, str) and said in set(Kind):
        return Kind(said)
    raise Unacceptable(f"kind must be one of {', '.join(Kind)}")


def _number(fields: Mapping[str, object], name: str) -> float | None:
    said = fields.get(name)
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise Unacceptable(f"{name} is no number")
    if math.isnan(said) or not -LARGEST_NUMBER <= said <= LARGEST_NUMBER:
        raise Unacceptable(f"{name} is too large")
    return float(said)


def _choices(said: object) -> tuple[str, ...]:
    if said is None:
        return ()
    if not isinstance(said, list) or not 0 < len(said) <= MOST_CHOICES:
        raise Unacceptable(f"choices must be a list of 1 to {MOST_CHOICES} words")
    for word in said:
        if not isinstance(word, str) or not 0 < len(word) <= LONGEST_TEXT:
            raise Unacceptable(f"each of choices must be a text of 1 to {LONGEST_TEXT} characters")
        if not word.isprintable():
            raise Unacceptable("each of choices must be printable")
    return tuple(dict.fromkeys(said))


def _interval(said: object) -> timedelta | None:
    if said is None:
        return None
    longest = LONGEST_INTERVAL.total_seconds()
    if isinstance(said, bool) or not isinstance(said, int | float) or not 1 <= said <= longest:
        raise Unacceptable(f"interval_seconds must be a number from 1 to {longest:.0f}")
    return timedelta(seconds=float(said))
