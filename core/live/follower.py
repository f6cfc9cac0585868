"""Follows the event log for this process: each event is read and serialized once for all.

    follower    one for the process; begins with its first subscriber, reconnects by itself,
                keeps the latest events
    subscriber      one for a socket (core/live/subscriber.py)

Everything here runs in one asyncio loop and nothing but catching up waits, so a subscriber that is
caught up misses nothing.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db.models import TextField
from django.db.models.functions import Cast

from core.live.log import EventRow, change_log
from core.live.subscriber import SerializedEvent, Subscriber
from core.live.threads import reading
from core.models import Event

logger = logging.getLogger(__name__)

BATCH = 500
"""Events read at once."""
STORED_BATCH = 100
"""Events read for one who resumes from before the recent ones. Nobody shares them."""
RECENT = 2000
"""Events kept for whoever resumes: after a restart a thousand clients cost no query."""
RESUME_AT_MOST = 10_000
"""Events. Whoever missed more is quicker with a snapshot."""
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
NEWER_WAIT_SECONDS = 2.0
"""An event that a client has from another process arrives here within this time."""


class StartOver(Exception):
    """The events after that one are not available any more; the message says why, for logs."""


class Follower:
    def __init__(self) -> None:
        self.last = 0
        """The newest event that was handed out."""
        self.subscribers: set[Subscriber] = set()
        self._recent: deque[SerializedEvent] = deque(maxlen=RECENT)
        self._recent_after = 0
        """Every event after this one is among the recent."""
        self._is_whole = False
        """The log was empty, and every event since is among the recent."""
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Returns when the log has been read to its end once."""
        if self._task is None or self._task.done():
            self._ready = asyncio.Event()
            self._task = asyncio.create_task(self._follow())
        await self._ready.wait()

    def stop(self) -> None:
        """Before the loop ends: psycopg needs a moment to let go."""
        if self._task is not None:
            self._task.cancel()

    async def missed(self, after: int) -> list[SerializedEvent]:
        """The next events after that one; none when it is the newest. Raises StartOver."""
        if after > self.last:
            await self._wait_for(after)
        # 0 is what a client was told while the log was empty, however high the ids are since.
        if after >= self._recent_after or (after == 0 and self._is_whole):
            return [event for event in self._recent if event.id > after][:BATCH]
        if self.last - after > RESUME_AT_MOST:
            raise StartOver(f"more than {RESUME_AT_MOST} events were missed")
        return await reading(_stored_after, after)

    async def _wait_for(self, id: int) -> None:
        for _ in range(round(NEWER_WAIT_SECONDS / 0.05)):
            await asyncio.sleep(0.05)
            if id <= self.last:
                return
        raise StartOver("that event is newer than the newest")

    async def _follow(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while True:
            log = change_log()
            try:
                await log.open()
                while True:
                    await self._catch_up(log)
                    delay = FIRST_DELAY_SECONDS
                    await log.wait()
            except Exception as error:  # whatever it is, it must not end: pages would stand still
                logger.warning(
                    "The event log cannot be read (%s: %s): again in %.1f s",
                    type(error).__name__,
                    error,
                    delay,
                )
            finally:
                await log.close()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)

    async def _catch_up(self, log: Any) -> None:
        if not self._ready.is_set():
            self._recent.clear()
            newest = await log.newest()
            self._is_whole = newest is None
            self.last = self._recent_after = max(0, (newest or 0) - RECENT)
        is_first = True
        while rows := await log.read(self.last, BATCH):
            self._hand_out([SerializedEvent.of(row) for row in rows])
            is_first = False
            if len(rows) < BATCH:
                break
            await asyncio.sleep(0)  # others have their turn
        if is_first and (newest := await log.newest()) is not None and newest < self.last:
            self._start_over(newest)
        self._ready.set()

    def _hand_out(self, events: list[SerializedEvent]) -> None:
        if not self._recent:
            self._recent_after = events[0].id - 1  # what came before may have been pruned
        full = len(self._recent) + len(events) - RECENT
        if full > 0:
            self._is_whole = False
            self._recent_after = self._recent[full - 1].id
        self._recent.extend(events)
        self.last = events[-1].id
        for subscriber in list(self.subscribers):
            if subscriber.is_caught_up:
                subscriber.deliver(events)

    def _start_over(self, newest: int) -> None:
        """The log began anew, as after a backup was restored."""
        logger.warning(
            "The event log ends at %s, after %s was read: everybody starts over", newest, self.last
        )
        self._recent.clear()
        self._is_whole = False
        self.last = self._recent_after = newest
        for subscriber in list(self.subscribers):
            subscriber.is_caught_up = False
            subscriber.enqueue(over("the event log began anew"))


def over(why: str) -> str:
    return json.dumps({"over": {"reason": why}})


def _stored_after(after: int) -> list[SerializedEvent]:
    """From the database. Raises StartOver where the log was pruned past it."""
    body = Cast("body", TextField())
    events = Event.objects.after(after).values_list("pk", "kind", "device", "gateway", body)
    rows: Collection[Any] = list(events[:STORED_BATCH])
    # Read after the rows: the log may be pruned between the two queries.
    oldest = Event.objects.order_by("pk").values_list("pk", flat=True).first()
    if oldest is None or oldest > after + 1:
        raise StartOver("the event log was pruned past that event")
    return [SerializedEvent.of(EventRow(*row)) for row in rows]


follower = Follower()


def newest_event() -> int:
    """Return an event that a page shows already, for it to follow from. To be called before
    anything that the page shows is read."""
    if settings.RELAY is None:
        return follower.last
    # With the relay nobody may follow in this process.
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
