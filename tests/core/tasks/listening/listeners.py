"""A listener whose turns a test makes, in the test's own thread."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.tasks.listen import Listener
from tests.waiting import wait_until


@contextmanager
def until() -> Iterator[Callable[[Callable[[], object]], object]]:
    """Give a function that makes turns until a condition holds. Reactions have their thread."""
    listener = Listener()
    listener._reactions.start()

    def turn_until(condition: Callable[[], object]) -> object:
        def turned() -> object:
            listener.turn(0.05)
            return condition()

        return wait_until(turned)

    try:
        yield turn_until
    finally:
        listener._end()
        listener._reactions.stop(30)
