"""Write a receipt of each decision: what was decided, by whom, and what it was made from.

`core.tasks.explain` explains them.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from core import planning
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
    "made_at",
    "settled_at",
]


def write(verdicts: Sequence[Verdict], now: datetime, outbox: Outbox) -> list[Verdict]:
    """Write the receipts of decisions; return the verdicts with the keys of their receipts.

    To be called inside the transaction that commits the decisions, with their devices locked. The
    same decision again adds to the count of its receipt.
    """
    plan_rows = _write_plans(verdicts, now, outbox)
    pks = [verdict.device.pk for verdict in verdicts]
    rows = Receipt.objects.current().filter(device__in=pks).order_by("pk")
    current = {receipt.device_id: receipt for receipt in rows}
    repeated, ended, new = [], [], []
    receipts: list[Receipt] = []
    for verdict in verdicts:
        pk = verdict.device.pk
        before, receipt = current.get(pk), _receipt(verdict, plan_rows.get(pk), now)
        # One of the future, by a clock that ran ahead, would stand before all that follow.
        is_ahead = before is not None and before.decided_at > now + plans.AHEAD
        if before and not is_ahead and _is_same(before, receipt):
            before.repeated_at, before.times, before.until = now, before.times + 1, receipt.until
            # Once its order is done, a repeated decision has none: the receipt keeps the first.
            before.command_id = before.command_id or receipt.command_id
            repeated.append(before)
            receipts.append(before)
            continue
        if before:
            ended.append(before.pk)
        new.append(receipt)
        receipts.append(receipt)
    Receipt.objects.filter(pk__in=ended).update(ended_at=now)
    Receipt.objects.bulk_update(repeated, REPEATED)
    Receipt.objects.bulk_create(new)  # sets their keys
    return [
        replace(verdict, receipt=receipt.pk)
        for verdict, receipt in zip(verdicts, receipts, strict=True)
    ]


def _receipt(verdict: Verdict, row: Plan | None, now: datetime) -> Receipt:
    decision = verdict.decision
    plan = decision.plan if decision else None
    return Receipt(
        device=verdict.device,
        decided_at=now,
        repeated_at=now,
        voice=verdict.source,
        rule=verdict.rule.name if verdict.rule else "",
        version=verdict.rule.version if verdict.rule else "",
        attribute=verdict.attribute.name if verdict.attribute else "",
        value=decision.value if decision else None,
        until=decision.until if decision else None,
        sentence=verdict.sentence[:500],
        problem=verdict.problem,
        inputs=verdict.inputs,
        choice=plans.pack(plan) if plan else None,
        plan=row,
        command=verdict.command,
    )


def _is_same(before: Receipt, after: Receipt) -> bool:
    """Whether the same source decided the same for the same plan.

    The numbers in the sentence may differ.
    """
    names = ("voice", "rule", "version", "attribute", "value", "problem", "plan_id")
    same = all(getattr(before, name) == getattr(after, name) for name in names)
    return (
        same
        # Other options are another decision, even with the same answer: explain shows them.
        and before.inputs["asked"] == after.inputs["asked"]
        and not _is_replanned(before, after)
    )


def _is_replanned(before: Receipt, after: Receipt) -> bool:
    if before.choice is None or after.choice is None:
        # False only if both are None.
        return before.choice is not after.choice
    old, new = plans.unpack(before.choice), plans.unpack(after.choice)
    return plans.differ(old.windows, new.windows, after.decided_at)


def _write_plans(verdicts: Sequence[Verdict], now: datetime, outbox: Outbox) -> dict[int, Plan]:
    """Write the plans that the decisions follow, and what was delivered of those they left.

    Returns the rows that are followed, by device.
    """
    rows: dict[int, Plan] = {}
    left: list[Plan] = []
    for verdict in verdicts:
        pk, before = verdict.device.pk, verdict.state.plan_row
        if verdict.decision and verdict.decision.plan:
            plan = verdict.decision.plan
            rows[pk] = plans.store(before, pk, plan, _plan_terms(verdict, plan), now)
        if before and rows.get(pk) is not before:
            left.append(before)
    new = [row for row in rows.values() if row.pk is None]
    changed = [row for row in rows.values() if row.pk is not None] + left
    Plan.objects.bulk_update(changed, PLANNED)
    outbox.changed_pks(Plan, [row.pk for row in changed])
    # Another process may have made the same plan at this moment: the row of the first one counts.
    for row in new:
        rows[row.device_id], _ = Plan.objects.get_or_create(
            device_id=row.device_id, deadline=row.deadline, defaults=_columns(row)
        )
    return rows


def _columns(row: Plan) -> dict[str, Any]:
    left_out = ("id", "device", "deadline")
    return {
        field.name: getattr(row, field.name)
        for field in Plan._meta.concrete_fields
        if field.name not in left_out
    }


def _plan_terms(verdict: Verdict, plan: planning.WindowPlan) -> dict[str, Any]:
    """Columns of a new plan's row that are not in the plan.

    Who made it, what it is settled by, and what switching on at once would cost.
    """
    region = Region(*verdict.inputs["regions"].get(verdict.signal, ("", "")))
    return {
        "rule": verdict.rule.name if verdict.rule else "",
        "signal": verdict.signal,
        "region": str(region),
        "predicted_at_once": _at_once(verdict.outlook, plan.job),
    }


def _at_once(outlook: Outlook | None, job: planning.Job) -> float | None:
    """What it would cost to switch on when the job opens; None if the outlook begins later."""
    if outlook is None or not outlook.slots or outlook.slots[0].starts_at > job.opens_at:
        return None
    plan = planning.at_once(job, outlook.slots)
    # The cost of a part of the job could not be compared with that of the whole.
    return None if plan.short_minutes else plan.cost
