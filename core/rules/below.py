"""On while a signal is below a threshold, or among the lowest of the coming day.

Between on and off lies a dead band, so that a value that wavers switches nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf

from core import feeds
from core.feeds import Signal, Slot
from core.rules import Decision, Situation, Undecided, option

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Options:
    signal: str = option(
        str(Signal.CARBON_INTENSITY),
        "What is looked at",
        choices=list(map(str, feeds.signals())),
    )
    threshold: float = option(150, "On below this, in the unit of the signal")
    currency: str = option(
        "", "Of the threshold, of a price: nothing is decided by prices in another one; empty: any"
    )
    percentile: float = option(
        0,
        "Instead of the threshold: on in the lowest so many percent of the coming 24 h; 0: not",
        "%",
    )
    hysteresis: float = option(
        10, "Off only above the threshold and so much more, in its unit (or in percent of the 24 h)"
    )

    def __post_init__(self) -> None:
        if self.hysteresis < 0:
            raise ValueError(f"hysteresis: {self.hysteresis:g} is less than 0.")
        if not 0 <= self.percentile < 100:
            raise ValueError(f"percentile: {self.percentile:g} is not between 0 and 100.")
        if self.percentile and self.percentile + self.hysteresis >= 100:
            raise ValueError(
                "hysteresis: with the percentile it is 100 or more, "
                "so that nothing would ever be too much."
            )


def decide(situation: Situation) -> Decision:
    outlook, slot = situation.outlook, situation.outside
    if outlook is None or slot is None:
        raise Undecided(f"nothing is known of the {situation.options.signal.replace('_', ' ')} now")
    low, high = _band(situation)
    value = slot.value < low or situation.is_on and slot.value <= high
    ends_at = _ends_at(situation.forecast, situation.now, value, low, high)
    currency = situation.options.currency
    if currency and not situation.options.percentile and not slot.unit.startswith(f"{currency}/"):
        raise Undecided(f"the threshold is in {currency}, and the price in {slot.unit}")
    source = outlook.source(situation.now, situation.clock)
    reason = f"{_compared(situation, slot, low, high)}{f', {source}' if source else ''}"
    return Decision(value, reason, until=ends_at)


def _band(situation: Situation) -> tuple[float, float]:
    """On below the first, off above the second, between them as it is."""
    options = situation.options
    if not options.percentile:
        return options.threshold, options.threshold + options.hysteresis
    _, low = _lowest(situation, options.percentile)
    high, _ = _lowest(situation, options.percentile + options.hysteresis)
    return low, high


def _lowest(situation: Situation, percent: float) -> tuple[float, float]:
    """Return the last value among the lowest so many percent of 24 h, and the next one above.

    Equal values belong together: those that would make it more time than that are not among them,
    unless they are the lowest of all. Where all are equal none is among the lowest. Without a last
    or a next one it is infinite.
    """
    shares = _shares(situation)
    values = sorted(shares)
    if len(values) == 1:
        return -inf, values[0]
    last, room = 0, percent - shares[values[0]]
    # A billionth of a percent is what sums of shares may be wrong by.
    while last + 1 < len(values) and shares[values[last + 1]] <= room + 1e-9:
        last += 1
        room -= shares[values[last]]
    return values[last], values[last + 1] if last + 1 < len(values) else inf


def _shares(situation: Situation) -> dict[float, float]:
    """By value: in how many percent of what is known of the coming 24 h it holds."""
    now = situation.now
    lengths: dict[float, timedelta] = {}
    for slot in situation.forecast:
        if slot.ends_at > now and slot.starts_at < now + DAY:
            length = slot.ends_at - slot.starts_at
            lengths[slot.value] = lengths.get(slot.value, timedelta()) + length
    whole = sum(lengths.values(), timedelta())
    return {value: 100 * (length / whole) for value, length in lengths.items()}


def _ends_at(
    slots: Sequence[Slot], now: datetime, is_on: bool, low: float, high: float
) -> datetime | None:
    """When the run of slots ends that leaves the device as decided."""
    ends_at = None
    for slot in slots:
        stays = slot.value <= high if is_on else slot.value >= low
        if slot.ends_at <= now:
            continue
        if not stays or slot.starts_at > (ends_at or now):
            break
        ends_at = slot.ends_at
    return ends_at


def _compared(situation: Situation, slot: Slot, low: float, high: float) -> str:
    options = situation.options
    value = f"{slot.value:.4g} {slot.unit}"
    if low <= slot.value <= high:
        state = "on" if situation.is_on else "off"
        return f"{value} is between {low:.4g} and {high:.4g}: it stays {state}"
    is_low = slot.value < low
    if options.percentile:
        if is_low and _shares(situation)[slot.value] > options.percentile:
            return f"{value} is the lowest of 24 h"
        if is_low:
            return f"{value} is among the lowest {options.percentile:g} % of 24 h"
        most = options.percentile + options.hysteresis
        return f"{value} is not among the lowest {most:g} % of 24 h"
    return f"{value} is below {low:.4g}" if is_low else f"{value} is above {high:.4g}"
