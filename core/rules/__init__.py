"""Rules: one file each, found by its name.

This is the whole contract; `awesome.py` is the shortest example.

A rule file holds `Options`, a frozen dataclass whose every field has a default, and
`decide(situation)`: a pure function, without clock, network or database. What it needs to know is
in the situation.

`Options` are as core/feeds/_options.py says. A rule that looks at another signal than the carbon
intensity of the grid has an option `signal`, or names its signals in `SIGNALS`, a tuple. One whose
decision depends on what the device itself says has `REACT = True`: it decides as soon as the device
tells something new, at most once a minute. A rule that needs another device's values has an option
made by `device_option`, of type int: `situation.other(options.NAME).value("wet")`. With `REACT` it
also decides when that device tells something new. An option made by `attribute_option` names an
attribute of that device: `other.value(options.NAME)`. Then it is told no others of it, so that
receipts hold what was looked at and nothing else.

A rule that looks at the last minutes says how many: `PAST_MINUTES = 10`, or an option made by
`past_option`. Then it may ask `situation.was("temperature", above=25, for_minutes=10)`, and the
same of another device. What nobody knows is never so: of a silence, the answer is no.

Where another device measures what this one draws, such as the meter of the home, a file has
`metered(options, value)`: what that would show if this device ran too. Backtests ask for it, since
what was stored then does not have it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from core import feeds, plug_in, plug_ins
from core.feeds import Signal, Slot
from core.feeds import option as option  # for the files of rules
from core.feeds._options import (
    LONGEST_PAST,
    attribute_options,
    device_options,
    may_be_itself,
    past_options,
    read_options,
)
from core.feeds._options import attribute_option as attribute_option
from core.feeds._options import device_option as device_option
from core.feeds._options import past_option as past_option
from core.feeds._options import read_pairs as read_pairs  # for those who type options
from core.planning import WindowPlan
from core.planning.forecast import REPLAYED, Outlook, Outlooks
from core.planning.precedence import Limits
from core.readings import Value
from core.rules._past import Past


@dataclass(frozen=True, slots=True)
class Other:
    """Another device that an option names: its fresh values by attribute name, and what they were
    in the minutes that the rule looks back."""

    name: str
    values: Mapping[str, Value]
    past: Mapping[str, Past] = field(default_factory=dict)

    def value(self, attribute: str) -> Value:
        """Raises Undecided if it has no such attribute, or it was not read lately."""
        if attribute not in self.values:
            shown = attribute.replace("_", " ")
            raise Undecided(f"no fresh value of {shown} is known of {self.name}")
        return self.values[attribute]

    def since(
        self,
        attribute: str,
        *,
        above: float | None = None,
        below: float | None = None,
        equal: Value | None = None,
        after: datetime | None = None,
    ) -> datetime | None:
        """Return since when an attribute is so without a break, as far back as is looked; None if
        it is not so now. What is not known is a break; what was before `after` is not looked at.

        Raises Undecided as value() does.
        """
        self.value(attribute)
        return self._past(attribute).since(above=above, below=below, equal=equal, after=after)

    def was(
        self,
        attribute: str,
        *,
        for_minutes: float,
        above: float | None = None,
        below: float | None = None,
        equal: Value | None = None,
    ) -> bool:
        """Whether it is known to have been so for all of the last minutes. Raises Undecided."""
        since = self.since(attribute, above=above, below=below, equal=equal)
        lasts, past = timedelta(minutes=for_minutes), self._past(attribute)
        if lasts > past.looked_back:
            told = past.looked_back / timedelta(minutes=1)
            raise LookupError(
                f"it asks for {for_minutes:g} min of {attribute} and is told {told:g}: "
                "its file says how many"
            )
        return since is not None and past.stretches[-1].ends_at - since >= lasts

    def _past(self, attribute: str) -> Past:
        return self.past.get(attribute, Past(timedelta()))


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule may know. Times are aware, UTC; `zone` is the device's own.

    A new field has a default, is filled in core/tasks/decisions/situations.py, and is written to
    receipts by its type: nothing else is to be changed.

    values: the fresh values of the device by attribute name; one that was not read lately is
        left out.
    switch: the name of the attribute that an on/off decision drives.
    outlooks: the forecast of each signal that the rule looks at; one that no feed offers is left
        out.
    changed_at: when the switch last changed; None if that was not seen.
    plan: the one that was made before, if its deadline is not over.
    delivered: minutes that the device was seen running since the plan's job opened.
    held_off_since: this rule has been holding the device off as a guard since then.
    held_off_until: the `until` of its latest such decision, None if that was not stored.
    limits: the device's own least times on and off, which a plan had better respect.
    others: the devices that options of its rule or its guard name, by number; one that was removed
        is left out.
    past: what fresh values were in the minutes that its rule or its guard looks back, by attribute
        name.
    """

    now: datetime
    device: str
    values: Mapping[str, Value]
    switch: str
    outlooks: Outlooks = field(default_factory=dict)
    options: Any = None
    zone: tzinfo = UTC
    changed_at: datetime | None = None
    plan: WindowPlan | None = None
    delivered: float = 0
    held_off_since: datetime | None = None
    held_off_until: datetime | None = None
    limits: Limits = Limits()
    others: Mapping[int, Other] = field(default_factory=dict)
    past: Mapping[str, Past] = field(default_factory=dict)

    def was(
        self,
        attribute: str,
        *,
        for_minutes: float,
        above: float | None = None,
        below: float | None = None,
        equal: Value | None = None,
    ) -> bool:
        """Whether the device is known to have been so for all of the last minutes.

        Raises Undecided if there is no fresh value. `situation.other(number)` has the same.
        """
        return self.other(0).was(
            attribute, for_minutes=for_minutes, above=above, below=below, equal=equal
        )

    def other(self, number: int) -> Other:
        """Return the device that an option names; 0 is this device itself.

        Raises Undecided if it was removed.
        """
        if not number:
            return Other(self.device, self.values, self.past)
        if number not in self.others:
            raise Undecided(f"device {number}, which it looks at, is not there any more")
        return self.others[number]

    @property
    def is_on(self) -> bool:
        return self.values.get(self.switch) is True

    @property
    def outlook(self) -> Outlook | None:
        """The outlook of the first signal there is."""
        return next(iter(self.outlooks.values()), None)

    @property
    def forecast(self) -> Sequence[Slot]:
        """Slots of the first signal, in order of time, without overlap; empty without any."""
        return self.outlook.slots if self.outlook else ()

    @property
    def is_replayed(self) -> bool:
        """Whether what it knows of outside is of another time."""
        return any(outlook.is_replayed for outlook in self.outlooks.values())

    @property
    def outside(self) -> Slot | None:
        """The slot of the forecast that holds now, None when there is none."""
        return self.outlook.at(self.now) if self.outlook else None

    def clock(self, at: datetime) -> str:
        """Format a time as the clock at the device shows it, for a sentence.

        07:00; Mon 07:00 where that could be another day; Mon 5 Apr 07:00 from six days away on.
        """
        shown, away = at.astimezone(self.zone), abs(at - self.now)
        if away < timedelta(days=1):
            return f"{shown:%H:%M}"
        if away < timedelta(days=6):
            return f"{shown:%a %H:%M}"
        return f"{shown:%a} {shown.day} {shown:%b %H:%M}"

    def with_clock(self, sentence: str) -> str:
        """Say after a sentence with times of day whose they are: ... (times: Europe/Berlin)."""
        return f"{sentence} (times: {self.zone})" if has_times(sentence) else sentence


@dataclass(frozen=True, slots=True)
class Decision:
    """What the device should be set to, and why, in a sentence a neighbour understands.

    attribute: "" is the main switch.
    until: how long this is expected to hold; None if unknown.
    guard: it averts harm, and goes before any plan and any minimum time.
    plan: the plan it follows.
    """

    value: Value
    reason: str
    attribute: str = ""
    until: datetime | None = None
    guard: bool = False
    plan: WindowPlan | None = None

    def labelled(self, situation: Situation) -> "Decision":
        """Say in the reason whose clock its times are of, and whether the data was replayed."""
        notes = [f"times: {situation.zone}"] if has_times(self.reason) else []
        notes += [REPLAYED] if situation.is_replayed else []
        return replace(self, reason=f"{self.reason} ({'; '.join(notes)})") if notes else self


@dataclass(frozen=True, slots=True)
class Rule:
    """`version` changes with the rule's file."""

    name: str
    options: type[Any]
    decide: Callable[[Situation], Decision | None]
    """None leaves the device alone."""
    version: str
    signals_of: tuple[Signal, ...]
    is_guard: bool
    """Whether it can stand beside another rule and go before it: its file says `GUARD = True`."""
    reacts: bool = False
    """Whether it decides as soon as the device tells something new, at most once a minute, and not
    only each slot: its file says `REACT = True`."""
    past_minutes: float = 0
    """How far it looks back whatever its options: its file says `PAST_MINUTES`."""
    metered: Callable[[Any, float], float] | None = None
    """What a meter that an option names shows if the device runs too; None: none does."""

    def signals(self, options: Any) -> tuple[Signal, ...]:
        """The signals it looks at, the most wanted first."""
        return (feeds.signal(options.signal),) if hasattr(options, "signal") else self.signals_of

    @property
    def device_options(self) -> list[str]:
        """The names of its options that name another device."""
        return device_options(self.options)

    def named(self, written: Mapping[str, object]) -> dict[int, frozenset[str]]:
        """Return the numbers of the devices that stored options name, each with the attributes that
        options name of it; with none, it may look at all.

        Options that would be refused are not read here: that is told where the rule is asked.
        """
        found = self._named(written)
        found.pop(0, None)
        return found

    def _named(self, written: Mapping[str, object]) -> dict[int, frozenset[str]]:
        """As named(), with 0 for the device itself where an option leaves it at that."""
        found: dict[int, frozenset[str]] = {}
        named = [one for one in fields(self.options) if one.metadata.get("device")]
        for place in named:
            number = str(written.get(place.name) or 0)
            is_named = re.fullmatch("[0-9]{1,18}", number) is not None
            if is_named and (int(number) or may_be_itself(place)):
                defaults = attribute_options(self.options, place.name)
                names = frozenset(str(written.get(name, text)) for name, text in defaults.items())
                found[int(number)] = both(found.get(int(number)), names)
        return found

    def looks_back(self, written: Mapping[str, object]) -> timedelta:
        """Return how much of the past it is told, by stored options."""
        minutes = [self.past_minutes]
        for name, default in past_options(self.options).items():
            try:
                minutes.append(float(str(written.get(name, default))))
            except ValueError:
                continue  # told where the rule is asked, as above
        return timedelta(minutes=max(0, min(max(minutes), LONGEST_PAST)))

    def remembered(self, written: Mapping[str, object]) -> dict[int, frozenset[str]]:
        """Return of which devices it is told the past, as named() does; 0 is the device itself.

        Without options that name a device, that is all of the device itself.
        """
        return self._named(written) if self.device_options else {0: frozenset()}

    def read(self, written: Mapping[str, object]) -> Any:
        """Make options from what was stored or typed, by name; left out, or "", is the default.

        Raises ValueError with a sentence for an unknown name or a value that makes no sense.
        """
        return read_options(self.name, self.options, written)


def both(one: frozenset[str] | None, other: frozenset[str]) -> frozenset[str]:
    """Join what two look at of the same device. Empty is all of it, None is nothing yet."""
    if one is None:
        return other
    return one | other if one and other else frozenset()


class Undecided(Exception):
    """No decision is possible now; the message says why.

    If it stays so for too long, the device goes to its fail-safe state.
    """


class UnknownRule(LookupError):
    """There is no file for this rule (any more), or it is broken."""


def names() -> list[str]:
    return plug_ins("rules")


def choices() -> list[tuple[str, str]]:
    """For form fields and models; a callable, so that a new rule needs no migration."""
    return [(name, name.replace("_", " ")) for name in names()]


def guard_choices() -> list[tuple[str, str]]:
    return [(name, shown) for name, shown in choices() if _is_guard(name)]


def _is_guard(name: str) -> bool:
    return not problem_of(name) and load(name).is_guard


def reacting() -> list[str]:
    """Return the names of the rules that react."""
    return [name for name in names() if not problem_of(name) and load(name).reacts]


def problem_of(name: str) -> str:
    """Say why a rule does not load; "" if it does."""
    try:
        load(name)
    except UnknownRule as error:
        return str(error)
    return ""


@cache
def load(name: str) -> Rule:
    module = plug_in("rules", name, _complaint, UnknownRule)
    source = Path(str(module.__file__)).read_bytes()
    return Rule(
        name=name,
        options=module.Options,
        decide=module.decide,
        version=hashlib.sha256(source).hexdigest()[:12],
        signals_of=getattr(module, "SIGNALS", (Signal.CARBON_INTENSITY,)),
        is_guard=getattr(module, "GUARD", False),
        reacts=getattr(module, "REACT", False),
        past_minutes=getattr(module, "PAST_MINUTES", 0),
        metered=getattr(module, "metered", None),
    )


def _complaint(module: ModuleType) -> str:
    options, decides = getattr(module, "Options", None), getattr(module, "decide", None)
    if not isinstance(options, type) or not is_dataclass(options):
        return "it has no dataclass Options"
    options()  # raises where a field has no default, or a default is refused
    return "" if callable(decides) else "it has no function decide"


TIME_OF_DAY = re.compile(r"(?<![\w:.])([01]\d|2[0-3]):[0-5]\d(?![\w:]| UTC)", re.ASCII)


def has_times(text: str) -> bool:
    """Whether there is a time of day in a text, other than one that says it is UTC."""
    return bool(TIME_OF_DAY.search(text))
