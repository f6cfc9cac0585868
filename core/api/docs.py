"""The documentation page, made from the schema that is served: it needs no other host."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from core.api.schema import described

Schema = dict[str, Any]


class Field(NamedTuple):
    """A field or a parameter: `kind` in words, `of` the thing it holds, if it is one."""

    name: str
    kind: str
    of: str
    is_required: bool
    help: str


class Answer(NamedTuple):
    status: str
    words: str
    of: str


class Operation(NamedTuple):
    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: str
    answers: list[Answer]


class Thing(NamedTuple):
    """What is sent or answered, with its fields."""

    name: str
    description: str
    fields: list[Field]


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show every operation and every thing. Like the schema, it is for everybody."""
    schema = described()
    tags: dict[str, list[Operation]] = {}
    for tag, operation in operations(schema):
        tags.setdefault(tag, []).append(operation)
    things = [_thing(name, one) for name, one in schema["components"]["schemas"].items()]
    return render(request, "core/api_docs.html", {"tags": tags.items(), "things": things})


def operations(schema: Schema) -> Iterator[tuple[str, Operation]]:
    for path, methods in schema["paths"].items():
        for method, one in methods.items():
            operation = Operation(
                id=one["operationId"],
                method=method.upper(),
                path=path,
                summary=one.get("summary", ""),
                description=plain(one.get("description", "")),
                parameters=[
                    _field(
                        parameter["name"],
                        parameter["schema"],
                        bool(parameter.get("required")),
                        parameter.get("description", ""),
                    )
                    for parameter in one.get("parameters", ())
                ],
                body=_held(one.get("requestBody", {}).get("content", {})),
                answers=[
                    Answer(status, answer["description"], _held(answer.get("content", {})))
                    for status, answer in sorted(one["responses"].items())
                ],
            )
            yield next(iter(one.get("tags", ())), "others"), operation


def _thing(name: str, schema: Schema) -> Thing:
    required = schema.get("required", ())
    fields = [
        _field(field, one, field in required, one.get("description", ""))
        for field, one in schema.get("properties", {}).items()
    ]
    return Thing(name, schema.get("description", ""), fields)


def _field(name: str, schema: Schema, is_required: bool, words: str) -> Field:
    return Field(name, kind(schema), _reference(schema), is_required, plain(words))


def plain(markdown: str) -> str:
    return markdown.replace("`", "")


def kind(schema: Schema) -> str:
    """Say in words what a value is: number or null; one of a, b; list of Attribute."""
    if "enum" in schema:
        words = "one of " + ", ".join("null" if one is None else str(one) for one in schema["enum"])
    elif "$ref" in schema:
        words = _name(schema["$ref"])
    elif choices := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
        words = " or ".join(kind(choice) for choice in choices)
    elif "items" in schema:
        words = f"list of {kind(schema['items'])}"
    else:
        types = schema.get("type", "anything")
        words = " or ".join([types] if isinstance(types, str) else types)
        if schema.get("format") == "date-time":
            words = words.replace("string", "time")
    limits = [
        f"{sign} {schema[name]}"
        for name, sign in (("minimum", "from"), ("maximum", "to"), ("maxLength", "at most"))
        # The largest key of a table is no limit that anybody meets.
        if name in schema and schema[name] < 2**53
    ]
    default = [f"default {schema['default']}"] if "default" in schema else []
    return ", ".join([words, *limits, *default])


def _reference(schema: Schema) -> str:
    """Return the name of the thing that a value is, or that it is a list of."""
    if "$ref" in schema:
        return _name(schema["$ref"])
    if "items" in schema:
        return _reference(schema["items"])
    inner = schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf") or ()
    return next((name for one in inner if (name := _reference(one))), "")


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _held(content: Schema) -> str:
    return next((_reference(one.get("schema", {})) for one in content.values()), "")
