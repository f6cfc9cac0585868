"""Whatever announces itself by Home Assistant's MQTT discovery, such as ESPHome.

After https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery: `config` messages, retained,
with their abbreviations; switches, lights (on and off), sensors and binary sensors. Of templates
only `{{ value }}` and paths such as `{{ value_json.a.b }}` or `{{ value_json['a'] }}` are read,
also with the filters float, int and is_defined, which change nothing here. An entity with any other
template is left out, and the log says so.
"""

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from core.net.errors import ApiRefused
from core.net.mqtt import Message
from core.readings import AttributeSpec, DeviceSpec, Kind, Reading, Value, clean_name
from core.vendors._hardware import shared
from core.vendors._mqtt import (
    Dialect,
    Publication,
    Question,
    away,
    check_room,
    checked,
    name_of,
    parsed,
)

logger = logging.getLogger(__name__)

LONG = {
    "avty_t": "availability_topic",
    "cmd_t": "command_topic",
    "dev_cla": "device_class",
    "pl_avail": "payload_available",
    "pl_not_avail": "payload_not_available",
    "pl_off": "payload_off",
    "pl_on": "payload_on",
    "stat_off": "state_off",
    "stat_on": "state_on",
    "stat_t": "state_topic",
    "uniq_id": "unique_id",
    "unit_of_meas": "unit_of_measurement",
    "val_tpl": "value_template",
    "stat_val_tpl": "state_value_template",
}
COMPONENTS = ("switch", "light", "sensor", "binary_sensor")
NATIVE = ("zigbee2mqtt/", "tele/", "stat/")
"""What announces itself here too, and is read in its own dialect."""
_STEP = r"\.\w+|\[\s*'[^']+'\s*\]|\[\s*\"[^\"]+\"\s*\]"
_FILTER = r"\s*\|\s*(?:float|int|is_defined)(?:\(\s*-?\d*\s*\))?"
TEMPLATE = re.compile(rf"\{{\{{\s*(value_json|value)((?:{_STEP})*)(?:{_FILTER})*\s*\}}\}}")
STEP = re.compile(r"\.(\w+)|\[\s*['\"]([^'\"]+)['\"]\s*\]")
LONGEST_TOPIC = 200


@dataclass(frozen=True, slots=True)
class Entity:
    """`path` leads to the value in JSON; None: the payload is the value."""

    name: str
    hardware: str
    hardware_name: str
    spec: AttributeSpec
    state_topic: str
    path: tuple[str, ...] | None
    on: str
    off: str
    command_topic: str
    payload_on: str
    payload_off: str
    availability_topic: str
    not_available: str

    def value(self, payload: bytes) -> Value | None:
        said: Any = payload.decode(errors="replace")
        if self.path is not None:
            said = parsed(payload)
            for key in self.path:
                said = said.get(key) if isinstance(said, dict) else None
        # Home Assistant's templates give JSON's true as "True", and state_on is compared with that.
        if isinstance(said, bool):
            said = str(said)
        if self.spec.kind is Kind.BOOLEAN:
            return True if said == self.on else False if said == self.off else None
        if isinstance(said, str) and self.spec.kind is Kind.NUMBER:
            try:
                # Bounded, so that reading it costs little.
                return float(said) if len(said) < 50 else None
            except ValueError:
                return None
        return said if isinstance(said, int | float | str) else None


class Discovery(Dialect):
    prefix = "discovery"
    topics = ("homeassistant/+/+/config", "homeassistant/+/+/+/config")

    def __init__(self) -> None:
        self.entities: dict[str, Entity] = {}
        self.by_topic: dict[str, set[str]] = {}
        """Ids of the entities whose state or availability comes with a topic."""

    def take(self, message: Message) -> Iterable[Reading]:
        if message.topic.startswith("homeassistant/") and message.topic.endswith("/config"):
            self._learn(message)
            return ()
        ids = self.by_topic.get(message.topic, ())
        return [reading for id in ids for reading in self._told(id, message)]

    def more_topics(self) -> Collection[str]:
        return self.by_topic.keys()

    def devices(self) -> list[DeviceSpec]:
        found = []
        for id, entity in self.entities.items():
            device = DeviceSpec(f"discovery:{id}", entity.name, (entity.spec,))
            name = entity.hardware_name
            found.append(replace(device, hardware=entity.hardware, hardware_name=name))
        return shared(found)

    def questions(self, ids: Collection[str] | None) -> Iterable[Question]:
        """There is no way to ask."""
        return ()

    def order(self, vendor_id: str, attribute: str, value: Value) -> Publication | None:
        entity = self.entities.get(vendor_id.removeprefix("discovery:"))
        if entity is None:
            return None
        if attribute != entity.spec.name or not entity.spec.writable:
            raise ApiRefused(f"{vendor_id} has no {attribute!r:.80} that can be set.")
        checked(value, entity.spec)
        payload = entity.payload_on if value else entity.payload_off
        return Publication(entity.command_topic, payload)

    def _told(self, id: str, message: Message) -> Iterator[Reading]:
        entity = self.entities[id]
        if message.topic == entity.availability_topic:
            if message.payload.decode(errors="replace") == entity.not_available:
                yield away(f"discovery:{id}")
        elif not message.is_retained:
            yield Reading(f"discovery:{id}", entity.spec.name, entity.value(message.payload))

    def _learn(self, message: Message) -> None:
        levels = message.topic.split("/")
        id = clean_name("_".join(levels[1:-1]))
        try:
            entity = _entity(levels[1], parsed(message.payload))
        except ValueError as error:
            logger.warning("%s is left out: %s", message.topic, error)
            entity = None
        # Announced anew, it may have other topics.
        if before := self.entities.pop(id, None):
            for topic in (before.state_topic, before.availability_topic):
                self.by_topic.get(topic, set()).discard(id)
        if entity is None:  # or it announced its end, with an empty payload
            return
        check_room(self.entities)
        self.entities[id] = entity
        for topic in filter(None, (entity.state_topic, entity.availability_topic)):
            self.by_topic.setdefault(topic, set()).add(id)


def _entity(component: str, config: Any) -> Entity | None:
    """Read a config; None if it is none, or of something that we do not read."""
    if component not in COMPONENTS or not isinstance(config, dict):
        return None
    words: dict[str, Any] = {LONG.get(str(key), str(key)): config[key] for key in config}
    base = words.get("~")
    state, command, available = (
        _topic(words.get(f"{what}_topic"), base) for what in ("state", "command", "availability")
    )
    # A light of the schema json takes orders in JSON, not in the words for on and off.
    if not state or state.startswith(NATIVE) or words.get("schema") == "json":
        return None
    is_switch = component in ("switch", "light")
    if is_switch and not command:
        return None
    path = _path(words.get("state_value_template" if component == "light" else "value_template"))

    def word(key: str, default: str) -> str:
        value = words.get(key, default)
        return value if isinstance(value, str) else str(value)

    on, off = word("payload_on", "ON"), word("payload_off", "OFF")
    device = words.get("device", words.get("dev"))
    device = device if isinstance(device, dict) else {}
    hardware_name = clean_name(device.get("name"))
    return Entity(
        clean_name(words.get("name")) or hardware_name or state,
        _identifier(device),
        hardware_name,
        _spec(component, words),
        state,
        path,
        # It says what it is ordered with, unless it names other words for its state.
        word("state_on", on),
        word("state_off", off),
        command,
        on,
        off,
        available,
        word("payload_not_available", "offline"),
    )


def _identifier(device: dict[str, Any]) -> str:
    """The first of the identifiers of the hardware; "": it has none."""
    found = device.get("identifiers", device.get("ids"))
    first = next(iter(found), None) if isinstance(found, list) else found
    return clean_name(first) if isinstance(first, str) else ""


def _spec(component: str, words: dict[str, Any]) -> AttributeSpec:
    kind = words.get("device_class")
    name = name_of(kind) if isinstance(kind, str) else ""
    if component in ("switch", "light"):
        return AttributeSpec("on", Kind.BOOLEAN, writable=True)
    if component == "binary_sensor":
        return AttributeSpec(name or "on", Kind.BOOLEAN)
    unit = words.get("unit_of_measurement")
    is_number = isinstance(unit, str) or bool(words.get("state_class", words.get("stat_cla")))
    shown = clean_name(unit)[:20] if isinstance(unit, str) else ""
    return AttributeSpec(name or "value", Kind.NUMBER if is_number else Kind.TEXT, shown)


def _topic(topic: object, base: object) -> str:
    """A topic with its base put in; "" if it is none that one may subscribe or publish to."""
    if not isinstance(topic, str):
        return ""
    if isinstance(base, str):
        topic = base + topic[1:] if topic.startswith("~") else topic
        topic = topic[:-1] + base if topic.endswith("~") else topic
    # + and # stand for any level; topics that begin with $ are the broker's own.
    is_plain = topic.isprintable() and not any(sign in topic for sign in "+#")
    return topic if is_plain and len(topic) <= LONGEST_TOPIC and topic[:1] != "$" else ""


def _path(template: object) -> tuple[str, ...] | None:
    """Where the value stands; None: it is the payload. Raises ValueError for any other template."""
    if template is None or template == "":
        return None
    is_short = isinstance(template, str) and len(template) <= LONGEST_TOPIC
    found = TEMPLATE.fullmatch(str(template).strip()) if is_short else None
    if found is None or (found[1] == "value" and found[2]):
        raise ValueError(f"its template is none that is read here: {str(template):.100}")
    if found[1] == "value":
        return None
    return tuple(plain or quoted for plain, quoted in STEP.findall(found[2]))
