"""Settle plans whose deadline is over: what they cost by measurements, at once, and at best."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from core import feeds, formatting
from core.feeds import Slot
from core.models import Attribute, Plan
from core.models.attribute import main_switch
from core.planning import Window, score, timeline
from core.tasks.decisions import plans
from core.tasks.decisions.running import minutes_on, running
from core.tasks.events.outbox import publishing
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region

WAIT = timedelta(days=3)
"""For missing measurements, and for a device to be heard again.

Then a plan is settled as far as it goes.
"""
MOST_AT_ONCE = 500
"""Plans of one region and signal in one run: what is left over is for the next."""
SETTLED_FIELDS = (
    "unit",
    "actual",
    "at_once",
    "ideal",
    "delivered",
    "counted_until",
    "settled_at",
    "note",
)


@dataclass(frozen=True)
class Settled:
    """How many plans were settled in full, in part, and how many wait for measurements."""

    full: int = 0
    partly: int = 0
    waiting: int = 0

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(
            self.full + other.full, self.partly + other.partly, self.waiting + other.waiting
        )


class Unheard(NamedTuple):
    """Minutes between opening and deadline in which nobody heard the device, and how many of them
    it ran by its energy meter, its timer, or its state before and after."""

    minutes: float
    counted_as_on: float


def settle_plans(now: datetime) -> Settled:
    """Settle every plan whose deadline is over. Safe to repeat.

    At most 500 of each region and signal, oldest first.
    """
    due = Plan.objects.unsettled().filter(deadline__lte=now)
    done = Settled()
    # Without order_by() the model's own order would take part in DISTINCT, and nothing be merged.
    for region, signal in due.order_by().values_list("region", "signal").distinct():
        rows = due.filter(region=region, signal=signal).order_by("deadline", "pk")
        rows = rows.select_related("device").prefetch_related("device__attributes")
        done += _settle(list(rows[:MOST_AT_ONCE]), now)
    return done


def _settle(rows: Sequence[Plan], now: datetime) -> Settled:
    """Settle plans of one region and signal."""
    since, until = min(row.opens_at for row in rows), max(row.deadline for row in rows)
    # One query for all: they share region and signal, and each cuts its own time out.
    measured = _measured(rows[0], since, until, now)
    switches = {row.device_id: main_switch(list(row.device.attributes.all())) for row in rows}
    seen = running([switch for switch in switches.values() if switch], since, until)
    settled = [
        row for row in rows if _settle_one(row, switches[row.device_id], seen, measured, now)
    ]
    with publishing() as outbox:
        outbox.changed_pks(Plan, [plan.pk for plan in settled])
        Plan.objects.bulk_update(settled, SETTLED_FIELDS, batch_size=100)
    full = sum(None not in (row.actual, row.at_once, row.ideal) for row in settled)
    return Settled(full, len(settled) - full, len(rows) - len(settled))


def _measured(row: Plan, since: datetime, until: datetime, now: datetime) -> list[Slot]:
    """A plan that was made without any feed has neither region nor signal."""
    if not row.signal:
        return []
    feed, _, region = row.region.partition(":")
    return AsOf(now).measurements(Region(feed, region), feeds.signal(row.signal), since, until)


def _settle_one(
    row: Plan,
    switch: Attribute | None,
    seen: Mapping[int, list[timeline.Piece]],
    measured: Sequence[Slot],
    now: datetime,
) -> bool:
    """Fill in the row, and say whether it is settled."""
    job = plans.unpack_job(row.job, row.opens_at, row.deadline)
    pieces = seen[switch.pk] if switch else []
    result = score.score_plan(
        job, windows_on(pieces), measured_within(measured, row.opens_at, row.deadline)
    )
    # One that was silent at the deadline may tell later how long it ran.
    is_heard = switch is None or switch.heard_at is not None and switch.heard_at >= row.deadline
    if (result.missing or not is_heard) and now - row.deadline < WAIT:
        return False
    costs = result.costs
    row.actual, row.at_once, row.ideal = costs.actual, costs.at_once, costs.ideal
    row.unit = row.unit or costs.unit  # made without a forecast, it had none
    # Counted anew, with what came in since the last round before the deadline.
    row.delivered, row.counted_until = result.minutes + result.beyond, row.deadline
    row.settled_at, row.note = now, note(row, result, _unheard(row, pieces))[:200]
    return True


def windows_on(pieces: Iterable[timeline.Piece]) -> list[Window]:
    """When a switch was known to be on, in order of time."""
    return score.joined(Window(piece.start, piece.end) for piece in pieces if piece.value)


def measured_within(measured: Sequence[Slot], since: datetime, until: datetime) -> list[Slot]:
    return [slot for slot in measured if slot.ends_at > since and slot.starts_at < until]


def _unheard(row: Plan, pieces: Iterable[timeline.Piece]) -> Unheard:
    seen: list[timeline.Piece] = []
    inferred: list[timeline.Piece] = []
    for piece in pieces:
        (inferred if piece.is_inferred else seen).append(piece)
    minutes = (row.deadline - row.opens_at) / score.MINUTE
    heard = (Window(piece.start, piece.end) for piece in seen)
    minutes -= score.minutes_of(score.within(heard, row.opens_at, row.deadline))
    return Unheard(minutes, minutes_on(inferred, row.opens_at, row.deadline))


def note(row: Plan, result: score.PlanScore, unheard: Unheard) -> str:
    """Say what one has to know to read the numbers; "" if nothing."""
    asked, parts = row.job["minutes"], []
    if result.missing:
        parts.append(f"not measured: {', '.join(result.missing)}")
    if result.minutes < asked - 1:
        parts.append(f"ran {result.minutes:.0f} of {asked:.0f} min, and is compared with as many")
    if result.beyond >= 1:
        cost = ""
        if result.beyond_cost is not None:
            cost = f", for {formatting.number_text(result.beyond_cost)} {row.unit} more"
        parts.append(f"ran {result.beyond:.0f} min longer than asked{cost}")
    if unheard.minutes >= 1:
        on = f"{unheard.counted_as_on:.0f} of them" if unheard.counted_as_on >= 1 else "none"
        parts.append(f"not heard for {unheard.minutes:.0f} min, {on} counted as on")
    return "; ".join(parts)
