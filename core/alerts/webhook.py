"""A webhook: JSON to an address of one's own. Slack and Mattermost show its `text`.

The whole path and query count as secret. A receiver drops what comes twice by `Idempotency-Key`,
which is the `id` in the body too.
"""

import json
from collections.abc import Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from core import alerts
from core.alerts import TIMEOUT_SECONDS, Message, host_of
from core.net.addresses import Network
from core.net.http import Http, basic


class Channel(alerts.Channel):
    """https://user:password@host/path?query, or http:// for a server in the house."""

    schemes = ("https", "http")
    example = "https://hooks.example.org/services/your-secret"

    def __init__(self, address: str, networks: Sequence[Network]) -> None:
        super().__init__(address, networks)
        self.parts, self.host = urlsplit(address), host_of(address)

    @property
    def name(self) -> str:
        return f"webhook at {self.host}"

    def send(self, message: Message) -> None:
        parts = self.parts
        http = Http(
            f"{parts.scheme}://{self.host}",
            credential=unquote(parts.path),
            networks=self.networks,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        if parts.username:
            http.auth = basic(unquote(parts.username), unquote(parts.password or ""))
        http.headers["Idempotency-Key"] = message.id
        content = {
            "id": message.id,
            "state": "ended" if message.is_over else "opened",
            "title": message.title,
            "text": f"{message.title}\n{message.text}".strip(),
            "urgent": message.urgent,
            "at": message.at.isoformat(),
            "link": message.link,
        }
        http.fetch(
            "POST",
            unquote(parts.path),
            params=dict(parse_qsl(parts.query, keep_blank_values=True)) or None,
            body=json.dumps(content).encode(),
            content_type="application/json",
        )
