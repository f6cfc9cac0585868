"""Write all that a site knows into one file, for import_site of another."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from django.utils import timezone

from core.tasks import whole_file
from core.tasks.moving import NotMoved, Progress, archive, database
from core.tasks.moving.archive import Manifest
from core.tasks.moving.rows import InWords, Table
from core.tasks.moving.seal import Seal, check_new_passphrase
from core.tasks.moving.tables import MOVED, NUMBERED_ON, model_of


def export_site(path: Path, passphrase: str, progress: Progress | None = None) -> Manifest:
    """Write the site as it is at one moment. The file appears whole, and others cannot read it.

    Raises NotMoved.
    """
    check_new_passphrase(passphrase)
    if path.exists():
        raise NotMoved(f"{path} exists: choose another file, or delete it.")
    if not path.parent.is_dir():
        raise NotMoved(f"There is no folder {path.parent}.")
    migration = database.newest_migration()
    with whole_file.partial(path) as partial:
        with ZipFile(partial, "w", ZIP_DEFLATED) as file, database.one_moment():
            manifest = _write(file, Seal(passphrase), migration, progress)
        whole_file.put_in_place(partial, path)
    return manifest


def _write(file: ZipFile, seal: Seal, migration: str, progress: Progress | None) -> Manifest:
    words, tables, done = InWords(), {}, 0
    total = sum(model_of(label)._base_manager.count() for label in MOVED) if progress else 0
    for label in MOVED:
        table = Table(model_of(label), seal, words)
        lines = _shown(table.lines(), done, total, progress)
        tables[label] = archive.write_table(file, label, table.columns, lines)
        done += tables[label].rows
    # Not the newest key that is there: the number of a deleted row is not given out again.
    last = {label: database.last_number(model_of(label)) for label in (*MOVED, *NUMBERED_ON)}
    numbers = {label: number for label, number in last.items() if number}
    manifest = Manifest(migration, timezone.now().isoformat(), tables, numbers)
    archive.write_manifest(file, manifest, seal)
    return manifest


def _shown(
    lines: Iterator[bytes], done: int, total: int, progress: Progress | None
) -> Iterator[bytes]:
    for count, line in enumerate(lines, start=done + 1):
        yield line
        if progress and (count % 1_000 == 0 or count == total):
            progress(count, total)
