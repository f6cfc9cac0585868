"""Home Assistant, over its REST API with a long-lived access token.

Sources: https://developers.home-assistant.io/docs/api/rest/ for the calls,
https://developers.home-assistant.io/docs/core/entity/ for what the entities of each domain report
and accept. Tried with 2025.4.

Every entity of a domain in DESCRIPTIONS is a device, and what Home Assistant has as one device is
their hardware; one GET of /api/states answers for all of
them. The same descriptions serve discovery, reading and writing, so an attribute has one name
everywhere, also for an entity that is away just now.

The API's `last_reported` does not move while an entity reports the same value again (the answer is
cached, https://github.com/home-assistant/core/issues/181392): `observed_at` is the time of the last
change, and its age alone does not tell a dead sensor from a steady one. Home Assistant calls a dead
one unavailable.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeGuard

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, bearer
from core.readings import (
    AttributeSpec,
    DeviceSpec,
    Kind,
    Reading,
    Unacceptable,
    Value,
    clean_name,
    clean_value,
)
from core.vendors import Identity, Update, Vendor
from core.vendors._hardware import shared
from core.vendors._home_assistant_devices import Hardware, hardware_by_entity
from core.vendors._home_assistant_history import attributes_then, recorded

UNREACHABLE = "unavailable"
SILENT = ("unknown", UNREACHABLE)
NOT_A_VALUE = frozenset({"", "none", "null", "nan", *SILENT})
"""What stands for no value in a number or boolean, in lower case: templates, MQTT and the like
write what they were given, without knowing that it means nothing."""
LONGEST_UNIT = 20
COLOR_TEMPERATURE_STEP = 50
"""Lights count colour temperature in mired, and so tell another one by up to so many K."""
_ENTITY_ID = re.compile(r"[a-z0-9_]{1,99}\.[a-z0-9_]{1,99}")
_DEVICE_CLASS = re.compile(r"[a-z][a-z0-9_]{0,59}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NOT_NUMBERS = ("date", "timestamp")
_NUMBERS_WITHOUT_UNIT = ("aqi", "ph", "power_factor")
_CANNOT_DIM = ("onoff", "unknown")
_ON_OFF = {"on": True, "off": False}
# A lock in motion is still what it was, so that an order is never confirmed before its end. Jammed
# is not locked.
_LOCK_STATES = {
    "locked": True,
    "unlocking": True,
    **dict.fromkeys(("unlocked", "locking", "opening", "open", "jammed"), False),
}
_ONE_SETPOINT = 1  # ClimateEntityFeature.TARGET_TEMPERATURE

Order = tuple[str, dict[str, Value]]
"""A service of the entity's domain, and what it is called with."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A state as Home Assistant reports it. `temperature_unit` is the house's own, which climate
    entities do not repeat."""

    entity_id: str
    state: str
    attributes: dict[str, Any]
    observed_at: datetime | None = None
    temperature_unit: str = ""

    @property
    def domain(self) -> str:
        return self.entity_id.partition(".")[0]

    @property
    def device_class(self) -> str:
        word = self.attributes.get("device_class")
        return word if isinstance(word, str) and _DEVICE_CLASS.fullmatch(word) else ""

    @property
    def unit(self) -> str:
        return _symbol(self.attributes.get("unit_of_measurement"))

    def number(self, key: str) -> float | None:
        return _finite(self.attributes.get(key))

    def step(self, key: str) -> float | None:
        step = self.number(key)
        return step if step and step > 0 else None

    def words(self, key: str) -> tuple[str, ...]:
        words = self.attributes.get(key)
        return tuple(dict.fromkeys(filter(_is_word, words))) if isinstance(words, list) else ()


def _finite(value: object) -> float | None:
    try:
        number = clean_value(value, Kind.NUMBER)
    except Unacceptable:
        return None
    return number if isinstance(number, float) else None


def _is_word(value: object) -> bool:
    """Whether it is a text that is stored, and ordered, as it is."""
    try:
        return bool(value) and clean_value(value, Kind.TEXT) == value
    except Unacceptable:
        return False


def _symbol(unit: object) -> str:
    return clean_name(unit)[:LONGEST_UNIT] if isinstance(unit, str) else ""


def _moment(words: object) -> datetime | None:
    """An aware time in UTC, None if this is none."""
    try:
        moment = datetime.fromisoformat(words) if isinstance(words, str) else None
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _is_ours(entity_id: object) -> TypeGuard[str]:
    """Whether it may stand in a path, and is of a domain we know."""
    return (
        isinstance(entity_id, str)
        and bool(_ENTITY_ID.fullmatch(entity_id))
        and entity_id.partition(".")[0] in DOMAINS
    )


def _entity(answer: Any, temperature_unit: str = "") -> Entity | None:
    """The entity that a state tells of, None if it is of no use: malformed, or of a domain we do
    not know."""
    if not isinstance(answer, dict):
        return None
    entity_id, state = answer.get("entity_id"), answer.get("state")
    attributes = answer.get("attributes")
    if not _is_ours(entity_id):
        return None
    return Entity(
        entity_id,
        state if isinstance(state, str) else "unknown",
        attributes if isinstance(attributes, dict) else {},
        _moment(answer.get("last_reported")) or _moment(answer.get("last_updated")),
        temperature_unit,
    )


# The value of an entity, as the vendor has it.


def _state(entity: Entity) -> object:
    return entity.state


def _on(entity: Entity) -> object:
    return _ON_OFF.get(entity.state, entity.state)


def _locked(entity: Entity) -> object:
    return _LOCK_STATES.get(entity.state, entity.state)


def _brightness(entity: Entity) -> object:
    """In whole percent of 0 to 255, which gives every ordered percent back; a light that is off
    says none and shines with 0."""
    if entity.state == "off":
        return 0.0
    level = entity.number("brightness")
    if level is None:
        return entity.attributes.get("brightness")
    # The dimmest light rounds to 0, and is not dark.
    return max(float(round(level / 2.55)), 1.0) if level > 0 else level


def _attribute(key: str) -> Callable[[Entity], object]:
    return lambda entity: entity.attributes.get(key)


# How an order is called.


def _turn(value: Value) -> Order:
    return ("turn_on" if value else "turn_off"), {}


def _dim(value: Value) -> Order:
    percent = float(value)
    if not percent.is_integer():
        raise ApiRefused(f"Brightness is a whole percent: {percent:g} would never be read back.")
    return "turn_on", {"brightness_pct": int(percent)}


def _warm(value: Value) -> Order:
    return "turn_on", {"color_temp_kelvin": round(float(value))}


def _lock(value: Value) -> Order:
    return ("lock" if value else "unlock"), {}


def _call(service: str, key: str) -> Callable[[Value], Order]:
    return lambda value: (service, {key: value})


# How a described attribute looks at one entity; None: this entity has no such attribute. Only what
# Home Assistant also reports of an entity that is away may decide.


def _as_it_is(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    return spec


def _if_dimmable(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    if "supported_color_modes" in entity.attributes:
        return spec if set(entity.words("supported_color_modes")).difference(_CANNOT_DIM) else None
    return spec if "brightness" in entity.attributes else None


def _if_white(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    if "color_temp" not in entity.words("supported_color_modes"):
        return None
    return _within(spec, entity, "min_color_temp_kelvin", "max_color_temp_kelvin")


def _modes(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    modes = entity.words("hvac_modes")
    return replace(spec, choices=modes, writable=bool(modes))


def _setpoint(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    """Thermostats that only take a range from low to high refuse a single temperature."""
    # Without the bits nobody knows: the attribute stays, and an order may be refused.
    features = entity.number("supported_features")
    if features is not None and not int(features) & _ONE_SETPOINT:
        return None
    spec = _within(spec, entity, "min_temp", "max_temp")
    return replace(spec, unit=entity.temperature_unit, step=entity.step("target_temp_step"))


def _house_temperature(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    return replace(spec, unit=entity.temperature_unit)


def _range(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    spec = _within(spec, entity, "min", "max")
    return replace(spec, unit=entity.unit, step=entity.step("step"))


def _within(spec: AttributeSpec, entity: Entity, least: str, most: str) -> AttributeSpec:
    minimum, maximum = entity.number(least), entity.number(most)
    # Upside down it would refuse every order.
    if minimum is not None and maximum is not None and minimum > maximum:
        return spec
    return replace(spec, minimum=minimum, maximum=maximum)


def _by_class(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    return replace(spec, name=entity.device_class or spec.name)


def _quantity(spec: AttributeSpec, entity: Entity) -> AttributeSpec | None:
    """A number where Home Assistant itself insists on one. Dates, times and enums keep the plain
    name: theirs is a format."""
    if entity.device_class in _NOT_NUMBERS:
        return spec
    if entity.device_class == "enum":
        options = entity.words("options")
        return replace(spec, kind=Kind.CHOICE if options else Kind.TEXT, choices=options)
    has_unit = isinstance(entity.attributes.get("unit_of_measurement"), str)
    is_number = (
        has_unit
        or bool(entity.attributes.get("state_class"))
        or entity.device_class in _NUMBERS_WITHOUT_UNIT
    )
    return replace(
        spec,
        name=entity.device_class or spec.name,
        kind=Kind.NUMBER if is_number else Kind.TEXT,
        unit=entity.unit,
    )


@dataclass(frozen=True, slots=True)
class EntityDescription:
    """One attribute of the entities of a domain: what it is, where its value stands, how it is
    ordered."""

    domain: str
    spec: AttributeSpec
    value: Callable[[Entity], object]
    order: Callable[[Value], Order] | None = None
    fit: Callable[[AttributeSpec, Entity], AttributeSpec | None] = _as_it_is


_ON = AttributeSpec("on", Kind.BOOLEAN, writable=True)
_VALUE = AttributeSpec("value", writable=True)
_BRIGHTNESS = AttributeSpec("brightness", unit="%", minimum=0, maximum=100, writable=True, step=1)
_COLOR_TEMPERATURE = AttributeSpec(
    "color_temperature", unit="K", writable=True, step=1, tolerance=COLOR_TEMPERATURE_STEP
)
_TARGET = AttributeSpec("target_temperature", writable=True)

DESCRIPTIONS = (
    EntityDescription("switch", _ON, _on, _turn),
    EntityDescription("input_boolean", _ON, _on, _turn),
    EntityDescription("light", _ON, _on, _turn),
    EntityDescription("light", _BRIGHTNESS, _brightness, _dim, _if_dimmable),
    EntityDescription(
        "light", _COLOR_TEMPERATURE, _attribute("color_temp_kelvin"), _warm, _if_white
    ),
    EntityDescription(
        "climate",
        AttributeSpec("mode", Kind.CHOICE, writable=True),
        _state,
        _call("set_hvac_mode", "hvac_mode"),
        _modes,
    ),
    EntityDescription(
        "climate",
        _TARGET,
        _attribute("temperature"),
        _call("set_temperature", "temperature"),
        _setpoint,
    ),
    EntityDescription(
        "climate",
        AttributeSpec("temperature"),
        _attribute("current_temperature"),
        None,
        _house_temperature,
    ),
    EntityDescription("number", _VALUE, _state, _call("set_value", "value"), _range),
    EntityDescription("input_number", _VALUE, _state, _call("set_value", "value"), _range),
    EntityDescription("lock", AttributeSpec("locked", Kind.BOOLEAN, writable=True), _locked, _lock),
    EntityDescription("sensor", AttributeSpec("value", Kind.TEXT), _state, None, _quantity),
    EntityDescription("binary_sensor", AttributeSpec("on", Kind.BOOLEAN), _on, None, _by_class),
)
DOMAINS: dict[str, tuple[EntityDescription, ...]] = {}
for _description in DESCRIPTIONS:
    _others = DOMAINS.get(_description.domain, ())
    DOMAINS[_description.domain] = (*_others, _description)


def _attributes(entity: Entity) -> Iterator[tuple[EntityDescription, AttributeSpec]]:
    for description in DOMAINS[entity.domain]:
        if (spec := description.fit(description.spec, entity)) is not None:
            yield description, spec


def _reading(entity: Entity, description: EntityDescription, spec: AttributeSpec) -> Reading:
    """What stands for no value is None. Nonsense goes on as it is: where readings are stored it is
    refused by name, which a person can act on."""
    value = None if entity.state in SILENT else description.value(entity)
    if isinstance(value, str) and _is_no_value(value, spec.kind):
        value = None
    is_short = isinstance(value, str) and len(value) < 50  # so that reading it costs little
    if spec.kind is Kind.NUMBER and is_short and _NUMBER.fullmatch(str(value)):
        number = _finite(float(str(value)))
        value = value if number is None else number
    if value is not None and not isinstance(value, bool | int | float | str):
        value = str(value)
    is_reachable = entity.state != UNREACHABLE
    return Reading(entity.entity_id, spec.name, value, entity.observed_at, is_reachable, spec=spec)


def _is_no_value(text: str, kind: Kind) -> bool:
    """A text or a choice may rightly be "none"."""
    return text in SILENT or (kind.is_number and text.lower() in NOT_A_VALUE)


class Client(Vendor):
    """Home Assistant has no timer of its own: nothing goes back by itself."""

    label: ClassVar[str] = "Home Assistant"
    address_example: ClassVar[str] = "http://homeassistant.local:8123"
    credential_hint: ClassVar[str] = (
        "a long-lived access token: your profile in Home Assistant, page Security, at the bottom"
    )
    settle: ClassVar[timedelta] = timedelta(seconds=2)
    listens: ClassVar[bool] = True

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        http.auth = bearer(http.credential)

    def identify(self) -> Identity:
        """REST gives no id of the installation, so its name and place stand for one, digested:
        where a home is stays private."""
        config = self._config()
        name = config.get("location_name")
        if not isinstance(name, str) or not isinstance(config.get("version"), str):
            raise ApiError(
                "This does not look like Home Assistant: "
                "its configuration has no name or no version."
            )
        where = [repr(_finite(config.get(key))) for key in ("latitude", "longitude")]
        place = "\n".join([name, *where])
        key = hashlib.sha256(place.encode(errors="replace")).hexdigest()[:32]
        return Identity(key, clean_name(name) or self.label)

    def devices(self) -> list[DeviceSpec]:
        """Three calls: the unit, the states, and which of them are of one device."""
        entities = self._all(self._temperature_unit())
        hardware = hardware_by_entity(self.http)
        found = []
        for entity in entities.values():
            name = clean_name(entity.attributes.get("friendly_name")) or entity.entity_id
            attributes = tuple(spec for _, spec in _attributes(entity))
            of = hardware.get(entity.entity_id, Hardware())
            device = DeviceSpec(entity.entity_id, name, attributes)
            found.append(replace(device, hardware=of.id, hardware_name=of.name))
        return shared(found)

    def read(self, vendor_ids: Collection[str]) -> Iterator[Reading]:
        """One call, and with a climate entity another: only the configuration tells its unit."""
        wanted = {vendor_id for vendor_id in vendor_ids if _is_ours(vendor_id)}
        if not wanted:
            return
        unit = ""
        if any(vendor_id.startswith("climate.") for vendor_id in wanted):
            unit = self._temperature_unit()
        # The list of all states may be long: it is not asked for one entity.
        entities = self._one(min(wanted), unit) if len(wanted) == 1 else self._all(unit)
        for entity in entities.values():
            if entity.entity_id in wanted:
                for description, spec in _attributes(entity):
                    yield _reading(entity, description, spec)

    def listen(self, vendor_ids: Collection[str], whole_every: timedelta) -> Iterator[Update]:
        from core.vendors._home_assistant_socket import (
            listen,  # loads a library that only listeners need
        )

        def readings(states: Iterable[Any], units: object) -> Iterator[Reading]:
            unit = _temperature_unit(units)
            for entity in filter(None, (_entity(state, unit) for state in states)):
                for description, spec in _attributes(entity):
                    yield _reading(entity, description, spec)

        return listen(self.http, frozenset(vendor_ids), readings, whole_every)

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        """Home Assistant also accepts what an entity that is unavailable, or long gone, is ordered
        to do, and does nothing."""
        if revert_after is not None:
            raise ApiRefused(f"{self.label} has no timer: nothing would bring {vendor_id} back.")
        domain = vendor_id.partition(".")[0]
        rows = DOMAINS[domain] if _is_ours(vendor_id) else ()
        row = next((row for row in rows if row.spec.name == attribute), None)
        if row is None or row.order is None:
            raise ApiRefused(
                f"{self.label} takes no orders for {attribute!r:.80} of {vendor_id!r:.80}."
            )
        service, fields = row.order(_ordered(value, row.spec))
        answer = self.http.post(
            f"/api/services/{domain}/{service}", {"entity_id": vendor_id, **fields}
        )
        if not isinstance(answer, list):
            raise ApiError(
                "What answered the order is no list of states: is this address Home Assistant's?"
            )

    def history(self, vendor_id: str, since: datetime, until: datetime) -> Iterator[Reading]:
        """Two calls, and with a climate entity another: only the configuration tells its unit.

        While Home Assistant itself was down it recorded nothing: its last state counts until it was
        back, as in its own charts.
        """
        if not _is_ours(vendor_id):
            return
        unit = self._temperature_unit() if vendor_id.startswith("climate.") else ""
        entity = self._one(vendor_id, unit).get(vendor_id)
        if entity is None:
            return
        for state in recorded(self.http, vendor_id, since, until):
            then = replace(
                entity,
                state=state["state"],
                attributes=attributes_then(state, entity.attributes),
                observed_at=_moment(state.get("last_updated"))
                or _moment(state.get("last_changed")),
            )
            if then.observed_at is not None and since <= then.observed_at < until:
                for description, spec in _attributes(then):
                    yield _reading(then, description, spec)

    def _config(self) -> dict[str, Any]:
        config = self.http.get("/api/config")
        if not isinstance(config, dict):
            raise ApiError(
                "This does not look like Home Assistant: its configuration is no object."
            )
        return config

    def _temperature_unit(self) -> str:
        return _temperature_unit(self._config().get("unit_system"))

    def _one(self, entity_id: str, temperature_unit: str = "") -> dict[str, Entity]:
        try:
            answer = self.http.get(f"/api/states/{entity_id}")
        except (ApiError, ApiRefused) as error:
            if error.status != 404:
                raise
            return self._all(
                temperature_unit
            )  # gone, or this is not Home Assistant: the list tells which
        if not (entity := _entity(answer, temperature_unit)) or entity.entity_id != entity_id:
            raise ApiError(
                f"This does not look like Home Assistant: its answer is no state of {entity_id}."
            )
        return {entity_id: entity}

    def _all(self, temperature_unit: str = "") -> dict[str, Entity]:
        answer = self.http.get("/api/states")
        if not isinstance(answer, list):
            raise ApiError(
                "This does not look like Home Assistant: its answer is no list of states."
            )
        entities = (_entity(state, temperature_unit) for state in answer)
        return {entity.entity_id: entity for entity in entities if entity}


def _temperature_unit(units: object) -> str:
    return _symbol(units.get("temperature")) if isinstance(units, dict) else ""


def _ordered(value: Value, spec: AttributeSpec) -> Value:
    """The value, if the attribute can have it. What one entity makes of it (range, modes) was
    checked when it was ordered."""
    try:
        clean_value(value, spec.kind, minimum=spec.minimum, maximum=spec.maximum)
    except Unacceptable as complaint:
        raise ApiRefused(f"{spec.name}: {complaint}.") from None
    return value
