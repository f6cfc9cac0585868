"""The zip file: written table by table, and read with limits, as it comes from elsewhere."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from struct import error as StructError
from typing import Any, cast
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile
from zlib import error as ZlibError

from core.tasks.moving import LONGEST_LINE, NotMoved
from core.tasks.moving.seal import LONGEST as LONGEST_SEAL
from core.tasks.moving.seal import Seal
from core.tasks.moving.tables import MOVED

SEAL, MANIFEST = "seal", "manifest.json"
LONGEST_MANIFEST = 1_000_000
BLOCK = 1_000_000
DAMAGE: tuple[type[Exception], ...] = (
    # zipfile raises RuntimeError for an encrypted entry, NotImplementedError for an unknown method.
    *(BadZipFile, ZlibError, StructError, EOFError, NotImplementedError, RuntimeError),
    # Of an entry, a column or a value that is not what it should be.
    *(KeyError, TypeError, ValueError, OverflowError),
)
NOT_ONE = "This is no whole file of export_site: it is another, or its end is missing."
DAMAGED = "The file is damaged: get it anew from the other site."


@dataclass(frozen=True)
class Entry:
    """What the manifest says of a table."""

    columns: list[str]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What is in a file."""

    migration: str
    made_at: str
    tables: dict[str, Entry]
    numbers: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(entry.rows for entry in self.tables.values())


def write_table(file: ZipFile, label: str, columns: list[str], lines: Iterable[bytes]) -> Entry:
    """Write a table; return what the manifest is to say of it."""
    digest, rows, size = sha256(), 0, 0
    # Its size is not known yet, and without zip64 an entry ends at 2 GB.
    with file.open(label, "w", force_zip64=True) as stored:
        for line in lines:
            stored.write(line)
            digest.update(line)
            rows += 1
            size += len(line)
    return Entry(columns, rows, size, digest.hexdigest())


def write_manifest(file: ZipFile, manifest: Manifest, seal: Seal) -> None:
    """Write what makes the file whole. It comes last."""
    written = json.dumps(asdict(manifest), indent=1).encode()
    file.writestr(MANIFEST, written)
    file.writestr(SEAL, seal.written(written))


@contextmanager
def damage_said(what: str = DAMAGED) -> Iterator[None]:
    """Turn all that reading a damaged file raises into NotMoved."""
    try:
        yield
    except DAMAGE as error:
        raise NotMoved(what) from error


class Archive:
    """A file that was opened with its passphrase. Raises NotMoved."""

    def __init__(self, path: Path, passphrase: str) -> None:
        with damage_said(NOT_ONE):
            self._file = ZipFile(path)
        try:
            with damage_said():
                self._check_names()
                written = self._read(MANIFEST, LONGEST_MANIFEST)
                self.sealed = self._read(SEAL, LONGEST_SEAL)
                # Before the manifest is parsed: what the seal is not right for is not looked into.
                self.seal = Seal.opened(self.sealed, passphrase, written)
                self.manifest = _manifest(json.loads(written))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def _check_names(self) -> None:
        names = sorted(info.filename for info in self._file.infolist())
        # Where a name is there twice, readers of zip differ about which one counts.
        if not {SEAL, MANIFEST} <= set(names) or len(names) != len(set(names)):
            raise NotMoved(NOT_ONE)
        if any(info.compress_type != ZIP_DEFLATED for info in self._file.infolist()):
            raise NotMoved(DAMAGED)

    def _read(self, name: str, most: int) -> bytes:
        with self._file.open(name) as stored:
            # One byte more shows that there are more, whatever the zip says of its size.
            found = stored.read(most + 1)
        if len(found) > most:
            raise NotMoved(DAMAGED)
        return found

    def verify(self) -> None:
        """Read all of it once, and hold it against the manifest."""
        for label in self.manifest.tables:
            for _ in self.lines(label):
                pass

    def lines(self, label: str) -> Iterator[bytes]:
        """Read a table, never more than the manifest says. Raises NotMoved if it is not that."""
        entry = self.manifest.tables[label]
        digest, rows, size = sha256(), 0, 0
        with damage_said(), self._file.open(label) as stored:
            # It has what a BufferedReader calls, and is no RawIOBase by name.
            blocks = BufferedReader(cast(Any, stored), BLOCK)
            # Bounded, or a line without an end could fill the memory.
            while line := blocks.readline(min(LONGEST_LINE, entry.bytes - size) + 1):
                digest.update(line)
                rows += 1
                size += len(line)
                if size > entry.bytes or not line.endswith(b"\n"):
                    raise NotMoved(DAMAGED)
                yield line
        if (rows, size, digest.hexdigest()) != (entry.rows, entry.bytes, entry.sha256):
            raise NotMoved(DAMAGED)


def _manifest(found: dict[str, Any]) -> Manifest:
    tables = {label: Entry(**entry) for label, entry in found.pop("tables").items()}
    manifest = Manifest(tables=tables, **found)
    if set(tables) != set(MOVED):
        other = ", ".join(sorted(set(tables) ^ set(MOVED)))
        raise NotMoved(f"The file is of another version of the app: it differs by {other}.")
    return manifest
