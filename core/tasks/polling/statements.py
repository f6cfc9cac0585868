"""What record() writes, for both databases. The latest is the newest by `observed_at`, whatever arrives in whatever order."""

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
            return self._run_on_sqlite(
                list(zip(*map(_adapted, columns, self._are_times), strict=True))
            )
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
    names = ", ".join(
        f"column{place} AS {name}" for place, (name, _) in enumerate(statement.columns, 1)
    )
    values = ", ".join([row] * rows)
    selected = f"(SELECT {names} FROM (VALUES {values})) AS v"  # noqa: S608 (names and placeholders)
    return statement.sql.format(rows=selected, greatest="max")


def _adapted(column: Iterable[Any], is_time: bool) -> Iterable[Any]:
    return map(_adapted_time, column) if is_time else column


@lru_cache(maxsize=1024)  # most rows of a batch share a few times
def _adapted_time(value: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


INSERT_OBSERVATIONS = BulkStatement(
    (
        ("attribute_id", "bigint"),
        ("observed_at", "timestamptz"),
        ("number", "float8"),
        ("text", "text"),
    ),
    """INSERT INTO core_observation (attribute_id, observed_at, number, text)
    SELECT v.attribute_id, v.observed_at, v.number, v.text FROM {rows} WHERE true
    ON CONFLICT (attribute_id, observed_at) DO NOTHING""",
)

UPDATE_LATEST = BulkStatement(
    (
        ("pk", "bigint"),
        ("asked_at", "timestamptz"),
        ("observed_at", "timestamptz"),
        ("number", "float8"),
        ("text", "text"),
        ("cause", "text"),
    ),
    """UPDATE core_attribute SET available = true,
    heard_at = {greatest}(coalesce(core_attribute.heard_at, v.asked_at), v.asked_at),
    observed_at = {greatest}(coalesce(core_attribute.observed_at, v.observed_at), v.observed_at),
    number = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.number ELSE v.number END,
    text = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.text ELSE v.text END,
    cause = CASE WHEN core_attribute.observed_at >= v.observed_at THEN core_attribute.cause ELSE v.cause END,
    changed_at = CASE WHEN core_attribute.observed_at >= v.observed_at
        OR core_attribute.number = v.number OR core_attribute.text = v.text
        THEN coalesce(core_attribute.changed_at, v.observed_at) ELSE v.observed_at END
    FROM {rows} WHERE core_attribute.id = v.pk""",
)

UPDATE_DEVICES = BulkStatement(
    (
        ("pk", "bigint"),
        ("heard_at", "timestamptz"),
        ("measured_at", "timestamptz"),
        ("available", "boolean"),
    ),
    """UPDATE core_device SET available = v.available,
    heard_at = {greatest}(coalesce(core_device.heard_at, v.heard_at), coalesce(v.heard_at, core_device.heard_at)),
    measured_at = {greatest}(coalesce(core_device.measured_at, v.measured_at), coalesce(v.measured_at, core_device.measured_at))
    FROM {rows} WHERE core_device.id = v.pk""",
)

UPDATE_GATEWAYS = BulkStatement(
    (
        ("pk", "bigint"),
        ("asked_at", "timestamptz"),
        ("answered_at", "timestamptz"),
        ("failures", "integer"),
        ("error", "text"),
        ("refused", "boolean"),
        ("retry_at", "timestamptz"),
    ),
    """UPDATE core_gateway SET asked_at = v.asked_at, answered_at = coalesce(v.answered_at, core_gateway.answered_at),
    failures = v.failures, error = v.error, refused = v.refused, retry_at = v.retry_at, claimed_until = NULL
    FROM {rows} WHERE core_gateway.id = v.pk""",
)
