"""Many rows in one statement, the same SQL on both databases.

PostgreSQL takes the rows as arrays in one statement; SQLite, where a statement is a function call, takes them one by one.
Measured in bench/README.md against Django's bulk_create and bulk_update.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from django.db import connection


@dataclass(frozen=True)
class BulkStatement:
    """`columns` are name and PostgreSQL type of what a row holds. In `sql`, `{rows}` stands for them, named v, and
    `{greatest}` for the function that picks the larger of two."""

    columns: tuple[tuple[str, str], ...]
    sql: str

    def run(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Returns how many rows of the table changed."""
        if not rows:
            return 0
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute(self._postgresql, [list(column) for column in zip(*rows, strict=True)])
            else:
                cursor.executemany(self._sqlite, [tuple(map(_adapted, row)) for row in rows])
            return int(cursor.rowcount)

    @cached_property
    def _postgresql(self) -> str:
        arrays = ", ".join(f"%s::{kind}[]" for _, kind in self.columns)
        names = ", ".join(name for name, _ in self.columns)
        return self.sql.format(rows=f"unnest({arrays}) AS v({names})", greatest="GREATEST")

    @cached_property
    def _sqlite(self) -> str:
        values = ", ".join(f"%s AS {name}" for name, _ in self.columns)
        return self.sql.format(rows=f"(SELECT {values}) AS v", greatest="max")


def _adapted(value: Any) -> Any:
    return _adapted_time(value) if isinstance(value, datetime) else value


@lru_cache(maxsize=1024)  # most rows of a batch share a few times
def _adapted_time(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)
