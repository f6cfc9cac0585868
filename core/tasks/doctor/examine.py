"""Look at everything that the site needs, and say of each thing how it is and what to do."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from core.formatting import counted, table
from core.readings import printable
from core.tasks.doctor import broker, database, gateways, installation, machine, schedule
from core.tasks.doctor.line import Level, Line, error, warning
from core.tasks.runs import FIRST_DAY

logger = logging.getLogger(__name__)

NOT_LOOKED_AT = "Gateways, schedule and alerts were not looked at: they are in the database."


@dataclass(frozen=True)
class Report:
    lines: list[Line]

    def count(self, level: Level) -> int:
        return sum(line.level is level for line in self.lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "errors": self.count(Level.ERROR),
            "warnings": self.count(Level.WARNING),
            "lines": [line.as_json() for line in self.lines],
        }

    def in_words(self) -> str:
        heads = table([(line.level, line.subject, "") for line in self.lines])
        width = max(map(len, heads)) + 2
        said: list[str] = []
        for head, line in zip(heads, self.lines, strict=True):
            texts = [*line.text.splitlines(), *line.advice.splitlines()]
            said.append(f"{head:{width}}{texts[0]}")
            said += [f"{'':{width}}{text}" for text in texts[1:]]
        errors = counted(self.count(Level.ERROR), "error")
        return "\n".join([*said, f"{errors}, {counted(self.count(Level.WARNING), 'warning')}."])


def examine(*, asks_gateways: bool = True) -> Report:
    """Look at everything. Nothing is changed, and what is away costs its own lines only.

    Without `asks_gateways` none is asked, and all are judged by how they answered last.
    """
    lines = [
        *_of("settings", installation.settings_lines),
        *_of("plug-ins", installation.plug_in_lines),
        *_of("static files", installation.static_file_lines),
        *_of("clock", machine.clock_lines),
        *_of("disk", machine.disk_lines),
        *_of("broker", broker.broker_lines),
        *_of("redis", broker.redis_lines),
    ]
    found = list(_of("database", database.database_lines))
    lines += found
    if any(line.level is Level.ERROR for line in found):
        lines.append(warning("database", NOT_LOOKED_AT, "Mend the database first."))
        return Report(lines)
    lines += _of("clock", machine.database_clock_lines)
    # By a clock that is years behind, all would be late.
    if timezone.now() >= FIRST_DAY:
        lines += _of("schedule", schedule.schedule_lines)
    lines += _of("alerts", schedule.alert_lines)
    lines += _of("gateways", lambda: gateways.gateway_lines(asks_gateways))
    return Report(lines)


def _of(subject: str, look: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """Yield the lines of a subject. One that cannot be looked at costs no other."""
    try:
        yield from look()
    except DatabaseError as problem:
        text = f"The database says: {_in_a_line(problem)}"
        yield error(subject, text, "Is DATABASE_URL right, and the database up?")
    except Exception as problem:  # whatever is wrong, the rest is to be looked at
        logger.exception("The doctor could not look at: %s", subject)
        text = f"It could not be looked at: {type(problem).__name__}: {_in_a_line(problem)}"
        yield error(subject, text, "This is a fault of the program. Please report it.")


def _in_a_line(problem: Exception) -> str:
    return printable(" ".join(str(problem).split()))
