"""Feeds: sources of outside data, one file each, found by its name. This is the whole contract; `replay.py` is an example.

A feed normalises units (carbon intensity in gCO2/kWh) and times (aware, UTC), and knows neither Django nor the database.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that holds from `starts_at` up to, not including, `ends_at`. Without `issued_at` it is a measurement."""

    starts_at: datetime
    ends_at: datetime
    value: float
    unit: str
    issued_at: datetime | None = None


class Feed(ABC):
    label: ClassVar[str]

    @abstractmethod
    def fetch(self, region: str, since: datetime, until: datetime) -> Iterable[Slot]:
        """Slots that overlap the time from `since` to `until`, in order. Raises ApiError and ApiRefused."""


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> type[Feed]:
    if name not in names():
        raise LookupError(f"There is no feed {name!r}. Known: {', '.join(names())}.")
    feed: type[Feed] = import_module(f"{__name__}.{name}").Feed
    return feed
