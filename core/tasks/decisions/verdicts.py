"""Decide what is to be done with one device, and why.

Its rule and its guard are asked; `core.planning.precedence` says which answer counts.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core import formatting, rules, serializers, vendors
from core.models import Attribute, Device, DeviceCommand
from core.models.device import FailSafe
from core.planning import MixedUnits, precedence
from core.planning.forecast import Outlook
from core.readings import Source, Unacceptable
from core.rules import Decision, Rule, Situation
from core.tasks import runs
from core.tasks.decisions.inputs import Json, inputs_of
from core.tasks.decisions.situations import DeviceState, Round

logger = logging.getLogger(__name__)

OTHERS_DECIDE = "of what another device tells"
OTHERS_PROBLEM = "it looks at another device; explain says why"


@dataclass(frozen=True)
class RuleResult:
    """What a rule or a guard decided. `problem` is why it could not."""

    rule: Rule | None = None
    decision: Decision | None = None
    problem: str = ""
    signal: str = ""
    """The first that it looks at, "" if none."""
    outlook: Outlook | None = None
    """Of the first signal that a feed offers."""


@dataclass(frozen=True)
class Step:
    """What a decision means for the device as it is: to order it now, later, or not at all."""

    sentence: str
    attribute: Attribute | None = None
    wanted: bool = False
    revert_after: timedelta | None = None


@dataclass(frozen=True)
class Verdict:
    """What was decided for a device.

    `sentence` says it for people; `problem`: no decision could be made or carried out;
    `is_undecided`: its rule or its guard could not decide; `wanted`: the decision is to be ordered;
    `inputs`: what it was made from, as its receipt stores it. `command` and `receipt` (a primary
    key) come with the copies that are made when the verdict is carried out.
    """

    state: DeviceState
    source: Source
    sentence: str
    problem: bool
    is_undecided: bool
    inputs: Json
    rule: Rule | None = None
    decision: Decision | None = None
    signal: str = ""
    outlook: Outlook | None = None
    attribute: Attribute | None = None
    wanted: bool = False
    revert_after: timedelta | None = None
    command: DeviceCommand | None = None
    receipt: int | None = None

    @property
    def device(self) -> Device:
        return self.state.device

    @property
    def receipt_words(self) -> str:
        return f" (why: explain {self.receipt})" if self.receipt else ""

    def as_json(self) -> Json:
        return {
            "receipt": self.receipt,
            "device": self.device.pk,
            "name": str(self.device),
            "rule": self.device.rule,
            "decided_by": self.source,
            "sentence": self.sentence,
            "problem": self.problem,
            "command": serializers.command_json(self.command) if self.command else None,
        }


def verdict(state: DeviceState, this_round: Round) -> Verdict:
    """Decide for one device. Whatever its rule raises, the other devices get their verdicts."""
    device, now = state.device, this_round.at
    ruled = {"rule": (device.rule, device.options), "guard": (device.guard, device.guard_options)}
    asked = {part: (name, options) for part, (name, options) in ruled.items() if name}
    # Also while a person holds the device: the sentence then says what the guard warns of.
    results = {
        part: _ask(state, this_round, name, options) for part, (name, options) in asked.items()
    }
    problem = next((result.problem for result in results.values() if result.problem), "")
    source, result = _winner(state, results, problem, now)
    if source is Source.HUMAN:
        step = Step(_held_sentence(state, results))
    elif result.decision:
        guard_is_blind = "guard" in results and bool(results["guard"].problem)
        step = _next_step(state, result.decision, source, now, guard_is_blind)
    else:
        step = Step(_left_alone_sentence(result.rule, problem))
    sentence = step.sentence
    # A held device waits for no decision; the fail-safe's own sentence names the problem.
    is_problem = bool(problem) and source in (Source.GUARD, Source.RULE)
    if is_problem and result.decision:
        sentence += f"; no decision by the {_failed_part(results)}: {problem}"
    return Verdict(
        state=state,
        source=source,
        sentence=sentence,
        problem=is_problem,
        is_undecided=bool(problem),
        inputs=inputs_of(state, this_round, asked),
        rule=result.rule,
        decision=result.decision,
        signal=result.signal,
        outlook=result.outlook,
        attribute=step.attribute,
        wanted=step.wanted,
        revert_after=step.revert_after,
    )


def _ask(state: DeviceState, this_round: Round, name: str, options: Json) -> RuleResult:
    result = RuleResult()
    try:
        rule = rules.load(name)
        result = RuleResult(rule=rule)
        read_options = rule.read(options)
        result = replace(result, signal=next(iter(rule.signals(read_options)), ""))
        # Before the situation is completed: one that is not heard costs no look at forecasts.
        if problem := _blind(state):
            return replace(result, problem=problem)
        situation = this_round.situation(state, rule, read_options)
    except (LookupError, ValueError) as error:
        return replace(result, problem=str(error))
    except Exception as error:
        return replace(result, problem=_fault(name, state, error))
    result = _decide(state, rule, situation, replace(result, outlook=situation.outlook))
    return _without_others(result) if state.is_told_apart else result


def _decide(state: DeviceState, rule: Rule, situation: Situation, result: RuleResult) -> RuleResult:
    try:
        decision = rule.decide(situation)
        # Here, where a value the device does not take is still its own rule's problem.
        _check(state, decision)
    except (rules.Undecided, Unacceptable, MixedUnits) as error:
        return replace(result, problem=situation.with_clock(str(error)))
    except Exception as error:
        return replace(result, problem=_fault(rule.name, state, error))
    return replace(result, decision=decision and decision.labelled(situation))


def _without_others(result: RuleResult) -> RuleResult:
    """Say why in words that all may read who read of the device. The receipt has the values."""
    decision = result.decision and replace(result.decision, reason=OTHERS_DECIDE)
    return replace(result, decision=decision, problem=result.problem and OTHERS_PROBLEM)


def _fault(name: str, state: DeviceState, error: Exception) -> str:
    """A rule is a newcomer's code: its fault is logged, and costs its own device only."""
    logger.error("The rule %s failed for %s", name, state.device, exc_info=error)
    return f"the rule {name} failed: {type(error).__name__}: {error}"


def _blind(state: DeviceState) -> str:
    """Why nothing can be decided, whatever the rule."""
    if state.switch is None:
        return "it has nothing to switch"
    if state.switch.name in state.fresh:
        return ""
    heard_at = state.device.heard_at
    if heard_at is None:
        return "no fresh reading, never heard"
    shown = heard_at.astimezone(state.situation.zone)
    return state.situation.with_clock(f"no fresh reading, last heard {shown:%Y-%m-%d %H:%M}")


def _check(state: DeviceState, decision: Decision | None) -> None:
    """Raise Unacceptable if the device does not have the attribute, or does not take the value."""
    if decision is not None:
        _value(_attribute(state, decision), decision)


def _attribute(state: DeviceState, decision: Decision) -> Attribute:
    name = decision.attribute or (state.switch.name if state.switch else "")
    for attribute in state.attributes:
        if attribute.name == name:
            return attribute
    raise Unacceptable(f"the rule wants {name!r}, which {state.device} does not have")


def _value(attribute: Attribute, decision: Decision) -> tuple[float | None, str | None]:
    value = attribute.ordered_value(decision.value)
    return (value, None) if isinstance(value, float) else (None, value)


def _winner(
    state: DeviceState, results: Mapping[str, RuleResult], problem: str, now: datetime
) -> tuple[Source, RuleResult]:
    """Who decides, and what. Nobody: the rule, with no decision. A hold has none either."""
    fail_safe = _fail_safe(state, problem, now)
    guard, plan = _guarding(results), _planning(results)
    winner = precedence.winner(
        held=state.device.is_held(now),
        guard=guard is not None,
        fail_safe=fail_safe is not None,
        rule=plan is not None,
    )
    answers = {
        Source.HUMAN: RuleResult(),
        Source.GUARD: guard,
        Source.FAIL_SAFE: RuleResult(decision=fail_safe),
        Source.RULE: plan,
    }
    answer = answers[winner] if winner else None
    if winner and answer:
        return winner, answer
    # Nobody wants anything: the receipt still names the rule that was asked.
    asked = next((result.rule for result in results.values() if result.rule), None)
    return Source.RULE, RuleResult(rule=asked)


def _guarding(results: Mapping[str, RuleResult]) -> RuleResult | None:
    """The guard's result, or that of a rule that averts harm itself.

    What a guard decides when there is no harm to avert does not count.
    """
    # If both avert harm, the guard goes first.
    for part in ("guard", "rule"):
        result = results.get(part)
        if result and result.decision and result.decision.guard:
            return result
    return None


def _planning(results: Mapping[str, RuleResult]) -> RuleResult | None:
    result = results.get("rule")
    if result and result.decision and not result.decision.guard:
        return result
    return None


def _left_alone_sentence(rule: Rule | None, problem: str) -> str:
    if problem:
        return f"no decision: {problem}"
    return f"left alone by the rule {rule.name if rule else ''}"


def _failed_part(results: Mapping[str, RuleResult]) -> str:
    return next(part for part, result in results.items() if result.problem)


def _fail_safe(state: DeviceState, problem: str, now: datetime) -> Decision | None:
    """The fail-safe state, once no decision was possible for as long as the device allows."""
    device = state.device
    if not problem:
        return None
    if device.fail_safe == FailSafe.KEEP or state.switch is None:
        return None
    # Time in which rounds ran. By the clock alone, one that jumps would switch the device.
    undecided = device.undecided_for(now)
    if undecided < timedelta(minutes=device.fail_safe_minutes):
        return None
    reason = f"no decision was possible for {undecided // timedelta(minutes=1)} min ({problem})"
    return Decision(device.fail_safe == FailSafe.ON, reason)


def _held_sentence(state: DeviceState, results: Mapping[str, RuleResult]) -> str:
    """Say until when a person holds the device, and what its guard warns of or its rule wants."""
    device, until = state.device, "until it is released"
    if device.held_until:
        shown = f"until {state.situation.clock(device.held_until)}"
        until = state.situation.with_clock(shown)
    sentence = f"held {until}: {device.hold_reason}"
    warning = _guarding(results)
    told = [warning] if warning else results.values()
    for result in told:
        if result.decision and result.rule:
            says = "warns" if warning else "would say"
            value, reason = formatting.value_text(result.decision.value), result.decision.reason
            return f"{sentence}; {result.rule.name} {says} {value}, because {reason}"
    return sentence


def _next_step(
    state: DeviceState, decision: Decision, source: Source, now: datetime, guard_is_blind: bool
) -> Step:
    """Find out whether there is anything to do for a decision, or whether it has to wait.

    While a guard is blind, a rule switches nothing away from its fail-safe state.
    """
    attribute = _attribute(state, decision)
    number, text = _value(attribute, decision)
    # Never saved: it knows how a value is compared and named.
    order = DeviceCommand(attribute=attribute, number=number, text=text)
    action, because = formatting.order_text(order), f"because {decision.reason}"
    # A value that is not fresh is no proof that the device is still so.
    is_so = attribute.name in state.fresh and order.matches(attribute.number, attribute.text)
    revert_after = _way_back(state, decision, attribute, now)
    if is_so and not _needs_timer(state, decision, revert_after, now):
        return Step(f"{action} already, {because}", attribute, revert_after=revert_after)
    if is_so:
        sentence = f"{action} already, {because}; its own timer is set anew"
        return Step(sentence, attribute, wanted=True, revert_after=revert_after)
    waits = _waits(state, attribute, decision, source, now)
    is_risk = (
        source is Source.RULE
        and attribute is state.switch
        and decision.value != (state.device.fail_safe == FailSafe.ON)
    )
    if guard_is_blind and is_risk:
        waits = "its guard cannot see"
    if waits:
        return Step(f"{action} later, {because}; {waits}", attribute, revert_after=revert_after)
    return Step(f"{action}, {because}", attribute, wanted=True, revert_after=revert_after)


def _way_back(
    state: DeviceState, decision: Decision, attribute: Attribute, now: datetime
) -> timedelta | None:
    if attribute is not state.switch:
        return None
    # The device's own timer, so that it goes back though this app or the network is away.
    if not vendors.load_or_default(state.device.gateway.vendor).has_timer:
        return None
    return precedence.way_back(
        decision.value, state.device.fail_safe, decision.until, now, runs.interval(runs.DECIDE)
    )


def _needs_timer(
    state: DeviceState, decision: Decision, revert_after: timedelta | None, now: datetime
) -> bool:
    """Whether the device, though set as decided, would not find its way back, or too early."""
    if revert_after is None:
        return False
    reverts_at = None
    # One that was set with the opposite order leads away from the fail-safe state.
    if state.timer and state.timer.number == float(bool(decision.value)):
        reverts_at = state.timer.reverts_at
    return precedence.is_renewed(reverts_at, revert_after, now, runs.interval(runs.DECIDE))


def _waits(
    state: DeviceState, attribute: Attribute, decision: Decision, source: Source, now: datetime
) -> str:
    # The limits are for switching: a brightness may change at any time.
    if attribute is not state.switch or not isinstance(decision.value, bool):
        return ""
    return precedence.waits(
        state.situation.limits,
        source,
        attribute.value is True,
        decision.value,
        attribute.changed_at,
        state.switches,
        now,
    )
