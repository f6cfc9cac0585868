"""Off, and held off, while lightning is near or coming. It goes before the rule beside it.

At each moment the most direct signals that there are count: the chance of a strike nearby by a
nowcast, and flashes seen or forecast; else the lightning potential of a weather model, else its
CAPE. Only forecasts count: a typical day says nothing of today's weather. A nowcast counts while it
is live; then nothing is looked at beyond its end, were the lead longer: a model is no better there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.feeds import Signal, Slot
from core.planning.forecast import Outlook, Rung
from core.rules import Decision, Situation, Undecided, option

GUARD = True
DIRECT = (Signal.LIGHTNING_CHANCE, Signal.LIGHTNING)
MODELLED = (Signal.LIGHTNING_POTENTIAL, Signal.CAPE)
SIGNALS = (*DIRECT, *MODELLED)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Options:
    chance: float = option(20, "Danger from this chance of lightning nearby on", "%")
    flashes: float = option(2, "Danger from so many flashes on", "flashes/h")
    potential: float = option(
        5, "Where nobody tells of flashes: from this lightning potential on", "J/kg"
    )
    cape: float = option(1500, "Where neither is known: from this CAPE on", "J/kg")
    lead_minutes: int = option(60, "How long before a danger it is off", "min")
    clear_minutes: int = option(30, "How long after a danger it stays off", "min")
    on_after: bool = option(True, "Without danger it is on; else it is left alone then")

    def __post_init__(self) -> None:
        for name in ("chance", "flashes", "potential", "cape"):
            if getattr(self, name) <= 0:
                raise ValueError(
                    f"{name}: {getattr(self, name):g} is no danger. It is more than 0."
                )
        if self.chance > 100:
            raise ValueError(f"chance: {self.chance:g} is more than 100 %.")
        for name in ("lead_minutes", "clear_minutes"):
            if not 0 <= getattr(self, name) <= 24 * 60:
                raise ValueError(f"{name}: {getattr(self, name)} is not between 0 and 1440.")

    def limit(self, signal: Signal) -> float:
        limits = {
            Signal.LIGHTNING_CHANCE: self.chance,
            Signal.LIGHTNING: self.flashes,
            Signal.LIGHTNING_POTENTIAL: self.potential,
            Signal.CAPE: self.cape,
        }
        return limits[signal]


def decide(situation: Situation) -> Decision | None:
    options = situation.options
    # What begins just then counts.
    horizon = _reach(situation, situation.now + (options.lead_minutes + 1) * MINUTE)
    slots = list(_ahead(situation, horizon))
    if dangers := [slot for slot in slots if slot.value >= options.limit(slot.signal)]:
        ends_at = max(_danger_until(situation, slot) for slot in dangers)
        until = ends_at + options.clear_minutes * MINUTE
        return Decision(False, _warned(situation, dangers[0]), until=until, guard=True)
    # Only after the dangers: one that is seen counts, whatever is not known beside it.
    if gap := _gap(slots, situation.now, horizon):
        return _blind(situation, gap)
    if situation.held_off_since and situation.now < (clear_at := _clear_at(situation, slots[0])):
        reason = f"no more lightning in sight: all-clear at {situation.clock(clear_at)}"
        return Decision(False, reason, until=clear_at, guard=True)
    return Decision(True, _calm(situation, slots)) if options.on_after else None


# What is forecast


def _ahead(situation: Situation, until: datetime) -> Iterator[Slot]:
    """The slots from now on that count, in order of time.

    At each moment those of all direct signals, else that of the most wanted model that has one.
    """
    direct, modelled = _forecasts(situation, DIRECT), _forecasts(situation, MODELLED)
    at = situation.now
    while at < until:
        holding = [slot for slots in direct if (slot := _at(slots, at))]
        if not holding:
            holding = [slot for slots in modelled if (slot := _at(slots, at))][:1]
        yield from holding
        forecasts = (*direct, *modelled)
        later = [one.starts_at for slots in forecasts for one in slots if one.starts_at > at]
        # On to the next moment at which another slot may count.
        at = min([*later, *(slot.ends_at for slot in holding), until])


def _forecasts(situation: Situation, signals: Sequence[Signal]) -> list[Sequence[Slot]]:
    outlooks = situation.outlooks
    return [_forecast(outlooks[signal]) for signal in signals if signal in outlooks]


def _at(slots: Sequence[Slot], at: datetime) -> Slot | None:
    return next((slot for slot in slots if slot.starts_at <= at < slot.ends_at), None)


def _forecast(outlook: Outlook) -> Sequence[Slot]:
    if outlook.rung in (Rung.TYPICAL, Rung.NONE):
        return ()
    if outlook.signal == Signal.LIGHTNING_CHANCE and outlook.rung is not Rung.LIVE:
        return ()  # storms of an hour ago say nothing of the next
    end = outlook.typical_from
    return [slot for slot in outlook.slots if end is None or slot.starts_at < end]


def _reach(situation: Situation, horizon: datetime) -> datetime:
    """The horizon, but no later than the end of a nowcast that holds now."""
    for slots in _forecasts(situation, (Signal.LIGHTNING_CHANCE,)):
        if _at(slots, situation.now):
            return min(horizon, slots[-1].ends_at)
    return horizon


def _gap(slots: Sequence[Slot], now: datetime, until: datetime) -> datetime | None:
    """The first moment without a slot; None if there is none before `until`."""
    at = now
    for slot in slots:
        if slot.starts_at > at:
            return at
        at = max(at, slot.ends_at)
    return at if at < until else None


# When it is over


def _danger_until(situation: Situation, slot: Slot) -> datetime:
    """The end of a danger. Of a chance: now, since each nowcast makes what was told before void."""
    return situation.now if slot.signal == Signal.LIGHTNING_CHANCE else slot.ends_at


def _clear_at(situation: Situation, slot: Slot) -> datetime:
    """The earliest time for the all-clear: `clear_minutes` after the last danger.

    The latest warning stored its end. If not: there is no danger from the start of the slot that
    holds now, and what was before is unknown. Slots shorter than `clear_minutes` say too little;
    then the hold lasts for the lead and the all-clear at least.
    """
    after: timedelta = situation.options.clear_minutes * MINUTE
    since = situation.held_off_since or situation.now
    if situation.held_off_until:
        return situation.held_off_until
    if slot.ends_at - slot.starts_at >= after:
        return max(slot.starts_at, since) + after
    return _least_end(situation)


def _least_end(situation: Situation) -> datetime:
    options, since = situation.options, situation.held_off_since or situation.now
    least = (options.lead_minutes + options.clear_minutes) * MINUTE
    return situation.held_off_until or since + least


def _blind(situation: Situation, gap: datetime) -> Decision:
    """No forecast, no all-clear: a hold goes on to its end, then the fail-safe acts."""
    missing = f"from {situation.clock(gap)} on" if gap > situation.now else "is known"
    unknown = f"no forecast of lightning {missing}"
    if situation.held_off_since and situation.now < (until := _least_end(situation)):
        since = situation.clock(situation.held_off_since)
        reason = f"held off since {since}, and {unknown} that gives the all-clear"
        return Decision(False, reason, until=until, guard=True)
    # Undecided, not off: the device's fail-safe state says what is right without knowledge.
    raise Undecided(unknown)


# Reasons


def _warned(situation: Situation, slot: Slot) -> str:
    limit = situation.options.limit(slot.signal)
    end = situation.clock(slot.ends_at)
    when = f"until {end}"
    if slot.starts_at > situation.now:
        when = f"from {situation.clock(slot.starts_at)} to {end}"
    what = {
        Signal.LIGHTNING_CHANCE: f"lightning may strike nearby {when}: chance ",
        Signal.LIGHTNING: f"lightning {when}: ",
        Signal.LIGHTNING_POTENTIAL: f"lightning possible {when}: ",
        Signal.CAPE: f"thunderstorms possible {when}: CAPE ",
    }
    value = f"{slot.value:.4g} {slot.unit}, danger from {limit:g}"
    return f"{what[slot.signal]}{value}{_source(situation, slot)}"


def _calm(situation: Situation, slots: Sequence[Slot]) -> str:
    options = situation.options
    worst = max(slots, key=lambda slot: slot.value / options.limit(slot.signal))
    names = {
        Signal.LIGHTNING_CHANCE: "chance ",
        Signal.LIGHTNING: "",
        Signal.LIGHTNING_POTENTIAL: "potential ",
        Signal.CAPE: "CAPE ",
    }
    name = names[worst.signal]
    limit = options.limit(worst.signal)
    most = f"{name}{worst.value:.4g} {worst.unit} at most, danger from {limit:g}"
    source = _source(situation, worst)
    return f"no lightning expected within {options.lead_minutes} min: {most}{source}"


def _source(situation: Situation, slot: Slot) -> str:
    # Slots of a typical day were not used: the source is not to name them.
    outlook = replace(situation.outlooks[slot.signal], typical_from=None)
    source = outlook.source(situation.now, situation.clock)
    return f", {source}" if source else ""
