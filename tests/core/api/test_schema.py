"""The description that programs read."""

import re
import warnings

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator, FormatChecker

from core.api import docs
from core.api.schema import _described, described


@pytest.fixture(scope="module")
def schema():
    return described()


def test_the_schema_is_one_of_openapi(schema):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        validate_schema(schema)
    assert schema["openapi"].startswith("3.1")


def test_nothing_had_to_be_guessed(capsys):
    GENERATOR_STATS.reset()
    _described.cache_clear()
    with GENERATOR_STATS.silence():
        described()
    told = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert told == []


def test_it_is_served_to_everybody(api, schema, settings):
    settings.PUBLIC_STATUS = False
    response = api().get("/schema/")
    assert response.status_code == 200
    assert response.json()["paths"].keys() == schema["paths"].keys()


def test_every_operation_states_its_errors(schema):
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert {"400", "401", "403", "406", "429"} <= operation["responses"].keys()


def test_who_may_read_without_a_log_in_is_told_as_it_is_set(settings):
    settings.PUBLIC_STATUS = True
    assert {} in described()["paths"]["/api/v1/devices/"]["get"]["security"]
    assert {} not in described()["paths"]["/api/v1/decisions/{id}/"]["get"]["security"]
    settings.PUBLIC_STATUS = False
    assert {} not in described()["paths"]["/api/v1/devices/"]["get"]["security"]


def test_a_text_with_a_null_character_is_refused_as_the_schema_says(schema, viewer):
    [parameter] = [
        one
        for one in schema["paths"]["/api/v1/best-window/"]["get"]["parameters"]
        if one["name"] == "after"
    ]
    assert not re.search(parameter["schema"]["pattern"], "07:00\0")
    assert re.search(parameter["schema"]["pattern"], "07:00\n")
    answer = viewer.get("/best-window/", duration=1, before="07:00", after="07:00\0")
    assert answer.status_code == 400


def test_every_read_has_an_example_that_is_as_it_says(schema):
    wrong, shown = [], 0
    for path, operations in schema["paths"].items():
        answers = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        for kind, content in answers.items():
            if kind != "application/json":
                continue
            examples = content.get("examples", {}).values()
            wrong += [] if examples else [f"{path}: none"]
            validator = Draft202012Validator(
                content["schema"] | {"components": schema["components"]},
                format_checker=FormatChecker(),
            )
            for example in examples:
                shown += 1
                wrong += [f"{path}: {error}" for error in validator.iter_errors(example["value"])]
    assert wrong == []
    assert shown >= 25


# The page


def test_the_page_tells_every_operation_parameter_and_thing(client, db, schema):
    page = client.get("/api/v1/docs/").content.decode()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert f"<pre>{method.upper()} {path}</pre>" in page
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in page
    for name in schema["components"]["schemas"]:
        assert f'id="thing-{name}"' in page


def test_every_link_of_the_page_leads_somewhere(client, db):
    page = client.get("/api/v1/docs/").content.decode()
    wanted = set(re.findall(r'href="#([^"]+)"', page)) - {"main"}
    assert wanted
    assert wanted <= set(re.findall(r'id="([^"]+)"', page))


def test_the_page_needs_no_other_host_and_no_inline_script_or_style(client, db):
    response = client.get("/api/v1/docs/")
    page = response.content.decode()
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    assert not re.findall(r"<style|<script(?![^>]*src=)| style=| onclick=", page)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "default": 5}, "integer, from 1, default 5"),
        ({"type": ["number", "null"]}, "number or null"),
        ({"enum": ["a", "b"], "type": "string"}, "one of a, b"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/X"}}, "list of X"),
        ({"oneOf": [{"$ref": "#/components/schemas/X"}, {"type": "null"}]}, "X or null"),
        ({"type": ["string", "null"], "format": "date-time"}, "time or null"),
        ({"type": "integer", "maximum": 2**63 - 1}, "integer"),
        ({}, "anything"),
    ],
)
def test_a_value_is_described_in_words(schema, words):
    assert docs.kind(schema) == words


def test_descriptions_are_for_who_asks(schema):
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert "self." not in operation.get("description", ""), path
