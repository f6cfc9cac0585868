"""Serves iotapp.asgi in this process without a network, and opens sockets to it for tests."""

import asyncio
import json
import queue
import threading
import time

from core.live import threads
from iotapp.asgi import application

SITE = "http://testserver"
PATIENCE = 30.0
"""Seconds that a busy machine may take for what takes an instant."""


class Closed(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class AsgiServer:
    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._await_orders()
        self.do(self._cancel_all)
        for executor in (threads.reader, threads.registrar):
            executor.submit(int).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def open(self, cookie="", origin=SITE, path="/ws/events/", reads=True):
        return Socket(self, cookie, origin, path, reads)

    def do(self, function, *given):
        """Call an asynchronous function in the loop."""
        return asyncio.run_coroutine_threadsafe(function(*given), self.loop).result(PATIENCE)

    def _await_orders(self):
        """Wait until no thread sends an order: the next test empties the tables."""
        idle = threading.Barrier(threads.WRITERS + 1)
        for _ in range(threads.WRITERS):
            threads.writers.submit(idle.wait, 30)
        idle.wait(30)

    async def _cancel_all(self):
        # In a loop: a socket that ends may begin another task.
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)


class Socket:
    def __init__(self, server, cookie, origin, path, reads):
        self._server, self._from_server, self._to_server = server, queue.Queue(), asyncio.Queue()
        self._reads = reads
        headers = [(b"host", b"testserver")]
        headers += [(b"origin", origin.encode())] if origin is not None else []
        headers += [(b"cookie", f"sessionid={cookie}".encode())] if cookie else []
        scope = {
            "type": "websocket",
            "path": path,
            "scheme": "ws",
            "headers": headers,
            "query_string": b"",
        }
        self._say({"type": "websocket.connect"})
        asyncio.run_coroutine_threadsafe(self._serve(scope), server.loop)

    async def _serve(self, scope):
        await application(scope, self._to_server.get, self._send)

    async def _send(self, message):
        if message["type"] == "websocket.send" and not self._reads:
            await asyncio.Event().wait()  # as a server does whose client's window is full
        self._from_server.put(message)
        if message["type"] == "websocket.close":
            self._to_server.put_nowait(
                {"type": "websocket.disconnect", "code": message.get("code")}
            )

    def _say(self, message):
        self._server.loop.call_soon_threadsafe(self._to_server.put_nowait, message)

    def say(self, **message):
        self.say_text(json.dumps(message))

    def say_text(self, text):
        self._say({"type": "websocket.receive", "text": text})

    def leave(self):
        self._say({"type": "websocket.disconnect", "code": 1001})

    def hear(self, within=PATIENCE):
        """The next message. Raises Closed with the code; queue.Empty when nothing comes."""
        message = self._from_server.get(timeout=within)
        if message["type"] == "websocket.close":
            raise Closed(message.get("code", 403))
        return json.loads(message["text"]) if "text" in message else message["type"]

    def hear_of(self, word, within=PATIENCE):
        """What the next object says that has this word; lists and other objects are passed by."""
        until = time.monotonic() + within
        while True:
            message = self.hear(until - time.monotonic())
            if isinstance(message, dict) and word in message:
                return message

    def events(self, count, within=PATIENCE):
        """The next so many events."""
        found, until = [], time.monotonic() + within
        while len(found) < count:
            message = self.hear(until - time.monotonic())
            found += message if isinstance(message, list) else []
        return found

    def closes(self, within=PATIENCE):
        """With which code it is closed; 403 if it was never accepted."""
        until = time.monotonic() + within
        try:
            while True:
                self.hear(until - time.monotonic())
        except Closed as closed:
            return closed.code

    def begin(self, to="all", after=None):
        """Follow from that event on, or from the newest."""
        hello = self.hear_of("hello")["hello"]
        self.say(subscribe={"to": to})
        self.say(resume={"after": hello["last"] if after is None else after})
        return self
