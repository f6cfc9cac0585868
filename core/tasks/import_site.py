"""Store all that export_site wrote at another site."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from django.db import DataError, IntegrityError, transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from core.models import DeviceCommand, Gateway, Run, SiteImport
from core.models.device_command import CommandEvent
from core.models.run import Outcome
from core.models.secret import Secret, SecretField, SecretUnreadable
from core.tasks.moving import NotMoved, Progress, database
from core.tasks.moving.archive import Archive, Manifest, damage_said
from core.tasks.moving.rows import InWords, Table
from core.tasks.moving.steps import Position, Step, beginning, steps
from core.tasks.moving.tables import MOVED, NUMBERED_ON, model_of

MOVED_MEANWHILE = "The site was moved before its end."
OF_PROCESSES = (
    *("claimed_until", "listened_until", "listened_since"),
    *("next_call_at", "next_read_at"),
)
"""Columns about what processes of the other site do just now, by its database's clock."""


class Imported(NamedTuple):
    """What is stored. `before` counts the rows that an earlier run had stored."""

    rows: int
    before: int


def import_site(path: Path, passphrase: str, progress: Progress | None = None) -> Imported:
    """Store a site in this empty database, or go on where an earlier run was ended.

    The whole file is checked before. Each step is a transaction that also says how far it came.
    Until the last one, nothing else is done with this database. Raises NotMoved.
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
        _check_columns(archive)
        archive.verify()
        before = _begin(archive)
        _finish(archive.manifest, _store(archive, before, progress))
        return Imported(archive.manifest.rows, before)


def _check_columns(archive: Archive) -> None:
    for label, entry in archive.manifest.tables.items():
        columns = [field.attname for field in model_of(label)._meta.concrete_fields]
        if sorted(entry.columns) != sorted(columns):
            raise NotMoved(f"{label} has other columns there: use the same version of the app.")


def _begin(archive: Archive) -> int:
    """Return how many rows an earlier run had stored. At first, note that an import is under way.

    Whoever writes just now is waited for, so what was begun before is seen by check_empty().
    """
    with transaction.atomic():
        database.keep_writers_out([SiteImport, *map(model_of, MOVED)])
        begun = SiteImport.objects.first()
        if begun is not None:
            _check_keys()
            return begun.rows
        check_empty()
        rows, mark = beginning(archive)
        SiteImport.objects.create(rows=rows, mark=mark, of_rows=archive.manifest.rows)
        return 0


def _check_keys() -> None:
    """Raise NotMoved if an earlier run encrypted credentials with keys that are not here.

    Those that it stored are not read from the file again.
    """
    for model in map(model_of, MOVED):
        for field in model._meta.concrete_fields:
            if isinstance(field, SecretField):
                _check_readable(model._base_manager.values_list(field.attname, flat=True))


def _check_readable(stored: QuerySet[Model, Secret]) -> None:
    try:
        for secret in stored.iterator():
            secret.reveal()
    except SecretUnreadable:
        raise NotMoved(
            "What is stored here was encrypted with another SECRET_KEY or FIELD_KEYS: run it again "
            "with those, or name the earlier key in SECRET_KEY_FALLBACKS. To begin anew with "
            "these keys, empty the database: python manage.py flush"
        ) from None


def check_empty() -> None:
    """Raise NotMoved if there is anything that would be mixed with what is imported."""
    for label in MOVED:
        model = model_of(label)
        if model._base_manager.exists():
            raise NotMoved(
                f"This site has {model._meta.verbose_name_plural} already: import into a new "
                "database, right after `python manage.py migrate`, before anything else runs."
            )


def _store(archive: Archive, before: int, progress: Progress | None) -> Position:
    """Store all but the first rows; return the end of the file."""
    words, end, total = InWords(), beginning(archive), archive.manifest.rows
    for label, of_table in groupby(steps(archive), attrgetter("label")):
        table = Table(model_of(label), archive.seal, words)
        with _missing_rows_said(), _together(table.model):
            for step in of_table:
                end = step.end
                # What is stored already is read all the same: the marks are made from it.
                if end.rows > before:
                    _store_step(table, step, archive.manifest.tables[label].columns)
                if progress:
                    progress(end.rows, total)
    return end


@contextmanager
def _missing_rows_said() -> Iterator[None]:
    """Foreign keys are checked by the commits of the steps."""
    try:
        yield
    except IntegrityError as error:
        raise NotMoved(f"A row is missing that another one names: {_first_line(error)}") from error


def _together(model: type[Model]) -> AbstractContextManager[None]:
    """Store a table whose rows name each other in one transaction: no order would do in steps."""
    names_itself = any(field.related_model is model for field in model._meta.concrete_fields)
    return transaction.atomic() if names_itself else nullcontext()


def _store_step(table: Table, step: Step, columns: list[str]) -> None:
    with damage_said(f"{step.label}: a row in the file cannot be read."):
        rows = [_settled(table.row(line, columns)) for line in step.lines]
    with transaction.atomic():
        # The position first: a second import waits here for the row, and then finds it moved.
        _go_on(step.start, step.end)
        _insert(table.model, rows)


def _go_on(start: Position, end: Position) -> None:
    """Note that the rows from there to there are stored. Raises NotMoved if others are expected."""
    came = SiteImport.objects.filter(rows=start.rows, mark=start.mark)
    if not came.update(rows=end.rows, mark=end.mark):
        raise NotMoved(
            "What is stored here is of another file, or another import_site is at work. To begin "
            "anew with this file, empty the database: python manage.py flush"
        )


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
        # Past save(), which wants an outbox: nobody follows a site that is not whole.
        model._base_manager.bulk_create(rows)
    except (DataError, IntegrityError, ValueError) as error:
        where = f"{model._meta.label} {rows[0].pk} to {rows[-1].pk}"
        raise NotMoved(f"{where} cannot be stored here: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Say what was wrong without the further lines, in which PostgreSQL shows the whole row."""
    return str(error).strip().partition("\n")[0]


def _finish(manifest: Manifest, end: Position) -> None:
    """Count what is stored; then the site is whole."""
    with transaction.atomic():
        # Nothing more is stored, but nobody else may have gone on either.
        _go_on(end, end)
        for label, entry in manifest.tables.items():
            stored = model_of(label)._base_manager.count()
            if stored != entry.rows:
                raise NotMoved(
                    f"{label}: {entry.rows} rows were in the file, and {stored} are here."
                )
        for label in (*MOVED, *NUMBERED_ON):
            # Rows stored with their keys leave the sequence where it was.
            database.number_on(model_of(label), manifest.numbers.get(label, 0))
        SiteImport.objects.all().delete()
