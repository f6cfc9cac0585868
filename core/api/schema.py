"""The API's description: OpenAPI 3.1, always of the code that runs."""

from functools import cache
from typing import Any, cast

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from core.api.described import PROBLEM
from core.api.examples import read_examples
from core.api.problems import MEDIA_TYPE
from core.api.rendering import JsonRenderer, Rendered
from core.api.resource import Resource
from core.models.access import Right

ANY_TIME = {
    "400": "A parameter or the body is wrong",
    "401": "No log-in or token, or one that is not valid",
    "403": "The right for this is missing",
    "406": "No answer in a format that was asked for",
    "422": "Each parameter is right, and they do not go together, or cannot be done",
    "429": "Too many requests: see Retry-After",
}

SAYS_MORE = {"enum", "format", "pattern"}


class SessionScheme(OpenApiAuthenticationExtension):
    """The log-in of a page; drf-spectacular finds this class by itself."""

    target_class = "core.api.authentication.Session"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "core.api.authentication.Bearer"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "A token: iot_..."}


class Operation(AutoSchema):
    """Describes one method of a view."""

    def get_description(self) -> str:  # type: ignore[override]  # as in drf-spectacular
        """Leave out the docstring that every view inherits: it is for who writes one."""
        description: str = super().get_description()
        return "" if description == get_doc(Resource) else description

    def get_auth(self) -> Any:
        """Say who may: with `{}` also who has neither log-in nor token, where that is public."""
        ways = super().get_auth()
        view = cast(Resource, self.view)
        is_reading = self.method in SAFE_METHODS and view.right is Right.READ
        if settings.PUBLIC_STATUS and is_reading and not view.needs_log_in:
            ways.append({})
        return ways


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """State the errors of each operation, and show what it answers.

    One of drf-spectacular's POSTPROCESSING_HOOKS.
    """
    schemas, examples = result["components"].setdefault("schemas", {}), read_examples()
    for path, operations in result["paths"].items():
        for operation in operations.values():
            expected = dict(ANY_TIME)
            parameters = {one["name"] for one in operation.get("parameters", ())}
            if "{" in path:
                expected["404"] = "It is not there, or you may not see it"
            elif "cursor" in parameters:
                expected["404"] = "The cursor is none of this list"
            if "requestBody" in operation:
                expected["413"] = "The body is too large"
                expected["415"] = "The body is no JSON"
            for status, words in expected.items():
                operation["responses"].setdefault(status, _problem(words))
            # By gunicorn, before the API sees it: a text.
            operation["responses"]["414"] = {"description": "The address is too long"}
            _refuse_null_characters(operation)
            _refuse_other_fields(operation, schemas)
            _show(operation, examples.get(operation["operationId"], []))
    schemas["Problem"] = PROBLEM_SCHEMA
    return result


def _refuse_null_characters(operation: dict[str, Any]) -> None:
    """Say of parameters that are any text what REST framework's fields refuse."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        is_any_text = schema.get("type") == "string" and not SAYS_MORE & schema.keys()
        if parameter["in"] == "query" and is_any_text:
            schema["pattern"] = "^[^\\u0000]*$"


def _refuse_other_fields(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say of a body that it takes no other fields: core/api/body.py refuses them."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        if name in schemas:
            schemas[name]["additionalProperties"] = False


def _show(operation: dict[str, Any], examples: list[dict[str, Any]]) -> None:
    if examples:
        content = operation["responses"]["200"]["content"]["application/json"]
        content["examples"] = {
            f"Example{number}": {"value": value} for number, value in enumerate(examples, 1)
        }


def _problem(words: str) -> dict[str, Any]:
    return {"description": words, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}


PROBLEM_SCHEMA = {
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong, in a sentence."},
        "errors": {
            "type": "array",
            "description": "Each wrong field or parameter.",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
    "example": {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "limit: Ensure this value is less than or equal to 1000.",
        "errors": [
            {"field": "limit", "detail": "Ensure this value is less than or equal to 1000."}
        ],
    },
}


def described() -> dict[str, Any]:
    """Return the description. It changes with the code, and with what is public."""
    return _described(settings.PUBLIC_STATUS)


@cache
def _described(is_public: bool) -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return schema


class Schema(Resource):
    """For everybody: it tells what any reader of the source knows."""

    permission_classes = ()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(_rendered(settings.PUBLIC_STATUS))


@cache
def _rendered(is_public: bool) -> Rendered:
    return Rendered(JsonRenderer().render(_described(is_public)))
