"""Write observations as tidy tables: one row an observation or a span, as CSV or JSON by lines.

A block at once, so that a million rows take no more memory than a thousand. Times are in UTC ("Z"),
or, where a zone is given for each attribute, by its clock with the offset ("+01:00").
"""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.models import Attribute
from core.readings import Kind
from core.serializers import attribute_key_json, span_json
from core.tasks.observations import Range, Texts, blocks_of, span_blocks

COLUMNS = ("attribute", "device", "name", "unit", "observed_at", "value")
SPAN_COLUMNS = (
    *("attribute", "device", "name", "unit", "starts_at", "ends_at"),
    *("mean", "minimum", "maximum", "coverage", "count", "minutes_on"),
)
SPECIAL = frozenset(',"\r\n')
FORMULA = frozenset("=+-@\t\r＝＋－＠")
"""What a text begins with that a spreadsheet takes for a formula, wide forms among them:
https://owasp.org/www-community/attacks/CSV_Injection"""

Lines = Callable[[Attribute, list[Texts]], str]
Grid = Callable[[Attribute], Iterator[datetime]]
"""Makes the times at which spans of an attribute begin, and after them the end of the last."""
Clock = Callable[[Attribute], ZoneInfo]


def csv_table(
    attributes: Iterable[Attribute], within: Range, clock: Clock | None = None
) -> Iterator[str]:
    """Yield the table in pieces: RFC 4180, with a head."""
    yield ",".join(COLUMNS) + "\r\n"
    yield from _written(attributes, within, _csv_lines, clock)


def json_lines(
    attributes: Iterable[Attribute], within: Range, clock: Clock | None = None
) -> Iterator[str]:
    """Yield the table in pieces: an object on each line."""
    yield from _written(attributes, within, _json_lines, clock)


def csv_spans(attributes: Iterable[Attribute], grid: Grid, now: datetime) -> Iterator[str]:
    yield ",".join(SPAN_COLUMNS) + "\r\n"
    for rows in _span_rows(attributes, grid, now):
        texts = [",".join(csv_value(row[name]) for name in SPAN_COLUMNS) for row in rows]
        yield "".join(f"{text}\r\n" for text in texts)


def json_spans(attributes: Iterable[Attribute], grid: Grid, now: datetime) -> Iterator[str]:
    for rows in _span_rows(attributes, grid, now):
        texts = [json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows]
        yield "".join(f"{text}\n" for text in texts)


def _span_rows(
    attributes: Iterable[Attribute], grid: Grid, now: datetime
) -> Iterator[list[dict[str, Any]]]:
    for attribute in attributes:
        for block in span_blocks(attribute, grid(attribute), now, with_counts=True):
            yield [span_json(attribute, span) for span in block]


def csv_value(value: Any) -> str:
    if isinstance(value, str):
        return csv_field(value)
    return "" if value is None else str(value)


def _written(
    attributes: Iterable[Attribute], within: Range, lines: Lines, clock: Clock | None
) -> Iterator[str]:
    for attribute, block in blocks_of(attributes, within):
        yield lines(attribute, _by_the_clock(block, clock(attribute)) if clock else block)


def _by_the_clock(block: list[Texts], zone: ZoneInfo) -> list[Texts]:
    return [(local_text(datetime.fromisoformat(row[0]), zone), *row[1:]) for row in block]


def local_text(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).isoformat(timespec="milliseconds")


def _csv_lines(attribute: Attribute, block: list[Texts]) -> str:
    head = ",".join(csv_value(one) for one in attribute_key_json(attribute).values())
    say = number_of(attribute)
    return "".join(
        [
            f"{head},{time},{say(number) if text is None else csv_field(text)}\r\n"
            for time, number, text, _ in block
        ]
    )


def _json_lines(attribute: Attribute, block: list[Texts]) -> str:
    known = attribute_key_json(attribute)
    head = json.dumps(known, separators=(",", ":"), ensure_ascii=False)[:-1]
    say = number_of(attribute)
    return "".join(
        [
            f'{head},"observed_at":"{time}",'
            f'"value":{say(number) if text is None else json.dumps(text, ensure_ascii=False)}}}\n'
            for time, number, text, _ in block
        ]
    )


def csv_field(text: str) -> str:
    """Write a text so that a spreadsheet shows it and does not calculate it."""
    if text and text[0] in FORMULA:
        text = f"'{text}"
    if SPECIAL.isdisjoint(text):
        return text
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def number_of(attribute: Attribute) -> Callable[[str | float | None], str]:
    """Return what writes the numbers of an attribute: true and false, or the digits."""
    return _switch if attribute.kind == Kind.BOOLEAN else _digits


def _switch(number: str | float | None) -> str:
    return "true" if float(number or 0) else "false"


def _digits(number: str | float | None) -> str:
    return number if isinstance(number, str) else repr(number).removesuffix(".0")
