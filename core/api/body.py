"""What a request brings along, described and checked in one place."""

from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from core.api.query import Exact, checked


class Body(Exact):
    """The body of a request, a JSON object. Any other field is refused: a typo would be lost."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := set(data) - set(self.fields)):
            known = ", ".join(self.fields)
            raise ValidationError(
                {str(name): f"There is no such field. Known: {known}." for name in sorted(unknown)}
            )
        return super().to_internal_value(data)


def parse_body(kind: type[Body], request: Request) -> dict[str, Any]:
    """Return the fields of a body, with defaults. Raises ValidationError, Unprocessable."""
    return checked(kind, request.data)
