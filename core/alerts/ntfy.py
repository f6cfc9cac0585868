"""ntfy: notifications on a phone, by ntfy.sh or a server of one's own. The topic is a secret.

https://docs.ntfy.sh/publish/#publish-as-json
"""

import json
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from core import alerts
from core.alerts import TIMEOUT_SECONDS, Message, host_of
from core.net.addresses import Network
from core.net.http import Http, basic, bearer

HIGH, USUAL = 5, 3


class Channel(alerts.Channel):
    """ntfy://host/topic, with TLS; ntfy+http:// without, for a server in the house.

    Log-in: ntfy://user:password@host/topic, or an access token, ntfy://:tk_...@host/topic.
    """

    schemes = ("ntfy", "ntfy+http")
    example = "ntfy://ntfy.sh/your-secret-topic"

    def __init__(self, address: str, networks: Sequence[Network]) -> None:
        super().__init__(address, networks)
        parts = urlsplit(address)
        self.host, self.topic = host_of(address), parts.path.strip("/")
        if not self.topic or "/" in self.topic:
            raise ValueError(f"An address of ntfy has one topic: {self.example}.")
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self.server = f"{'http' if parts.scheme == 'ntfy+http' else 'https'}://{self.host}"

    @property
    def name(self) -> str:
        return f"ntfy at {self.host}"

    def send(self, message: Message) -> None:
        http = Http(self.server, networks=self.networks, timeout_seconds=TIMEOUT_SECONDS)
        if self.user:
            http.auth = basic(self.user, self.password)
        elif self.password:
            http.auth = bearer(self.password)
        content = {
            "topic": self.topic,
            "title": message.title,
            "message": message.text or message.title,
            "priority": HIGH if message.urgent and not message.is_over else USUAL,
            "tags": ["white_check_mark" if message.is_over else "warning"],
            # From ntfy 2.16 on, the second of the same replaces the first, without a sound.
            "sequence_id": message.id,
        }
        if message.link:
            content["click"] = message.link
        # JSON goes to the server's root: at the topic's own address it would be shown as text.
        http.fetch("POST", "/", body=json.dumps(content).encode(), content_type="application/json")
