"""Zigbee2MQTT with its standard base topic, `zigbee2mqtt`, and names of one level.

After https://www.zigbee2mqtt.io/guide/usage/mqtt_topics_and_messages.html and .../exposes.html.
`bridge/devices`, which is retained, tells what every device exposes.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.net.errors import ApiRefused
from core.net.mqtt import Message
from core.readings import (
    LARGEST_NUMBER,
    AttributeSpec,
    DeviceSpec,
    Kind,
    Reading,
    Value,
    clean_name,
)
from core.vendors._mqtt import (
    MOST_ATTRIBUTES,
    MOST_DEVICES,
    Dialect,
    Publication,
    Question,
    away,
    checked,
    name_of,
    parsed,
    percentage,
)

BASE = "zigbee2mqtt"
SET, GET = 2, 4
"""Bits of `access`."""
ADMINISTRATIVE = {"linkquality", "last_seen", "update", "update_available", "device"}


@dataclass(frozen=True, slots=True)
class Exposed:
    """One property of a device's state. `on` and `off` are its words for a boolean; `full` is what
    stands for 100 percent."""

    property: str
    spec: AttributeSpec
    on: object = None
    off: object = None
    full: float = 0
    can_be_asked: bool = False

    def value(self, said: object) -> Value | None:
        if self.spec.kind is Kind.BOOLEAN:
            if said == self.on:
                return True
            return False if said == self.off else None
        if self.full and isinstance(said, int | float) and not isinstance(said, bool):
            return float(round(said / self.full * 100))
        return said if isinstance(said, bool | int | float | str) else None

    def ordered(self, value: Value) -> object:
        checked(value, self.spec)
        if self.spec.kind is Kind.BOOLEAN:
            return self.on if value else self.off
        return round(float(value) / 100 * self.full) if self.full else value


@dataclass(frozen=True, slots=True)
class Known:
    name: str
    model: str
    exposed: dict[str, Exposed]
    """By the name of the attribute."""


class Zigbee2Mqtt(Dialect):
    prefix = "zigbee2mqtt"
    topics = (f"{BASE}/bridge/devices", f"{BASE}/+", f"{BASE}/+/availability")

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        """By the address of the device, which stays when it is renamed."""
        self.by_name: dict[str, str] = {}

    def take(self, message: Message) -> Iterable[Reading]:
        base, _, rest = message.topic.partition("/")
        if base != BASE:
            return ()
        content = parsed(message.payload)
        if rest == "bridge/devices":
            self._learn(content)
            return ()
        name, _, what = rest.partition("/")
        address = self.by_name.get(name)
        if address is None:
            return ()
        if what == "availability":
            state = content.get("state") if isinstance(content, dict) else None
            is_away = state == "offline" or message.payload == b"offline"
            return [away(f"zigbee2mqtt:{address}")] if is_away else ()
        return self._values(address, content, message.is_retained) if not what else ()

    def devices(self) -> Iterator[DeviceSpec]:
        for address, known in self.known.items():
            specs = tuple(exposed.spec for exposed in known.exposed.values())
            yield DeviceSpec(f"zigbee2mqtt:{address}", known.name, specs, known.model)

    def questions(self, ids: Collection[str] | None) -> Iterator[Question]:
        """Those that can be asked: the others, on battery, tell by themselves when they wake."""
        for address, known in self.known.items():
            asked = {one.property: "" for one in known.exposed.values() if one.can_be_asked}
            if asked and (ids is None or f"zigbee2mqtt:{address}" in ids):
                publication = Publication(f"{BASE}/{known.name}/get", json.dumps(asked))
                yield Question(f"zigbee2mqtt:{address}", publication)

    def order(self, vendor_id: str, attribute: str, value: Value) -> Publication | None:
        known = self.known.get(vendor_id.removeprefix("zigbee2mqtt:"))
        if known is None:
            return None
        exposed = known.exposed.get(attribute)
        if exposed is None or not exposed.spec.writable:
            raise ApiRefused(f"{vendor_id} has no {attribute!r:.80} that can be set.")
        content = json.dumps({exposed.property: exposed.ordered(value)})
        return Publication(f"{BASE}/{known.name}/set", content)

    def _learn(self, devices: Any) -> None:
        if not isinstance(devices, list):
            return
        # The message always tells all devices: what is not in it was removed.
        self.known.clear()
        self.by_name.clear()
        for device in devices[:MOST_DEVICES]:
            if not isinstance(device, dict) or device.get("type") == "Coordinator":
                continue
            address, name = device.get("ieee_address"), device.get("friendly_name")
            definition = device.get("definition")
            if not (isinstance(address, str) and isinstance(name, str)):
                continue
            # It becomes part of topics, and is stored as it is.
            if "/" in name or any(sign in name for sign in "+#\0") or clean_name(name) != name:
                continue
            described = definition if isinstance(definition, dict) else {}
            exposed: dict[str, Exposed] = {}
            _expose(described.get("exposes"), exposed)
            model = clean_name(described.get("description") or described.get("model"))
            if exposed:
                self.known[address] = Known(name, model, exposed)
                self.by_name[name] = address

    def _values(self, address: str, content: Any, is_retained: bool) -> Iterator[Reading]:
        if not isinstance(content, dict):
            return
        observed_at = _last_seen(content.get("last_seen"))
        if is_retained and observed_at is None:
            return
        for name, exposed in self.known[address].exposed.items():
            if exposed.property in content:
                value = exposed.value(content[exposed.property])
                # Only of a retained one: else the message itself is newer than whole seconds are.
                at = observed_at if is_retained else None
                yield Reading(f"zigbee2mqtt:{address}", name, value, at)


def _expose(exposes: Any, found: dict[str, Exposed]) -> None:
    """Note what a device exposes; a light or switch holds its features, one level deep."""
    for expose in exposes if isinstance(exposes, list) else ():
        if not isinstance(expose, dict):
            continue
        # One that has features and a property, such as a colour, is no single value.
        if isinstance(expose.get("features"), list) and not expose.get("property"):
            _expose([one for one in expose["features"] if isinstance(one, dict)], found)
            continue
        exposed = _exposed(expose)
        if exposed and len(found) < MOST_ATTRIBUTES:
            found.setdefault(exposed.spec.name, exposed)


def _exposed(expose: dict[str, Any]) -> Exposed | None:
    key, kind, access = expose.get("property"), expose.get("type"), expose.get("access")
    if not isinstance(key, str) or key in ADMINISTRATIVE or type(access) is not int:
        return None
    name = name_of(key)
    if not name or len(name) > 100:
        return None
    writable, asks = bool(access & SET), bool(access & GET)
    unit = clean_name(expose.get("unit"))[:20] if isinstance(expose.get("unit"), str) else ""
    if kind == "binary":
        # `state` of a switch or light, `state_l1` and the like of one with several.
        name = f"on{name.removeprefix('state')}" if name.split("_")[0] == "state" else name
        spec = AttributeSpec(name, Kind.BOOLEAN, writable=writable)
        on, off = expose.get("value_on"), expose.get("value_off")
        return Exposed(key, spec, on, off, can_be_asked=asks)
    if kind == "numeric":
        least, most = _number(expose.get("value_min")), _number(expose.get("value_max"))
        # Devices dim in steps of their own, mostly up to 254.
        if name == "brightness" and most and most > 0:
            return Exposed(key, percentage(name), full=most, can_be_asked=asks)
        if least is not None and most is not None and least > most:
            least = most = None
        spec = AttributeSpec(name, Kind.NUMBER, unit, least, most, writable=writable)
        return Exposed(key, spec, can_be_asked=asks)
    if kind == "enum" and isinstance(expose.get("values"), list):
        words = tuple(
            dict.fromkeys(
                word
                for word in expose["values"]
                if isinstance(word, str) and word and clean_name(word) == word
            )
        )
        spec = AttributeSpec(name, Kind.CHOICE, choices=words, writable=writable)
        return Exposed(key, spec, can_be_asked=asks)
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST_NUMBER else None


def _last_seen(said: object) -> datetime | None:
    """The time that a device was last heard: ISO 8601, or milliseconds since 1970."""
    try:
        if isinstance(said, str):
            moment = datetime.fromisoformat(said)
            return moment.astimezone(UTC) if moment.tzinfo else None
        if isinstance(said, int | float) and not isinstance(said, bool):
            return datetime.fromtimestamp(said / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
