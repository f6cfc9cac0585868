"""Reads request collections as editors do: the format of VS Code's REST Client and of JetBrains."""

import re
from dataclasses import dataclass
from pathlib import Path

REQUEST = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (\S+)(?: HTTP/[\d.]+)?")
VARIABLE = re.compile(r"@(\w+)\s*=\s*(.*)")


@dataclass(frozen=True)
class HttpRequest:
    title: str
    method: str
    url: str
    headers: dict[str, str]
    body: str


def read(path: Path, **given: str) -> list[HttpRequest]:
    """Return the requests of a file. `given` are variables in place of those that it sets."""
    head, *parts = re.split(r"^###", path.read_text(), flags=re.MULTILINE)
    variables = {name: value.strip() for name, value in VARIABLE.findall(head)} | given
    return [_request(part, variables) for part in parts]


def _request(part: str, variables: dict[str, str]) -> HttpRequest:
    title, _, rest = part.partition("\n")
    for name, value in variables.items():
        rest = rest.replace("{{" + name + "}}", value)
    unknown = re.findall(r"{{.*?}}", rest)
    assert not unknown, f"{title}: nothing sets {unknown}"
    head, _, body = rest.strip().partition("\n\n")
    first, *headers = [line for line in head.splitlines() if not line.startswith(("#", "//"))]
    found = REQUEST.fullmatch(first)
    assert found, f"{title}: {first!r} is no request"
    pairs = (header.split(": ", 1) for header in headers)
    return HttpRequest(title.strip(), found[1], found[2], dict(pairs), body.strip())
