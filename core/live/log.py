"""The event log as a web process reads it, over a connection of its own: busy pages never delay it.

Both logs are used in one asyncio loop. `wait()` returns when something may have been committed, and
after a second in any case: a notification may be lost.
"""

import asyncio
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from django.conf import settings
from django.db import connection

from core.live.threads import reading
from core.tasks.events.outbox import CHANNEL

if TYPE_CHECKING:
    import psycopg

LOOK_SECONDS = 1.0
"""How often the log is read even if nothing wakes us."""
SQLITE_LOOK_SECONDS = 0.02
ANSWER_SECONDS = 10.0
"""A database that does not answer for so long is gone: the connection is made anew."""
# {after} and {limit} become placeholders: ? for SQLite's driver, %s for psycopg. The body comes as
# text, because it is sent on as text.
READ = (
    "SELECT id, kind, device, gateway, CAST(body AS TEXT) FROM core_event "
    "WHERE id > {after} ORDER BY id LIMIT {limit}"
)
NEWEST = "SELECT max(id) FROM core_event"


class EventRow(NamedTuple):
    """An event as it is stored; `body` is JSON."""

    id: int
    kind: str
    device: int | None
    gateway: int | None
    body: str


class ChangeLog(Protocol):
    async def open(self) -> None: ...

    async def read(self, after: int, limit: int) -> list[EventRow]:
        """What came after that id, in order."""

    async def newest(self) -> int | None:
        """The last id; None where the log is empty."""

    async def wait(self) -> None: ...

    async def close(self) -> None: ...


def change_log() -> ChangeLog:
    return (
        PostgresLog()
        if connection.vendor == "postgresql"
        else SqliteLog(Path(connection.settings_dict["NAME"]))
    )


class SqliteLog:
    """Looks at `PRAGMA data_version` 50 times a second: it changes when others commit; 10 us."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def open(self) -> None:
        self._file = self._path.stat().st_ino
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.execute("PRAGMA query_only = ON")
        self._version = self._data_version()

    async def read(self, after: int, limit: int) -> list[EventRow]:
        rows = self._connection.execute(READ.format(after="?", limit="?"), [after, limit])
        return [EventRow(*row) for row in rows]

    async def newest(self) -> int | None:
        newest: int | None = self._connection.execute(NEWEST).fetchone()[0]
        return newest

    async def wait(self) -> None:
        for _ in range(round(LOOK_SECONDS / SQLITE_LOOK_SECONDS)):
            await asyncio.sleep(SQLITE_LOOK_SECONDS)
            if self._version != (version := self._data_version()):
                self._version = version
                return
        # Our connection still reads the old file if another was moved to its path.
        if self._path.stat().st_ino != self._file:
            raise FileNotFoundError(f"{self._path} was replaced by another file")

    async def close(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()

    def _data_version(self) -> int:
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version


class PostgresLog:
    """Listens on its own connection; where that fails, as through a pooler, reads each second."""

    _connection: "psycopg.AsyncConnection[Any]"

    async def open(self) -> None:
        import psycopg

        opening = psycopg.AsyncConnection.connect(autocommit=True, **connection_parameters())
        self._connection = await asyncio.wait_for(opening, ANSWER_SECONDS)
        await self._execute(f"LISTEN {CHANNEL}")
        self.is_woken = await self._hears()

    async def read(self, after: int, limit: int) -> list[EventRow]:
        rows = await self._execute(READ.format(after="%s", limit="%s"), [after, limit])
        return [EventRow(*row) for row in rows]

    async def newest(self) -> int | None:
        [row] = await self._execute(NEWEST)
        newest: int | None = row[0]
        return newest

    async def wait(self) -> None:
        if not self.is_woken:
            await asyncio.sleep(LOOK_SECONDS)
            return
        # What it says does not matter: whoever is woken reads the table.
        async for _ in self._connection.notifies(timeout=LOOK_SECONDS, stop_after=1):
            pass

    async def close(self) -> None:
        if hasattr(self, "_connection"):
            with suppress(Exception):
                await asyncio.wait_for(self._connection.close(), 1)

    async def _execute(
        self, statement: str, values: list[int] | None = None
    ) -> list[tuple[Any, ...]]:
        cursor = await asyncio.wait_for(
            self._connection.execute(statement.encode(), values), ANSWER_SECONDS
        )
        return await cursor.fetchall() if cursor.description else []

    async def _hears(self) -> bool:
        """Whether a notification that came over another connection arrives here."""
        # Others notify the same channel, so only a word of our own proves anything.
        word = secrets.token_hex(8)
        await reading(_notify, word)
        async for heard in self._connection.notifies(timeout=2 * LOOK_SECONDS):
            if heard.payload == word:
                return True
        return False


def connection_parameters() -> dict[str, Any]:
    """How to reach the database without a pooler between, where LIVE_DATABASE_URL says so."""
    # Seconds. A peer that is gone without a word is noticed after about 35.
    alive = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}
    if settings.LIVE_DATABASE_URL:
        return {"conninfo": settings.LIVE_DATABASE_URL, **alive}
    parameters = connection.get_connection_params()
    # Without what is Django's own: by its `context`, psycopg would leave JSON as text.
    return {
        name: value
        for name, value in parameters.items()
        if name not in ("cursor_factory", "context")
    } | alive


def _notify(word: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, word])
