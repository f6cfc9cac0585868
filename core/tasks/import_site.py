"""Store all that export_site wrote at another site."""

from contextlib import closing
from itertools import islice
from pathlib import Path

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Model
from django.utils import timezone

from core.models import DeviceCommand, Gateway, Run
from core.models.device_command import CommandEvent
from core.models.run import Outcome
from core.tasks.moving import ROWS_A_STEP, NotMoved, Progress, database
from core.tasks.moving.archive import Archive, Manifest, damage_said
from core.tasks.moving.rows import InWords, Table
from core.tasks.moving.tables import MOVED, NUMBERED_ON, model_of

MOVED_MEANWHILE = "The site was moved before its end."
OF_PROCESSES = ("claimed_until", "listened_until", "next_call_at", "next_read_at")
"""Columns about what processes of the other site do just now, by its database's clock."""


def import_site(path: Path, passphrase: str, progress: Progress | None = None) -> Manifest:
    """Store a site in this empty database: all of it, in one transaction, or nothing.

    The whole file is checked before. Raises NotMoved.
    """
    if not path.is_file():
        raise NotMoved(f"There is no file {path}.")
    here = database.newest_migration()
    with closing(Archive(path, passphrase)) as archive:
        if archive.manifest.migration != here:
            raise NotMoved(
                f"The file is of a site at migration {archive.manifest.migration}, and this one is "
                f"at {here}: use the same version of the app here and there."
            )
        archive.verify()
        with transaction.atomic():
            check_empty()
            _store(archive, progress)
    return archive.manifest


def check_empty() -> None:
    """Raise NotMoved if there is anything that would be mixed with what is imported."""
    for label in MOVED:
        model = model_of(label)
        if model._base_manager.exists():
            raise NotMoved(
                f"This site has {model._meta.verbose_name_plural} already: import into a new "
                "database, right after `python manage.py migrate`, before anything else runs."
            )


def _store(archive: Archive, progress: Progress | None) -> None:
    words, done = InWords(), 0
    for label, entry in archive.manifest.tables.items():
        table = Table(model_of(label), archive.seal, words)
        if sorted(entry.columns) != sorted(table.columns):
            raise NotMoved(f"{label} has other columns there: use the same version of the app.")
        stored = archive.lines(label)
        while lines := list(islice(stored, ROWS_A_STEP)):
            with damage_said(f"{label}: a row in the file cannot be read."):
                rows = [_settled(table.row(line, entry.columns)) for line in lines]
            _insert(table.model, rows)
            done += len(rows)
            if progress:
                progress(done, archive.manifest.rows)
    _check(archive.manifest)
    for label in (*MOVED, *NUMBERED_ON):
        database.number_on(model_of(label), archive.manifest.numbers.get(label, 0))


def _settled(row: Model) -> Model:
    """End what a process of the other site was doing: no other may do it again here."""
    for column in OF_PROCESSES:
        if hasattr(row, column):
            setattr(row, column, None)
    if isinstance(row, Gateway):
        row.claimed_by = ""
    elif isinstance(row, DeviceCommand) and row.is_open:
        row.move(CommandEvent.EXPIRE, timezone.now(), MOVED_MEANWHILE)
    elif isinstance(row, Run) and row.outcome == Outcome.RUNNING:
        row.outcome, row.error, row.waiting_for = Outcome.VANISHED, MOVED_MEANWHILE, []
        row.finished_at = timezone.now()
    return row


def _insert(model: type[Model], rows: list[Model]) -> None:
    try:
        model._base_manager.bulk_create(rows)
    except (DataError, IntegrityError, ValueError) as error:
        where = f"{model._meta.label} {rows[0].pk} to {rows[-1].pk}"
        # Without its further lines, in which PostgreSQL shows the whole row.
        said = str(error).strip().partition("\n")[0]
        raise NotMoved(f"{where} cannot be stored here: {said}") from error


def _check(manifest: Manifest) -> None:
    """Count what is stored, and look at all foreign keys, before it is committed."""
    try:
        connection.check_constraints()
    except IntegrityError as error:
        said = str(error).strip().partition("\n")[0]
        raise NotMoved(f"A row is missing that another one names: {said}") from error
    for label, entry in manifest.tables.items():
        stored = model_of(label)._base_manager.count()
        if stored != entry.rows:
            raise NotMoved(f"{label}: {entry.rows} rows were in the file, and {stored} are here.")
