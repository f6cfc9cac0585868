"""The planner as a service: when to run something, for whoever asks.

By the same forecasts and the same planner as the rules, and smoothed as `cleanest_hours` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from core import feeds, planning
from core.feeds import Signal, Slot
from core.models import Device, Site
from core.planning import Job, Window, WindowPlan
from core.planning.forecast import Outlook, smoothed
from core.rules.cleanest_hours import Options
from core.serializers import utc_text
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region, region_for

LONGEST_AHEAD = timedelta(days=7)
"""No forecast reaches further."""
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SMOOTHED_MINUTES = Options().smooth
Json = dict[str, Any]

FORECAST, EARLIER, TYPICAL = "forecast", "earlier forecast", "typical day"


class NoSuchWindow(ValueError):
    """Says in a sentence why there is no answer to this question."""


class NothingKnown(LookupError):
    """Says in a sentence that there is no data to answer from, and what to do."""


@dataclass(frozen=True, slots=True)
class BestWindow:
    """When to run, and what that was planned from. `value` and `at_once` are means over the run."""

    asked_at: datetime
    region: Region
    outlook: Outlook
    slots: Sequence[Slot]
    """What the forecast says between the two times, not smoothed."""
    plan: WindowPlan
    value: float | None
    at_once: float | None

    def origin(self, slot: Slot) -> str:
        """Say what a slot is of: the forecast that holds now, an earlier one, or a typical day."""
        typical_from, earlier_from = self.outlook.typical_from, self.outlook.earlier_from
        if typical_from and slot.starts_at >= typical_from:
            return TYPICAL
        return EARLIER if earlier_from and slot.issued_at != self.outlook.issued_at else FORECAST


def region_of(
    signal: Signal, site: Site, *, device: Device | None = None, place: str = "", region: str = ""
) -> Region:
    """Return where a signal is looked up: at a device, a place, a region; else at home.

    Raises NoSuchWindow, NothingKnown.
    """
    if device is None:
        device = Device(name="this", region=region)
        if place:
            there = feeds.place(place)
            if there is None:
                raise NoSuchWindow(f"place: {place!r} is no place. Example: 51.50,-0.12")
            device.latitude, device.longitude = there
    try:
        found = region_for(device, signal, site)
    except LookupError as error:
        raise NothingKnown(str(error)) from error
    if found is None:
        raise NothingKnown(f"No feed that FEEDS names offers {signal}.")
    if place and not feeds.load(found.feed).by_place:
        hint = feeds.load(found.feed).region_hint
        raise NoSuchWindow(f"place: {found.feed} has regions, not places. Its region is {hint}.")
    return found


def best_window(
    now: datetime,
    region: Region,
    signal: Signal,
    *,
    minutes: float,
    before: datetime,
    after: datetime | None = None,
    contiguous: bool = True,
    watts: float = 1000,
    device: Device | None = None,
) -> BestWindow:
    """Find the best time for so many minutes before a time. A device's least times are kept.

    Raises NoSuchWindow, NothingKnown.
    """
    opens_at = max(now, after or now)
    _check(now, opens_at, before, minutes)
    job = Job(opens_at, before, minutes, watts=watts, contiguous=contiguous)
    if device is not None:
        least_on, least_off = device.min_on_minutes, device.min_off_minutes
        job = replace(job, min_on=least_on * MINUTE, min_off=least_off * MINUTE)
    forecasts = AsOf(now)
    outlook = forecasts.outlook(region, signal, before)
    slots = _within(outlook.slots, opens_at, before)
    if not slots:
        raise NothingKnown(_why_nothing(forecasts, region, signal))
    # The lowest half-hour of an intensity is mostly noise.
    is_exact = signal.is_exact
    smooth = outlook.slots if is_exact else smoothed(outlook.slots, SMOOTHED_MINUTES * MINUTE)
    plan = planning.plan(job, _within(smooth, opens_at, before), opens_at)
    return BestWindow(
        now,
        region,
        outlook,
        slots,
        replace(plan, cost=planning.cost(plan.windows, slots, watts) or 0),
        _mean(plan.windows, slots),
        _mean(planning.at_once(job, slots).windows, slots),
    )


def _check(now: datetime, opens_at: datetime, before: datetime, minutes: float) -> None:
    if before - now > LONGEST_AHEAD:
        raise NoSuchWindow(f"before: at most {LONGEST_AHEAD.days} days ahead.")
    room = (before - opens_at) / MINUTE
    if room <= 0:
        raise NoSuchWindow("before: it must be after now, and after `after`.")
    if minutes > room:
        raise NoSuchWindow(f"duration: {minutes:g} min do not fit, there are {room:.0f}.")


def _within(slots: Sequence[Slot], since: datetime, until: datetime) -> list[Slot]:
    return [slot for slot in slots if slot.ends_at > since and slot.starts_at < until]


def _why_nothing(forecasts: AsOf, region: Region, signal: Signal) -> str:
    why = forecasts.error(region)
    return f"Nothing is known of {signal} in {region}. {why}".strip()


def _mean(windows: Sequence[Window], slots: Sequence[Slot]) -> float | None:
    hours = sum((window.ends_at - window.starts_at) / HOUR for window in windows)
    cost = planning.cost(windows, slots, 1000)
    return cost / hours if hours and cost is not None else None


def best_window_json(found: BestWindow) -> Json:
    """Show it with the names of the Carbon Aware SDK's EmissionsForecast, and what that lacks.

    Times are clipped to what was asked for; durations are in minutes.
    """
    job, outlook = found.plan.job, found.outlook
    location = found.region.region

    def point(starts_at: datetime, ends_at: datetime, value: float | None) -> Json:
        return {
            "location": location,
            "timestamp": utc_text(starts_at),
            "duration": (ends_at - starts_at) / MINUTE,
            "value": value,
        }

    return {
        "generatedAt": utc_text(outlook.issued_at),
        "requestedAt": utc_text(found.asked_at),
        "location": location,
        "dataStartAt": utc_text(job.opens_at),
        "dataEndAt": utc_text(job.deadline),
        "windowSize": job.minutes,
        "optimalDataPoints": [
            point(run.starts_at, run.ends_at, _mean([run], found.slots))
            for run in found.plan.windows
        ],
        "forecastData": [
            point(max(slot.starts_at, job.opens_at), min(slot.ends_at, job.deadline), slot.value)
            | {"origin": found.origin(slot)}
            for slot in found.slots
        ],
        "feed": found.region.feed,
        "signal": outlook.signal,
        "unit": found.slots[0].unit,
        "forecast": outlook.kind,
        "isReplayed": outlook.is_replayed,
        "earlierFrom": utc_text(outlook.earlier_from),
        "typicalFrom": utc_text(outlook.typical_from),
        "value": found.value,
        "valueAtOnce": found.at_once,
        "cost": found.plan.cost,
        "costUnit": found.plan.unit,
        "shortMinutes": found.plan.short_minutes,
    }
