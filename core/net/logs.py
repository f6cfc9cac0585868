"""Logs as JSON, one object a line, each with the run, the order and the message it is about.

`about()` says what a thread is at. The threads of `in_threads` go on with what their caller is at.
"""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TypedDict

logger = logging.getLogger(__name__)


class About(TypedDict, total=False):
    """What a line is about."""

    run: int
    command: int
    """The key of an order to a device."""
    task_id: str
    """Of the message of a broker."""


_about: ContextVar[About] = ContextVar("about")
NOTE = "_iotapp_about"
"""The attribute in which an error keeps what it is about: it is mostly logged further out."""


def current() -> About:
    """Return what this thread is at."""
    return _about.get(About())


@contextmanager
def about(told: About) -> Iterator[None]:
    """Add to what this thread is at."""
    token = _about.set(current() | told)
    try:
        yield
    except BaseException as error:
        vars(error).setdefault(NOTE, current())
        raise
    finally:
        _about.reset(token)


def about_error(error: BaseException | None) -> About:
    """Return what was going on where the error was raised, and else what this thread is at."""
    kept: About = getattr(error, NOTE, About())
    return current() | kept


class JsonLines(logging.Formatter):
    """Write a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **about_error(error),
        }
        if record.exc_info and error:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line)


def log_the_uncaught() -> None:
    """Have errors logged that nobody caught, and end the process or a thread."""

    def hook(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            logger.critical("An error ended the process", exc_info=(kind, error, traceback))

    def hook_of_threads(thrown: threading.ExceptHookArgs) -> None:
        kind, error = thrown.exc_type, thrown.exc_value
        if error and not issubclass(kind, SystemExit):
            logger.critical("An error ended a thread", exc_info=(kind, error, thrown.exc_traceback))

    sys.excepthook = hook
    threading.excepthook = hook_of_threads
