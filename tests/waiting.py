"""Waiting for what happens in other threads and processes, for as long as a busy machine takes."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 60.0
Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], seconds: float = PATIENCE_SECONDS) -> Found:
    """What the condition returns, as soon as it is true. AssertionError if it never is."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds:g} s"
        time.sleep(0.01)
    return found
