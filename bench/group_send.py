"""The yardstick: Channels with channels_redis, a minimal consumer, one `group_send` a commit."""

import asyncio
import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer

NAME = "everybody"


class Group(AsyncWebsocketConsumer):
    """Sends on what the group is told. No log-in, no heartbeat, nothing missed is told again."""

    channel_layer_alias = "bench"
    groups = [NAME]

    async def connect(self) -> None:
        await self.accept()
        await self.send('{"hello":{"last":0}}')

    async def told(self, message: dict[str, Any]) -> None:
        await self.send(message["text"])


class Sender:
    """Keeps one loop and one connection to Redis; `async_to_sync` would make both each time."""

    def __init__(self) -> None:
        self.layer = get_channel_layer("bench")
        self.runner = asyncio.Runner()

    def send(self, number: int, body: dict[str, Any]) -> None:
        """Send it as JSON in the form of an event, so that both sides carry the same bytes."""
        told = {"id": number, "kind": "readings", "device": 12, "gateway": 3, "body": body}
        text = f"[{json.dumps(told, separators=(',', ':'))}]"
        self.runner.run(self.layer.group_send(NAME, {"type": "told", "text": text}))


def is_possible() -> bool:
    """Whether a Redis answers at BENCH_REDIS_URL."""
    url = urlsplit(os.environ.get("BENCH_REDIS_URL") or "redis://127.0.0.1:6379")
    try:
        socket.create_connection((url.hostname, url.port or 6379), timeout=5).close()
    except OSError:
        return False
    return True
