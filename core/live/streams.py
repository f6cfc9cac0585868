"""Events over plain HTTP: one answer that waits for them, or Server-Sent Events without end.

Both are subscribers of the same follower as sockets, and count as sockets: the same places, the
same heartbeat, the same look at whether the log-in is still valid.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from core.live import catch_up
from core.live.connections import BEHIND, sockets
from core.live.follower import follower
from core.live.sessions import LogIn
from core.live.subscriber import SerializedEvent, Subscriber, Topic

RETRY_MILLISECONDS = 2000
LET_GO_SECONDS = 2.0
"""How long a client that reads nothing keeps its stream after it was told to end."""
STREAMS_A_LOG_IN = 20


class Stream(ABC):
    """What one client follows: made for one request, iterated over once.

    Its place is taken when the iteration begins, and given back when it ends, however it does.
    """

    def __init__(self, log_in: LogIn, address: str, topics: set[Topic], after: int | None) -> None:
        self.log_in, self.address, self.after = log_in, address, after
        self.is_alive = True
        self.subscriber = self.subscribed()
        self.subscriber.has_log_in = log_in.user_pk is not None
        self.subscriber.gateways, self.subscriber.devices = log_in.gateways, log_in.devices
        self.subscriber.topics = topics
        self._ended = asyncio.Event()
        self._request: asyncio.Task[Any] | None = None
        self._catching_up: asyncio.Task[None] | None = None

    async def has_room(self) -> bool:
        """Return whether there is a place for it. To be called in the loop."""
        if sockets.is_closing or not sockets.has_room_for(self):
            return False
        streams = [other for other in sockets.open if isinstance(other, Stream)]
        same = [other for other in streams if other.log_in == self.log_in]
        return self.log_in.user_pk is None or len(same) < STREAMS_A_LOG_IN

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._request = asyncio.current_task()
        sockets.add(self)
        try:
            await follower.ready()
            follower.subscribers.add(self.subscriber)
            async for text in self.texts():
                yield text.encode()
        finally:
            self._request = None
            follower.subscribers.discard(self.subscriber)
            sockets.remove(self)
            if self._catching_up is not None:
                self._catching_up.cancel()

    # What each kind of stream has of its own

    def subscribed(self) -> Subscriber:
        return Subscriber(overflow=self.behind)

    @abstractmethod
    def texts(self) -> AsyncIterator[str]:
        """Yield what is sent, piece by piece."""

    def resume(self, after: int) -> None:
        """Queue the events after that one, and then those that come."""
        if self._catching_up is not None:
            self._catching_up.cancel()
        caught_up = catch_up.catch_up(self.subscriber, catch_up.resume(after))
        self._catching_up = asyncio.create_task(caught_up)

    async def next(self, seconds: float | None = None) -> tuple[bool, list[str]] | None:
        """Return what the subscriber has next; None if nothing came in time, or at the end."""
        coming = asyncio.create_task(self.subscriber.next_texts())
        ended = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait([coming, ended], timeout=seconds, return_when="FIRST_COMPLETED")
            return coming.result() if coming.done() else None
        finally:
            coming.cancel()
            ended.cancel()

    # What core/live/connections.py asks of a socket

    def ping(self) -> None:
        """The server tells of a client that went away: nothing has to come back."""
        self.is_alive = True

    async def finish(self, code: int, reason: str) -> None:
        self._ended.set()
        await asyncio.sleep(LET_GO_SECONDS)
        if self._request is not None:  # it waits for a client that does not read
            self._request.cancel()

    def behind(self) -> None:
        sockets.finish(self, BEHIND, "too slow: come again and resume")


class StreamSubscriber(Subscriber):
    def text_of(self, event: SerializedEvent) -> str:
        return f"id: {event.id}\ndata: {super().text_of(event)}\n\n"


class ServerSentEvents(Stream):
    """Events without end, each with its id, from which the client resumes by itself.

    Where events are missing, an event `over` says so: what is known is to be read again. The stream
    goes on after it.
    """

    def subscribed(self) -> Subscriber:
        return StreamSubscriber(overflow=self.behind)

    async def texts(self) -> AsyncIterator[str]:
        after = follower.last if self.after is None else self.after
        yield f"retry: {RETRY_MILLISECONDS}\nid: {after}\n\n"
        self.resume(after)
        while (came := await self.next()) is not None:
            is_event, texts = came
            if is_event or not texts[0].startswith("{"):
                yield "".join(texts)
                continue
            # The client reads everything again after this, so nothing from before is missing.
            body = json.dumps(json.loads(texts[0])["over"])
            yield f"id: {follower.last}\nevent: over\ndata: {body}\n\n"
            self.resume(follower.last)

    def ping(self) -> None:
        super().ping()
        # All up to the last are queued before this, so a client may resume from there.
        last = f"id: {follower.last}\n" if self.subscriber.is_caught_up else ""
        self.subscriber.enqueue(f"{last}: ping\n\n")


class LongPoll(Stream):
    """One answer, as soon as there is an event after that one, or without any in the end."""

    seconds = 0.0

    async def texts(self) -> AsyncIterator[str]:
        after = self.after or 0
        self.resume(after)
        came = await self.next(self.seconds)
        is_event, texts = came or (False, [])
        if is_event:
            after = json.loads(texts[-1])["id"]
        elif not texts and self.subscriber.is_caught_up:
            after = max(after, follower.last)
        yield page_text(texts if is_event else [], after)


def page_text(events: list[str], last: int) -> str:
    """Write a page of events, each as JSON already; the next page is after `last`."""
    return f'{{"results":[{",".join(events)}],"last":{last}}}'
