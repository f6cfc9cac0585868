"""The parameters that an address takes, described and checked in one place."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.fields import empty
from rest_framework.request import Request
from rest_framework.settings import api_settings

from core.api.refusals import Unprocessable

LARGEST_KEY = 2**63 - 1
"""Of any row: what a column of 64 bits holds."""
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)


class Exact(serializers.Serializer[Any]):
    """Takes texts as they are. Spaces cut off, a text of spaces would be none at all, which the
    schema does not say."""

    def get_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().get_fields()
        for field in fields.values():
            if isinstance(field, serializers.CharField):
                field.trim_whitespace = False
        return fields


class Query(Exact):
    """The parameters of a view. Any other is refused: a typo would go unnoticed."""

    def to_internal_value(self, data: Any) -> Any:
        if unknown := set(data) - set(self.fields):
            known = ", ".join(self.fields) or "none"
            raise ValidationError(
                dict.fromkeys(sorted(unknown), f"There is no such parameter. Known: {known}.")
            )
        return super().to_internal_value(data)


def parse_query(kind: type[Query], request: Request) -> dict[str, Any]:
    """Return the parameters of a request, with defaults. Raises ValidationError."""
    given = request.query_params
    if twice := [name for name, values in given.lists() if len(values) > 1]:
        raise ValidationError(dict.fromkeys(twice, "It was given more than once."))
    # A plain dict: of a form's data, a missing check box would be "no".
    return checked(kind, given.dict())


def checked(kind: type[Exact], given: Any) -> dict[str, Any]:
    """Return what was given, with defaults.

    Raises ValidationError where a field is wrong in itself, Unprocessable where each is right and
    they do not go together.
    """
    try:
        return dict(_checker(kind).run_validation(given))
    except ValidationError as error:
        wrong: Any = error.detail
        is_object = isinstance(given, Mapping)
        if is_object and wrong.keys() == {api_settings.NON_FIELD_ERRORS_KEY}:
            raise Unprocessable(" ".join(wrong[api_settings.NON_FIELD_ERRORS_KEY])) from error
        raise


@cache
def _checker(kind: type[Exact]) -> Exact:
    """Make it once: each copy of its fields takes longer than to check with them. It holds nothing
    of what it checks."""
    return kind()


class Moment(serializers.DateTimeField):
    """A time with its zone: without one it would be anybody's guess."""

    default_error_messages = {
        "no_zone": "A time needs its zone, such as 2026-11-21T12:00:00Z; + is written %2B.",
    }

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("no_zone")
        try:
            return value.astimezone(UTC)
        except OverflowError:  # the first or the last hours that there are
            return LAST if value.year > 1970 else FIRST


class Key(serializers.IntegerField):
    """The ID of a row."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=LARGEST_KEY, **kwargs)


class Keys(serializers.RegexField):
    """IDs, with commas between."""

    default_error_messages = {"invalid": "It must be numbers, with commas between."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("^[1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*$", max_length=400, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        text = super().run_validation(data)
        return sorted({int(word) for word in text.split(",")})
