"""Files that appear whole or not at all, and that only their owner may read."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def partial(target: Path) -> Iterator[Path]:
    """Make an empty file beside the target that only its owner may read, and leave none."""
    number, name = tempfile.mkstemp(prefix=f".{target.name}-", suffix=".partial", dir=target.parent)
    os.close(number)
    made = Path(name)
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)


def put_in_place(made: Path, target: Path) -> None:
    """Rename it when it is on the disk for sure, so that no power cut leaves half a file."""
    _sync(made)
    made.replace(target)
    with suppress(PermissionError):  # some file systems sync no folders
        _sync(target.parent)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
