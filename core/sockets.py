"""All open sockets of this process: how many there may be, their heartbeat, and their end when the process is told to stop."""

import asyncio
import logging
from typing import Protocol

from django.conf import settings

from core.live_threads import reading
from core.present import present
from core.tasks.visitors import Visitor, still_there

logger = logging.getLogger(__name__)

TOO_BIG, RESTART, FULL = 1009, 1012, 1013
LOGGED_OUT, SILENT, BEHIND, TOO_FAST = 4401, 4408, 4413, 4429


class Socket(Protocol):
    visitor: Visitor
    is_alive: bool
    """Whether something was heard since the last heartbeat."""

    def ping(self) -> None: ...

    async def finish(self, code: int, reason: str) -> None: ...


class Sockets:
    def __init__(self) -> None:
        self.open: set[Socket] = set()
        self.is_closing = False
        self._beating: asyncio.Task[None] | None = None
        self._finishing: set[asyncio.Task[None]] = set()

    @property
    def has_room(self) -> bool:
        return len(self.open) < settings.SOCKETS_A_PROCESS

    def add(self, socket: Socket) -> None:
        self.open.add(socket)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._beat())

    def remove(self, socket: Socket) -> None:
        self.open.discard(socket)

    def finish(self, socket: Socket, code: int, reason: str) -> None:
        """Close it without waiting for its answer."""
        self.open.discard(socket)
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
        while True:
            await asyncio.sleep(settings.SOCKET_HEARTBEAT_SECONDS)
            try:
                await self.beat()
            except Exception as error:  # such as a database that is away: the next one will tell
                logger.warning("A heartbeat of the sockets failed (%s: %s)", type(error).__name__, error)

    async def beat(self) -> None:
        """Close the silent and the logged out, and ask the others whether they are there."""
        for socket in list(self.open):
            if not socket.is_alive:
                self.finish(socket, SILENT, "no pong came")
            else:
                socket.is_alive = False
                socket.ping()
        asked = list(self.open)  # more may be opened meanwhile
        there = await reading(still_there, {socket.visitor for socket in asked})
        for socket in asked:
            if socket.visitor not in there:
                self.finish(socket, LOGGED_OUT, "the log-in is over")
        await present.beat()


sockets = Sockets()
