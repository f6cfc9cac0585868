"""A device that lives by a rule, minute by minute, in zones whose clock is put forward and back."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from math import pi, sin
from zoneinfo import ZoneInfo

from core import rules
from core.feeds import Signal, Slot
from core.planning import WindowPlan
from core.planning.forecast import Outlook, Rung
from core.rules import Decision, Situation
from core.rules.schedule import week

ZONES = (
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Santiago",  # its clock jumps at midnight
    "Australia/Lord_Howe",  # by half an hour
)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SLOT = timedelta(minutes=30)
AHEAD = 96
"""Slots of the forecast: 48 h."""

LIVES: dict[str, tuple[str, dict[str, object]]] = {
    "awesome": ("awesome", {}),
    "below": ("below", {"percentile": 25}),
    "lightning guard": ("lightning_guard", {}),
    "job of a night": ("cleanest_hours", {"minutes": 180, "before": "02:30", "after": "21:00"}),
    "job of a day": ("cleanest_hours", {"minutes": 300, "before": "00:15", "contiguous": True}),
    "week": (
        "schedule",
        {"on": "mon-fri 07:00-09:00, 22:00-22:20; sat 23:30-00:30"},
    ),
    "after midnight": ("schedule", {"on": "sun 00:10-00:50"}),
    "after one": ("schedule", {"on": "sun 01:15-01:45"}),
    "after two": ("schedule", {"on": "sun 02:05-02:25"}),
    "nights": ("schedule", {"on": "22:00-02:15"}),
    "warm days": ("when", {"limit": 22}),
    "sunny hours": ("surplus", {"watts": 150, "home_uses": 50, "hysteresis": 0}),
}
"""Rules with their options. Between them they touch each time that a clock skips or shows twice."""


@dataclass
class Life:
    """What a device did in so many minutes, and what was wrong with it."""

    name: str
    zone: str
    minutes: int = 0
    on: int = 0
    jobs: int = 0
    faults: list[str] = field(default_factory=list)


def changes_of(zone: str, year: int) -> list[date]:
    """Return the days on which the clock of a zone is put forward or back."""
    clock, found = ZoneInfo(zone), []
    start = datetime(year, 1, 1, tzinfo=UTC)
    for hours in range(366 * 24):
        before, after = (start + timedelta(hours=hours + more) for more in (0, 1))
        if before.astimezone(clock).utcoffset() != after.astimezone(clock).utcoffset():
            found.append(after.astimezone(clock).date())
    return found


def live(name: str, zone: str, start: datetime, minutes: int, step: int = 1) -> Life:
    """Ask a rule of LIVES at each minute, or each so many, and let the device follow it."""
    life, clock = Life(name, zone), ZoneInfo(zone)
    rule_name, written = LIVES[name]
    rule = rules.load(rule_name)
    options = rule.read(written)
    signal = next(iter(rule.signals(options)), None)
    forecast = _forecast(signal, start, minutes) if signal else []
    wanted = _schedule(written["on"], clock, start, minutes) if rule_name == "schedule" else None
    before: Decision | None = None
    is_on, delivered = False, 0.0
    for minute in range(0, minutes, step):
        now = start + minute * MINUTE
        plan = before.plan if before else None
        if plan and plan.job.deadline <= now:
            life.faults += _missed(life, plan, start, delivered)
            life.jobs, delivered, plan = life.jobs + 1, 0.0, None
        situation = Situation(
            now=now,
            device="Heater",
            values={"on": is_on, "temperature": 20 + 5 * sin(2 * pi * minute / (24 * 60))},
            switch="on",
            outlooks=_outlooks(signal, forecast, now),
            options=options,
            zone=clock,
            plan=plan,
            delivered=delivered,
        )
        try:
            decision = rule.decide(situation)
        except Exception as error:  # any: that is what is looked for
            life.faults.append(f"{now}: {type(error).__name__}: {error}")
            continue
        life.faults += _faults(now, before, decision, step)
        if wanted is not None and decision and decision.value != wanted[minute]:
            life.faults.append(f"{now.astimezone(clock)}: {decision.reason}")
        is_on = bool(decision.value) if decision else is_on
        delivered += step * is_on
        before = decision
        life.minutes += step
        life.on += step * is_on
    return life


def _missed(life: Life, plan: WindowPlan, start: datetime, delivered: float) -> Iterator[str]:
    """A job that opened before the start of this life could not be done in full."""
    asked = plan.job.minutes
    if plan.job.opens_at >= start and asked - delivered > max(2, asked / 20):
        yield f"{plan.job.deadline}: {delivered:.0f} of {asked:g} minutes were delivered"


def _faults(
    now: datetime, before: Decision | None, decision: Decision | None, step: int
) -> Iterator[str]:
    if decision is None:
        return
    if decision.until and decision.until <= now:
        yield f"{now}: it is to hold until {decision.until}"
    if before and before.plan is None and not before.guard and before.until:
        has_changed = before.value != decision.value
        if has_changed and now < before.until:
            yield f"{now}: {before.reason}, but then {decision.reason}"
        if not has_changed and now >= before.until and step == 1:
            yield f"{now}: nothing changed, but before {before.reason}"


def _schedule(text: object, clock: ZoneInfo, start: datetime, minutes: int) -> list[bool]:
    """Say for each minute whether a schedule is on, by reading the clock minute by minute.

    A window begins and ends when the clock first shows its times, or a later one.
    """
    spans = week(str(text))
    at = start - 2 * DAY
    shown = []
    for minute in range(minutes + 4 * 24 * 60):
        wall = (at + minute * MINUTE).astimezone(clock).replace(tzinfo=None)
        shown.append(max(wall, shown[-1]) if shown else wall)
    on = [False] * len(shown)
    day = datetime.combine(shown[0].date(), datetime.min.time())
    while day <= shown[-1]:
        for begins, ends in spans[day.weekday()]:
            first, last = bisect_left(shown, day + begins), bisect_left(shown, day + ends)
            on[first:last] = [True] * (last - first)
        day += DAY
    return on[2 * 24 * 60 :][:minutes]


def _forecast(signal: Signal, start: datetime, minutes: int) -> list[Slot]:
    """A wave a day, and a storm each fourth evening."""
    found = []
    for place in range(minutes // 30 + AHEAD + 2):
        at = start + place * SLOT
        wave = 200 + 100 * sin(2 * pi * place / 48) + 20 * sin(2 * pi * place / 31)
        if signal in (Signal.LIGHTNING, Signal.LIGHTNING_CHANCE):
            wave = 20.0 if place % 192 in (40, 41, 42) else 0.0
        found.append(Slot(at, at + SLOT, wave, signal.unit, start, signal))
    return found


def _outlooks(signal: Signal | None, forecast: list[Slot], now: datetime) -> dict[Signal, Outlook]:
    if signal is None:
        return {}
    place = bisect_right(forecast, now, key=lambda slot: slot.starts_at) - 1
    slots = tuple(forecast[place : place + AHEAD])
    return {signal: Outlook(signal, slots, Rung.LIVE, issued_at=now)}
