"""The status of a Shelly of the second generation and newer: one translation for the device
and for the cloud.

After https://shelly-api-docs.shelly.cloud/gen2/. Its parts are components such as `switch:0`; the
attributes of id 0 have plain names (`temperature`), those of id N a suffix (`temperature_1`).

Channels are components that drive something: switches, lights, covers. Where one piece of hardware
has several, each is a device. The first has the hardware's own id, and all that is no channel's;
the others have ids such as `shellypro4pm-a8032abe54dc/switch:1`, and plain names (`on`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from core.net.errors import ApiError, ApiRefused
from core.readings import (
    LARGEST_NUMBER,
    AttributeSpec,
    Cause,
    DeviceSpec,
    Kind,
    Reading,
    Unacceptable,
    Value,
    clean_name,
    clean_value,
)
from core.vendors._shelly_components import (
    CHANNELS,
    COLDEST,
    COLOR,
    COMPONENTS,
    MOST_COLOUR,
    PREFIXES,
    WARMEST,
    Field,
)

INVALID = {"read", "out_of_range", "power_meter_failure", "ct_type_not_set", "cable_unplugged"}
"""Errors of a component that say its values are not valid; what comes after a colon names one. The
others (overtemp, overpower, ...) stand beside values that are."""
NO_VALUE = -1
"""What stands for a number that is not known yet, as a counter after a restart, where none below
zero can be."""
NO_PROBE = 999
"""What stands for the temperature and humidity of a probe that is not there. Written down nowhere;
after the Shelly integration of Home Assistant."""

_COMPONENT = re.compile("([^:]*):(0|[1-9][0-9]{0,3})")
MOST_KEYS = 500
"""Of a status, or of one part of it. Real ones have some dozens."""

MOST_CHANNELS = 16
"""Of one piece of hardware. Real ones have up to five; what is beyond stays with the first."""

CAUSES = {
    "init": Cause.RESTART,
    "timer": Cause.TIMER,
    **dict.fromkeys(("http", "http_in", "ws_in", "rpc", "mqtt", "udp_in", "loopback"), Cause.ORDER),
    **dict.fromkeys(("button", "switch", "input", "ui"), Cause.PERSON),
}
"""What a component gives as the `source` of its state, in lower case. The documentation names init,
WS_in and http "for example"; the others are what devices were seen to say (`loopback`: a script or
schedule in the device)."""
BY_CLOUD = ("shc", "shc_in", "cloud")
"""Reported for whatever comes through Shelly's cloud: the app, and the cloud's API."""


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute of a device: its name, the component it stands in, what the device reported
    and who set it so. `channel` is the component whose device it is of; "": the hardware's own."""

    name: str
    channel: str
    component: str
    component_id: int
    field: Field
    writable: bool
    reported: object
    source: object = None
    is_valid: bool = True

    @property
    def spec(self) -> AttributeSpec:
        return replace(self.field.spec, name=self.name, writable=self.writable)


def id_of(hardware: str, channel: str) -> str:
    return f"{hardware}/{channel}" if channel else hardware


def hardware_of(vendor_id: str) -> str:
    """Return the id of the hardware that a device is a channel of, or is."""
    return vendor_id.partition("/")[0]


def devices(
    hardware: str,
    name: str,
    status: dict[str, Any],
    config: dict[str, Any],
    model: str = "",
    wakes_every: timedelta | None = None,
) -> Iterator[DeviceSpec]:
    """Describe the devices that a piece of hardware is, by its status and its configuration."""
    by_channel: dict[str, list[AttributeSpec]] = {"": []}
    for part in parts(status):
        by_channel.setdefault(part.channel, []).append(within_range(part, config))
    if len(by_channel) == 1:
        yield DeviceSpec(hardware, name, tuple(by_channel[""]), model, wakes_every)
        return
    found = channels(status)
    for channel, specs in by_channel.items():
        key = channel or found[0]
        yield DeviceSpec(
            id_of(hardware, channel),
            name_of(config.get(key)) or f"{name} {found.index(key) + 1}",
            tuple(specs),
            model,
            wakes_every,
            hardware=hardware,
            hardware_name=name,
        )


def name_of(config: object) -> str:
    """Return the name that people gave a component; "": none."""
    return clean_name(config.get("name")) if isinstance(config, dict) else ""


def readings(
    hardware: str, status: dict[str, Any], by_cloud: Cause | None = Cause.PERSON
) -> Iterator[Reading]:
    """Every value in a status. What can be ordered says who set it; `by_cloud` is who speaks
    through Shelly's cloud."""
    for part in parts(status):
        for value in _values(part):
            vendor_id = id_of(hardware, part.channel)
            yield Reading(vendor_id, part.name, value, cause=_cause(part, by_cloud))


def overlay(status: dict[str, Any], changes: dict[str, Any]) -> None:
    """Lay what NotifyStatus tells over a known status, as the documentation of notifications wants
    it. A key that is null is not there any more, or has no value: both read the same. Raises
    ApiError for one that never ends growing."""
    for key, value in changes.items():
        known = status.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            overlay(known, value)
        else:
            status[key] = value
    if len(status) > MOST_KEYS:
        raise ApiError(f"The device's status has more than {MOST_KEYS} parts.")


def changed_readings(
    hardware: str, status: dict[str, Any], changes: dict[str, Any]
) -> Iterator[Reading]:
    """The values that `changes`, laid over `status` before, tells of.

    Names and marks go by the whole status. What was not told again was not measured now, unless a
    mark beside it may have changed what it is worth.
    """
    for part in parts(status):
        component = changes.get(part.component)
        if not isinstance(component, dict):
            continue
        # Marks of one phase stand in a_errors and the like.
        has_marks = any("errors" in key or key == "is_valid" for key in component)
        if has_marks or _look_up(component, part.field.path) is not MISSING:
            for value in _values(part):
                vendor_id = id_of(hardware, part.channel)
                yield Reading(vendor_id, part.name, value, cause=_cause(part, Cause.PERSON))


def order(
    vendor_id: str,
    status: dict[str, Any],
    attribute: str,
    value: Value,
    revert_after: timedelta | None,
) -> tuple[Part, dict[str, Any]]:
    """The part of a device that an order is for, and the arguments of its method. Raises ApiRefused
    if there is none."""
    hardware = hardware_of(vendor_id)
    of_device = (part for part in parts(status) if id_of(hardware, part.channel) == vendor_id)
    part = next((part for part in of_device if part.name == attribute and part.writable), None)
    if part is None:
        raise ApiRefused(f"{vendor_id} has no {attribute!r} that can be set.")
    # In the same call as the order: between two, the way back could be lost.
    timer = {} if revert_after is None else {"toggle_after": _timer(part, revert_after)}
    return part, _argument(part, value) | timer


def parts(status: dict[str, Any]) -> Iterator[Part]:
    """Every attribute in a status, in the order of COMPONENTS, so that a switch comes before what
    is only measured."""
    found = sorted(
        (ORDER[kind], component_id, kind)
        for kind, component_id in map(_split, status)
        if kind in COMPONENTS
    )
    prefixes = _prefixes({kind for _, _, kind in found})
    others = _channels((component_id, kind) for _, component_id, kind in found)[1:]
    seen = set()
    for _, component_id, kind in found:
        key = f"{kind}:{component_id}"
        component = status[key]
        prefix, suffix = prefixes.get(kind, ""), f"_{component_id}" if component_id else ""
        channel = key if key in others else ""
        for field in COMPONENTS[kind]:
            name = field.spec.name if channel else f"{prefix}{field.spec.name}{suffix}"
            reported = _look_up(component, field.path)
            # What could give one name twice leaves it to the first.
            if reported is MISSING or (channel, name) in seen:
                continue
            seen.add((channel, name))
            is_able = not field.needs or component.get(field.needs) is True
            writable = field.spec.writable and is_able
            is_valid = is_able and _is_valid(component, field.path)
            source = component.get("source")
            yield Part(
                name, channel, key, component_id, field, writable, reported, source, is_valid
            )


def channels(status: dict[str, Any]) -> list[str]:
    """List the components that are channels; the first has plain names where kinds clash."""
    return _channels((component_id, kind) for kind, component_id in map(_split, status))


def _channels(components: Iterable[tuple[int, str]]) -> list[str]:
    found = [(CHANNELS[kind], number, kind) for number, kind in components if kind in CHANNELS]
    return [f"{kind}:{number}" for _, number, kind in sorted(found)[:MOST_CHANNELS]]


def within_range(part: Part, config: dict[str, Any]) -> AttributeSpec:
    """What an attribute is, with the range that the device's configuration gives it."""
    reach = _look_up(config.get(part.component), ("ct_range",))
    if part.field.path != ("ct",) or not isinstance(reach, list) or len(reach) != 2:
        return part.spec
    warmest, coldest = reach
    if type(warmest) is not int or type(coldest) is not int:
        return part.spec
    if not WARMEST <= warmest < coldest <= COLDEST:
        return part.spec
    return replace(part.spec, minimum=warmest, maximum=coldest)


def _split(key: str) -> tuple[str, int]:
    """`switch:1` is ("switch", 1); what is no component is ("", 0)."""
    found = _COMPONENT.fullmatch(key)
    return (found[1], int(found[2])) if found else ("", 0)


def _look_up(component: object, path: tuple[str, ...]) -> object:
    for key in path:
        component = component.get(key, MISSING) if isinstance(component, dict) else MISSING
    return component


def _is_valid(component: dict[str, Any], path: tuple[str, ...]) -> bool:
    """Whether no mark beside the value, or beside what it stands in, says that it is not valid."""
    phase = f"{path[0][:2]}errors"  # a_act_power has its marks in a_errors
    marks = _words(component.get("errors")) + _words(component.get(phase))
    for mark in marks:
        error, _, only = mark.partition(":")
        if error in INVALID and (not only or path[0].endswith(only)):
            return False
    inner: Any = component
    for key in path:
        if inner.get("is_valid") is False or not INVALID.isdisjoint(_words(inner.get("errors"))):
            return False
        inner = inner[key]
    return True


def _words(errors: object) -> list[str]:
    return [word for word in errors if isinstance(word, str)] if isinstance(errors, list) else []


ORDER = {kind: place for place, kind in enumerate(COMPONENTS)}
MISSING: Any = object()
COUNTED_BY = {"em": "emdata", "em1": "em1data"}
"""Where a meter's counters stand: apart from it, under the same names."""


def _prefixes(kinds: set[str]) -> dict[str, str]:
    rivals = [kind for kind in PREFIXES if kind in kinds]
    prefixes = {kind: PREFIXES[kind] for kind in rivals[1:]}
    return prefixes | {
        COUNTED_BY[kind]: prefix for kind, prefix in prefixes.items() if kind in COUNTED_BY
    }


def _values(part: Part) -> Iterator[Value | None]:
    """The value in our unit, None if there is none now, nothing if it is of another type. Its range
    is checked where it is stored."""
    reported, kind, divisor = part.reported, part.field.spec.kind, part.field.divisor
    if reported is None or not part.is_valid or _stands_for_none(part):
        yield None
    elif kind is Kind.NUMBER:
        if isinstance(reported, bool) or not isinstance(reported, int | float):
            return
        if abs(reported) <= LARGEST_NUMBER:
            # Rounded to mWh, without binary noise.
            yield reported if divisor == 1 else round(reported / divisor, 6)
    elif part.field is COLOR:
        yield from _color(reported)
    elif isinstance(reported, bool if kind is Kind.BOOLEAN else str):
        yield reported


def _color(reported: object) -> Iterator[str]:
    """Red, green and blue as pages write a colour, `#ff8000`; nothing if they are something
    else."""
    if not isinstance(reported, list) or len(reported) != 3:
        return
    # Not isinstance: true is an int, too.
    if all(type(share) is int and 0 <= share <= MOST_COLOUR for share in reported):
        yield "#{:02x}{:02x}{:02x}".format(*reported)


def _stands_for_none(part: Part) -> bool:
    spec = part.field.spec
    if spec.kind is not Kind.NUMBER or isinstance(part.reported, bool):
        return False
    if part.reported == NO_VALUE:
        # Where less than 0 can be, -1 is a value.
        return spec.minimum is not None and spec.minimum >= 0
    return part.reported == NO_PROBE and spec.name in ("temperature", "humidity")


def _cause(part: Part, by_cloud: Cause | None) -> Cause | None:
    if not isinstance(part.source, str) or not part.field.spec.writable:
        return None
    source = part.source.lower()
    return by_cloud if source in BY_CLOUD else CAUSES.get(source)


def _argument(part: Part, value: Value) -> dict[str, Any]:
    spec = part.spec
    try:
        clean = clean_value(value, spec.kind, minimum=spec.minimum, maximum=spec.maximum)
    except Unacceptable as complaint:
        raise ApiRefused(f"{part.name} cannot be set: {complaint}.") from None
    if spec.kind is Kind.BOOLEAN:
        return {part.field.argument: bool(clean)}
    if clean != int(clean):  # the device would round it, and then never show what was ordered
        raise ApiRefused(f"{part.name} cannot be set: {clean} is no whole number.")
    return {part.field.argument: int(clean)}


def _timer(part: Part, revert_after: timedelta) -> float:
    if part.field.argument != "on":
        raise ApiRefused(f"{part.name} has no timer: only what is switched on and off has one.")
    seconds = revert_after.total_seconds()
    if seconds <= 0:
        raise ApiRefused("A timer must be longer than nothing.")
    return seconds
