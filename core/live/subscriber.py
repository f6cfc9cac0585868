"""The messages for one socket: the topics it subscribed to, and a bounded queue to send."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core import serializers
from core.live.log import EventRow
from core.models.event import EventKind


class Rest:
    """A coroutine that has run up to its first wait. Await this in a task to run the rest."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine, self._waits_for = coroutine, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        # As `yield from` does, but the first thing to wait for was already given to us.
        try:
            while True:
                try:
                    yield self._waits_for
                except BaseException as error:  # for example, the task was cancelled
                    self._waits_for = self._coroutine.throw(error)
                else:
                    self._waits_for = self._coroutine.send(None)
        except StopIteration:
            return


def begin(coroutine: Coroutine[Any, Any, Any]) -> Rest | None:
    """Run it until it ends or has to wait; return what is left.

    Not for coroutines that call `asyncio.current_task()`, as `asyncio.timeout()` does: until the
    first wait, the current task is the caller's.
    """
    try:
        return Rest(coroutine, coroutine.send(None))
    except StopIteration:
        return None


QUEUE_EVENTS = 2000
QUEUE_CHARACTERS = 512 * 1024
"""The most that may wait for one subscriber. All subscribers share the same text objects."""
FRAME_CHARACTERS = 16 * 1024
"""No event is added to a message that has reached this size. Small, because each message is a new
string for each subscriber, and the server keeps a few of them for a client that does not read."""


class Topic(NamedTuple):
    """All events, all but readings, or those of one device or one gateway."""

    kind: str
    pk: int = 0


ALL = Topic("all")
CHANGES = Topic("changes")


ANONYMOUS: dict[str, Callable[[serializers.Json], serializers.Json]] = {
    EventKind.DEVICE: serializers.anonymous_device_json,
    EventKind.GATEWAY: serializers.anonymous_gateway_json,
    EventKind.COMMAND: serializers.anonymous_command_json,
    EventKind.PRESENCE: serializers.anonymous_presence_json,
}
"""Kinds of events of which readers without a log-in see less."""


@dataclass(frozen=True, slots=True)
class SerializedEvent:
    """An event as it is sent."""

    id: int
    gateway: int | None
    topics: frozenset[Topic]
    command: int | None
    text: str
    public: str
    """For subscribers without a log-in."""
    device: int | None = None

    @classmethod
    def of(cls, row: EventRow) -> "SerializedEvent":
        text = public = _as_text(row)
        command = None
        # Most events are readings: their bodies are never looked into.
        if anonymous := ANONYMOUS.get(row.kind):
            body = json.loads(row.body)
            public = _as_text(row._replace(body=_compact(anonymous(body))))
            command = body["id"] if row.kind == EventKind.COMMAND else None
        return cls(row.id, row.gateway, _topics(row), command, text, public, row.device)


def _compact(body: serializers.Json) -> str:
    return json.dumps(body, separators=(",", ":"))


def _topics(row: EventRow) -> frozenset[Topic]:
    general = {ALL} if row.kind == EventKind.READINGS else {ALL, CHANGES}
    things = (("device", row.device), ("gateway", row.gateway))
    return frozenset(general | {Topic(kind, pk) for kind, pk in things if pk is not None})


def _as_text(row: EventRow) -> str:
    """Put an event together as JSON around its body, which stays the text that was stored."""
    names = {"id": row.id, "kind": row.kind, "device": row.device, "gateway": row.gateway}
    head = json.dumps(names, separators=(",", ":"))
    return f'{head[:-1]},"body":{row.body}}}'


@dataclass(eq=False, slots=True)
class Subscriber:
    """Queues single texts and, once caught up, every event that matches the topics."""

    overflow: Callable[[], None]
    """Called after the queue became too large and was emptied."""
    send: Callable[[str], Coroutine[Any, Any, None]] | None = None
    """Sends one message. If given, a single event is sent at once when nothing else waits. All
    other messages are returned by `next_message`."""
    has_log_in: bool = False
    gateways: frozenset[int] | None = None
    """Whose events it may get; None for all."""
    devices: frozenset[int] | None = None
    """The same of devices, for a token that is limited to some."""
    topics: set[Topic] = field(default_factory=set)
    commands: deque[int] = field(default_factory=lambda: deque(maxlen=20))
    """The last 20 device commands ordered over this socket. Their states are always sent, whatever
    the topics are."""
    is_caught_up: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[tuple[bool, str]] = field(default_factory=deque)
    _characters: int = 0
    _is_idle: bool = False
    """Nothing is left to send, and `next_message` waits."""
    _begun: Rest | None = None
    """A send that had to wait; `next_message` finishes it before the next message."""

    def matches(self, event: SerializedEvent) -> bool:
        # What is of no gateway, such as a run, is about none of them.
        is_hidden = (
            self.gateways is not None
            and event.gateway is not None
            and event.gateway not in self.gateways
        )
        if is_hidden or self._is_of_another_device(event):
            return False
        return not event.topics.isdisjoint(self.topics) or event.command in self.commands

    def _is_of_another_device(self, event: SerializedEvent) -> bool:
        if self.devices is None or event.device is None:
            return False
        return event.device not in self.devices

    def text_of(self, event: SerializedEvent) -> str:
        return event.text if self.has_log_in else event.public

    def deliver(self, events: Iterable[SerializedEvent]) -> None:
        texts = [self.text_of(event) for event in events if self.matches(event)]
        # Only where nothing waits, or the event would overtake older messages.
        if len(texts) == 1 and self._is_idle and not self._waiting and self._sent(f"[{texts[0]}]"):
            return
        for text in texts:
            self.enqueue(text, is_event=True)

    def _sent(self, text: str) -> bool:
        """Send now, without the other task; return whether it was sent or at least begun.

        This takes 9 microseconds; waking the other task takes 14.
        """
        if self.send is None:
            return False
        try:
            self._begun = begin(self.send(text))
        except Exception:
            # The task that sends gets this error too. Raised here, it would stop the delivery to
            # other subscribers.
            return False
        # Whoever takes messages is a task, and can wait for the rest of this one.
        if self._begun:
            self._is_idle = False
            self.woken.set()
        return True

    def enqueue(self, text: str, is_event: bool = False) -> None:
        self._waiting.append((is_event, text))
        self._characters += len(text)
        self.woken.set()
        # Its size counts only after catching up: before, pages of a snapshot may be large.
        too_large = is_event and self.is_caught_up and self._characters > QUEUE_CHARACTERS
        if too_large or len(self._waiting) > QUEUE_EVENTS:
            self._waiting.clear()
            self._characters = 0
            self.emptied.set()
            self.is_caught_up = False
            self.overflow()

    async def next_message(self) -> str:
        """The next message: events that wait together go as one list, unless it becomes large."""
        is_event, texts = await self.next_texts()
        return f"[{','.join(texts)}]" if is_event else texts[0]

    async def next_texts(self) -> tuple[bool, list[str]]:
        """Return whether these are events, and those that go as one message."""
        while not self._waiting:
            self.woken.clear()
            self._is_idle = True
            try:
                await self.woken.wait()
            # Also when cancelled: nobody would be left to end what `deliver` begins.
            finally:
                self._is_idle = False
            # Before anything in the queue, which is newer.
            if begun := self._begun:
                self._begun = None
                await begun
        is_event, text = self._waiting.popleft()
        events, characters = [text], len(text)
        # An answer ends the list: it goes alone, and nothing overtakes it.
        while is_event and self._waiting and self._waiting[0][0] and characters < FRAME_CHARACTERS:
            events.append(self._waiting.popleft()[1])
            characters += len(events[-1])
        self._characters -= characters
        if not self._waiting:
            self.emptied.set()
        return is_event, events

    async def drained(self) -> None:
        """Returns when nothing waits any more."""
        while self._waiting:
            self.emptied.clear()
            await self.emptied.wait()
