"""Which device's page each socket of this process shows: stored as leases, renewed at heartbeats.

Changes that come close together are stored in one transaction: after a restart a thousand pages
come back at once.
"""

import asyncio
import logging
from collections.abc import Hashable
from uuid import uuid4

from core.live.threads import registering
from core.tasks import presence
from core.tasks.presence import Viewer

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
"""Between two transactions. The first comes at once."""


class PresenceTracker:
    def __init__(self) -> None:
        self._here: dict[Hashable, Viewer] = {}
        self._entering: dict[str, Viewer] = {}
        self._leaving: set[str] = set()
        self._writing: asyncio.Task[None] | None = None

    def here(
        self, socket: Hashable, user_pk: int | None, device_pk: int, is_changing: bool
    ) -> None:
        """Record that a socket shows the page of this device now."""
        before = self._here.get(socket)
        here = Viewer(before.key if before else uuid4().hex, device_pk, user_pk, is_changing)
        if here != before:
            self._here[socket] = self._entering[here.key] = here
            self._write_soon()

    def away(self, socket: Hashable) -> None:
        """Record that a socket shows no device's page any more, or is closed."""
        if here := self._here.pop(socket, None):
            self._entering.pop(here.key, None)
            self._leaving.add(here.key)
            self._write_soon()

    async def beat(self) -> None:
        """Renew the leases of this process and delete all expired ones, at each heartbeat."""
        written = [here.key for here in self._here.values() if here.key not in self._entering]
        over = await registering(_renew, written)
        self._entering |= {here.key: here for here in self._here.values() if here.key in over}
        if self._entering or self._leaving:
            self._write_soon()

    def end(self) -> None:
        """The process ends: all leave at once."""
        for socket in list(self._here):
            self.away(socket)
        if self._writing is not None:
            self._writing.cancel()  # it may be pausing
            self._writing = asyncio.create_task(self._write())

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._entering or self._leaving:
            entering, leaving = list(self._entering.values()), self._leaving
            self._entering, self._leaving = {}, set()
            try:
                await registering(presence.move, entering, leaving)
            except Exception as error:
                # Such as a database that is away: the next heartbeat tries again.
                logger.warning(
                    "Who is at which page could not be stored (%s: %s)", type(error).__name__, error
                )
                self._leaving |= leaving
                self._entering = {
                    one.key: one for one in entering if one.key not in self._leaving
                } | self._entering
                return
            await asyncio.sleep(PAUSE_SECONDS)


def _renew(keys: list[str]) -> set[str]:
    over = presence.renew(keys) if keys else set()
    presence.forget()
    return over


present = PresenceTracker()
