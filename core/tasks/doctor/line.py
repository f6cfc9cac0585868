"""One line of what the doctor says."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and may soon not, or not as well as it could."""
    ERROR = "error"
    """Something does not work."""


@dataclass(frozen=True)
class Line:
    """How something is. `advice` says what to do, where there is something to do."""

    subject: str
    level: Level
    text: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def ok(subject: str, text: str) -> Line:
    return Line(subject, Level.OK, text)


def warning(subject: str, text: str, advice: str) -> Line:
    return Line(subject, Level.WARNING, text, advice)


def error(subject: str, text: str, advice: str) -> Line:
    return Line(subject, Level.ERROR, text, advice)
