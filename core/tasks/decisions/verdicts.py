"""What is to be done with one device, and why: its rule and its guard are asked, and the arbiter says who is heard."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from core import formatting, rules, serializers, vendors
from core.models import Attribute, Device, DeviceCommand
from core.models.device import FailSafe
from core.planning import precedence
from core.planning.forecast import Outlook
from core.planning.precedence import Source
from core.readings import Kind, Unacceptable, clean_value
from core.rules import Decision, Rule
from core.tasks import runs
from core.tasks.decisions.situations import Json, Scene, View, written

logger = logging.getLogger(__name__)


@dataclass
class Word:
    """What a rule or a guard said. `problem` is why it could not decide."""

    rule: Rule | None = None
    options: Any = None
    decision: Decision | None = None
    problem: str = ""
    outlook: Outlook | None = None
    """What it was told of the first signal it looks at."""


@dataclass
class Verdict:
    """What was decided for a device. `sentence` says it for people; `problem` that no decision could be made or carried
    out; `wanted` what is to be ordered, None if the device is as it should be; `command` what was ordered."""

    device: Device
    sentence: str
    source: Source = Source.RULE
    problem: bool = False
    is_undecided: bool = False
    decision: Decision | None = None
    rule: Rule | None = None
    attribute: Attribute | None = None
    wanted: bool = False
    revert_after: timedelta | None = None
    command: DeviceCommand | None = None
    inputs: Json = field(default_factory=dict)
    outlook: Outlook | None = None
    view: View | None = None
    receipt: int | None = None

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


def verdict(view: View, scene: Scene) -> Verdict:
    """Whatever its rule does, the other devices get their verdicts."""
    device, now = view.device, scene.at
    ruled = {"rule": (device.rule, device.options), "guard": (device.guard, device.guard_options)}
    asked = {part: (name, options) for part, (name, options) in ruled.items() if name}
    said = {part: _ask(view, scene, name, options) for part, (name, options) in asked.items()}
    made = _decided(view, said, now)
    made.view, made.inputs = view, written(view, scene, asked)
    return made


def _ask(view: View, scene: Scene, name: str, options: Json) -> Word:
    word = Word()
    try:
        word.rule = rules.load(name)
        word.options = word.rule.read(options)
        word.problem = _blind(view)
        situation = None if word.problem else scene.situation(view, word.rule, word.options)
    except (LookupError, ValueError) as error:
        return replace(word, problem=str(error))
    if situation is None:
        return word
    word.outlook = situation.outlook
    try:
        decision = word.rule.decide(situation)
        _check(view, decision)
    except (rules.Undecided, Unacceptable) as error:
        return replace(word, problem=str(error))
    except (
        Exception
    ) as error:  # a rule is a newcomer's code: its fault is told, and is its own device's alone
        logger.exception("The rule %s failed for %s", name, view.device)
        return replace(word, problem=f"the rule {name} failed: {type(error).__name__}: {error}")
    return replace(word, decision=decision)


def _blind(view: View) -> str:
    """Why nothing can be decided, whatever the rule."""
    if view.switch is None:
        return "it has nothing to switch"
    if view.switch.name in view.fresh:
        return ""
    heard_at = view.device.heard_at
    return f"no fresh reading, {f'last heard {heard_at:%Y-%m-%d %H:%M} UTC' if heard_at else 'never heard'}"


def _check(view: View, decision: Decision | None) -> None:
    if decision is not None:
        _value(_attribute(view, decision), decision)


def _attribute(view: View, decision: Decision) -> Attribute:
    name = decision.attribute or (view.switch.name if view.switch else "")
    attribute = next((one for one in view.attributes if one.name == name), None)
    if attribute is None:
        raise Unacceptable(f"the rule wants {name!r}, which {view.device} does not have")
    return attribute


def _value(attribute: Attribute, decision: Decision) -> tuple[float | None, str | None]:
    least, most, choices = attribute.minimum, attribute.maximum, attribute.choices
    value = clean_value(
        decision.value, Kind(attribute.kind), minimum=least, maximum=most, choices=choices
    )
    return (value, None) if isinstance(value, float) else (None, value)


def _decided(view: View, said: Mapping[str, Word], now: datetime) -> Verdict:
    device = view.device
    guard, rule = _guard_of(said), said.get("rule", Word())
    problem = next((word.problem for word in said.values() if word.problem), "")
    fail_safe = _fail_safe(view, problem, now)
    decisions = {
        Source.FAIL_SAFE: Word(decision=fail_safe),
        Source.GUARD: guard,
        Source.RULE: rule if rule.decision and not rule.decision.guard else Word(rule=rule.rule),
    }
    heard = {source: word.decision is not None for source, word in decisions.items()}
    winner = precedence.winner(
        held=device.is_held(now),
        fail_safe=heard[Source.FAIL_SAFE],
        guard=heard[Source.GUARD],
        rule=heard[Source.RULE],
    )
    word = decisions.get(winner, Word()) if winner else Word()
    if winner is Source.HUMAN:
        made = Verdict(device, _held_sentence(device, said), Source.HUMAN)
    elif word.decision and winner:
        made = _compared(
            view,
            word,
            word.decision,
            winner,
            now,
            blind_guard=said["guard"].problem if "guard" in said else "",
        )
    else:
        made = _left_alone(device, said, problem)
    made.is_undecided = bool(problem)
    if problem and word.decision and winner is not Source.FAIL_SAFE:
        made.sentence, made.problem = (
            f"{made.sentence}; no decision by the {_blind_part(said)}: {problem}",
            True,
        )
    return made


def _left_alone(device: Device, said: Mapping[str, Word], problem: str) -> Verdict:
    rule = next((word.rule for word in said.values() if word.rule), None)
    sentence = (
        f"no decision: {problem}"
        if problem
        else f"left alone by the rule {rule.name if rule else ''}"
    )
    return Verdict(device, sentence, problem=bool(problem), rule=rule)


def _guard_of(said: Mapping[str, Word]) -> Word:
    """The guard's word, or that of a rule that averts harm itself. What a guard says when there is none is not asked for."""
    words_of_guard = [
        word
        for part in ("guard", "rule")
        if (word := said.get(part)) and word.decision and word.decision.guard
    ]
    return next(iter(words_of_guard), Word())


def _blind_part(said: Mapping[str, Word]) -> str:
    return next(part for part, word in said.items() if word.problem)


def _fail_safe(view: View, problem: str, now: datetime) -> Decision | None:
    device = view.device
    if (
        not problem
        or device.undecided_since is None
        or device.fail_safe == FailSafe.KEEP
        or view.switch is None
    ):
        return None
    blind = now - device.undecided_since
    if blind < timedelta(minutes=device.fail_safe_minutes):
        return None
    why = f"no decision was possible for {blind // timedelta(minutes=1)} min ({problem})"
    return Decision(device.fail_safe == FailSafe.ON, why)


def _held_sentence(device: Device, said: Mapping[str, Word]) -> str:
    until = f"until {device.held_until:%H:%M} UTC" if device.held_until else "until it is released"
    word = next((word for word in said.values() if word.decision), None)
    would = ""
    if word and word.decision and word.rule:
        would = f"; {word.rule.name} would say {formatting.value_text(word.decision.value)}, because {word.decision.reason}"
    return f"held {until}: {device.hold_reason}{would}"


def _compared(
    view: View, word: Word, decision: Decision, source: Source, now: datetime, blind_guard: str = ""
) -> Verdict:
    """Whether there is anything to do for a decision, or it has to wait. While a guard is blind, a rule switches nothing away
    from its fail-safe state."""
    attribute = _attribute(view, decision)
    number, text = _value(attribute, decision)
    order = DeviceCommand(attribute=attribute, number=number, text=text)
    said = formatting.order_text(order)
    made = Verdict(
        view.device,
        "",
        source,
        decision=decision,
        rule=word.rule,
        attribute=attribute,
        outlook=word.outlook,
    )
    is_so = attribute.name in view.fresh and order.matches(attribute.number, attribute.text)
    made.revert_after = _way_back(view, decision, attribute, now)
    if is_so and not _needs_timer(view, made, now):
        made.sentence = f"{said} already, because {decision.reason}"
        return made
    waits = "" if is_so else _waits(view, attribute, decision, source, now)
    is_risk = (
        source is Source.RULE
        and made.attribute is view.switch
        and decision.value != (view.device.fail_safe == FailSafe.ON)
    )
    if blind_guard and is_risk and not is_so:
        waits = "its guard cannot see"
    if waits:
        made.sentence = f"{said} later, because {decision.reason}; {waits}"
        return made
    made.sentence, made.wanted = f"{said}, because {decision.reason}", True
    if is_so:
        made.sentence = f"{said} already, because {decision.reason}; its own timer is set anew"
    return made


def _way_back(
    view: View, decision: Decision, attribute: Attribute, now: datetime
) -> timedelta | None:
    if attribute is not view.switch or not vendors.load(view.device.gateway.vendor).has_timer:
        return None
    return precedence.way_back(
        decision.value, view.device.fail_safe, decision.until, now, runs.interval(runs.DECIDE)
    )


def _needs_timer(view: View, made: Verdict, now: datetime) -> bool:
    """Whether the device is as it should be, but would not find its way back, or would find it too early."""
    if made.revert_after is None or made.attribute is None or made.decision is None:
        return False
    timer = (
        view.timer if view.timer and view.timer.number == float(bool(made.decision.value)) else None
    )
    every = runs.interval(runs.DECIDE)
    return precedence.is_renewed(timer.reverts_at if timer else None, made.revert_after, now, every)


def _waits(
    view: View, attribute: Attribute, decision: Decision, source: Source, now: datetime
) -> str:
    if attribute is not view.switch or not isinstance(decision.value, bool):
        return ""
    is_on = attribute.value is True
    return precedence.waits(
        view.limits, source, is_on, decision.value, attribute.changed_at, view.switches, now
    )
