import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from core.management.command import _hint
from core.models import journal

pytestmark = pytest.mark.django_db
WAL, ROLLBACK = b"\x02\x02", b"\x01\x01"
"""Bytes 18 and 19 of the file: https://sqlite.org/fileformat.html"""

Connect = Callable[[Path], BaseDatabaseWrapper]


@pytest.fixture
def connect() -> Iterator[Connect]:
    handlers = []

    def connected(path: Path) -> BaseDatabaseWrapper:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        handlers.append(ConnectionHandler({"default": database}))
        return handlers[-1]["default"]

    yield connected
    for handler in handlers:
        handler.close_all()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite3"


@pytest.fixture
def share(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file beside which no memory can be shared: SQLite cannot open what it shares it by.

    On a share no folder has such memory, so neither have those where it is tried.
    """
    memory = path.parent / "db.sqlite3-shm"
    memory.unlink(missing_ok=True)
    memory.symlink_to("/nonexistent/file")

    def folder_on_the_share(prefix: str, dir: Path) -> "Folder":
        return Folder(prefix=prefix, dir=dir)

    class Folder(journal.tempfile.TemporaryDirectory[str]):
        def __enter__(self) -> str:
            (Path(self.name) / "db.sqlite3-shm").symlink_to("/nonexistent/file")
            return self.name

    monkeypatch.setattr(journal.tempfile, "TemporaryDirectory", folder_on_the_share)
    monkeypatch.setattr(journal, "_warned", set())
    return path


def write(connection: BaseDatabaseWrapper) -> list[tuple[int]]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS a (b INTEGER)")
        cursor.execute("INSERT INTO a VALUES (7)")
        return cursor.execute("SELECT b FROM a").fetchall()


def mode(path: Path) -> bytes:
    return path.read_bytes()[18:20]


def make_in_wal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE a (b INTEGER)")
        made.execute("INSERT INTO a VALUES (6)")


def test_pages_read_a_sqlite_file_while_something_is_written(connect: Connect, path: Path) -> None:
    assert write(connect(path)) == [(7,)]
    assert mode(path) == WAL
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "db.sqlite3",
        "db.sqlite3-shm",
        "db.sqlite3-wal",
    ]


def test_on_a_share_sqlite_keeps_a_rollback_journal_and_says_so_once(
    connect: Connect, share: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert write(connect(share)) == [(7,)]
        assert write(connect(share)) == [(7,), (7,)]
    assert mode(share) == ROLLBACK
    assert [record.getMessage() for record in caplog.records] == [
        f"{share} is on a disk without shared memory (a network share?): SQLite uses a rollback "
        "journal, so that nothing can be read while something is written. Move it to a disk of "
        "this machine, or use PostgreSQL."
    ]


def test_a_file_that_moves_to_a_share_keeps_what_was_written(
    connect: Connect, path: Path, request: pytest.FixtureRequest
) -> None:
    make_in_wal_mode(path)
    share = request.getfixturevalue("share")
    assert write(connect(share)) == [(6,), (7,)]
    assert mode(share) == ROLLBACK


def test_a_file_on_a_share_that_cannot_be_changed_is_named_with_the_cause(
    connect: Connect,
    path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The other never lets go: to wait for it by the usual 5 s tells nothing.
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.1))
    make_in_wal_mode(path)
    reader = (
        "import sqlite3, sys; open_one = sqlite3.connect(sys.argv[1]);"
        "open_one.execute('SELECT * FROM a').fetchall(); print('open', flush=True); input()"
    )
    arguments = [sys.executable, "-c", reader, str(path)]
    with Popen(arguments, stdin=PIPE, stdout=PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "open\n"
        share = request.getfixturevalue("share")
        with pytest.raises(OperationalError, match="is in WAL mode, which cannot be used on this"):
            write(connect(share))
        other.communicate("\n")


@pytest.mark.parametrize(
    "said",
    [
        "unable to open database file",
        "disk I/O error",
        "locking protocol",
        "database is locked",
        "attempt to write a readonly database",
    ],
)
def test_an_error_of_sqlite_asks_for_no_server(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.management.command.connection.vendor", "sqlite", raising=False)
    assert _hint(said) and "server" not in _hint(said)
