"""The journal of a SQLite file: a write-ahead log, or a rollback journal where there can be none.

A write-ahead log (WAL) lets pages read while a poll writes. It needs memory that processes share
through a file, which network shares and some mounts do not give: https://sqlite.org/wal.html
"""

import logging
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

NO_SHARED_MEMORY = ("SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_IOERR")

logger = logging.getLogger(__name__)
_warned: set[str] = set()


def choose_journal(connection: BaseDatabaseWrapper, **sent: Any) -> None:
    """Set the journal of a new connection. Raises OperationalError, which names the cause."""
    if connection.vendor != "sqlite" or not Path(connection.settings_dict["NAME"]).is_file():
        return
    path = Path(connection.settings_dict["NAME"])
    try:
        if _pragma(connection, "journal_mode") == "wal":
            return
    except OperationalError as error:
        if not _lacks_shared_memory(error.__cause__):
            raise
        connection.close()  # it holds a lock on the file
        _leave_wal(path)
        connection.connect()  # which comes here again
        return
    if _wal_works_beside(path):
        _pragma(connection, "journal_mode=WAL")
    else:
        _warn(path)


def _pragma(connection: BaseDatabaseWrapper, words: str) -> object:
    with connection.cursor() as cursor:
        return cursor.execute(f"PRAGMA {words}").fetchone()[0]


def _lacks_shared_memory(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(NO_SHARED_MEMORY)


def _leave_wal(path: Path) -> None:
    """Give a file that was in WAL mode a rollback journal. Nothing that was written is lost.

    Who has the file alone needs no shared memory.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as alone:
            alone.execute("PRAGMA locking_mode=EXCLUSIVE")
            alone.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_FULL":  # then there is no room for shared memory
            raise OperationalError(str(error)) from error
        raise OperationalError(
            f"{error}: {path} is in WAL mode, which cannot be used on this disk (is it a network "
            "share?), and it could not be changed. Stop whatever else uses it, see that its file "
            "and folder can be written, or move it to a disk of this machine"
        ) from error


def _wal_works_beside(path: Path) -> bool:
    """Try it with an empty database in the same folder: the file itself may be in use."""
    try:
        with tempfile.TemporaryDirectory(prefix=".journal-", dir=path.parent) as folder:
            return _wal_works(Path(folder) / path.name)
    except OSError:  # the folder cannot be written: SQLite says so where it matters
        return True


def _wal_works(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as tried:
            # Only the first access after it shows whether it works.
            mode = tried.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            tried.execute("CREATE TABLE tried (number INTEGER)")
    except sqlite3.OperationalError:
        return False
    return bool(mode == "wal")


def _warn(path: Path) -> None:
    """Say it once a process."""
    if str(path) not in _warned:
        _warned.add(str(path))
        logger.warning(
            "%s is on a disk without shared memory (a network share?): SQLite uses a rollback "
            "journal, so that nothing can be read while something is written. Move it to a disk "
            "of this machine, or use PostgreSQL.",
            path,
        )
