"""A coroutine that mostly need not wait is run where it is called, without a task: a third of what it costs to tell a reader."""

from collections.abc import Coroutine, Generator
from typing import Any


class Rest:
    """What is left of a coroutine that has begun and waits. Await it in a task."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            while True:
                try:
                    yield self._waits_for
                except BaseException as error:  # such as that the task is cancelled
                    self._waits_for = self._coroutine.throw(error)
                else:
                    self._waits_for = self._coroutine.send(None)
        except StopIteration:
            return


def begin(coroutine: Coroutine[Any, Any, Any]) -> Rest | None:
    """Runs it until it ends or has to wait; returns what is left. Not for what asks which task it is in, as time-outs do."""
    try:
        return Rest(coroutine, coroutine.send(None))
    except StopIteration:
        return None
