"""Follows the event log for this process: each event is read once, written as JSON once, and handed to whoever wants it.

    follower    one for the process; begins with its first reader, connects again by itself, keeps the latest events
    reader      one for a socket: what it wants, and a bounded queue of what it is still to be sent

Everything here runs in one asyncio loop and nothing but catching up waits, so a reader that is caught up misses nothing.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core import wire
from core.at_once import Rest, begin
from core.change_log import Row, change_log
from core.live_threads import reading
from core.models import Event
from core.models.event import Kind

logger = logging.getLogger(__name__)

BATCH = 500
"""Events read at once."""
STORED_BATCH = 100
"""Events read for one who resumes from before the recent ones. Nobody shares them."""
RECENT = 2000
"""Events kept for whoever resumes: after a restart a thousand clients cost no query."""
RESUME_AT_MOST = 10_000
"""Events. Whoever missed more is quicker with a snapshot."""
QUEUE_EVENTS = 2000
QUEUE_CHARACTERS = 512 * 1024
"""What may wait for one reader. Readers share the texts."""
FRAME_CHARACTERS = 16 * 1024
"""Messages are not shared: for a client that does not read, the server keeps a few of them."""
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
NEWER_WAIT_SECONDS = 2.0
"""An event that another process has told a client already arrives here so soon."""


class StartOver(Exception):
    """What came after that event is not known any more; the message says why, for programs' logs."""


class Topic(NamedTuple):
    """Everything, everything but readings, or what one device or one gateway tells."""

    kind: str
    pk: int = 0


ALL = Topic("all")
CHANGES = Topic("changes")


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it is sent."""

    id: int
    topics: frozenset[Topic]
    command: int | None
    text: str
    public: str
    """For readers without a log-in."""

    @classmethod
    def of(cls, row: Row) -> "Told":
        command = row.body.get("id") if row.kind == Kind.COMMAND else None
        text = _as_text(row)
        public = _as_text(row._replace(body=wire.nameless_presence(row.body))) if row.kind == Kind.PRESENCE else text
        return cls(row.id, _topics(row), command, text, public)


def _topics(row: Row) -> frozenset[Topic]:
    general = {ALL} if row.kind == Kind.READINGS else {ALL, CHANGES}
    things = (("device", row.device), ("gateway", row.gateway))
    return frozenset(general | {Topic(kind, pk) for kind, pk in things if pk is not None})


def _as_text(row: Row) -> str:
    told = {"id": row.id, "kind": row.kind, "device": row.device, "gateway": row.gateway, "body": row.body}
    return json.dumps(told, separators=(",", ":"))


@dataclass(eq=False, slots=True)
class Reader:
    """What one socket is to be sent: single texts and, caught up, every event it wants."""

    overflow: Callable[[], None]
    """Called when more waits than may."""
    send: Callable[[str], Coroutine[Any, Any, None]] | None = None
    """Sends one message. With it, a single event is sent at once where nothing waits; the rest is for whoever calls `take`."""
    has_log_in: bool = False
    topics: set[Topic] = field(default_factory=set)
    commands: deque[int] = field(default_factory=lambda: deque(maxlen=20))
    """Device commands that were ordered here, whose states are told whatever the topics are."""
    is_caught_up: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[tuple[bool, str]] = field(default_factory=deque)
    _characters: int = 0
    _is_idle: bool = False
    """Everything was taken, and whoever takes waits for more."""
    _begun: Rest | None = None
    """A message that could not be sent without waiting."""

    def wants(self, told: Told) -> bool:
        return not told.topics.isdisjoint(self.topics) or told.command in self.commands

    def tell(self, events: Iterable[Told]) -> None:
        texts = [told.text if self.has_log_in else told.public for told in events if self.wants(told)]
        if len(texts) == 1 and self._is_idle and not self._waiting and self._sent(f"[{texts[0]}]"):
            return
        for text in texts:
            self.put(text, is_event=True)

    def _sent(self, text: str) -> bool:
        """Whether it was sent, or at least begun: 9 us instead of the 14 of a change of task."""
        if self.send is None:
            return False
        try:
            self._begun = begin(self.send(text))
        except Exception:  # whoever takes will meet it too, and holds up nobody
            return False
        if self._begun:
            self._is_idle = False
            self.woken.set()
        return True

    def put(self, text: str, is_event: bool = False) -> None:
        self._waiting.append((is_event, text))
        self._characters += len(text)
        self.woken.set()
        too_large = is_event and self.is_caught_up and self._characters > QUEUE_CHARACTERS
        if too_large or len(self._waiting) > QUEUE_EVENTS:
            self._waiting.clear()
            self._characters = 0
            self.is_caught_up = False
            self.overflow()

    async def take(self) -> str:
        """The next message: events that wait together go as one list, unless it becomes large."""
        while not self._waiting:
            self.woken.clear()
            self._is_idle = True
            try:
                await self.woken.wait()
            finally:
                self._is_idle = False
            if begun := self._begun:
                self._begun = None
                await begun
        is_event, text = self._waiting.popleft()
        events, characters = [text], len(text)
        while is_event and self._waiting and self._waiting[0][0] and characters < FRAME_CHARACTERS:
            events.append(self._waiting.popleft()[1])
            characters += len(events[-1])
        self._characters -= characters
        if not self._waiting:
            self.emptied.set()
        return f"[{','.join(events)}]" if is_event else text

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        while self._waiting:
            self.emptied.clear()
            await self.emptied.wait()


class Follower:
    def __init__(self) -> None:
        self.last = 0
        """The newest event that was handed out."""
        self.readers: set[Reader] = set()
        self._recent: deque[Told] = deque(maxlen=RECENT)
        self._recent_after = 0
        """Every event after this one is among the recent."""
        self._ready: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Returns when the log has been read to its end once."""
        if self._task is None or self._task.done():
            self._ready = asyncio.Event()
            self._task = asyncio.create_task(self._follow())
        assert self._ready is not None  # noqa: S101 (made with the task)
        await self._ready.wait()

    def stop(self) -> None:
        """Before the loop ends: psycopg needs a moment to let go."""
        if self._task is not None:
            self._task.cancel()

    async def missed(self, after: int) -> list[Told]:
        """The next events after that one; none when it is the newest. Raises StartOver."""
        if after > self.last:
            await self._wait_for(after)
        if after >= self._recent_after:
            return [told for told in self._recent if told.id > after][:BATCH]
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
                logger.warning("The event log cannot be read (%s: %s): again in %.1f s", type(error).__name__, error, delay)
            finally:
                await log.close()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)

    async def _catch_up(self, log: Any) -> None:
        assert self._ready is not None  # noqa: S101 (made with the task)
        if not self._ready.is_set():
            self._recent.clear()
            self.last = self._recent_after = max(0, (await log.newest() or 0) - RECENT)
        is_first = True
        while rows := await log.read(self.last, BATCH):
            self._hand_out([Told.of(row) for row in rows])
            is_first = False
            if len(rows) < BATCH:
                break
            await asyncio.sleep(0)  # others have their turn
        if is_first and (newest := await log.newest()) is not None and newest < self.last:
            self._start_over(newest)
        self._ready.set()

    def _hand_out(self, events: list[Told]) -> None:
        if not self._recent:
            self._recent_after = events[0].id - 1  # what came before may have been pruned
        full = len(self._recent) + len(events) - RECENT
        if full > 0:
            self._recent_after = self._recent[full - 1].id
        self._recent.extend(events)
        self.last = events[-1].id
        for reader in list(self.readers):
            if reader.is_caught_up:
                reader.tell(events)

    def _start_over(self, newest: int) -> None:
        """The log began anew, as after a backup was restored."""
        logger.warning("The event log ends at %s, after %s was read: everybody starts over", newest, self.last)
        self._recent.clear()
        self.last = self._recent_after = newest
        for reader in list(self.readers):
            reader.is_caught_up = False
            reader.put(over("the event log began anew"))


def over(why: str) -> str:
    return json.dumps({"over": {"reason": why}})


def _stored_after(after: int) -> list[Told]:
    """From the database. Raises StartOver where the log was pruned past it."""
    events = Event.objects.after(after).values_list("pk", "kind", "device", "gateway", "body")
    rows: Collection[Any] = list(events[:STORED_BATCH])
    oldest = Event.objects.order_by("pk").values_list("pk", flat=True).first()  # after them: it may be pruned meanwhile
    if oldest is None or oldest > after + 1:
        raise StartOver("the event log was pruned past that event")
    return [Told.of(Row(*row)) for row in rows]


follower = Follower()
