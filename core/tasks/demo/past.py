"""The two weeks before the demo began, so that its charts and scores have something to show.

Nothing is drawn for the pages. What the replayed feed would have answered is stored as of when
it would have been fetched; rules decide by it as in a backtest; the simulated devices run as
decided; and `record()` stores what they answer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core import rules
from core.feeds import Signal, replay
from core.models import Device, FeedSource, Plan, Site
from core.planning import Window
from core.simulator import SimulatedDevice
from core.tasks.backtesting import past
from core.tasks.backtesting.device import BacktestSettings, ReplayedDevice
from core.tasks.decisions.settle import settle_plans
from core.tasks.events.outbox import publishing
from core.tasks.forecasts.regions import Region, region_for
from core.tasks.forecasts.store import checked_answer, store_answer
from core.tasks.polling.record import GatewayAnswer, record
from core.vendors._shelly import readings

PAST = timedelta(days=14)
ANSWER_EVERY = timedelta(minutes=10)
DECIDE_EVERY = timedelta(minutes=30)
"""As long as a slot of the replayed data."""
FETCH_EVERY = timedelta(hours=2)
"""As far as its forecast of lightning looks ahead."""
AHEAD = timedelta(hours=48)

RuleOptions = Mapping[str, object]


@dataclass(frozen=True)
class Lived:
    """How a device came to now: its plans, and what it answered, as JSON by time."""

    plans: Sequence[Plan]
    answers: Sequence[tuple[datetime, str]]


def begin_of(now: datetime) -> datetime:
    """Return when the past begins: at a noon, at least a fortnight ago.

    So each device has all the time that its first job needs.
    """
    fortnight_ago = (now - PAST).astimezone(Site.home().clock)
    noon = fortnight_ago.replace(hour=12, minute=0, second=0, microsecond=0)
    if noon > fortnight_ago:
        noon -= timedelta(days=1)
    return noon.astimezone(UTC)


def fetch_past(now: datetime) -> None:
    """Store what the replayed feed would have answered every two hours.

    The first answer holds a fortnight of measurements, for a typical day.
    """
    [region] = _regions([Signal.CARBON_INTENSITY]).values()
    source, _ = FeedSource.objects.get_or_create(**region._asdict())
    at = begin_of(now)
    since = at - PAST
    while at < now:
        slots = replay.slots_as_of(at, since, at + AHEAD)
        store_answer(source.pk, checked_answer(slots, since, at + AHEAD, at))
        since, at = at - FETCH_EVERY, at + FETCH_EVERY


def live(device: SimulatedDevice, ruled: tuple[str, RuleOptions] | None, now: datetime) -> Lived:
    """Take a simulated device through the past, switched by its rule."""
    plans: list[Plan] = []
    windows: Sequence[Window] = ()
    if ruled:
        decided = _decide(*ruled, now)
        plans, windows = decided.rows, decided.on
    device.rewind(begin_of(now).timestamp())
    return Lived(plans, list(_answers(device, windows, now)))


def _decide(name: str, written: RuleOptions, now: datetime) -> ReplayedDevice:
    rule, since = rules.load(name), begin_of(now)
    options = rule.read(written)
    regions = _regions(rule.signals(options))
    settings = BacktestSettings(rule, options, since, now, DECIDE_EVERY, Site.home().clock)
    known = {
        signal: past.from_database(region, signal, since, now) for signal, region in regions.items()
    }
    device = ReplayedDevice(settings, known)
    while since < now:
        device.tick(since)
        since += DECIDE_EVERY
    device.stop(now)
    signal, region = next(iter(regions.items()))
    for plan in device.rows:
        plan.rule, plan.signal, plan.region = name, signal, str(region)
        plan.delivered = 0  # it is counted from what is stored
    return device


def _answers(
    device: SimulatedDevice, windows: Sequence[Window], now: datetime
) -> Iterator[tuple[datetime, str]]:
    """Yield its status every ten minutes. Rules switch at some of these times."""
    on = iter(windows)
    window = next(on, None)
    at = begin_of(now)
    while at < now:
        while window and window.ends_at <= at:
            window = next(on, None)
        device.be(window is not None and window.starts_at <= at, at.timestamp())
        yield at, device.status(at.timestamp())
        at += ANSWER_EVERY


def store(lived: Mapping[int, Lived], now: datetime) -> None:
    """Store the past of stored devices, by their primary key."""
    devices = Device.objects.in_bulk(lived)
    record(
        GatewayAnswer(
            device.gateway_id,
            at,
            [device.vendor_id],
            list(readings(device.vendor_id, json.loads(status))),
            pushed=True,
            tells_health=False,
        )
        for pk, device in devices.items()
        for at, status in lived[pk].answers
    )
    with publishing():
        for pk, device in devices.items():
            for plan in lived[pk].plans:
                plan.device = device
                plan.save()
    settle_plans(now)


def _regions(signals: Iterable[Signal]) -> dict[Signal, Region]:
    """Return where a feed in FEEDS tells these, the most wanted first; what none tells is not."""
    device, site = Device(name="the demo"), Site.home()
    found = {signal: region_for(device, signal, site) for signal in signals}
    told = {signal: region for signal, region in found.items() if region}
    if not told:
        raise LookupError("No feed in FEEDS tells what the demo's rules look at.")
    return told
