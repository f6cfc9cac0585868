"""How gunicorn serves pages and sockets. It reads this file by itself, and listens on PORT if set.

Each process opens up to DATABASE_POOL_SIZE (4) database connections for pages and orders, and one
that listens for events. A small PostgreSQL plan allows 20: two processes here take 10, which leaves
10 for polling (4), deciding (4) and a person.

Settings do most. What they cannot do is in four places, each with the lines of gunicorn 27.0.1 that
make it necessary; requirements.txt holds gunicorn below 28 for them.
"""

import os
import resource
import signal
import socket
from typing import Any
from weakref import WeakSet

from gunicorn.glogging import Logger

from core.net.logs import JsonLines
from iotapp import environment

workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "asgi"
asgi_lifespan = "off"
# A worker that was silent for so long is replaced.
timeout = 30
# For requests under way when asked to stop; Heroku kills after 30.
graceful_timeout = 10
# Longer than the 90 s of Heroku's router, so that it is never us who hangs up first.
keepalive = 100
# It would lie in the home folder, and two servers would fight over it.
control_socket_disable = True
# Ours are held to 4 KiB; this is before they are read, and 32 of them may wait.
websocket_max_message_size = 8 * 1024
accesslog = None
# Who may say by a header that a request came by HTTPS: as in the settings, a proxy or nobody.
forwarded_allow_ips = "*" if environment.flag("TRUST_PROXY", "DYNO" in os.environ) else ""


class JsonLogger(Logger):  # type: ignore[misc]  # its base is untyped
    """Writes gunicorn's own lines as ours are."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonLines())


if environment.text("LOG_FORMAT").upper() == "JSON":
    logger_class = JsonLogger

MOST_FRAGMENTS = 100
"""Of one message."""
LARGEST_SEND_BUFFER = 128 * 1024
"""Bytes that the system keeps for a client that reads slowly or never: by itself up to 4 MB."""


connections: WeakSet[Any] = WeakSet()
"""Those to this worker."""


def when_ready(arbiter: Any) -> None:
    """Limit send buffers: connections get what the listener has, and no setting is passed to it.

    Works around: `BaseSocket.set_options` in gunicorn/sock.py sets a fixed list of options.
    """
    for listener in arbiter.LISTENERS:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_SEND_BUFFER)


def post_worker_init(worker: Any) -> None:
    allow_files(65_536)
    limit_frames()
    end_slow_handshakes()
    close_sockets_at_the_end(worker)


def allow_files(wanted: int) -> None:
    """Allow many open files: a socket is one, and 1,024 is a usual limit."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def limit_frames() -> None:
    """Let a client wait for its pongs as it does for messages, and end it at too many fragments.

    Works around, in gunicorn/asgi/websocket.py: `_read_frames` answers each ping at once, however
    much waits for the client (`_send` drains, `_send_frame` does not); `_read_frame` counts the
    bytes of fragments only, so empty ones pile up in `_fragments` without end.
    """
    from gunicorn.asgi import websocket

    class Frames(websocket.WebSocketProtocol):  # type: ignore[misc]  # its base is untyped
        async def _send_frame(self, opcode: int, payload: bytes | str) -> None:
            if opcode == websocket.OPCODE_PONG:
                await self._drain()
                # The client is gone: asyncio would log a warning for each ping left in our buffer.
                if self.transport.is_closing():
                    raise websocket.WebSocketDisconnected
            await super()._send_frame(opcode, payload)

        async def _handle_continuation(self, payload: bytes) -> None:
            if len(self._fragments) > MOST_FRAGMENTS:
                await self._send_close(websocket.CLOSE_POLICY_VIOLATION, "Too many fragments")
                raise websocket.WebSocketDisconnected

    websocket.WebSocketProtocol = Frames


def end_slow_handshakes() -> None:
    """Wait for the first request of a connection no longer than for the next one, and note all.

    Works around: `_handle_connection` in gunicorn/asgi/protocol.py arms the timer of `keepalive`
    only if `req_count > 1`. https://github.com/benoitc/gunicorn/pull/3735 left the first open.
    """
    from gunicorn.asgi.protocol import ASGIProtocol

    made = ASGIProtocol.connection_made

    def connection_made(connection: Any, transport: Any) -> None:
        made(connection, transport)
        connection._arm_keepalive_timer()
        connections.add(connection)

    ASGIProtocol.connection_made = connection_made


def close_sockets_at_the_end(worker: Any) -> None:
    """Close sockets, and connections that wait for a request, when the worker is asked to end.

    Works around: `ASGIWorker._shutdown` in gunicorn/workers/gasgi.py waits for open connections for
    all of `graceful_timeout`. Sockets never end, nor does what nginx keeps for its next request.
    No hook is called at SIGTERM.
    """
    from core.live.connections import sockets
    from core.live.follower import follower

    def end() -> None:
        sockets.close_all()
        follower.stop()
        for connection in list(connections):
            if connection._awaiting_request:
                connection._keepalive_timeout()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, end)
