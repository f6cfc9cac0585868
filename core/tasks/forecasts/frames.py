"""What a model is given to learn from: what had been fetched of its source, as of a time.

A source is a region of a feed, or an attribute of a device: Region("device", "12.power").
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from core import feeds
from core.feeds import Feed, Frame, Model, Signal, Slot
from core.models import Attribute
from core.models.forecast import DEVICE
from core.net.errors import ApiError, ApiRefused
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, configured
from core.tasks.observations import edges, spans
from core.tasks.polling.units import are_convertible, converted

UTC = ZoneInfo("UTC")
LEAST_COVERAGE = 0.5
"""Of a span: a mean of less is none of the whole span."""


def is_model(name: str) -> bool:
    """Tell whether a feed is a model. Of one that does not load: no."""
    try:
        return issubclass(feeds.load(name), Model)
    except feeds.UnknownFeed:
        return False


def configured_models() -> list[Region]:
    """Return the models in FEEDS. They are run for their scores too, whether a rule looks or not.

    One without a region of its own learns from another feed in FEEDS.
    """
    return [region for region in configured() if is_model(region.feed)]


def source_of(region: Region) -> Region:
    """Return where a model learns. Raises ApiRefused, with what to do."""
    signal = feeds.load(region.feed).signals[0]
    name, _, place = region.region.partition(":")
    if name == DEVICE:
        return Region(DEVICE, place)
    if name in feeds.names():
        source = Region(name, place)
    else:
        others = [one for one in configured() if one.feed != region.feed and _offers(one, signal)]
        if not others:
            raise ApiRefused(
                f"Nothing else in FEEDS offers {signal}, which it would learn from. "
                f"Name it after a colon, such as {region.feed}:{_example(signal)}."
            )
        source = Region(others[0].feed, region.region or others[0].region)
    if is_model(source.feed):
        raise ApiRefused(f"{source} is a model itself, and measures nothing.")
    if feeds.is_replayed(source.feed):
        raise ApiRefused(f"{source} is replayed: what is learnt from it would not say so.")
    return source


def frame_for(region: Region, model: type[Feed], now: datetime) -> Frame:
    """Return what the model may know as of `now`.

    Raises ApiError while nothing is known, ApiRefused where there is no such source.
    """
    assert issubclass(model, Model)  # noqa: S101 (for types: callers have asked is_model())
    source, signal, until = source_of(region), model.signals[0], now + model.ahead
    known = AsOf(now)
    slots = measured_of(source, signal, known, now - model.looks_back, now, model.every)
    measured = tuple(slot for slot in slots if slot.ends_at <= now)
    if not measured:
        raise ApiError(f"Nothing was measured yet of {source}, which it learns from.")
    # Nobody but the model foretells what a device will measure.
    ahead = known.outlook(source, signal, until).slots if source.feed != DEVICE else ()
    expected = tuple(slot for slot in ahead if slot.issued_at)
    return Frame(now, until, signal, measured[-1].unit, measured, expected)


def measured_of(
    source: Region,
    signal: Signal,
    known: AsOf,
    since: datetime,
    until: datetime,
    every: timedelta,
) -> list[Slot]:
    """Return clean slots of what a source measured in this time; of a device, means of `every`.

    Raises ApiRefused where there is no such device or attribute, or none of the signal's unit.
    """
    if source.feed != DEVICE:
        return known.measurements(source, signal, since, until)
    attribute, unit = _attribute(source), signal.unit
    if not are_convertible(attribute.unit, unit):
        raise ApiRefused(f"{source} is in {attribute.unit or 'no unit'}, and {signal} in {unit}.")
    # Observations are not revised: what was observed by then was known by then.
    times = list(edges(since, min(until, known.at), every, UTC))
    slots = []
    for starts_at, ends_at, mean, _, _, coverage, *_ in spans(attribute, times, known.at):
        if mean is not None and coverage >= LEAST_COVERAGE and ends_at <= known.at:
            value = converted(mean, attribute.unit, unit)
            slots.append(Slot(starts_at, ends_at, value, unit, signal=signal))
    return slots


def _attribute(source: Region) -> Attribute:
    """Read the attribute of "12.power". Raises ApiRefused."""
    number, _, name = source.region.partition(".")
    found = Attribute.objects.filter(device__removed_at=None, name=name).select_related("device")
    attribute = found.filter(device=int(number)).first() if number.isdecimal() else None
    if attribute is None:
        raise ApiRefused(
            f"There is no {source}: name it as device:12.power, by the number in the address of "
            "the device's page and the name of its attribute."
        )
    return attribute


def _example(signal: Signal) -> str:
    return "device:12.power" if signal == Signal.POWER else "carbon_intensity_gb"


def _offers(region: Region, signal: str) -> bool:
    try:
        feed = feeds.load(region.feed)
    except feeds.UnknownFeed:
        return False
    return signal in feed.signals and not issubclass(feed, Model)
