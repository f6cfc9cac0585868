"""Explain a decision: from what, what else was possible, and whether it comes out again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core import formatting, planning, serializers
from core.models import Receipt
from core.planning import Window, WindowPlan
from core.planning.forecast import Outlook
from core.readings import Source
from core.rules import Decision, Rule, Situation, Undecided
from core.tasks.decisions import plans
from core.tasks.decisions.inputs import read_inputs, read_past

Candidate = tuple[str, tuple[Window, ...], float | None]
"""Its name, when the device would run, what that was expected to cost (None: unknown)."""


@dataclass
class Explanation:
    """A receipt, and its decision made again from what was stored.

    `again` is what the rule decides now; `problem` why it cannot decide.
    """

    receipt: Receipt
    rule: Rule | None = None
    situation: Situation | None = None
    again: Decision | None = None
    problem: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether the rule decides the same again.

        None: a person or the fail-safe had decided, or the rule cannot be asked.
        """
        if self.receipt.voice not in (Source.RULE, Source.GUARD):
            return None
        if self.problem and not self.receipt.problem:
            return None
        if self.again is None:
            return self.receipt.value is None
        return self.receipt.value == self.again.value and self._plan_agrees()

    def _plan_agrees(self) -> bool:
        plan = self.again.plan if self.again else None
        return (plans.pack(plan) if plan else None) == self.receipt.choice

    @property
    def zone(self) -> ZoneInfo:
        """The clock of the device when it was decided: all times are shown by it."""
        return ZoneInfo(self.receipt.inputs["zone"])

    @property
    def plan(self) -> WindowPlan | None:
        return plans.unpack(self.receipt.choice) if self.receipt.choice else None

    def as_json(self) -> dict[str, Any]:
        receipt = self.receipt
        return {
            "id": receipt.pk,
            "device": receipt.device_id,
            "decided_at": serializers.utc_text(receipt.decided_at),
            "repeated_at": serializers.utc_text(receipt.repeated_at),
            "times": receipt.times,
            "decided_by": receipt.voice,
            "rule": receipt.rule,
            "version": receipt.version,
            "is_same_version": self.rule.version == receipt.version if self.rule else None,
            "attribute": receipt.attribute,
            "value": receipt.value,
            "sentence": receipt.sentence,
            "inputs": receipt.inputs,
            "is_replayed": self.situation.is_replayed if self.situation else None,
            "candidates": [
                {"what": what, "windows": plans.pack_windows(windows), "cost": cost}
                for what, windows, cost in self.candidates()
            ],
            "unit": self.plan.unit if self.plan else "",
            "agrees": self.agrees,
            "problem": self.problem,
            "command": serializers.command_json(receipt.command) if receipt.command else None,
        }

    def in_words(self) -> str:
        return "\n".join(
            [*self._head(), *self._inputs(), *self._choices(), *self._again(), *self._command()]
        )

    # In words, a part each

    def _head(self) -> Iterator[str]:
        receipt = self.receipt
        yield f"{receipt.device}, {self._at(receipt.decided_at)}: {receipt.sentence}"
        if receipt.times > 1:
            until = self._at(receipt.repeated_at)
            yield f"  Decided the same {receipt.times} times, until {until}."
        whose = {
            Source.HUMAN: "a person's hold",
            Source.FAIL_SAFE: "the fail-safe",
            Source.GUARD: "a guard",
            Source.RULE: "a rule",
        }
        version = f", {receipt.rule}, version {receipt.version}" if receipt.rule else ""
        yield f"  Decided by {whose[Source(receipt.voice)]}{version}."

    def _inputs(self) -> Iterator[str]:
        inputs, at = self.receipt.inputs, self.receipt.decided_at
        yield "From"
        yield from _values_in_words(inputs["values"], at)
        for pk, other in inputs.get("others", {}).items():
            whose = f"{other['name']} ({pk}), "
            yield from _values_in_words(other["values"], at, whose)
            yield from self._past(other.get("past", {}), whose)
        yield from self._past(inputs.get("past", {}))
        for part, asked in inputs["asked"].items():
            options = ", ".join(f"{name}={value}" for name, value in asked["options"].items())
            yield f"  {part}: {asked['rule']}, {options or 'its usual options'}"
        outlooks = self.situation.outlooks if self.situation else {}
        for signal, outlook in outlooks.items():
            region = ":".join(filter(None, inputs["regions"][signal]))
            yield f"  {signal.replace('_', ' ')} of {region}: {_outlook_text(outlook, at)}"
        if inputs["plan"]:
            before = plans.unpack(inputs["plan"])
            windows, delivered = self._windows(before.windows), inputs["delivered"]
            yield f"  the plan before: {windows}; {delivered:.0f} min of it delivered"

    def _past(self, stored: dict[str, Any], whose: str = "") -> Iterator[str]:
        for name, past in read_past(stored, self.receipt.decided_at).items():
            minutes = past.looked_back / timedelta(minutes=1)
            yield f"  {whose}{name.replace('_', ' ')} of the last {minutes:g} min:"
            for stretch in past.stretches:
                starts_at = stretch.starts_at.astimezone(self.zone)
                ends_at = stretch.ends_at.astimezone(self.zone)
                values = dict.fromkeys(
                    formatting.value_text(value) for value in (stretch.lowest, stretch.highest)
                )
                yield f"    {starts_at:%H:%M:%S} to {ends_at:%H:%M:%S}: {' to '.join(values)}"

    def _choices(self) -> Iterator[str]:
        candidates = self.candidates()
        if not candidates or self.plan is None:
            return
        yield "Choices"
        for what, windows, cost in candidates:
            cost_text = f"{cost:.4g} {self.plan.unit}" if cost is not None else "not known"
            yield f"  {what}: {self._windows(windows)}: {cost_text}"
        chosen, baseline = candidates[0][2], candidates[1][2] if len(candidates) > 1 else None
        if chosen is not None and baseline is not None:
            saving = f"{baseline - chosen:.4g} {self.plan.unit}"
            yield f"  Expected saving against switching on at once: {saving}"

    def _again(self) -> Iterator[str]:
        if self.problem:
            yield f"Asked again, it says: no decision: {self.problem}"
        elif self.rule:
            answer = "leave it alone"
            if self.again:
                answer = f"{formatting.value_text(self.again.value)}, because {self.again.reason}"
            yield f"Asked again with the same, {self.rule.name} says: {answer}"
        is_same_rule = self.rule is not None and self.receipt.rule == self.rule.name
        if self.rule and is_same_rule and self.rule.version != self.receipt.version:
            yield f"  The rule's file has changed since: it is version {self.rule.version} now."
        if self.agrees is not None:
            yield "  That agrees." if self.agrees else "  That DIFFERS from what was decided."

    def _command(self) -> Iterator[str]:
        command = self.receipt.command
        if command is None:
            return
        yield f"Ordered: {formatting.command_text(command)} (order {command.pk})"
        for at, state, error in command.steps:
            yield f"  {self._at(datetime.fromisoformat(at))}: {state}" + (
                f". {error}" if error else ""
            )

    def _at(self, time: datetime) -> str:
        return f"{time.astimezone(self.zone):%Y-%m-%d %H:%M:%S} {self.zone}"

    def _windows(self, windows: tuple[Window, ...]) -> str:
        spans = [
            (window.starts_at.astimezone(self.zone), window.ends_at.astimezone(self.zone))
            for window in windows
        ]
        return (
            ", ".join(f"{start:%a %H:%M} to {end:%H:%M}" for start, end in spans)
            or "nothing more to run"
        )

    def candidates(self) -> list[Candidate]:
        """The choice, then what it is compared with: at once, and as late as it goes.

        Empty where there is no plan.
        """
        if self.plan is None or self.situation is None or self.situation.outlook is None:
            return []
        slots, job = self.situation.outlook.slots, self.plan.job
        start = max(self.receipt.decided_at, job.opens_at)
        # As long as what is chosen, which may be less than the job wants, or more: else running
        # less would seem to save.
        coming = [window for window in self.plan.windows if window.ends_at > start]
        spans = [window.ends_at - max(window.starts_at, start) for window in coming]
        left = sum(spans, timedelta())
        others = {
            "at once": (Window(start, min(start + left, job.deadline)),),
            "as late as it goes": (Window(max(start, job.deadline - left), job.deadline),),
        }
        choices = {"chosen": self.plan.windows}
        if left:
            choices |= others
        return [
            (what, windows, planning.cost(windows, slots, job.watts))
            for what, windows in choices.items()
        ]


def explain(receipt_pk: int) -> Explanation:
    """Raises Receipt.DoesNotExist."""
    receipt = Receipt.objects.select_related("device__gateway", "command__attribute").get(
        pk=receipt_pk
    )
    explanation, part = Explanation(receipt), _part(receipt)
    if part is None:
        return explanation
    try:
        explanation.rule, explanation.situation = read_inputs(
            receipt.inputs, str(receipt.device), receipt.decided_at, part
        )
        again = explanation.rule.decide(explanation.situation)
        explanation.again = again and again.labelled(explanation.situation)
    except (LookupError, ValueError, Undecided) as error:
        explanation.problem = str(error)
    except Exception as error:  # a rule is anybody's code
        explanation.problem = f"the rule failed: {type(error).__name__}: {error}"
    return explanation


def _part(receipt: Receipt) -> str | None:
    """Find which of those asked ("rule", "guard") decided, or would have."""
    asked = receipt.inputs["asked"]
    return next(
        (part for part, word in asked.items() if word["rule"] == receipt.rule),
        next(iter(asked), None),
    )


def _values_in_words(values: dict[str, Any], at: datetime, whose: str = "") -> Iterator[str]:
    for name, (value, observed_at) in values.items():
        age = "at an unknown time"
        if observed_at:
            age = formatting.ago(datetime.fromisoformat(observed_at), at)
        yield f"  {whose}{name.replace('_', ' ')}: {formatting.value_text(value)}, measured {age}"


def _outlook_text(outlook: Outlook, at: datetime) -> str:
    slot = outlook.at(at)
    value = f"{slot.value:g} {slot.unit} then" if slot else "nothing for that time"
    issued = f", issued {formatting.ago(outlook.issued_at, at)}" if outlook.issued_at else ""
    before = outlook.as_issued(at)
    raw = f" (the feed said {before.value:g})" if before else ""
    return f"{value}, by {outlook.kind}{raw}{issued}"
