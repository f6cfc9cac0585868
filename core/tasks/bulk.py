"""Many rows in one statement, the same SQL on both databases.

PostgreSQL takes the rows as arrays, SQLite as long lists of values. Not one by one with `executemany`: for each row the
driver lets go of Python's lock, and while threads wait for that lock, each row costs two changes of thread.
Measured in bench/README.md against Django's bulk_create and bulk_update.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from django.db import connection

SQLITE_ROWS = 250
"""In one statement. Of seven columns that is far from SQLite's limit of 32,766 values; longer ones are hardly faster."""


@dataclass(frozen=True)
class BulkStatement:
    """`columns` are name and PostgreSQL type of what a row holds. In `sql`, `{rows}` stands for them, named v, and
    `{greatest}` for the function that picks the larger of two. What a row is to change must be named by one row only."""

    columns: tuple[tuple[str, str], ...]
    sql: str

    def run(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Returns how many rows of the table changed."""
        if not rows:
            return 0
        columns = zip(*rows, strict=True)
        if connection.vendor == "sqlite":
            return self._run_on_sqlite(list(zip(*map(_adapted, columns, self._are_times), strict=True)))
        with connection.cursor() as cursor:
            cursor.execute(self._postgresql, [list(column) for column in columns])
            return int(cursor.rowcount)

    def _run_on_sqlite(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """On the driver's own cursor: Django's would search a long statement for its thousand placeholders each time."""
        connection.ensure_connection()
        changed = 0
        with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
            for start in range(0, len(rows), SQLITE_ROWS):
                piece = rows[start : start + SQLITE_ROWS]
                cursor.execute(_for_sqlite(self, len(piece)), list(chain.from_iterable(piece)))
                changed += cursor.rowcount
        return changed

    @cached_property
    def _postgresql(self) -> str:
        arrays = ", ".join(f"%s::{kind}[]" for _, kind in self.columns)
        names = ", ".join(name for name, _ in self.columns)
        return self.sql.format(rows=f"unnest({arrays}) AS v({names})", greatest="GREATEST")

    @cached_property
    def _are_times(self) -> list[bool]:
        return [kind == "timestamptz" for _, kind in self.columns]


@lru_cache(maxsize=128)  # as many as the driver keeps read
def _for_sqlite(statement: BulkStatement, rows: int) -> str:
    row = f"({', '.join(['?'] * len(statement.columns))})"
    names = ", ".join(f"column{place} AS {name}" for place, (name, _) in enumerate(statement.columns, 1))
    return statement.sql.format(rows=f"(SELECT {names} FROM (VALUES {', '.join([row] * rows)})) AS v", greatest="max")  # noqa: S608 (names and placeholders)


def _adapted(column: Iterable[Any], is_time: bool) -> Iterable[Any]:
    return map(_adapted_time, column) if is_time else column


@lru_cache(maxsize=1024)  # most rows of a batch share a few times
def _adapted_time(value: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(value)
