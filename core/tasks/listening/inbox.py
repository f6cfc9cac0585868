"""Where connections put what they heard, until the one thread that writes takes it."""

from queue import Empty, SimpleQueue
from time import monotonic

from core.tasks.listening.connection import Heard
from core.tasks.polling.record import DEVICES_A_BATCH

COALESCE_SECONDS = 0.05
"""How long what was heard waits for more, so that a burst becomes one transaction."""


class Inbox:
    """Its size is bounded by the connections: each waits when MOST_WAITING of its own are in it."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Heard] = SimpleQueue()

    def put(self, heard: Heard) -> None:
        self._queue.put(heard)

    def take(self, seconds: float) -> list[Heard]:
        """Wait so long for something, and return it with what comes right behind."""
        try:
            first = self._queue.get(timeout=seconds)
        except Empty:
            return []
        taken, devices = [first], len(first.answer.vendor_ids)
        until = monotonic() + COALESCE_SECONDS
        while devices < DEVICES_A_BATCH and (left := until - monotonic()) > 0:
            try:
                heard = self._queue.get(timeout=left)
            except Empty:
                break
            taken.append(heard)
            # One about no device counts too: however small they are, a batch comes to its end.
            devices += max(1, len(heard.answer.vendor_ids))
        return taken
