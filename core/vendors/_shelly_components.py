"""The components of a Shelly of the second generation and newer: what stands where in their status.

After https://shelly-api-docs.shelly.cloud/gen2/. A new kind is a row of COMPONENTS, and one of
PREFIXES where its names would clash.
"""

from dataclasses import dataclass

from core.readings import AttributeSpec, Kind

COLDEST, WARMEST = 10_000, 1_000
"""Colour temperatures in K that white light can have. What one light can do is in its
configuration, `ct_range`."""
COLOR_TEMPERATURE_STEP = 50
"""Some lights round to so many K."""
MOST_COLOUR = 255
COVER_STATES = ("open", "closed", "opening", "closing", "stopped", "calibrating")


@dataclass(frozen=True, slots=True)
class Field:
    """Where in a component's status a value stands, and what it means. `divisor` brings it to our
    unit."""

    path: tuple[str, ...]
    spec: AttributeSpec
    divisor: float = 1
    method: str = ""
    argument: str = ""
    needs: str = ""
    """A key of the component that must be true for the attribute to be writable."""


def number(
    path: str, name: str, unit: str, minimum: float, maximum: float, divisor: float = 1
) -> Field:
    return Field(
        tuple(path.split(".")), AttributeSpec(name, Kind.NUMBER, unit, minimum, maximum), divisor
    )


def boolean(path: str, name: str) -> Field:
    return Field((path,), AttributeSpec(name, Kind.BOOLEAN))


def switchable(method: str) -> Field:
    return Field(
        ("output",), AttributeSpec("on", Kind.BOOLEAN, writable=True), method=method, argument="on"
    )


def percentage(path: str, name: str, method: str, argument: str, needs: str = "") -> Field:
    spec = AttributeSpec(name, Kind.NUMBER, "%", 0, 100, writable=True, step=1)
    return Field((path,), spec, method=method, argument=argument, needs=needs)


def lamp(method: str) -> tuple[Field, ...]:
    """What every light is: switched and dimmed."""
    return switchable(method), percentage("brightness", "brightness", method, "brightness")


def color_temperature(method: str) -> Field:
    spec = AttributeSpec(
        "color_temperature",
        Kind.NUMBER,
        "K",
        WARMEST,
        COLDEST,
        writable=True,
        step=1,
        tolerance=COLOR_TEMPERATURE_STEP,
    )
    return Field(("ct",), spec, method=method, argument="ct")


def white(method: str) -> Field:
    spec = AttributeSpec("white", Kind.NUMBER, "", 0, MOST_COLOUR, writable=True, step=1)
    return Field(("white",), spec, method=method, argument="white")


def power(path: str, name: str = "power") -> Field:
    return number(path, name, "W", -1e6, 1e6)


def voltage(path: str, name: str = "voltage") -> Field:
    return number(path, name, "V", 0, 1000)


def current(path: str, name: str = "current") -> Field:
    return number(path, name, "A", -1000, 1000)


def energy(path: str, name: str = "energy") -> Field:
    # Devices count Wh.
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
MEASURED = (*METER, temperature("chip_temperature"))
COLOR = Field(("rgb",), AttributeSpec("color", Kind.TEXT))
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
    "switch": (switchable("Switch.Set"), *MEASURED),
    "light": (*lamp("Light.Set"), *MEASURED),
    "cct": (*lamp("CCT.Set"), color_temperature("CCT.Set"), *MEASURED),
    "rgb": (*lamp("RGB.Set"), COLOR, *MEASURED),
    "rgbw": (*lamp("RGBW.Set"), white("RGBW.Set"), COLOR, *MEASURED),
    "cover": (
        percentage("current_pos", "position", "Cover.GoToPosition", "pos", needs="pos_control"),
        Field(("state",), AttributeSpec("state", Kind.CHOICE, choices=COVER_STATES)),
        *MEASURED,
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
    "devicepower": (
        number("battery.percent", "battery", "%", 0, 100),
        voltage("battery.V", "battery_voltage"),
    ),
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
    "cct": "cct_",
    "rgb": "rgb_",
    "rgbw": "rgbw_",
}
"""These would give the same names. In a device that has several, the first takes the plain ones,
the others a prefix. A new kind goes last, so that no name in a home already set up changes."""

CHANNELS = {
    kind: place
    for place, kind in enumerate(PREFIXES)
    if kind in ("switch", "light", "cover", "cct", "rgb", "rgbw")
}
"""What drives something by itself: a device for each, where there are several. The first in order
has the plain names."""
