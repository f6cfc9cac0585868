"""The socket that live pages and programs follow. docs/socket.md describes its messages."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from core.live import catch_up, handshake, protocol
from core.live.actions import ACTIONS, Refused
from core.live.connections import BEHIND, FULL, RESTART, TOO_BIG, TOO_FAST, sockets
from core.live.follower import follower
from core.live.presence import present
from core.live.protocol import Message, Reference, Request, TokenBucket
from core.live.sessions import LogIn, NotAdmitted, admit
from core.live.subscriber import Subscriber
from core.live.threads import reading, writing
from core.tasks.orders.at_once import send_at_once

logger = logging.getLogger(__name__)

VERSION = 1
LARGEST_MESSAGE = 4096
MESSAGES_A_SECOND = 5.0
MESSAGES_AT_ONCE = 20
MOST_TOPICS = 200
MOVES_A_SECOND = 0.1
MOVES_AT_ONCE = 5
"""From one device's page to another: each is an event for all who are at either."""


class Events(AsyncWebsocketConsumer):  # type: ignore[misc]  # its base is untyped
    """One socket. Only its sending task waits for the client: a slow client delays only itself."""

    log_in: LogIn
    address: str
    is_alive = True
    is_finished = False

    def __init__(self) -> None:
        super().__init__()
        self.subscriber = Subscriber(
            overflow=lambda: sockets.finish(self, BEHIND, "too slow: come again and resume")
        )
        self.bucket = TokenBucket(MESSAGES_A_SECOND, MESSAGES_AT_ONCE)
        self.moves = TokenBucket(MOVES_A_SECOND, MOVES_AT_ONCE)
        self._sending: asyncio.Task[None] | None = None
        self._catching_up: asyncio.Task[None] | None = None
        self._acting: set[asyncio.Task[None]] = set()
        self._committing = asyncio.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()  # also when the server ends us in the middle

    async def dispatch(self, message: Message) -> None:
        """Call the handler without the change of thread that Channels makes for each message."""
        handle: Callable[[Message], Awaitable[None]] = getattr(
            self, message["type"].replace(".", "_")
        )
        await handle(message)

    # Opening and closing

    async def websocket_connect(self, message: Message) -> None:
        request = handshake.request_of(self.scope)
        try:
            if not handshake.is_from_here(request):
                raise NotAdmitted
            self.log_in = await reading(admit, handshake.session_key(request))
        except NotAdmitted:
            await self.close()
            return
        self.address = handshake.address_of(request)
        self.subscriber.has_log_in = self.log_in.user_pk is not None
        self.subscriber.gateways = self.log_in.gateways
        await self.accept()
        if sockets.is_closing:
            await self.finish(RESTART, "restart: come again")
        elif not sockets.has_room_for(self):
            await self.finish(FULL, "too many sockets: try again later")
        else:
            await self._begin()

    async def _begin(self) -> None:
        sockets.add(self)
        await follower.ready()
        self.enqueue(
            {
                "hello": {
                    "version": VERSION,
                    "heartbeat_seconds": settings.SOCKET_HEARTBEAT_SECONDS,
                    "last": follower.last,
                }
            }
        )
        follower.subscribers.add(self.subscriber)
        self.subscriber.send = self._send_text
        self._sending = asyncio.create_task(self._send_all())

    async def websocket_disconnect(self, message: Message) -> None:
        raise StopConsumer

    async def finish(self, code: int, reason: str) -> None:
        """Say why and hang up; after 5 s also on those who do not answer."""
        if self.is_finished:
            return
        self.is_finished = True
        self._leave()
        with suppress(OSError, RuntimeError):  # gone already
            await self.close(code, reason)
        hang_up(self.base_send)

    def _leave(self) -> None:
        sockets.remove(self)
        follower.subscribers.discard(self.subscriber)
        present.away(self)
        for task in (self._sending, self._catching_up):
            if task is not None:
                task.cancel()

    # To the client

    def enqueue(self, message: Message) -> None:
        self.subscriber.enqueue(json.dumps(message, separators=(",", ":")))

    def ping(self) -> None:
        """Send a heartbeat with the last event id, None while the subscriber is not caught up."""
        self.enqueue({"ping": {"last": follower.last if self.subscriber.is_caught_up else None}})

    async def _send_all(self) -> None:
        with suppress(OSError, RuntimeError):  # gone: the disconnect comes by itself
            while True:
                await self._send_text(await self.subscriber.next_message())

    async def _send_text(self, text: str) -> None:
        await self.base_send({"type": "websocket.send", "text": text})

    # From the client

    async def websocket_receive(self, message: Message) -> None:
        if self.is_finished:
            return
        self.is_alive = True
        text = message.get("text") or ""
        if len(text.encode()) > LARGEST_MESSAGE:
            sockets.finish(self, TOO_BIG, f"a message is larger than {LARGEST_MESSAGE} bytes")
        elif self.bucket.take():
            self._handle(text)
        elif self.bucket.is_deep_in_debt:
            sockets.finish(self, TOO_FAST, "too many messages")
        else:
            self.enqueue({"error": f"Too many messages: at most {MESSAGES_A_SECOND:g} a second."})

    def _handle(self, text: str) -> None:
        ref: Reference = None
        try:
            message, ref = protocol.parse_message(text)
            self._do(protocol.parse_request(message), ref)
        except Refused as error:
            self.answer({"error": str(error)}, ref)

    def answer(self, message: Message, ref: Reference) -> None:
        self.enqueue(message if ref is None else message | {"ref": ref})

    def _do(self, request: Request, ref: Reference) -> None:
        verb, body = request
        if verb == "subscribe":
            self._subscribe(body)
        elif verb == "unsubscribe":
            self.subscriber.topics -= protocol.parse_topics(body)
        elif verb == "resume":
            self._catch_up(catch_up.resume(protocol.parse_after(body)))
        elif verb == "snapshot":
            self._catch_up(catch_up.snapshot)
        elif verb == "here":
            self._enter(*protocol.parse_place(body))
        elif verb == "away":
            present.away(self)
        elif verb in ACTIONS:
            task = asyncio.create_task(self._act(verb, body, ref))
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)

    def _enter(self, device_pk: int, is_changing: bool) -> None:
        if not self.moves.take():
            raise Refused("You go from page to page too fast: wait ten seconds.")
        present.here(self, self.log_in.user_pk, device_pk, is_changing)

    def _subscribe(self, body: Message) -> None:
        topics = self.subscriber.topics | protocol.parse_topics(body)
        if len(topics) > MOST_TOPICS:
            raise Refused(f"At most {MOST_TOPICS} subscriptions: subscribe to all.")
        self.subscriber.topics = topics

    def _catch_up(self, way: catch_up.Way) -> None:
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._catching_up = asyncio.create_task(catch_up.catch_up(self.subscriber, way))

    async def _act(self, verb: str, body: Message, ref: Reference) -> None:
        """Commit actions in their order and answer at once; then send, which a vendor may delay."""
        try:
            async with self._committing:
                answer = await writing(ACTIONS[verb], self.log_in, body)
            if verb == "order":
                self.subscriber.commands.append(answer["ordered"]["id"])
            self.answer(answer, ref)
            if verb == "order":
                await writing(send_at_once, [answer["ordered"]["id"]])
        except Refused as error:
            self.answer({"error": str(error)}, ref)
        except Exception as error:
            # Such as a database that is away. The next run sends what was committed.
            logger.exception("A socket's %s failed", verb)
            self.answer({"error": f"It did not work ({type(error).__name__})."}, ref)


def hang_up(send: Any) -> None:
    """Abort the connection after the close frame has had its time.

    A server closes only when everything is delivered: a client that never reads would hold its
    buffer and its file descriptor for hours.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
