"""Tables of any columns, a block of rows at once, as CSV, JSON by lines or Parquet."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from core.serializers import utc_text
from core.tasks.export import csv_field, csv_value

ROWS_A_GROUP = 50_000
"""Of Parquet: readers skip whole groups, and small ones pack badly."""
NO_PYARROW = "Parquet needs pyarrow, which is not installed: pip install pyarrow"

Block = Sequence[Sequence[Any]]


class MissingLibrary(LookupError):
    """Something has to be installed for this."""


@dataclass(frozen=True)
class Table:
    """Columns with their types (int, float, bool, str, datetime), and their rows in blocks.

    A cell may be None. Times are aware.
    """

    columns: Mapping[str, type]
    blocks: Iterable[Block]


def as_csv(table: Table) -> Iterator[str]:
    """Yield it in pieces: RFC 4180, with a head."""
    yield ",".join(csv_field(name) for name in table.columns) + "\r\n"
    for block in table.blocks:
        yield "".join(",".join(_csv_cell(cell) for cell in row) + "\r\n" for row in block)


def as_json_lines(table: Table) -> Iterator[str]:
    """Yield it in pieces: an object on each line."""
    names = list(table.columns)
    for block in table.blocks:
        rows = (dict(zip(names, map(_json_cell, row), strict=True)) for row in block)
        yield "".join(
            json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows
        )


def _csv_cell(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return _time_text(cell) if isinstance(cell, datetime) else csv_value(cell)


def _json_cell(cell: Any) -> Any:
    return _time_text(cell) if isinstance(cell, datetime) else cell


def _time_text(time: datetime) -> str:
    if time.utcoffset():
        return time.isoformat(timespec="milliseconds")
    return str(utc_text(time))


def write_parquet(table: Table, path: Path) -> None:
    """Write it to a file. Times are in UTC there. Raises MissingLibrary, OSError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingLibrary(NO_PYARROW) from error
    types = {
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        str: pyarrow.string(),
        datetime: pyarrow.timestamp("ms", tz="UTC"),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in table.columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(table.blocks):
            columns = [list(column) for column in zip(*rows, strict=True)]
            arrays = [
                pyarrow.array(column, field.type)
                for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _groups(blocks: Iterable[Block]) -> Iterator[list[Sequence[Any]]]:
    rows = list[Sequence[Any]]()
    for block in blocks:
        rows += block
        if len(rows) >= ROWS_A_GROUP:
            yield rows
            rows = []
    if rows:
        yield rows
