"""Write observations to a file or to standard output, for programs and scientists.

Four tables: one row an observation; one row a span with its coverage; wide, a column for each
attribute; and the gaps, in which nothing was heard. docs/science.md describes their columns.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

from django.utils import timezone

from core.models import Attribute, Device, Silence, Site
from core.models.observation import Span
from core.readings import Kind
from core.serializers import span_json
from core.tasks import export, tables
from core.tasks.observations import BEGINNING, END, Range, blocks, blocks_of, edges, span_blocks
from core.tasks.tables import Block, Table

ROWS_A_BLOCK = 1_000
MICROSECOND = timedelta(microseconds=1)
ALL_KEYS = {"attribute": int, "device": int, "name": str, "unit": str}

Progress = Callable[[int, int], None]


class Output(Protocol):
    def write(self, text: str, /) -> Any: ...


class Form(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


@dataclass(frozen=True)
class Wanted:
    """What to export: of which attributes, after `since` up to `until`, in which shape.

    `every` sums up by spans of this length; `is_wide` gives each attribute a column; `is_local`
    says times by the clock of each device. Nothing after `now` is known. Raises ValueError for
    what makes no table.
    """

    attributes: Sequence[Attribute]
    since: datetime = BEGINNING
    until: datetime = END
    form: Form = Form.CSV
    every: timedelta | None = None
    is_wide: bool = False
    is_gaps: bool = False
    is_local: bool = False
    now: datetime = field(default_factory=timezone.now)

    def __post_init__(self) -> None:
        if self.until <= self.since:
            raise ValueError("--to is not after --from: swap them.")
        if self.every and self.since == BEGINNING:
            raise ValueError("--every needs --from: where the first span begins.")
        if self.is_gaps and (self.every or self.is_wide):
            raise ValueError("--gaps is a table of its own: without --every and --wide.")
        if self.is_local and self.form is Form.PARQUET:
            raise ValueError("Parquet has its times in UTC: leave out --local.")

    @property
    def within(self) -> Range:
        return Range(self.since, self.until)


def attributes_of(device_pks: Sequence[int] = (), names: Sequence[str] = ()) -> list[Attribute]:
    """Return the attributes of these devices, or of all, with these names, or any.

    Raises LookupError with a sentence.
    """
    found = Attribute.objects.filter(device__in=Device.objects.present())
    there = set(Device.objects.present().values_list("pk", flat=True)) if device_pks else set()
    if unknown := set(device_pks) - there:
        some = ", ".join(map(str, sorted(unknown)))
        raise LookupError(f"There is no device {some}. See: python manage.py list_devices")
    if device_pks:
        found = found.filter(device__in=device_pks)
    missing = set(names) - set(found.values_list("name", flat=True).distinct()) if names else ()
    if missing:
        raise LookupError(f"No such attribute: {', '.join(sorted(missing))}. See: status")
    if names:
        found = found.filter(name__in=names)
    # By device, so that a wide table is in order of its devices.
    return list(found.select_related("device").order_by("device_id", "pk"))


def export_observations(
    wanted: Wanted, path: Path | None, out: Output, progress: Progress | None = None
) -> None:
    """Write a table to a file, or to `out`, a block at once: constant memory, whatever its length.

    Raises ValueError, MissingLibrary with what to install, OSError.
    """
    if wanted.form is Form.PARQUET:
        if path is None:
            raise ValueError("Parquet is no text: name a file with --output.")
        tables.write_parquet(table_of(wanted, progress), path)
    elif path is None:
        for piece in filter(None, text_of(wanted, progress)):
            out.write(piece)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(text_of(wanted, progress))


def text_of(wanted: Wanted, progress: Progress | None = None) -> Iterator[str]:
    """Yield a table in pieces, as CSV or JSON by lines."""
    if not (wanted.every or wanted.is_wide or wanted.is_gaps):
        # The table that the API streams too: its times and numbers are written by the database.
        write = export.csv_table if wanted.form is Form.CSV else export.json_lines
        clock = _clock() if wanted.is_local else None
        yield from write(_with_progress(wanted.attributes, progress), wanted.within, clock)
        return
    as_text = tables.as_csv if wanted.form is Form.CSV else tables.as_json_lines
    yield from as_text(table_of(wanted, progress))


def table_of(wanted: Wanted, progress: Progress | None = None) -> Table:
    if wanted.is_gaps:
        return _gaps(wanted, progress)
    if wanted.every:
        spans = _wide_spans if wanted.is_wide else _spans
        return spans(wanted, wanted.every, progress)
    return _wide(wanted, progress) if wanted.is_wide else _observations(wanted, progress)


def _with_progress(
    attributes: Sequence[Attribute], progress: Progress | None
) -> Iterator[Attribute]:
    for place, attribute in enumerate(attributes):
        if progress:
            progress(place, len(attributes))
        yield attribute


def _clock() -> export.Clock:
    site = Site.home()
    return lambda attribute: site.clock_of(attribute.device)


def _key(attribute: Attribute) -> tuple[int, int, str, str]:
    return attribute.pk, attribute.device_id, attribute.name, attribute.unit


# One row an observation, a span, a gap


def _observations(wanted: Wanted, progress: Progress | None) -> Table:
    """Numbers and texts in columns of their own, as a column of Parquet has one type."""

    def rows() -> Iterator[Block]:
        attributes = _with_progress(wanted.attributes, progress)
        for attribute, block in blocks_of(attributes, wanted.within):
            key = _key(attribute)
            yield [
                (*key, datetime.fromisoformat(at), _float(number), text)
                for at, number, text, _ in block
            ]

    columns = {**ALL_KEYS, "observed_at": datetime, "value": float, "text": str}
    return Table(columns, rows())


def _spans(wanted: Wanted, every: timedelta, progress: Progress | None) -> Table:
    clock = _clock()
    values: dict[str, type] = dict.fromkeys(("mean", "minimum", "maximum", "coverage"), float)
    values |= {"count": int, "minutes_on": float}

    def rows() -> Iterator[Block]:
        for attribute in _with_progress(_numbers(wanted), progress):
            zone = clock(attribute) if wanted.is_local else UTC
            for some in _span_blocks(attribute, wanted, every, clock, with_counts=True):
                yield [
                    (
                        *_key(attribute),
                        span.starts_at.astimezone(zone),
                        span.ends_at.astimezone(zone),
                        *(told[name] for name in values),
                    )
                    for span in some
                    for told in (span_json(attribute, span),)
                ]

    times = {"starts_at": datetime, "ends_at": datetime}
    return Table({**ALL_KEYS, **times, **values}, rows())


def _gaps(wanted: Wanted, progress: Progress | None) -> Table:
    clock = _clock()

    def rows() -> Iterator[Block]:
        for attribute in _with_progress(wanted.attributes, progress):
            zone = clock(attribute) if wanted.is_local else UTC
            key = _key(attribute)
            silences = Silence.objects.filter(
                attribute=attribute, ends_at__gt=wanted.since, starts_at__lt=wanted.until
            )
            times = silences.order_by("starts_at").values_list("starts_at", "ends_at")
            yield [
                (*key, start.astimezone(zone), end.astimezone(zone))
                for start, end in times.iterator()
            ]

    return Table({**ALL_KEYS, "starts_at": datetime, "ends_at": datetime}, rows())


def _numbers(wanted: Wanted) -> list[Attribute]:
    return [attribute for attribute in wanted.attributes if Kind(attribute.kind).is_number]


def _span_blocks(
    attribute: Attribute,
    wanted: Wanted,
    every: timedelta,
    clock: export.Clock,
    *,
    with_counts: bool = False,
) -> Iterator[list[Span]]:
    until = min(wanted.until, wanted.now)
    times = edges(wanted.since, until, every, clock(attribute))
    return span_blocks(attribute, times, wanted.now, with_counts=with_counts)


def _float(number: str | float | None) -> float | None:
    return None if number is None else float(number)


# Wide: a column for each attribute


@dataclass(frozen=True)
class _Columns:
    """A column for each name and unit, so that kW and W never share one."""

    places: dict[str, int]
    kinds: dict[str, type]
    texts: frozenset[int]
    """The places of those that hold texts."""

    @classmethod
    def of(cls, attributes: Iterable[Attribute]) -> "_Columns":
        kinds = dict[str, type]()
        for attribute in attributes:
            name = cls._name(attribute)
            kind = float if Kind(attribute.kind).is_number else str
            if kinds.setdefault(name, kind) is not kind:
                kinds[name] = str  # what is a number of one device is a text of another
        places = {name: place for place, name in enumerate(kinds)}
        texts = frozenset(places[name] for name, kind in kinds.items() if kind is str)
        return cls(places, kinds, texts)

    @staticmethod
    def _name(attribute: Attribute) -> str:
        return f"{attribute.name} ({attribute.unit})" if attribute.unit else attribute.name

    def place(self, attribute: Attribute) -> int:
        return self.places[self._name(attribute)]

    def cell(self, place: int, value: Any) -> Any:
        return str(value) if place in self.texts and value is not None else value


def _wide(wanted: Wanted, progress: Progress | None) -> Table:
    """A row for each time at which a device told something, with what held then.

    A value holds until the next; in a gap its cell is empty.
    """
    columns, clock = _Columns.of(wanted.attributes), _clock()

    def rows() -> Iterator[Block]:
        by_device = groupby(wanted.attributes, key=lambda attribute: attribute.device_id)
        for pk, group in by_device:
            attributes = list(_with_progress(list(group), progress))
            zone = clock(attributes[0]) if wanted.is_local else UTC
            made = _held_rows(attributes, wanted.within, columns)
            while some := list(islice(made, ROWS_A_BLOCK)):
                yield [(pk, at.astimezone(zone), *cells) for at, cells in some]

    return Table({"device": int, "observed_at": datetime, **columns.kinds}, rows())


def _held_rows(
    attributes: Sequence[Attribute], within: Range, columns: _Columns
) -> Iterator[tuple[datetime, list[Any]]]:
    cells: list[Any] = [None] * len(columns.places)
    changes = merge(*(_changes(one, within, columns.place(one)) for one in attributes))
    for at, together in groupby(changes, key=itemgetter(0)):
        for _, _, place, value in together:
            cells[place] = columns.cell(place, value)
        yield at, list(cells)


def _changes(
    attribute: Attribute, within: Range, place: int
) -> Iterator[tuple[datetime, int, int, Any]]:
    """Yield what a cell becomes, in order of time: an observation, nothing in a gap, and after it
    the value from before. The second number puts a gap after the value that it begins with."""
    rows = Silence.objects.filter(
        attribute=attribute, ends_at__gt=within.since, starts_at__lte=within.until
    ).order_by("starts_at")
    gaps = rows.values_list("starts_at", "ends_at").iterator(ROWS_A_BLOCK)
    seen = (
        (datetime.fromisoformat(at), 0, _float(number) if text is None else text)
        for block in blocks(attribute.pk, within)
        for at, number, text, _ in block
    )
    edges_of_gaps = (
        (at, order, None)
        for start, end in gaps
        for at, order in ((_just_after(start), 1), (_just_after(end - MICROSECOND), -1))
        if within.since < at <= within.until
    )
    last: Any = None
    for at, order, value in merge(seen, edges_of_gaps, key=itemgetter(0, 1)):
        if order == 0:
            last = value
        yield at, order, place, last if order < 1 else None


def _just_after(time: datetime) -> datetime:
    """The first millisecond after it: where a gap begins, the value of before holds still."""
    return time.replace(microsecond=time.microsecond // 1000 * 1000) + timedelta(milliseconds=1)


def _wide_spans(wanted: Wanted, every: timedelta, progress: Progress | None) -> Table:
    """A row for each span of a device, with the mean of each attribute, and how much is known.

    `coverage` is that of the attribute of which least is known.
    """
    numbers = _numbers(wanted)
    columns, clock = _Columns.of(numbers), _clock()

    def rows() -> Iterator[Block]:
        for pk, group in groupby(numbers, key=lambda attribute: attribute.device_id):
            attributes = list(_with_progress(list(group), progress))
            zone = clock(attributes[0]) if wanted.is_local else UTC
            for together in zip(
                *(_span_blocks(one, wanted, every, clock) for one in attributes), strict=True
            ):
                yield [
                    _span_row(pk, zone, attributes, row, columns)
                    for row in zip(*together, strict=True)
                ]

    head = {"device": int, "starts_at": datetime, "ends_at": datetime}
    return Table({**head, **columns.kinds, "coverage": float}, rows())


def _span_row(
    pk: int, zone: Any, attributes: Sequence[Attribute], row: Sequence[Any], columns: _Columns
) -> list[Any]:
    cells: list[Any] = [None] * len(columns.places)
    for attribute, span in zip(attributes, row, strict=True):
        cells[columns.place(attribute)] = span.mean
    starts_at, ends_at = row[0].starts_at.astimezone(zone), row[0].ends_at.astimezone(zone)
    return [pk, starts_at, ends_at, *cells, min(span.coverage for span in row)]
