"""Shelly devices of the second generation and newer, asked directly over RPC on HTTP.

After https://shelly-api-docs.shelly.cloud/gen2/. One gateway is one device. Its parts are components such as `switch:0`;
the attributes of id 0 have plain names (`on`), those of id N a suffix (`on_1`).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.http import ApiError, ApiRefused, Http, digest
from core.readings import LARGEST_NUMBER, AttributeSpec, DeviceSpec, Kind, Reading, Unacceptable, Value, clean_name, clean_value
from core.vendors import Identity, Vendor

COVER_STATES = ("open", "closed", "opening", "closing", "stopped", "calibrating")
LONGEST_ID = 200

NOT_FOUND = 404
"""The firmware has no such method. Told as HTTP status, or as the code of an error."""
FINAL_CODES = {NOT_FOUND, 401, 403, -103, -105, -109}
"""No such method, not allowed, invalid argument, no such component, failed precondition: asking again changes nothing.
The others (-104 deadline exceeded, -108 resource exhausted, -114 unavailable, and unknown ones) may pass."""


@dataclass(frozen=True, slots=True)
class Field:
    """Where in a component's status a value stands, and what it means. `divisor` brings it to our unit."""

    path: tuple[str, ...]
    spec: AttributeSpec
    divisor: float = 1
    method: str = ""
    argument: str = ""
    needs: str = ""
    """A key of the component that must be true for the attribute to be writable."""


def number(path: str, name: str, unit: str, minimum: float, maximum: float, divisor: float = 1) -> Field:
    return Field(tuple(path.split(".")), AttributeSpec(name, Kind.NUMBER, unit, minimum, maximum), divisor)


def boolean(path: str, name: str) -> Field:
    return Field((path,), AttributeSpec(name, Kind.BOOLEAN))


def switchable(method: str) -> Field:
    return Field(("output",), AttributeSpec("on", Kind.BOOLEAN, writable=True), method=method, argument="on")


def percentage(path: str, name: str, method: str, argument: str, needs: str = "") -> Field:
    spec = AttributeSpec(name, Kind.NUMBER, "%", 0, 100, writable=True)
    return Field((path,), spec, method=method, argument=argument, needs=needs)


def power(path: str, name: str = "power") -> Field:
    return number(path, name, "W", -1e6, 1e6)


def voltage(path: str, name: str = "voltage") -> Field:
    return number(path, name, "V", 0, 1000)


def current(path: str, name: str = "current") -> Field:
    return number(path, name, "A", -1000, 1000)


def energy(path: str, name: str = "energy") -> Field:
    return number(path, name, "kWh", 0, 1e9, divisor=1000)


def temperature(name: str) -> Field:
    path = "temperature.tC" if name == "chip_temperature" else "tC"
    return number(path, name, "°C", -100, 1000)


FREQUENCY = number("freq", "frequency", "Hz", 0, 1000)
METER = (
    power("apower"),
    voltage("voltage"),
    current("current"),
    energy("aenergy.total"),
    energy("ret_aenergy.total", "energy_returned"),
    FREQUENCY,
)
PHASES = tuple(
    field
    for phase in "abc"
    for field in (
        power(f"{phase}_act_power", f"power_{phase}"),
        voltage(f"{phase}_voltage", f"voltage_{phase}"),
        current(f"{phase}_current", f"current_{phase}"),
    )
)
PHASE_COUNTERS = tuple(
    field
    for phase in "abc"
    for field in (
        energy(f"{phase}_total_act_energy", f"energy_{phase}"),
        energy(f"{phase}_total_act_ret_energy", f"energy_returned_{phase}"),
    )
)

COMPONENTS: dict[str, tuple[Field, ...]] = {
    "switch": (switchable("Switch.Set"), *METER, temperature("chip_temperature")),
    "light": (
        switchable("Light.Set"),
        percentage("brightness", "brightness", "Light.Set", "brightness"),
        *METER,
        temperature("chip_temperature"),
    ),
    "cover": (
        percentage("current_pos", "position", "Cover.GoToPosition", "pos", needs="pos_control"),
        Field(("state",), AttributeSpec("state", Kind.CHOICE, choices=COVER_STATES)),
        *METER,
        temperature("chip_temperature"),
    ),
    "pm1": METER,
    "em": (power("total_act_power"), current("total_current"), *PHASES),
    "emdata": (energy("total_act"), energy("total_act_ret", "energy_returned"), *PHASE_COUNTERS),
    "em1": (power("act_power"), voltage("voltage"), current("current"), FREQUENCY),
    "em1data": (energy("total_act_energy"), energy("total_act_ret_energy", "energy_returned")),
    "voltmeter": (number("voltage", "voltage", "V", -1000, 1000),),
    "temperature": (temperature("temperature"),),
    "humidity": (number("rh", "humidity", "%", 0, 100),),
    "illuminance": (number("lux", "illuminance", "lx", 0, 1e6),),
    "devicepower": (number("battery.percent", "battery", "%", 0, 100), voltage("battery.V", "battery_voltage")),
    "input": (boolean("state", "input"), number("percent", "input_percent", "%", 0, 100)),
    "smoke": (boolean("alarm", "smoke"),),
    "flood": (boolean("alarm", "flood"),),
}

PREFIXES = {
    "switch": "",
    "light": "light_",
    "cover": "cover_",
    "pm1": "meter_",
    "em": "meter_",
    "em1": "meter_",
    "voltmeter": "voltmeter_",
}
"""These would give the same names. In a device that has several, the first takes the plain ones, the others a prefix."""


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute of a device: its name, the component it stands in, and what the device told."""

    name: str
    component_id: int
    field: Field
    writable: bool
    told: object

    @property
    def spec(self) -> AttributeSpec:
        kind = self.field.spec
        return AttributeSpec(self.name, kind.kind, kind.unit, kind.minimum, kind.maximum, kind.choices, self.writable)


class Client(Vendor):
    """One Shelly device. The password, if one is set, belongs to its only user, `admin`."""

    label = "Shelly (local, Gen2 and newer)"
    address_example = "http://192.168.1.20"
    credential_hint = "the device's admin password, if one is set"
    settle = timedelta(seconds=0.5)
    has_timer = True

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        if http.credential:
            http.auth = digest("admin", http.credential)

    def identify(self) -> Identity:
        info = self._device_info()
        if info.get("auth_en"):  # GetDeviceInfo answers to anybody, so it proves no password
            self._status([info["id"]])
        return Identity(info["id"], clean_name(info.get("name")) or info["id"])

    def devices(self) -> list[DeviceSpec]:
        info = self._device_info()
        status, _ = self._status([info["id"]])
        specs = {part.name: part.spec for part in parts(status)}
        name = clean_name(info.get("name")) or self._configured_name() or info["id"]
        model = clean_name(info.get("app")) or clean_name(info.get("model"))
        return [DeviceSpec(info["id"], name, tuple(specs.values()), model)]

    def read(self, vendor_ids: Collection[str]) -> list[Reading]:
        """One call. No reading carries a time: the answer is the state at the moment of the call, and the device's own
        clock (`sys.unixtime`) counts whole seconds, is null until it was set, and may be wrong."""
        status, vendor_id = self._status(vendor_ids)
        return [Reading(vendor_id, part.name, value) for part in parts(status) for value in _values(part)]

    def write(self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None) -> None:
        """Two calls: the first finds the component, and makes sure that no other device took over the address."""
        status, _ = self._status([vendor_id])
        part = next((part for part in parts(status) if part.name == attribute and part.writable), None)
        if part is None:
            raise ApiRefused(f"{vendor_id} has no {attribute!r} that can be set.")
        params = {"id": part.component_id, **_argument(part, value)}
        if revert_after is not None:
            params["toggle_after"] = _timer(part, revert_after)
        self._order(part.field.method, params)

    def _order(self, method: str, params: dict[str, Any]) -> None:
        answer = self.http.post("/rpc", {"id": 1, "method": method, "params": params})
        _raise_error(answer, method)
        accepted = isinstance(answer, dict) and answer.get("id") == 1 and isinstance(answer.get("result", ""), dict | None)
        if not accepted:
            raise ApiError(f"The device's answer to {method} is no result: nobody knows whether it did it.")

    def _call(self, method: str) -> dict[str, Any]:
        try:
            answer = self.http.get(f"/rpc/{method}")
        except ApiRefused as refusal:
            if refusal.status != 401:
                raise
            wants = "does not accept this password" if self.http.credential else "wants its admin password"
            raise ApiRefused(f"The device {wants}.", status=401) from refusal
        _raise_error(answer, method)
        if not isinstance(answer, dict):
            raise ApiError(f"The device's answer to {method} is no object.")
        return answer

    def _device_info(self) -> dict[str, Any]:
        try:
            info = self._call("Shelly.GetDeviceInfo")
        except (ApiError, ApiRefused) as failure:
            if failure.status not in (401, NOT_FOUND):
                raise
            info = self._introduction(failure)
        if "type" in info and not info.get("gen"):
            raise ApiRefused("This Shelly is of the first generation, which has another API. Only Gen2 and newer are supported.")
        return self._checked(info)

    def _introduction(self, failure: ApiError | ApiRefused) -> dict[str, Any]:
        """What `/shelly` says, which every generation answers to anybody, with or without the RPC method."""
        try:
            answer = self.http.get("/shelly")
        except (ApiError, ApiRefused):
            raise failure from None
        if not isinstance(answer, dict):
            raise failure
        return answer

    def _checked(self, info: dict[str, Any]) -> dict[str, Any]:
        """The id must end in the MAC address: by that each later answer is recognised."""
        vendor_id, mac = info.get("id"), _mac(info.get("mac"))
        if not isinstance(vendor_id, str) or not vendor_id.isprintable() or not mac:
            raise ApiError("The device does not say who it is: no id or no MAC address in its answer.")
        if len(vendor_id) > LONGEST_ID or not vendor_id.lower().endswith(mac):
            raise ApiRefused(
                f"The device's id, {vendor_id:.80}, does not end in its MAC address, {mac}: it is no Shelly we know."
            )
        return info

    def _status(self, vendor_ids: Collection[str]) -> tuple[dict[str, Any], str]:
        """The status, and which of these devices it is of. GetStatus tells the MAC address, not the id."""
        status = self._call("Shelly.GetStatus")
        system = status.get("sys")
        mac = _mac(system.get("mac")) if isinstance(system, dict) else ""
        if not mac:
            raise ApiError("The device's status does not say whose it is: no MAC address in it.")
        for vendor_id in vendor_ids:
            if vendor_id.lower().endswith(mac):
                return status, vendor_id
        expected = ", ".join(sorted(vendor_ids))
        raise ApiRefused(f"Another device answers at this address: its MAC address is {mac}, expected was {expected:.200}.")

    def _configured_name(self) -> str:
        """The name of the device, or of its only named component. Old firmware tells it nowhere else."""
        try:
            config = self._call("Shelly.GetConfig")
        except (ApiError, ApiRefused) as failure:
            if failure.status == NOT_FOUND:
                return ""
            raise
        system = config.get("sys")
        device = system.get("device") if isinstance(system, dict) else None
        if isinstance(device, dict) and (name := clean_name(device.get("name"))):
            return name
        names = {clean_name(part.get("name")) for part in config.values() if isinstance(part, dict)} - {""}
        return names.pop() if len(names) == 1 else ""


def parts(status: dict[str, Any]) -> Iterator[Part]:
    """Every attribute in a status, in the order of COMPONENTS, so that a switch comes before what is only measured."""
    found = sorted((ORDER[kind], component_id, kind) for kind, component_id in map(_split, status) if kind in COMPONENTS)
    prefixes = _prefixes({kind for _, _, kind in found})
    seen = set()
    for _, component_id, kind in found:
        component = status[f"{kind}:{component_id}"]
        prefix, suffix = prefixes.get(kind, ""), f"_{component_id}" if component_id else ""
        for field in COMPONENTS[kind]:
            name, told = f"{prefix}{field.spec.name}{suffix}", _look_up(component, field.path)
            if told is not MISSING and name not in seen:
                seen.add(name)
                writable = field.spec.writable and (not field.needs or component.get(field.needs) is True)
                yield Part(name, component_id, field, writable, told)


def _split(key: str) -> tuple[str, int]:
    """`switch:1` is ("switch", 1); what is no component is ("", 0)."""
    kind, _, component_id = key.partition(":")
    well_formed = component_id.isascii() and component_id.isdigit() and str(int(component_id[:4])) == component_id
    return (kind, int(component_id)) if well_formed else ("", 0)


def _look_up(component: object, path: tuple[str, ...]) -> object:
    for key in path:
        component = component.get(key, MISSING) if isinstance(component, dict) else MISSING
    return component


ORDER = {kind: place for place, kind in enumerate(COMPONENTS)}
MISSING: Any = object()
COUNTED_BY = {"em": "emdata", "em1": "em1data"}
"""Where a meter's counters stand: apart from it, under the same names."""


def _prefixes(kinds: set[str]) -> dict[str, str]:
    rivals = [kind for kind in PREFIXES if kind in kinds]
    prefixes = {kind: PREFIXES[kind] for kind in rivals[1:]}
    return prefixes | {COUNTED_BY[kind]: prefix for kind, prefix in prefixes.items() if kind in COUNTED_BY}


def _values(part: Part) -> Iterator[Value | None]:
    """The value in our unit, None for null, nothing if it is of another type. Its range is checked where it is stored."""
    told, kind = part.told, part.field.spec.kind
    if told is None:
        yield None
    elif kind is Kind.NUMBER:
        if isinstance(told, int | float) and not isinstance(told, bool) and abs(told) <= LARGEST_NUMBER:
            yield told if part.field.divisor == 1 else round(told / part.field.divisor, 6)  # in mWh, without binary noise
    elif isinstance(told, bool if kind is Kind.BOOLEAN else str):
        yield told


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


def _raise_error(answer: Any, method: str) -> None:
    """Errors may come with HTTP 200, in a frame (`{"error": {...}}`) or bare (`{"code": -105, "message": "..."}`)."""
    if not isinstance(answer, dict):
        return
    error = answer if "code" in answer and "message" in answer else answer.get("error")
    if error is None:
        return
    code = error.get("code") if isinstance(error, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    sentence = f"The device answers {method} with an error: {str(words):.200} ({str(code):.20})."
    failure = ApiRefused if isinstance(code, int) and code in FINAL_CODES else ApiError
    raise failure(sentence, status=NOT_FOUND if code == NOT_FOUND else None)


def _mac(told: object) -> str:
    """Twelve hexadecimal digits in lower case, or nothing."""
    text = told.lower() if isinstance(told, str) else ""
    return text if len(text) == 12 and all(digit in "0123456789abcdef" for digit in text) else ""
