"""Snapshots, shared: of a thousand clients that begin at once, one pays."""

import asyncio
from collections.abc import Set
from time import monotonic
from typing import NamedTuple

from core.live import ALL, CHANGES, Topic, follower
from core.live_threads import in_database_thread
from core.tasks.snapshot import snapshot

KEPT_SECONDS = 2.0
"""As long as events are kept that came since, an older one is as good; freshness is the client's to reckon anyway."""
MOST_KEPT = 50


class Snapshot(NamedTuple):
    last: int
    """It holds at least everything up to this event."""
    pages: list[list[str]]


class Snapshots:
    def __init__(self) -> None:
        self._kept: dict[frozenset[Topic], tuple[float, Snapshot]] = {}
        self._making: dict[frozenset[Topic], asyncio.Task[Snapshot]] = {}

    async def of(self, topics: Set[Topic]) -> Snapshot:
        wanted = frozenset([ALL]) if {ALL, CHANGES} & topics else frozenset(topics)
        self._forget()
        if wanted in self._kept:
            return self._kept[wanted][1]
        if wanted not in self._making:
            self._making[wanted] = asyncio.create_task(self._make(wanted))
        return await asyncio.shield(self._making[wanted])

    async def _make(self, wanted: frozenset[Topic]) -> Snapshot:
        last = follower.last  # before the rows are read: what changes meanwhile is told again as an event
        devices = [topic.pk for topic in wanted if topic.kind == "device"]
        gateways = [topic.pk for topic in wanted if topic.kind == "gateway"]
        try:
            made = Snapshot(last, await in_database_thread(snapshot, ALL in wanted, devices, gateways))
            self._kept[wanted] = monotonic(), made
        finally:
            del self._making[wanted]
        return made

    def _forget(self) -> None:
        """Those that are older than KEPT_SECONDS and, of many, the oldest."""
        now = monotonic()
        for wanted, (made_at, _) in list(self._kept.items()):
            if now - made_at > KEPT_SECONDS or len(self._kept) > MOST_KEPT:
                del self._kept[wanted]


snapshots = Snapshots()
