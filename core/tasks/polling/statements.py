"""Bulk statements for both databases: `BulkStatement` runs one, then come those of `record()`.

Each statement stands below the NamedTuple of the rows that it takes. They may be repeated and come
in any order: an observation is stored once, and the latest value is the newest by `observed_at`.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, NamedTuple

from django.db import connection

SQLITE_ROWS = 250
"""Rows in one statement. With seven columns that is far from SQLite's limit of 32,766 values;
longer statements are hardly faster."""


@dataclass(frozen=True)
class BulkStatement:
    """A statement that changes many rows of a table in one call.

    `columns` are the fields of a row: name and PostgreSQL type. In `sql`, `{rows}` stands for all
    rows given, as a table named v, and `{greatest}` for the function that picks the larger of two.
    No two rows may change the same row of the table: which of them wins is not defined.
    """

    columns: tuple[tuple[str, str], ...]
    sql: str

    def run(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Return how many rows of the table changed."""
        if not rows:
            return 0
        columns = zip(*rows, strict=True)
        if connection.vendor == "sqlite":
            adapted = map(_adapted, columns, self._are_times)
            return self._run_on_sqlite(list(zip(*adapted, strict=True)))
        # One array a column: the text of the statement is the same for any number of rows.
        with connection.cursor() as cursor:
            cursor.execute(self._postgresql, [list(column) for column in columns])
            return int(cursor.rowcount)

    def _run_on_sqlite(self, rows: Sequence[tuple[Any, ...]]) -> int:
        # The driver's own cursor: Django's would search the text for its thousand placeholders
        # each time.
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


@lru_cache(maxsize=128)  # as many statements as the driver keeps prepared
def _for_sqlite(statement: BulkStatement, rows: int) -> str:
    row = f"({', '.join(['?'] * len(statement.columns))})"
    values = ", ".join([row] * rows)
    # SQLite names the columns of VALUES column1, column2, and so on.
    names = ", ".join(
        f"column{place} AS {name}" for place, (name, _) in enumerate(statement.columns, 1)
    )
    selected = f"(SELECT {names} FROM (VALUES {values})) AS v"  # noqa: S608 (placeholders only)
    return statement.sql.format(rows=selected, greatest="max")


def _adapted(column: Iterable[Any], is_time: bool) -> Iterable[Any]:
    return map(_adapted_time, column) if is_time else column


@lru_cache(maxsize=1024)  # most rows of a batch share a few times
def _adapted_time(value: datetime | None) -> Any:
    return connection.ops.adapt_datetimefield_value(value)


class ObservationRow(NamedTuple):
    """One of `number` and `text` is None."""

    attribute_id: int
    observed_at: datetime
    number: float | None
    text: str | None


# The first value of a time stays. SQLite needs `WHERE true`: without it, it would read the ON of
# ON CONFLICT as the condition of a join.
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


LATE = timedelta(minutes=30)
"""Whatever is younger is of no hour that is summed up: core/tasks/roll_up.py waits for longer."""


class ChangedPast(NamedTuple):
    """From this time on what is known of an attribute changes."""

    attribute_id: int
    since: datetime


# The hours from then on are summed up again. Call it with the device locked.
ROLL_UP_AGAIN = BulkStatement(
    (("attribute_id", "bigint"), ("since", "timestamptz")),
    """UPDATE core_attribute SET rolled_until = late.since
    FROM (SELECT v.attribute_id, min(v.since) AS since FROM {rows} GROUP BY v.attribute_id) AS late
    WHERE core_attribute.id = late.attribute_id AND core_attribute.rolled_until > late.since""",
)
# As ROLL_UP_AGAIN, before observations are inserted: what is stored already changes nothing.
ROLL_UP_LATE_AGAIN = BulkStatement(
    ROLL_UP_AGAIN.columns,
    """UPDATE core_attribute SET rolled_until = late.since
    FROM (SELECT v.attribute_id, min(v.since) AS since FROM {rows}
        WHERE NOT EXISTS (SELECT 1 FROM core_observation
            WHERE core_observation.attribute_id = v.attribute_id
            AND core_observation.observed_at = v.since)
        GROUP BY v.attribute_id) AS late
    WHERE core_attribute.id = late.attribute_id AND core_attribute.rolled_until > late.since""",
)


class LatestRow(NamedTuple):
    """The newest observation of an attribute in a batch. `cause` is a Cause or empty."""

    pk: int
    asked_at: datetime
    observed_at: datetime
    number: float | None
    text: str | None
    cause: str


# All expressions see the row as it was before. `observed_at >= v.observed_at` means that what is
# stored is as new; where `observed_at` is NULL it is not true, so the value given is taken.
# `changed_at` moves only when a newer value differs. Hours are summed up to the end of the one in
# which it was last heard, of which more is known now. The inner coalesce is needed because max() of
# SQLite gives NULL if one side is NULL, where GREATEST of PostgreSQL gives the other side.
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
    rolled_until = CASE WHEN core_attribute.rolled_until > core_attribute.heard_at
        THEN core_attribute.heard_at ELSE core_attribute.rolled_until END,
    observed_at = {greatest}(coalesce(core_attribute.observed_at, v.observed_at), v.observed_at),
    number = CASE WHEN core_attribute.observed_at >= v.observed_at
        THEN core_attribute.number ELSE v.number END,
    text = CASE WHEN core_attribute.observed_at >= v.observed_at
        THEN core_attribute.text ELSE v.text END,
    cause = CASE WHEN core_attribute.observed_at >= v.observed_at
        THEN core_attribute.cause ELSE v.cause END,
    changed_at = CASE WHEN core_attribute.observed_at >= v.observed_at
        OR core_attribute.number = v.number OR core_attribute.text = v.text
        THEN coalesce(core_attribute.changed_at, v.observed_at) ELSE v.observed_at END
    FROM {rows} WHERE core_attribute.id = v.pk""",
)


class DeviceRow(NamedTuple):
    """What is None leaves the stored one as it is."""

    pk: int
    heard_at: datetime | None
    measured_at: datetime | None
    available: bool | None


# Either side may be NULL, so each stands in for the other.
UPDATE_DEVICES = BulkStatement(
    (
        ("pk", "bigint"),
        ("heard_at", "timestamptz"),
        ("measured_at", "timestamptz"),
        ("available", "boolean"),
    ),
    """UPDATE core_device SET available = coalesce(v.available, core_device.available),
    heard_at = {greatest}(coalesce(core_device.heard_at, v.heard_at),
        coalesce(v.heard_at, core_device.heard_at)),
    measured_at = {greatest}(coalesce(core_device.measured_at, v.measured_at),
        coalesce(v.measured_at, core_device.measured_at)),
    history_version = core_device.history_version + 1
    FROM {rows} WHERE core_device.id = v.pk""",
)


class GatewayRow(NamedTuple):
    """How a gateway did. `answered_at` None leaves the stored time as it is."""

    pk: int
    asked_at: datetime
    answered_at: datetime | None
    failures: int
    error: str
    refused: bool
    retry_at: datetime | None


# The gateway was asked, so its claim ends here (see claim in ask.py).
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
    """UPDATE core_gateway SET asked_at = v.asked_at,
    answered_at = coalesce(v.answered_at, core_gateway.answered_at),
    failures = v.failures, error = v.error, refused = v.refused, retry_at = v.retry_at,
    claimed_until = NULL
    FROM {rows} WHERE core_gateway.id = v.pk""",
)
