"""All open sockets of this process: their limit, their heartbeat, their end at shutdown."""

import asyncio
import logging
from math import ceil
from time import monotonic
from typing import Protocol

from django.conf import settings

from core.live.presence import present
from core.live.sessions import LogIn, still_there
from core.live.threads import reading

logger = logging.getLogger(__name__)

TOO_BIG, RESTART, FULL = 1009, 1012, 1013
LOGGED_OUT, SILENT, BEHIND, TOO_FAST = 4401, 4408, 4413, 4429

ASKED_AT_ONCE = 50
"""Sockets. The pings and pongs of a thousand would delay an event by a tenth of a second."""


class Socket(Protocol):
    log_in: LogIn
    address: str
    is_alive: bool
    """Whether something was heard since the last heartbeat."""

    def ping(self) -> None: ...

    async def finish(self, code: int, reason: str) -> None: ...


class Sockets:
    def __init__(self) -> None:
        self.open: dict[Socket, None] = {}  # in the order they came, in which they are asked
        self.is_closing = False
        self._beating: asyncio.Task[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()

    def has_room_for(self, socket: Socket) -> bool:
        """A quarter of the places is for log-ins; one address has half of the rest at most."""
        most = settings.SOCKETS_A_PROCESS
        if len(self.open) >= most:
            return False
        if socket.log_in.user_pk is not None:
            return True
        others = [other.address for other in self.open if other.log_in.user_pk is None]
        rest = ceil(most * 3 / 4)
        return len(others) < rest and others.count(socket.address) < ceil(rest / 2)

    def add(self, socket: Socket) -> None:
        self.open[socket] = None
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    def remove(self, socket: Socket) -> None:
        self.open.pop(socket, None)

    def finish(self, socket: Socket, code: int, reason: str) -> None:
        """Close it without waiting for its answer."""
        self.remove(socket)
        task = asyncio.create_task(socket.finish(code, reason))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def close_all(self) -> None:
        """The process ends: clients come again at once, to another one."""
        self.is_closing = True
        for socket in list(self.open):
            self.finish(socket, RESTART, "restart: come again and resume")
        present.end()

    async def _beat(self) -> None:
        due = monotonic()
        while True:
            due = (
                max(due, monotonic() - settings.SOCKET_HEARTBEAT_SECONDS / 2)
                + settings.SOCKET_HEARTBEAT_SECONDS
            )
            await asyncio.sleep(due - monotonic())
            await self.beat()

    async def beat(self) -> None:
        """Ping all sockets; close those that did not answer the last ping or are logged out.

        None of these waits for another.
        """
        for error in await asyncio.gather(
            self._ask(), self._look_at_log_ins(), present.beat(), return_exceptions=True
        ):
            # Such as a database that is away: the next heartbeat tries again.
            if isinstance(error, Exception):
                logger.warning(
                    "A heartbeat of the sockets failed (%s: %s)", type(error).__name__, error
                )

    async def _ask(self) -> None:
        """A few at a time, all within half a heartbeat."""
        asked = list(self.open)  # more may be opened meanwhile
        pause = settings.SOCKET_HEARTBEAT_SECONDS / 2 * ASKED_AT_ONCE / max(1, len(asked))
        for start in range(0, len(asked), ASKED_AT_ONCE):
            if start:
                await asyncio.sleep(pause)
            for socket in asked[start : start + ASKED_AT_ONCE]:
                if socket not in self.open:
                    continue
                if not socket.is_alive:
                    self.finish(socket, SILENT, "no pong came")
                else:
                    socket.is_alive = False
                    socket.ping()

    async def _look_at_log_ins(self) -> None:
        looked_at = list(self.open)
        there = await reading(still_there, {socket.log_in for socket in looked_at})
        for socket in looked_at:
            if socket.log_in not in there:
                self.finish(socket, LOGGED_OUT, "the log-in is over")


sockets = Sockets()
