"""Pages of a list, by cursor: the next page begins after the last row of this one.

However far a program reads, a page costs the same, and rows that are added or removed meanwhile
neither repeat nor hide others.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.core.exceptions import ValidationError as Invalid
from django.db.models import Field, Model, Q, QuerySet
from rest_framework import serializers
from rest_framework.exceptions import NotFound

from core.api.query import LARGEST_KEY, Query
from core.net.strict_json import parse

MOST = 1000
USUAL = 100
LONGEST_CURSOR = 1000

# What `order` may be, and the fields that each stands for.
BY_ID_OR_NAME = {"id": ("pk",), "-id": ("-pk",), "name": ("name", "pk"), "-name": ("-name", "-pk")}
NEWEST_FIRST = {"-id": ("-pk",), "id": ("pk",)}

Row = TypeVar("Row", bound=Model)


class ListQuery(Query):
    """How much of a list is wanted, and from where on."""

    limit = serializers.IntegerField(
        default=USUAL, min_value=1, max_value=MOST, help_text="Rows of a page at most."
    )
    cursor = serializers.RegexField(
        "^[A-Za-z0-9_-]+$",
        required=False,
        max_length=LONGEST_CURSOR,
        help_text="From `next` of the page before; everything else as it was there.",
    )


class Page(NamedTuple):
    rows: list[Any]
    cursor: str | None
    """Of the next page; None on the last."""


def page(found: QuerySet[Row], keys: Sequence[str], limit: int, cursor: str | None) -> Page:
    """Read one page, in the order of the keys: fields that are never null, the last one unique.

    Raises NotFound if the cursor is of another list.
    """
    if cursor is not None:
        found = found.filter(_after(keys, _unpack(found.model, keys, cursor)))
    rows = list(found.order_by(*keys)[: limit + 1])
    if len(rows) <= limit:
        return Page(rows, None)
    return Page(rows[:limit], _pack(keys, rows[limit - 1]))


def _after(keys: Sequence[str], values: Sequence[Any]) -> Q:
    """Make the condition of rows that come after the one with these values."""
    after, same = Q(), Q()
    for key, value in zip(keys, values, strict=True):
        name = key.lstrip("-")
        further = Q(**{f"{name}__{'lt' if key.startswith('-') else 'gt'}": value})
        after |= same & further
        same &= Q(**{name: value})
    return after


def _pack(keys: Sequence[str], row: Model) -> str:
    return pack(",".join(keys), [getattr(row, key.lstrip("-")) for key in keys])


def _unpack(model: type[Model], keys: Sequence[str], cursor: str) -> list[Any]:
    values = unpack(",".join(keys), len(keys), cursor)
    try:
        return [
            _value(model, key.lstrip("-"), value) for key, value in zip(keys, values, strict=True)
        ]
    except (ValueError, TypeError, OverflowError, Invalid):
        raise WRONG_CURSOR from None


WRONG_CURSOR = NotFound("The cursor is none of this list in this order: begin without one.")


def pack(order: str, values: Sequence[Any]) -> str:
    """Write a cursor: the order that it is for, and where the last row stands in it."""
    shown = [one.isoformat() if isinstance(one, datetime) else one for one in values]
    text = json.dumps([order, *shown], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unpack(order: str, count: int, cursor: str) -> list[Any]:
    """Read so many values from a cursor of this order. Raises NotFound."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        written, *values = parse(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise WRONG_CURSOR from None
    if written != order or len(values) != count:
        raise WRONG_CURSOR
    return list(values)


def _value(model: type[Model], name: str, value: Any) -> Any:
    """Return a cursor's value as the field has it. Raises ValueError, TypeError, Invalid."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    if isinstance(value, int) and abs(value) > LARGEST_KEY:
        raise ValueError(value)
    try:
        field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:  # an annotation, which is a number
        return int(value)
    if not isinstance(field, Field):
        raise TypeError(name)
    return field.to_python(value)
