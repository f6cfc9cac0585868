"""Snapshots, shared: of a thousand clients that begin at once, one pays."""

import asyncio
from collections.abc import Set
from time import monotonic
from typing import NamedTuple

from core.live import follower
from core.live_threads import reading
from core.reader import ALL, CHANGES, Topic
from core.tasks.snapshot import snapshot

KEPT_SECONDS = 2.0
"""As long as events are kept that came since, an older one is as good; freshness is the client's to reckon anyway."""
MOST_KEPT = 50


class Snapshot(NamedTuple):
    last: int
    """It holds at least everything up to this event."""
    pages: list[list[str]]


class Snapshots:
    """One is made at a time: of all that were asked for, and given up again, no more than one waits for the database."""

    def __init__(self) -> None:
        self._kept: dict[frozenset[Topic], tuple[float, Snapshot]] = {}
        self._making: asyncio.Task[None] | None = None

    async def of(self, topics: Set[Topic]) -> Snapshot:
        wanted = frozenset([ALL]) if {ALL, CHANGES} & topics else frozenset(topics)
        self._forget()
        while wanted not in self._kept:
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._make(wanted))
                await asyncio.shield(self._making)  # others may wait for it too
            else:
                await asyncio.wait([self._making])
        return self._kept[wanted][1]

    async def _make(self, wanted: frozenset[Topic]) -> None:
        last = follower.last  # before the rows are read: what changes meanwhile is told again as an event
        devices = [topic.pk for topic in wanted if topic.kind == "device"]
        gateways = [topic.pk for topic in wanted if topic.kind == "gateway"]
        made = Snapshot(last, await reading(snapshot, ALL in wanted, devices, gateways))
        self._kept[wanted] = monotonic(), made

    def _forget(self) -> None:
        """Those that are older than KEPT_SECONDS and, of many, the oldest."""
        now = monotonic()
        for wanted, (made_at, _) in list(self._kept.items()):
            if now - made_at > KEPT_SECONDS or len(self._kept) > MOST_KEPT:
                del self._kept[wanted]


snapshots = Snapshots()
