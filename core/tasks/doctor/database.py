"""The database: whether it answers, its tables, its journal, its size and its connections."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from core.formatting import counted
from core.models import SiteImport
from core.readings import printable
from core.tasks.doctor.line import Line, error, ok, warning

SECONDS_TO_CONNECT = 5
MOST_MILLISECONDS = 10_000
"""For one statement: a table that somebody has locked does not hold us up."""
MIGRATE = "Run: python manage.py migrate"
FEW_CONNECTIONS = 0.8


def database_lines() -> Iterator[Line]:
    """Yield how it is. The others need it: they are looked at if this holds no error."""
    if connection.vendor == "postgresql":
        if away := _postgresql_is_away():
            advice = "Is DATABASE_URL right, and the server up?"
            yield error("database", f"PostgreSQL does not answer: {away}", advice)
            return
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {MOST_MILLISECONDS}")
        yield from _postgresql_lines()
    else:
        path = Path(connection.settings_dict["NAME"])
        # Looking would make an empty one.
        if not path.is_file():
            yield error("database", f"There is no {path} yet.", MIGRATE)
            return
        yield from _sqlite_lines(path)
    yield from _migration_lines()


def _postgresql_is_away() -> str:
    """Return why no connection can be made, or nothing. Asking the pool would take longer."""
    import psycopg

    given: dict[str, Any] = connection.get_connection_params()
    ours = ("cursor_factory", "context")
    wanted = {name: value for name, value in given.items() if name not in ours}
    try:
        psycopg.connect(**wanted | {"connect_timeout": SECONDS_TO_CONNECT}).close()
    except psycopg.Error as problem:
        return printable(" ".join(str(problem).split())) or type(problem).__name__
    return ""


def _postgresql_lines() -> Iterator[Line]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), pg_database_size(current_database()), "
            "current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend')"
        )
        version, size, most, open_now = cursor.fetchone()
    yield ok("database", f"PostgreSQL {version}, {_size(size)}.")
    text = f"{open_now} of {most} connections of the server are open."
    if open_now > FEW_CONNECTIONS * most:
        advice = (
            "Lower DATABASE_POOL_SIZE or WEB_CONCURRENCY, or take a larger plan. "
            "A process of this site opens up to DATABASE_POOL_SIZE of them."
        )
        yield warning("database", text, advice)
    else:
        yield ok("database", text)


def _sqlite_lines(path: Path) -> Iterator[Line]:
    import sqlite3

    with connection.cursor() as cursor:
        [mode] = cursor.execute("PRAGMA journal_mode").fetchone()
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*") if part.is_file())
    about = f"SQLite {sqlite3.sqlite_version}, {path}, {_size(size)}"
    if mode == "wal":
        yield ok("database", f"{about}, with a write-ahead log.")
    else:
        advice = "Move it to a disk of this machine, or use PostgreSQL."
        text = f"{about}, with a {mode} journal: nothing can be read while something is written."
        yield warning("database", text, advice)


def _migration_lines() -> Iterator[Line]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    unknown = set(executor.loader.applied_migrations) - set(executor.loader.disk_migrations)
    if plan:
        text = f"{counted(len(plan), 'migration')} missing, the first is {plan[0][0]}."
        yield error("database", text, MIGRATE)
    elif ours := sorted(name for app, name in unknown if app == "core"):
        text = f"It is of a newer version of this program, which has {ours[-1]}."
        yield warning("database", text, "Install that version again, or restore a backup.")
    else:
        yield ok("database", "Its tables are up to date.")
        if refusal := SiteImport.refusal():
            yield error("database", "Nothing is done before the whole site is stored.", refusal)


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
