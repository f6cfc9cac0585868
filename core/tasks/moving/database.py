"""What is asked of the databases here and there: their version, one moment of them, numbers."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import AutoField, Max, Model

from core.tasks.moving import NotMoved


def newest_migration() -> str:
    """Return the newest migration of core. Raises NotMoved if one of any app is not applied."""
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    if executor.migration_plan(newest):
        raise NotMoved("The database is not as this version has it. Run: python manage.py migrate")
    return str(next(name for app, name in newest if app == "core"))


@contextmanager
def one_moment() -> Iterator[None]:
    """Read all that follows as it was at one moment. Others write on meanwhile."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with transaction.atomic():
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield
            return
        # Not atomic(), which begins with the lock that writers take.
        cursor.execute("BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


def keep_writers_out(models: Iterable[type[Model]]) -> None:
    """Wait for those who write to these tables, and let no other write until the commit."""
    if connection.vendor == "postgresql":  # on SQLite the transaction has begun with that
        tables = ", ".join(connection.ops.quote_name(model._meta.db_table) for model in models)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")


def last_number(model: type[Model]) -> int:
    """Return the last primary key that was given out, also of a row since deleted."""
    key = model._meta.pk
    if not isinstance(key, AutoField):  # BigAutoField is one too
        return 0
    table, column = model._meta.db_table, key.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sequence = "pg_get_serial_sequence(%s, %s)::regclass"
            cursor.execute(f"SELECT pg_sequence_last_value({sequence})", [f'"{table}"', column])
        else:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        found = cursor.fetchone()
    # Rows that were stored with their keys, as import_site does, do not move the sequence.
    stored = model._base_manager.aggregate(newest=Max("pk"))["newest"]
    return max(found[0] or 0 if found else 0, stored or 0)


def number_on(model: type[Model], last: int) -> None:
    """Let the next row that is stored get a number above this one and all that are there."""
    last = max(last, last_number(model))
    if not last:
        return
    table, column = model._meta.db_table, model._meta.pk.column
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            set_it = "SELECT setval(pg_get_serial_sequence(%s, %s)::regclass, %s)"
            cursor.execute(set_it, [f'"{table}"', column, last])
            return
        # It has no line for a table in which there never was a row.
        cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [last, table])
        if not cursor.rowcount:
            cursor.execute("INSERT INTO sqlite_sequence (seq, name) VALUES (%s, %s)", [last, table])
