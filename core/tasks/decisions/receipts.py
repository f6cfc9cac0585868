"""Receipts: what was decided, from what, by whose word; written with the decision and explained later."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from core import planning, rules
from core.models import Plan, Receipt
from core.planning.forecast import Outlook
from core.tasks.decisions import plans
from core.tasks.decisions.verdicts import Verdict
from core.tasks.events.outbox import Outbox
from core.tasks.forecasts.regions import Region

ENDED = ["ended_at"]
REPEATED = ["repeated_at", "times", "until", "command"]
PLANNED = [
    "windows",
    "changed_at",
    "changes",
    "job",
    "unit",
    "predicted",
    "predicted_at_once",
    "delivered",
    "counted_until",
]


def write(verdicts: Sequence[Verdict], now: datetime, outbox: Outbox) -> None:
    """Inside the transaction that commits the decisions; their devices are locked. The same decision again is counted."""
    rows = _write_plans(verdicts, now, outbox)
    pks = [one.device.pk for one in verdicts]
    current = {
        receipt.device_id: receipt
        for receipt in Receipt.objects.current().filter(device__in=pks).order_by("pk")
    }
    repeated, ended = [], []
    fresh: list[tuple[Verdict, Receipt]] = []
    for one in verdicts:
        before, receipt = current.get(one.device.pk), _receipt(one, rows.get(one.device.pk), now)
        if before and _is_same(before, receipt):
            before.repeated_at, before.times, before.until = now, before.times + 1, receipt.until
            before.command_id = before.command_id or receipt.command_id
            repeated.append(before)
            one.receipt = before.pk
        else:
            fresh.append((one, receipt))
            ended += [before.pk] if before else []
    Receipt.objects.filter(pk__in=ended).update(ended_at=now)
    Receipt.objects.bulk_update(repeated, REPEATED)
    Receipt.objects.bulk_create([receipt for _, receipt in fresh])
    for one, receipt in fresh:
        one.receipt = receipt.pk


def _receipt(one: Verdict, row: Plan | None, now: datetime) -> Receipt:
    decision = one.decision
    plan = decision.plan if decision else None
    return Receipt(
        device=one.device,
        decided_at=now,
        repeated_at=now,
        voice=one.source,
        rule=one.rule.name if one.rule else "",
        version=one.rule.version if one.rule else "",
        attribute=one.attribute.name if one.attribute else "",
        value=decision.value if decision else None,
        until=decision.until if decision else None,
        sentence=one.sentence[:500],
        problem=one.problem,
        inputs=one.inputs,
        choice=plans.pack(plan) if plan else None,
        plan=row,
        command=one.command,
    )


def _is_same(before: Receipt, after: Receipt) -> bool:
    """Whether the same was decided by the same word for the same plan. The numbers in the sentence may differ."""
    names = ("voice", "rule", "version", "attribute", "value", "problem", "plan_id")
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return (
        same
        and before.inputs["asked"] == after.inputs["asked"]
        and not _is_replanned(before, after)
    )


def _is_replanned(before: Receipt, after: Receipt) -> bool:
    if before.choice is None or after.choice is None:
        return before.choice is not after.choice
    old, new = plans.unpack(before.choice), plans.unpack(after.choice)
    return plans.differ(old.windows, new.windows, after.decided_at)


def _write_plans(verdicts: Sequence[Verdict], now: datetime, outbox: Outbox) -> dict[int, Plan]:
    """The rows of the plans that the decisions follow, by device; and what was delivered of those not decided by."""
    rows: dict[int, Plan] = {}
    counted: list[Plan] = []
    for one in verdicts:
        known = one.view.plan_row if one.view else None
        if one.decision and one.decision.plan:
            rows[one.device.pk] = plans.store(
                known, one.device.pk, one.decision.plan, _told(one, one.decision.plan), now
            )
        if known and rows.get(one.device.pk) is not known:
            counted.append(known)
    fresh = [row for row in rows.values() if row.pk is None]
    kept = [row for row in rows.values() if row.pk is not None] + counted
    Plan.objects.bulk_update(kept, PLANNED)
    outbox.changed_pks(Plan, [row.pk for row in kept])
    for (
        row
    ) in fresh:  # another process may have made it at the same moment: the row of the first counts
        made, _ = Plan.objects.get_or_create(
            device_id=row.device_id, deadline=row.deadline, defaults=_columns(row)
        )
        rows[row.device_id] = made
    return rows


def _columns(row: Plan) -> dict[str, Any]:
    left_out = ("id", "device", "deadline")
    return {
        field.name: getattr(row, field.name)
        for field in Plan._meta.concrete_fields
        if field.name not in left_out
    }


def _told(one: Verdict, plan: planning.WindowPlan) -> dict[str, Any]:
    """What of a new plan's row is not in the plan: who made it, what settles it, what switching on at once would cost."""
    asked = one.inputs["asked"].get("rule") or one.inputs["asked"]["guard"]
    rule = rules.load(asked["rule"])
    signal = next(iter(rule.signals(rule.read(asked["options"]))), "")
    region = Region(*one.inputs["regions"].get(signal, ("", "")))
    return {
        "rule": rule.name,
        "signal": signal,
        "region": str(region),
        "predicted_at_once": _at_once(one.outlook, plan.job),
    }


def _at_once(outlook: Outlook | None, job: planning.Job) -> float | None:
    """What it would cost to switch on when the job opens; None if it opened before what is known."""
    if outlook is None or not outlook.slots or outlook.slots[0].starts_at > job.opens_at:
        return None
    plan = planning.at_once(job, outlook.slots)
    return None if plan.short_minutes else plan.cost
