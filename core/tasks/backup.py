"""Copy a SQLite database while others write to it."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from django.db import connection
from django.utils import timezone

from core.tasks import whole_file

PAGES_A_STEP = 4096
NAME = "iotapp-{number:06d}-{now:%Y%m%dT%H%M%SZ}.sqlite3"
NAMED = re.compile(r"iotapp-(\d{6,})-\d{8}T\d{6}Z\.sqlite3")
HEADER = b"SQLite format 3\0"

Progress = Callable[[int, int], None]


class NotBackedUp(Exception):
    """Says why there is no new backup. Those from before are as they were."""


def backup(path: Path, keep: int | None = None, progress: Progress | None = None) -> Path:
    """Copy the site's database to `path`, a file or a folder. Return the file.

    In a folder backups are numbered. `keep`: of those, that many newest ones stay. Raises
    NotBackedUp.
    """
    if connection.vendor != "sqlite":
        raise NotBackedUp(
            "This copies a SQLite database; this site uses PostgreSQL, whose own program does it: "
            f'pg_dump --format=custom --file={path} "$DATABASE_URL"'
        )
    source = Path(connection.settings_dict["NAME"])
    if not source.is_file():
        raise NotBackedUp(f"There is no database file {source}.")
    if not path.is_dir():
        if keep is not None:
            raise NotBackedUp(f"{path} is no folder: --keep needs one to number backups in.")
        return copy(source, path, progress)
    made = copy(source, _next_in(path), progress)
    for old in _numbered(path)[: -keep or None] if keep else ():
        if old != made:
            old.unlink(missing_ok=True)
    return made


def copy(source: Path, target: Path, progress: Progress | None = None) -> Path:
    """Copy a database file as it is at one moment. `target` appears whole or not at all.

    Only its owner may read it: it holds what the database does. Raises NotBackedUp.
    """
    _check_target(source, target)
    with whole_file.partial(target) as partial:
        try:
            _copy_pages(source, partial, progress)
            _verify(partial)
        except sqlite3.Error as error:
            raise NotBackedUp(f"{source} could not be copied to {target}: {error}.") from error
        finally:
            partial.with_name(f"{partial.name}-journal").unlink(missing_ok=True)
        whole_file.put_in_place(partial, target)
    return target


def _check_target(source: Path, target: Path) -> None:
    if not target.parent.is_dir():
        raise NotBackedUp(f"There is no folder {target.parent}.")
    beside = [target.with_name(target.name + ending) for ending in ("-wal", "-shm", "-journal")]
    if any(path.exists() for path in beside):
        raise NotBackedUp(f"{target} is a database in use: choose another file.")
    if not target.exists():
        return
    if target.samefile(source):
        raise NotBackedUp(f"{target} is the database itself: choose another file.")
    if not target.is_file() or not _is_database(target):
        raise NotBackedUp(f"{target} exists and is no SQLite database: choose another file.")


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


def _copy_pages(source: Path, partial: Path, progress: Progress | None) -> None:
    def show(status: int, remaining: int, total: int) -> None:
        if progress:
            progress(total - remaining, total)

    uri = f"{source.absolute().as_uri()}?mode=rw"  # never makes one
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)) as live,
        closing(sqlite3.connect(partial, isolation_level=None)) as copied,
    ):
        # In a read transaction every page is of one moment. Without it, each write of another
        # process would begin the copy anew.
        live.execute("BEGIN")
        live.execute("SELECT count(*) FROM sqlite_master").fetchone()
        live.backup(copied, pages=PAGES_A_STEP, progress=show)
        # One file, not three; the app puts it into WAL mode again when it is used.
        copied.execute("PRAGMA journal_mode=DELETE").fetchone()


def _verify(partial: Path) -> None:
    with closing(sqlite3.connect(partial, isolation_level=None)) as copied:
        said = [row[0] for row in copied.execute("PRAGMA integrity_check(3)")]
    if said != ["ok"]:
        raise NotBackedUp(f"The database is damaged: {'; '.join(map(str, said))}.")


def _numbered(folder: Path) -> list[Path]:
    """Return the backups of a folder, oldest first. Their numbers say so, whatever the clock."""
    return sorted((path for path in folder.iterdir() if NAMED.fullmatch(path.name)), key=_number)


def _number(path: Path) -> int:
    found = NAMED.fullmatch(path.name)
    return int(found[1]) if found else 0


def _next_in(folder: Path) -> Path:
    latest = max((_number(path) for path in _numbered(folder)), default=0)
    return folder / NAME.format(number=latest + 1, now=timezone.now())
