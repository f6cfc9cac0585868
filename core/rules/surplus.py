"""On while more power is left over than the device draws: what a meter says is fed in, or else what
the panels are expected to give (feed `solar`) beyond what the home uses.

A cloud or a kettle switches nothing: it has to be covered, and then not covered any more, for so
many minutes. What the meter said before the last switch is of another time, and does not count. The
least times on and off are those of the device. Of two devices at one meter, that with fewer minutes
goes first: an interval of decisions apart, the second sees what the first one takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.feeds import Slot
from core.feeds.solar import SOLAR_POWER
from core.rules import (
    Decision,
    Other,
    Situation,
    Undecided,
    attribute_option,
    device_option,
    option,
    past_option,
)

SIGNALS = (SOLAR_POWER,)
REACT = True
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Options:
    meter: int = device_option(
        "Which measures what the home buys and feeds in", nobody="none: by the forecast alone"
    )
    power: str = attribute_option(
        "power", "The meter's attribute that tells it, in watts", of="meter"
    )
    positive_is: str = option(
        "bought",
        "What a positive value of the meter means; a negative one means the other",
        choices=["bought", "fed in"],
    )
    watts: float = option(1000, "What the device draws while it runs", "W")
    may_buy: float = option(0, "How many of these watts may come from the grid", "W")
    hysteresis: float = option(
        200, "How much more than may be bought it takes before it goes off", "W"
    )
    minutes: float = past_option(
        10, "How long the surplus has to last before it goes on, and be missing before it goes off"
    )
    home_uses: float = option(
        300, "Without a meter: what the rest of the home takes of the power of the panels", "W"
    )

    def __post_init__(self) -> None:
        for name in ("may_buy", "hysteresis", "home_uses"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: {getattr(self, name):g} is less than 0.")
        if not 0 < self.watts < 1e9:
            raise ValueError(f"watts: {self.watts:g} is not the power of anything.")
        if self.may_buy >= self.watts:
            raise ValueError(f"may_buy: {self.may_buy:g} of {self.watts:g} W: it is always on.")

    @property
    def sign(self) -> int:
        """1 where positive values of the meter are bought, -1 where they are fed in."""
        return 1 if self.positive_is == "bought" else -1


def decide(situation: Situation) -> Decision:
    options = situation.options
    if not options.meter:
        return _by_forecast(situation, "")
    meter = situation.other(options.meter)
    try:
        value = meter.value(options.power)
    except Undecided as error:
        # A silent meter is no surplus and no lack: the reason says why the forecast counts.
        return _by_forecast(situation, str(error))
    if isinstance(value, bool | str):
        raise Undecided(f"the {options.power} of {meter.name} is no number of watts")
    return _by_meter(situation, meter, options.sign * value)


def metered(options: Options, value: float) -> float:
    return value + options.sign * options.watts


# What is measured


def _by_meter(situation: Situation, meter: Other, bought: float) -> Decision:
    options, is_on = situation.options, situation.is_on
    flow = f"buys {bought:.0f} W" if bought > 0 else f"feeds in {-bought:.0f} W"
    said = f"{meter.name} {flow}{' with it on' if is_on else ''}"
    if is_on:
        limit = options.may_buy + options.hysteresis
        is_due, change = bought > limit, f"more than {limit:.0f} W"
    else:
        # Off, its own watts are still missing from what the meter says.
        limit = options.may_buy - options.watts
        is_due, change = bought < limit, f"enough for its {options.watts:g} W"
    if not is_due:
        stays = "it stays on" if is_on else f"its {options.watts:g} W are not covered"
        return Decision(is_on, f"{said}: {stays}")
    since = _since(situation, meter, limit) or situation.now
    ends_at = since + options.minutes * MINUTE
    if ends_at <= situation.now:
        lasted = f" for {options.minutes:g} min" if options.minutes else ""
        return Decision(not is_on, f"{said}: {change}{lasted}")
    lasted = f"{(situation.now - since) // MINUTE} of {options.minutes:g} min"
    return Decision(is_on, f"{said}: {change} for {lasted}", until=ends_at)


def _since(situation: Situation, meter: Other, limit: float) -> datetime | None:
    """Since when more than `limit` is bought while it is on; or less, while it is off."""
    options, at = situation.options, situation.options.sign * limit
    # Where positive values are fed in, more bought is less on the meter.
    is_above = situation.is_on == (options.sign > 0)
    return meter.since(
        options.power,
        above=at if is_above else None,
        below=None if is_above else at,
        after=situation.changed_at,
    )


# What is expected


def _by_forecast(situation: Situation, problem: str) -> Decision:
    options, outlook, slot = situation.options, situation.outlook, situation.outside
    if outlook is None or slot is None:
        known = f"{problem}, and nothing" if problem else "no meter is named, and nothing"
        raise Undecided(f"{known} is known of the power of the panels now")
    least = options.home_uses + options.watts - options.may_buy
    if situation.is_on:
        least -= options.hysteresis
    is_covered = slot.value >= least
    ends_at = _ends_at(situation.forecast, situation.now, least, is_covered)
    said = f"{slot.value:.0f} W are expected of the panels now, and {least:.0f} W are needed"
    source = outlook.source(situation.now, situation.clock)
    reason = f"{problem}: {said}" if problem else said
    return Decision(is_covered, f"{reason}, {source}" if source else reason, until=ends_at)


def _ends_at(
    slots: Sequence[Slot], now: datetime, least: float, is_covered: bool
) -> datetime | None:
    """When the run of slots ends that leaves the device as decided."""
    ends_at = None
    for slot in slots:
        if slot.ends_at <= now:
            continue
        if (slot.value >= least) != is_covered or slot.starts_at > (ends_at or now):
            break
        ends_at = slot.ends_at
    return ends_at
