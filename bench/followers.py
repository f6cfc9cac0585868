"""Thousands of cheap WebSocket clients in one process: they note when each event came, and pong.

`python -m bench.followers PORT PATH COUNT ID` follows until event ID has come to all, then prints a
JSON object: for each event the moments (CLOCK_MONOTONIC seconds) at which it came, and how many
bytes came in all.
"""

import asyncio
import base64
import json
import os
import re
import resource
import sys
import time
from collections import defaultdict

ID = re.compile(rb'"id":(\d+),"kind"')
ONCE = 50
"""Clients that connect at the same time."""


class Follower(asyncio.Protocol):
    def __init__(self, site: str, path: str, came: dict[int, list[float]], wanted: int) -> None:
        self.site, self.path, self.came, self.wanted, self.hears = (
            site,
            path,
            came,
            wanted,
            asyncio.Event(),
        )
        self.last, self.bytes, self.done = 0, 0, asyncio.Event()

    def connection_made(self, transport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET {self.path} HTTP/1.1\r\nHost: {self.site}\r\nOrigin: http://{self.site}"]
        head += ["Upgrade: websocket\r\nConnection: Upgrade"]
        head += [f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"]
        transport.write("\r\n".join(head).encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if b'"hello"' in data:
            last = int(re.search(rb'"last":(\d+)', data)[1])
            self.say({"subscribe": {"to": "all"}})
            self.say({"resume": {"after": last}})
            self.hears.set()
            return
        if b'"ping"' in data:
            self.say({"pong": {}})
        if found := ID.findall(data):
            self.bytes += len(data)
        for pk in found:
            self.last = int(pk)
            self.came[self.last].append(now)
        if self.last >= self.wanted:
            self.done.set()

    def say(self, message: dict) -> None:
        """As a text frame, masked with zeros."""
        text = json.dumps(message).encode()
        self.transport.write(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)


async def follow(port: str, path: str, count: int, wanted: int) -> None:
    came: dict[int, list[float]] = defaultdict(list)
    followers: list[Follower] = []
    loop = asyncio.get_running_loop()
    for start in range(0, count, ONCE):
        some = [
            Follower(f"localhost:{port}", path, came, wanted)
            for _ in range(min(ONCE, count - start))
        ]
        await asyncio.gather(
            *(loop.create_connection(lambda one=one: one, "127.0.0.1", port) for one in some)
        )
        await asyncio.gather(*(one.hears.wait() for one in some))
        followers += some
    await asyncio.sleep(0.5)
    print("ready", flush=True)
    await asyncio.gather(*(asyncio.wait_for(one.done.wait(), 300) for one in followers))
    print(json.dumps({"came": came, "bytes": sum(one.bytes for one in followers)}), flush=True)


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(follow(*sys.argv[1:3], *map(int, sys.argv[3:])))
