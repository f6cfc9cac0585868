"""A small server that speaks Pusher's two protocols on one port, over real HTTP and WebSockets.

`python -m tests.core.live.pusher_server` runs one for a person, and prints the RELAY_URL to set. It
checks what the service checks: signatures, sizes, who subscribes to what.
https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from websockets.frames import Opcode
from websockets.server import ServerProtocol

APP, KEY, SECRET = "4711", "somekey", "canary-of-the-relay"
MOST_MESSAGES, LARGEST_DATA = 10, 10_240
PATIENCE_SECONDS = 600


class PusherServer:
    """Served by a thread of its own between `start()` and `stop()`.

    `fault` is a status that calls of the HTTP API are answered with, or "hang". `taken` are the
    messages that were taken, in their order, `refused` how many calls were not.
    """

    def __init__(self, port=0):
        self.port, self.fault = port, None
        self.largest_data = LARGEST_DATA
        self.taken, self.calls, self.refused, self.subscribed = [], [], [], []
        self._subscribers = {}
        self._open = set()

    @property
    def url(self):
        return f"pusher://{KEY}:{SECRET}@127.0.0.1:{self.port}/{APP}"

    @property
    def events(self):
        """The ids of events in the order in which they were taken, and those of notes."""
        found = []
        for message in self.taken:
            data = json.loads(message["data"])
            found += [one["id"] for one in data] if isinstance(data, list) else []
        return found

    def start(self):
        self._loop = asyncio.new_event_loop()
        is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(is_ready,), daemon=True)
        self._thread.start()
        assert is_ready.wait(10)
        return self

    def stop(self):
        """As by an outage: nothing answers at the port any more."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def hang_up(self):
        """Close all sockets, as a service that restarts does."""
        self._loop.call_soon_threadsafe(lambda: [one.close() for one in list(self._open)])

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    def _run(self, is_ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(is_ready))
        self._loop.close()

    async def _serve(self, is_ready):
        self._end = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        is_ready.set()
        await self._end.wait()
        server.close()
        for writer in list(self._open):
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, reader, writer):
        self._open.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"upgrade: websocket" in head.lower():
                    await Socket(self, reader, writer).talk(head)
                    return
                await self._answer(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or we end
        finally:
            self._open.discard(writer)
            writer.close()

    # The HTTP API

    async def _answer(self, head, reader, writer):
        first, *lines = head.decode().rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        self.calls.append((time.monotonic(), target))
        fault = self.fault
        while fault == "hang":
            await asyncio.sleep(0.05)
            fault = self.fault
        status, words = self._judge(method, target, body) if fault is None else (fault, "a fault")
        if status == 200:
            await self._take(json.loads(body)["batch"])
        else:
            self.refused.append(status)
        content = json.dumps({} if status == 200 else words).encode()
        writer.write(
            f"HTTP/1.1 {status} Word\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )
        await writer.drain()

    def _judge(self, method, target, body):
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query))
        given = query.pop("auth_signature", "")
        text = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        if query.get("auth_key") != KEY or given != signed(f"{method}\n{parts.path}\n{text}"):
            return 401, "Invalid signature"
        if query["body_md5"] != hashlib.md5(body).hexdigest():  # noqa: S324 (the protocol's)
            return 401, "Invalid body"
        if abs(time.time() - int(query["auth_timestamp"])) > PATIENCE_SECONDS:
            return 401, "Timestamp expired"
        if (method, parts.path) != ("POST", f"/apps/{APP}/batch_events"):
            return 404, "Unknown"
        batch = json.loads(body)["batch"]
        if len(batch) > MOST_MESSAGES:
            return 400, "Batch too large"
        if any(len(one["data"].encode()) > self.largest_data for one in batch):
            return 413, "The data content of this event exceeds the allowed maximum"
        return 200, ""

    async def _take(self, batch):
        for one in batch:
            self.taken.append(one)
            for socket in list(self._subscribers.get(one["channel"], ())):
                socket.say(one["name"], one["data"], channel=one["channel"])


class Socket:
    """One client of the WebSocket protocol."""

    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        self.id = f"{secrets.randbelow(10**6)}.{secrets.randbelow(10**6)}"
        self.protocol = ServerProtocol()

    async def talk(self, data):
        path = urlsplit(data.split(b" ")[1].decode())
        try:
            while True:
                self.protocol.receive_data(data)
                for event in self.protocol.events_received():
                    if hasattr(event, "opcode"):
                        if event.opcode is Opcode.TEXT:
                            self.hear(json.loads(event.data))
                    else:
                        self.protocol.send_response(self.protocol.accept(event))
                        self.greet(path)
                self.flush()
                if self.protocol.close_expected():
                    return
                data = await self.reader.read(65_536)
                if not data:
                    return
        finally:
            for others in self.server._subscribers.values():
                others.discard(self)

    def greet(self, path):
        if path.path != f"/app/{KEY}":
            self.say("pusher:error", {"code": 4001, "message": "App key not in this cluster"})
            self.protocol.send_close(4001)
            return
        assert dict(parse_qsl(path.query))["protocol"] == "7"
        established = {"socket_id": self.id, "activity_timeout": 120}
        self.say("pusher:connection_established", json.dumps(established))

    def hear(self, message):
        data = message.get("data", {})
        channel = data.get("channel", "")
        if message["event"] == "pusher:ping":
            self.say("pusher:pong", "{}")
        elif message["event"] == "pusher:unsubscribe":
            self.server._subscribers.get(channel, set()).discard(self)
        elif message["event"] == "pusher:subscribe":
            if data.get("auth") != f"{KEY}:{signed(f'{self.id}:{channel}')}":
                error = {"type": "AuthError", "error": "Invalid signature", "status": 401}
                self.say("pusher:subscription_error", json.dumps(error), channel=channel)
                return
            self.server._subscribers.setdefault(channel, set()).add(self)
            self.server.subscribed.append(channel)
            self.say("pusher_internal:subscription_succeeded", "{}", channel=channel)

    def say(self, event, data, **more):
        with suppress(Exception):
            text = json.dumps({"event": event, "data": data, **more})
            self.protocol.send_text(text.encode())
            self.flush()

    def flush(self):
        for piece in self.protocol.data_to_send():
            if piece:
                self.writer.write(piece)


def signed(text):
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


if __name__ == "__main__":
    with PusherServer(int(sys.argv[1]) if len(sys.argv) > 1 else 6001) as server:
        print(f"RELAY_URL={server.url}")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
