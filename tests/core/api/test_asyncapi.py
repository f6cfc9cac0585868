"""The description of the socket: valid, kept in docs/, and true of what sockets say."""

import gzip
import json
import os
from pathlib import Path

import pytest
from django.conf import settings
from jsonschema import Draft7Validator

from core.api.asyncapi import RECEIVED, socket_described
from core.live.protocol import VERBS

OFFICIAL = Path(__file__).with_name("asyncapi-3.0.0.json.gz")
"""The JSON Schema of AsyncAPI 3.0.0, of github.com/asyncapi/spec-json-schemas, Apache-2.0."""
DOCUMENT = Path(settings.BASE_DIR, "docs", "asyncapi.json")


@pytest.fixture(scope="module")
def document():
    return socket_described("example.org", "wss")


def test_it_is_asyncapi_3(document):
    official = json.loads(gzip.decompress(OFFICIAL.read_bytes()))
    assert [error.message for error in Draft7Validator(official).iter_errors(document)] == []
    assert list(Draft7Validator(official).iter_errors(document | {"channels": 1}))


def test_it_is_kept_in_docs(document):
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(text)
    assert DOCUMENT.read_text() == text, "Look at what changed with UPDATE_DOCS=1 and git diff."


def test_it_is_served_to_everybody(api, document, settings):
    settings.PUBLIC_STATUS = False
    response = api().get("/asyncapi/")
    assert response.status_code == 200
    assert response.json()["servers"]["site"]["host"] == "testserver"
    assert response.json()["components"] == document["components"]


def test_every_reference_leads_somewhere(document):
    for reference in references_in(document):
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def references_in(part):
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
        part = list(part.values())
    for inner in part if isinstance(part, list) else []:
        yield from references_in(inner)


def test_every_verb_of_a_client_is_described():
    assert set(RECEIVED) == set(VERBS)
