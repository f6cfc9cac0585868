"""A source of outside data on the loopback address, and a feed that asks it."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from core import feeds
from core.net.http import Http
from tests.core.raw_server import Request, Server, answer, serving

PAYLOADS = Path(__file__).parent / "payloads"
LOOPBACK = (ip_network("127.0.0.0/8"),)
CREDENTIAL = "anna:long-password"
NOW = datetime(2026, 11, 21, 12, 10, tzinfo=UTC)


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Source:
    """Answers with what stands for the beginning of a path: a status and JSON, or bytes as they
    are; `once` goes first.

    Keeps what it was asked."""

    server: Server

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.once: dict[str, tuple[int, Any]] = {}
        self.headers: list[str] = []
        self.asked: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        self.hanging: threading.Event | None = None

    def reply(self, request: Request) -> bytes:
        url = urlsplit(request.target)
        self.asked.append(unquote(url.path))
        self.queries.append({name: values[0] for name, values in parse_qs(url.query).items()})
        self.authorizations.append(request.headers.get("authorization", ""))
        if self.hanging:
            self.hanging.wait(60)
        begins = max(
            (path for path in self.answers if self.asked[-1].startswith(path)), key=len, default=""
        )
        status, body = self.once.pop(self.asked[-1], None) or self.answers.get(
            begins, (404, b"Not Found")
        )
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return answer(content, f"{status} As Told", *self.headers)

    def feed(
        self,
        name: str,
        timeout_seconds: float = 30,
        credential: str = CREDENTIAL,
        options: str = "",
        zone: tzinfo = UTC,
    ) -> feeds.Feed:
        http = Http(
            self.server.address,
            credential=credential,
            networks=LOOPBACK,
            timeout_seconds=timeout_seconds,
        )
        return feeds.load(name)(http, feeds.read_options(name, options), zone)


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    with serving(source.reply) as source.server:
        yield source
        if source.hanging:
            source.hanging.set()


@pytest.fixture
def now(time_machine: Any) -> datetime:
    time_machine.move_to(NOW, tick=False)
    return NOW
