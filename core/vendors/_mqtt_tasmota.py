"""Tasmota over MQTT, with its standard topics: `%prefix%/%topic%/`, prefixes cmnd, stat and tele.

After https://tasmota.github.io/docs/MQTT/ and .../Commands. A device is known by its LWT, which is
retained; what it can is known by what it answers to STATE and to STATUS 10.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.net.errors import ApiRefused
from core.net.mqtt import Message
from core.readings import AttributeSpec, DeviceSpec, Kind, Reading, Value
from core.vendors._mqtt import (
    MOST_ATTRIBUTES,
    Dialect,
    Publication,
    Question,
    away,
    check_room,
    checked,
    name_of,
    parsed,
    percentage,
    switch,
)

ON_OFF = {"ON": True, "OFF": False}
ENERGY = {
    "Total": ("energy", "kWh"),
    "Power": ("power", "W"),
    "Voltage": ("voltage", "V"),
    "Current": ("current", "A"),
    "Frequency": ("frequency", "Hz"),
}
SENSORS = {"Temperature": "", "DewPoint": "", "Humidity": "%", "Pressure": "", "Illuminance": "lx"}
"""With their unit; that of temperature and pressure stands in the message."""


@dataclass
class Known:
    """`commands` are how its writable attributes are ordered."""

    attributes: dict[str, AttributeSpec] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)


class Tasmota(Dialect):
    prefix = "tasmota"
    topics = (
        *("tele/+/LWT", "tele/+/STATE", "tele/+/SENSOR"),
        *("stat/+/RESULT", "stat/+/STATUS10"),
    )

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}

    def take(self, message: Message) -> Iterable[Reading]:
        levels = message.topic.split("/")
        if len(levels) != 3 or levels[0] not in ("tele", "stat"):
            return ()
        topic, what = levels[1:]
        if what == "LWT":
            # A list: a generator that nobody takes from would learn nothing.
            return list(self._will(topic, message.payload))
        content = parsed(message.payload)
        if topic not in self.known or not isinstance(content, dict):
            return ()
        if what == "STATUS10":
            content = content.get("StatusSNS")
        # Also of a retained message, which measures nothing: it teaches what the device has.
        found = list(self._values(topic, content)) if isinstance(content, dict) else []
        return () if message.is_retained else found

    def devices(self) -> Iterator[DeviceSpec]:
        for topic, known in self.known.items():
            if known.attributes:
                yield DeviceSpec(f"tasmota:{topic}", topic, tuple(known.attributes.values()))

    def questions(self, ids: Collection[str] | None) -> Iterator[Question]:
        for topic in self.known:
            if ids is None or f"tasmota:{topic}" in ids:
                for command, payload in (("STATE", ""), ("STATUS", "10")):
                    asked = Publication(f"cmnd/{topic}/{command}", payload)
                    yield Question(f"tasmota:{topic}", asked)

    def order(self, vendor_id: str, attribute: str, value: Value) -> Publication | None:
        topic = vendor_id.removeprefix("tasmota:")
        known = self.known.get(topic)
        if known is None or not known.attributes:
            return None
        command = known.commands.get(attribute)
        if command is None:
            raise ApiRefused(f"{vendor_id} has no {attribute!r:.80} that can be set.")
        checked(value, known.attributes[attribute])
        payload = ("ON" if value else "OFF") if isinstance(value, bool) else f"{float(value):.0f}"
        return Publication(f"cmnd/{topic}/{command}", payload)

    def _will(self, topic: str, payload: bytes) -> Iterator[Reading]:
        if payload not in (b"Online", b"Offline") or not topic:
            return
        if topic not in self.known:
            check_room(self.known)
            self.known[topic] = Known()
        if payload == b"Offline":
            yield away(f"tasmota:{topic}")

    def _values(self, topic: str, content: dict[str, Any]) -> Iterator[Reading]:
        """Every value that a message holds, also what it teaches of the device."""
        for key, value in content.items():
            number = key.removeprefix("POWER")
            if key.startswith("POWER") and value in ("ON", "OFF"):
                # POWER of one relay, POWER1 and so on of several (with SetOption26 also of one).
                if number == "" or (number.isdecimal() and len(number) < 3):
                    name = "on" if number in ("", "1") else f"on_{number}"
                    yield from self._one(topic, switch(name), ON_OFF[value], key)
            elif key == "Dimmer":
                yield from self._number(topic, percentage("brightness"), value, key)
            elif key == "ENERGY" and isinstance(value, dict):
                for word, (name, unit) in ENERGY.items():
                    spec = AttributeSpec(name, Kind.NUMBER, unit)
                    yield from self._number(topic, spec, value.get(word))
            elif isinstance(value, dict):
                yield from self._sensor(topic, key, value, content)

    def _sensor(
        self, topic: str, sensor: str, values: dict[str, Any], content: dict[str, Any]
    ) -> Iterator[Reading]:
        """A second sensor of the same kind is named after itself."""
        for word, unit in SENSORS.items():
            if word not in values:
                continue
            if word in ("Temperature", "DewPoint"):
                unit = "°F" if content.get("TempUnit") == "F" else "°C"
            elif word == "Pressure":
                unit = str(content.get("PressureUnit", "hPa"))[:20]
            others = [
                key
                for key, value in content.items()
                if isinstance(value, dict) and key != "ENERGY" and word in value
            ]
            name = name_of(word) if others[0] == sensor else f"{name_of(word)}_{name_of(sensor)}"
            yield from self._number(topic, AttributeSpec(name, Kind.NUMBER, unit), values[word])

    def _number(
        self, topic: str, spec: AttributeSpec, value: object, command: str = ""
    ) -> Iterator[Reading]:
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield from self._one(topic, spec, value, command)

    def _one(
        self, topic: str, spec: AttributeSpec, value: Value | None, command: str = ""
    ) -> Iterator[Reading]:
        known = self.known[topic]
        if value is None and spec.name not in known.attributes:
            return  # a meter that has no such value
        if len(known.attributes) < MOST_ATTRIBUTES:
            known.attributes[spec.name] = spec
            if command:
                known.commands[spec.name] = command
        yield Reading(f"tasmota:{topic}", spec.name, value)
