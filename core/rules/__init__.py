"""Rules: one file each, found by its name. This is the whole contract; `awesome.py` is the shortest example.

A rule file holds `Options`, a frozen dataclass whose every field has a default, and `decide(situation)`: a pure function,
no clock, no network, no database. What it needs to know is in the situation.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

from core.feeds import Slot
from core.readings import Value


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule may know. Times are aware, UTC.

    `values` holds the fresh values of the device by attribute name: an attribute that nobody heard lately is not in it.
    `forecast` holds slots in order of time, without overlap; `switch` names the attribute an on/off decision drives.
    """

    now: datetime
    device: str
    values: Mapping[str, Value]
    switch: str
    forecast: Sequence[Slot]
    options: Any = None

    @property
    def outside(self) -> Slot | None:
        """The slot of the forecast that holds now, None when there is none."""
        return next((slot for slot in self.forecast if slot.starts_at <= self.now < slot.ends_at), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the device should be set to, and why, in a sentence a neighbour understands. `attribute` "": its main switch."""

    value: Value
    reason: str
    attribute: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    options: type[Any]
    decide: Callable[[Situation], Decision | None]
    """None leaves the device alone."""


class UnknownRule(LookupError):
    """There is no file for this rule (any more)."""


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def choices() -> list[tuple[str, str]]:
    """For form fields and models; a callable, so that a new rule needs no migration."""
    return [(name, name.replace("_", " ")) for name in names()]


def load(name: str) -> Rule:
    if name not in names():
        raise UnknownRule(f"There is no rule {name!r}. Known: {', '.join(names())}.")
    module = import_module(f"{__name__}.{name}")
    return Rule(name, module.Options, module.decide)
