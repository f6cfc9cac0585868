"""Sends the events to a hosted relay, for sites with more open pages than they want to serve.

One process does, by the lease and the cursor of core/tasks/relay.py. The cursor moves after the
service has taken a batch: whatever happens, each event is sent at least once, and pages drop what
comes twice by its id (core/static/core/relay.js).
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import Error as DatabaseError

from core.live.channels import channel_of, now
from core.live.log import ChangeLog, EventRow, change_log
from core.live.subscriber import SerializedEvent
from core.live.threads import writing
from core.models.event import EventKind
from core.net.addresses import NETWORK_NAMES
from core.net.errors import ApiError, ApiRefused
from core.net.pusher import LARGEST_DATA, MOST_MESSAGES, Message, Pusher
from core.tasks import relay
from core.tasks.relay import Held

logger = logging.getLogger(__name__)

ROWS = 500
"""Events read at once."""
TAKE_AGAIN_SECONDS = 3.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
REFUSED_PAUSE_SECONDS = 300.0
"""After a wrong key or the like: only a person can mend that."""
LONGEST_RETRY_AFTER = 3600.0
TOO_MUCH = (400, 413)
"""What the service says of messages that are too large, or too many."""
EVERYBODY = None
"""In place of a gateway: the channel that all subscribe to."""


class LeaseLost(Exception):
    """Another process has taken over."""


class Stopped(Exception):
    """This process is asked to end."""


@dataclass
class Batch:
    """Events that go in one call: all up to `last`. A part is [gateway, name, texts of data]."""

    last: int = 0
    parts: list[tuple[int | None, str, list[str]]] = field(default_factory=list)
    _open: dict[int | None, tuple[list[str], int]] = field(default_factory=dict)

    def add(self, event: SerializedEvent, kind: str) -> bool:
        """Add an event, and what tells everybody of it; return whether there was room."""
        size = len(event.text.encode()) + 2  # with a comma, and a bracket
        texts, taken = self._open.get(event.gateway, ([], LARGEST_DATA))
        has_room = taken + size <= LARGEST_DATA
        # A gateway may be new: nobody subscribes to its channel yet.
        is_for_all = kind == EventKind.GATEWAY
        if len(self.parts) + (not has_room) + is_for_all > MOST_MESSAGES:
            return False
        if has_room:
            texts.append(event.text)
            self._open[event.gateway] = texts, taken + size
        elif size > LARGEST_DATA:
            self._note(event.gateway, event.id)
        else:
            texts = [event.text]
            self.parts.append((event.gateway, "events", texts))
            self._open[event.gateway] = texts, size
        if is_for_all:
            self._note(EVERYBODY, event.id)
        self.last = event.id
        return True

    def _note(self, gateway: int | None, id: int) -> None:
        """Tell pages to fetch what there is, up to this event."""
        note = json.dumps({"id": id})
        before = self.parts[-1] if self.parts else None
        if before and before[:2] == (gateway, "fetch"):
            before[2][:] = [note]
            return
        self.parts.append((gateway, "fetch", [note]))
        self._open.pop(gateway, None)

    def messages(self) -> list[Message]:
        """Make the messages, for the channels of this moment."""
        at = now()
        return [
            Message(channel_of(gateway, at), name, _list(texts) if name == "events" else texts[0])
            for gateway, name, texts in self.parts
        ]

    def as_notes(self) -> list[Message]:
        """Make notes in place of events, for a service that takes less than it should."""
        at, note = now(), json.dumps({"id": self.last})
        gateways = dict.fromkeys(gateway for gateway, _, _ in self.parts)
        return [Message(channel_of(gateway, at), "fetch", note) for gateway in gateways]


def _list(texts: list[str]) -> str:
    return f"[{','.join(texts)}]"


def batches(rows: Iterable[EventRow]) -> Iterator[Batch]:
    """Pack events, in their order: those of a gateway that come together are one message."""
    batch = Batch()
    for row in rows:
        event = SerializedEvent.of(row)
        if not batch.add(event, row.kind):
            yield batch
            batch = Batch()
            batch.add(event, row.kind)
    if batch.parts:
        yield batch


class EventRelay:
    """One process that sends events, or waits until the one that does is gone."""

    def __init__(self) -> None:
        self._service = service()
        self._sender = ThreadPoolExecutor(1, "relay-sender")
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token = 0  # none
        self._last = 0
        self._renewed_at = 0.0

    def run(self) -> None:
        """Send until `stop` is called."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """End soon; a batch that is on its way is waited for. For handlers of signals."""
        if self._loop is None or self._loop.is_closed():
            self._stopping.set()
        else:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _run(self) -> None:
        self._loop, pause = asyncio.get_running_loop(), TAKE_AGAIN_SECONDS
        with suppress(Stopped):
            while True:
                try:
                    if held := await writing(relay.take):
                        pause = TAKE_AGAIN_SECONDS
                        await self._hold(held)
                except LeaseLost:
                    logger.warning("Another relay_events has taken over: this one waits.")
                except Stopped:
                    raise
                except Exception as error:  # such as a database that is away
                    name = type(error).__name__
                    logger.warning("Events cannot be read (%s: %s): tried again.", name, error)
                    pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                await self._wait(pause)

    async def _hold(self, held: Held) -> None:
        """Send until the end, or until the lease is lost."""
        self._token, self._last = held
        try:
            await self._follow()
        finally:
            self._token = 0
            # Else the next one waits until the lease is over.
            with suppress(DatabaseError):
                await writing(relay.give_back, held.token)

    async def _follow(self) -> None:
        log = change_log()
        self._renewed_at = monotonic()
        try:
            await log.open()
            while True:
                rows = await log.read(self._last, ROWS)
                await self._look_for_gaps(log, rows)
                for batch in batches(rows):
                    await self._deliver(batch)
                if not rows:
                    await self._wait(0)
                    await log.wait()
        finally:
            await log.close()

    async def _look_for_gaps(self, log: ChangeLog, rows: Sequence[EventRow]) -> None:
        """Tell pages to read all again, where what comes next is not stored any more."""
        newest = self._last
        if rows and 0 < self._last < rows[0].id - 1:
            is_gone = await writing(relay.is_pruned_past, self._last)
        else:
            # The log may have begun anew, as after a backup was restored.
            newest = self._last if rows else await log.newest() or self._last
            is_gone = newest < self._last
        if is_gone:
            logger.warning("Events after %s are gone: pages read all again.", self._last)
            over = Batch(newest, [(EVERYBODY, "over", ["{}"])])
            await self._deliver(over)

    async def _deliver(self, batch: Batch) -> None:
        """Send until the service takes it, then move the cursor. Raises LeaseLost, Stopped."""
        pause, messages = FIRST_PAUSE_SECONDS, batch.messages
        while True:
            await self._wait(0)
            try:
                await asyncio.wrap_future(self._sender.submit(self._service.send, messages()))
                break
            except ApiRefused as error:
                if error.status in TOO_MUCH and messages == batch.messages:
                    messages = batch.as_notes
                    continue
                words, wait, is_refused = str(error), REFUSED_PAUSE_SECONDS, True
            except ApiError as error:
                asked = min(error.retry_after or 0, LONGEST_RETRY_AFTER)
                words, wait, is_refused = str(error), max(pause, asked), False
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            logger.warning("%s Tried again in %.0f s: nothing is lost.", words, wait)
            self._check(await writing(relay.fail, self._token, words, refused=is_refused))
            await self._wait(wait)
        self._check(await writing(relay.advance, self._token, batch.last))
        self._last, self._renewed_at = batch.last, monotonic()

    def _check(self, is_ours: bool) -> None:
        if not is_ours:
            raise LeaseLost

    async def _wait(self, seconds: float) -> None:
        """Wait, keeping the lease. Raises LeaseLost, Stopped."""
        until = monotonic() + seconds
        while True:
            if self._token and monotonic() - self._renewed_at > relay.LEASE.total_seconds() / 4:
                self._check(await writing(relay.renew, self._token))
                self._renewed_at = monotonic()
            if self._stopping.is_set():
                raise Stopped
            left = until - monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(left, 5.0))


def service() -> Pusher:
    """Make the client for the service that RELAY_URL names."""
    chosen: Any = settings.RELAY
    networks = list(settings.GATEWAY_NETWORKS)
    # Who names this machine means it: only tests and a try at home do.
    if urlsplit(chosen.api).scheme == "http":
        networks += [ip_network(block) for block in NETWORK_NAMES["loopback"]]
    return Pusher(chosen.api, chosen.app, chosen.key, chosen.secret, networks)
