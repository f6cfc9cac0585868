"""Pack plans into rows and JSON, count what was delivered of them, and change them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from core import planning
from core.models import Attribute, Plan
from core.planning import Job, Window
from core.tasks.decisions.running import minutes_on, running

TOLERANCE = timedelta(minutes=10)
"""Windows that differ by less are the same: a round of deciding."""
LONGEST_COUNT = timedelta(days=2)
AHEAD = timedelta(minutes=5)
"""A time further ahead than this is from a clock that was wrong."""

Packed = dict[str, Any]


def pack_windows(windows: Sequence[Window]) -> list[list[float]]:
    return [[window.starts_at.timestamp(), window.ends_at.timestamp()] for window in windows]


def unpack_windows(packed: Sequence[Sequence[float]]) -> tuple[Window, ...]:
    return tuple(
        Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
        for start, end in packed
    )


def pack_job(job: Job) -> Packed:
    """Pack a job without what a row has columns for: its times, and what was delivered.

    Spans are in seconds.
    """
    packed = {field.name: getattr(job, field.name) for field in fields(Job)}
    for name in ("opens_at", "deadline", "delivered"):
        del packed[name]
    return {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in packed.items()
    }


def unpack_job(packed: Packed, opens_at: datetime, deadline: datetime, delivered: float = 0) -> Job:
    # What a row of an earlier version does not have keeps the default of a job.
    terms = {field.name: packed[field.name] for field in fields(Job) if field.name in packed}
    for name in ("min_on", "min_off"):
        terms[name] = timedelta(seconds=terms.get(name, 0))
    return Job(opens_at=opens_at, deadline=deadline, delivered=delivered, **terms)


def pack(plan: planning.WindowPlan) -> Packed:
    return {
        "job": pack_job(plan.job),
        "opens_at": plan.job.opens_at.timestamp(),
        "deadline": plan.job.deadline.timestamp(),
        "delivered": plan.job.delivered,
        "windows": pack_windows(plan.windows),
        "cost": plan.cost,
        "unit": plan.unit,
        "short_minutes": plan.short_minutes,
    }


def unpack(packed: Packed) -> planning.WindowPlan:
    opens_at, deadline = (
        datetime.fromtimestamp(packed[name], UTC) for name in ("opens_at", "deadline")
    )
    job = unpack_job(packed["job"], opens_at, deadline, packed["delivered"])
    return planning.WindowPlan(
        job,
        unpack_windows(packed["windows"]),
        packed["cost"],
        packed["unit"],
        packed["short_minutes"],
    )


def of_row(row: Plan) -> planning.WindowPlan:
    """Unpack a row: what was planned, with what was delivered since."""
    job = unpack_job(row.job, row.opens_at, row.deadline, row.delivered)
    return planning.WindowPlan(job, unpack_windows(row.windows), row.predicted or 0.0, row.unit)


def store(
    row: Plan | None,
    device_pk: int,
    plan: planning.WindowPlan,
    terms: Mapping[str, Any],
    now: datetime,
) -> Plan:
    """Return the row for a plan, changed or new, not saved.

    `terms` holds its rule, signal, region and what switching on at once would have cost.

    A plan without a unit was made without a forecast: nothing was predicted.
    """
    # A row is one device's plan for one deadline; another deadline is another job.
    if row is None or row.deadline != plan.job.deadline:
        return Plan(
            device_id=device_pk,
            opens_at=plan.job.opens_at,
            deadline=plan.job.deadline,
            job=pack_job(plan.job),
            windows=pack_windows(plan.windows),
            unit=plan.unit,
            made_at=now,
            counted_until=plan.job.opens_at,
            predicted=plan.cost if plan.unit else None,
            **terms,
        )
    # What is not over was settled by a clock that ran ahead.
    row.settled_at, row.made_at = None, min(row.made_at, now)
    before = unpack_windows(row.windows)
    if differ(before, plan.windows, now):
        # What is over stays as it was planned then.
        row.windows = pack_windows([*_until(before, now), *_since(plan.windows, now)])
        row.changed_at, row.changes = now, row.changes + 1
    row.job = pack_job(plan.job)
    # The first plan was made without a forecast, and nothing has run yet: predict now.
    if row.predicted is None and plan.unit and not row.delivered:
        row.predicted, row.unit = plan.cost, plan.unit
        row.predicted_at_once = terms["predicted_at_once"]
    return row


def _since(windows: Sequence[Window], now: datetime) -> list[Window]:
    return [
        Window(max(window.starts_at, now), window.ends_at)
        for window in windows
        if window.ends_at > now
    ]


def _until(windows: Sequence[Window], now: datetime) -> list[Window]:
    return [
        Window(window.starts_at, min(window.ends_at, now))
        for window in windows
        if window.starts_at < now
    ]


def differ(before: Sequence[Window], after: Sequence[Window], now: datetime) -> bool:
    """Whether what is still to come differs."""
    old, new = _to_come(before, now), _to_come(after, now)
    if len(old) != len(new):
        return True
    return any(_is_moved(*pair) for pair in zip(old, new, strict=True))


def _to_come(windows: Sequence[Window], now: datetime) -> list[Window]:
    coming = _since(windows, now)
    # Else a window that is just about to end would count as a change of plan.
    return [window for window in coming if window.ends_at - window.starts_at > TOLERANCE]


def _is_moved(before: Window, after: Window) -> bool:
    starts_moved = abs(before.starts_at - after.starts_at) > TOLERANCE
    return starts_moved or abs(before.ends_at - after.ends_at) > TOLERANCE


def count(rows: Collection[Plan], switches: Mapping[int, Attribute], now: datetime) -> None:
    """Count the minutes delivered: those in which the switch was on, as far as known. Not saved.

    `switches` are the main switches by device.
    """
    for row in rows:
        # Counted while the clock ran ahead: count again, what was measured is stored.
        if row.counted_until > now + AHEAD:
            row.delivered, row.counted_until = 0, row.opens_at
    begun = [row for row in rows if row.opens_at < now and row.counted_until < now]
    due = [row for row in begun if row.device_id in switches]
    if not due:
        return
    # After a long pause only the last days are read; what ran before them is not counted.
    since = max(min(row.counted_until for row in due), now - LONGEST_COUNT)
    seen = running([switches[row.device_id] for row in due], since, now)
    for row in due:
        switch = switches[row.device_id]
        # Not beyond the last answer: what it did since is counted once it answers again.
        until = min(now, row.deadline, switch.heard_at or now)
        if until > row.counted_until:
            row.delivered += minutes_on(seen[switch.pk], row.counted_until, until)
            row.counted_until = until
