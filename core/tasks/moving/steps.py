"""A file in steps, each stored in one transaction, with a mark that says how far that is."""

from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from core.tasks.moving import ROWS_A_STEP
from core.tasks.moving.archive import Archive


class Position(NamedTuple):
    """A place in a file. `mark` is made from all that stands before it: no other file has it."""

    rows: int
    mark: str


class Step(NamedTuple):
    """Some lines of one table, and where they begin and end."""

    label: str
    lines: list[bytes]
    start: Position
    end: Position


def beginning(archive: Archive) -> Position:
    return Position(0, sha256(archive.sealed).hexdigest())


def steps(archive: Archive) -> Iterator[Step]:
    """Read all of a file, always in the same steps."""
    start = beginning(archive)
    for label in archive.manifest.tables:
        stored = archive.lines(label)
        while lines := list(islice(stored, ROWS_A_STEP)):
            digest = sha256(start.mark.encode())
            for line in lines:
                digest.update(line)
            end = Position(start.rows + len(lines), digest.hexdigest())
            yield Step(label, lines, start, end)
            start = end
