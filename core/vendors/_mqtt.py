"""What the dialects of MQTT share: what a dialect is, and how payloads are read.

A dialect learns what devices there are from what it is given, and lives as long as a connection.
Nobody knows how old a retained message is: it tells what a device is, and no measurement, unless it
holds a time of its own.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Any, ClassVar, NamedTuple

from core.net import strict_json
from core.net.errors import ApiError, ApiRefused
from core.net.mqtt import Message
from core.readings import AttributeSpec, DeviceSpec, Kind, Reading, Unacceptable, Value, clean_value

AWAY = ""
"""In place of an attribute: the device cannot be reached."""
MOST_DEVICES = 1_000
"""Of one dialect behind one broker."""
MOST_ATTRIBUTES = 200
"""Of one device: what is beyond is ignored."""


class Publication(NamedTuple):
    topic: str
    payload: str


class Question(NamedTuple):
    """What makes a device tell its state."""

    vendor_id: str
    publication: Publication


class Dialect(ABC):
    """`topics` are what it subscribes to. Ids of its devices begin with `prefix` and a colon."""

    prefix: ClassVar[str]
    topics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def take(self, message: Message) -> Iterable[Reading]:
        """Learn from a message, and return what it measures. Others' messages give nothing."""

    @abstractmethod
    def devices(self) -> Iterable[DeviceSpec]:
        """The devices that are known by now."""

    def more_topics(self) -> Collection[str]:
        """What is to be subscribed to besides, by what was learned."""
        return ()

    @abstractmethod
    def questions(self, ids: Collection[str] | None) -> Iterable[Question]:
        """Ask these devices (None: all there are), where they can be asked."""

    @abstractmethod
    def order(self, vendor_id: str, attribute: str, value: Value) -> Publication | None:
        """How a value is ordered; None while the device is not known. Raises ApiRefused."""


def parsed(payload: bytes) -> Any:
    """The JSON of a payload; None if it is none."""
    try:
        return strict_json.parse(payload)
    except ValueError:
        return None


def name_of(words: str) -> str:
    """An attribute's name, of words in any case: "DewPoint" is dew_point; "" if there is none."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words[:100])
    # A name begins with a letter, whatever the words begin with.
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_").lstrip("0123456789_")


def checked(value: Value, spec: AttributeSpec) -> Value:
    """The value, if the attribute can have it. Raises ApiRefused."""
    try:
        clean_value(
            value, spec.kind, minimum=spec.minimum, maximum=spec.maximum, choices=spec.choices
        )
    except Unacceptable as complaint:
        raise ApiRefused(f"{spec.name}: {complaint}.") from None
    return value


def check_room(devices: Collection[object]) -> None:
    if len(devices) >= MOST_DEVICES:
        raise ApiError(f"More than {MOST_DEVICES:,} devices are behind this broker.")


def away(vendor_id: str) -> Reading:
    return Reading(vendor_id, AWAY, None, reachable=False)


def switch(name: str) -> AttributeSpec:
    return AttributeSpec(name, Kind.BOOLEAN, writable=True)


def percentage(name: str) -> AttributeSpec:
    return AttributeSpec(name, Kind.NUMBER, "%", 0, 100, writable=True, step=1)
