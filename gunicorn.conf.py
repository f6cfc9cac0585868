"""How gunicorn serves pages and sockets; it reads this file by itself, and listens on PORT where that is set, as on Heroku.

Each process opens up to DATABASE_POOL_SIZE (4) database connections for pages and orders, and one that listens for events.
A small PostgreSQL plan allows 20: two processes here take 10, which leaves 10 for polling (4), deciding (4) and a person.
"""

import os
import resource
import signal
import socket
from typing import Any

workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
worker_class = "asgi"
asgi_lifespan = "off"
timeout = 30  # a worker that was silent for so long is replaced
graceful_timeout = 10  # for requests under way when asked to stop; Heroku kills after 30
keepalive = (
    100  # longer than the 90 s of Heroku's router, so that it is never us who hangs up first
)
control_socket_disable = (
    True  # it would lie in the home folder, and two servers would fight over it
)
websocket_max_message_size = (
    8 * 1024
)  # ours are held to 4 KiB; this is before they are read, and 32 of them may wait
MOST_FRAGMENTS = 100  # of one message
accesslog = None


def when_ready(arbiter: Any) -> None:
    """What the system keeps for a client that reads slowly or never: by itself up to 4 MB for each."""
    for listener in arbiter.LISTENERS:
        listener.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024
        )  # connections get what the listener has


def allow_files(wanted: int) -> None:
    """A socket is an open file, and 1,024 is a usual limit."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def charge_for_frames() -> None:
    """By itself gunicorn answers each ping whatever waits for the client, and keeps any number of empty fragments."""
    from gunicorn.asgi import websocket

    class Frames(websocket.WebSocketProtocol):  # type: ignore[misc]  # its base is untyped
        async def _send_frame(self, opcode: int, payload: bytes | str) -> None:
            if opcode == websocket.OPCODE_PONG:
                await self._drain()
                if self.transport.is_closing():
                    raise websocket.WebSocketDisconnected
            await super()._send_frame(opcode, payload)

        async def _handle_continuation(self, payload: bytes) -> None:
            if len(self._fragments) > MOST_FRAGMENTS:
                await self._send_close(websocket.CLOSE_POLICY_VIOLATION, "Too many fragments")
                raise websocket.WebSocketDisconnected

    websocket.WebSocketProtocol = Frames


def end_slow_handshakes() -> None:
    """By itself gunicorn waits for a connection's first request without end: now as long as for the next one."""
    from gunicorn.asgi.protocol import ASGIProtocol

    made = ASGIProtocol.connection_made

    def connection_made(connection: Any, transport: Any) -> None:
        made(connection, transport)
        connection._arm_keepalive_timer()

    ASGIProtocol.connection_made = connection_made


def post_worker_init(worker: Any) -> None:
    """Sockets are closed when the worker is told to end: it would wait for them until it is killed."""
    allow_files(65_536)
    charge_for_frames()
    end_slow_handshakes()

    from core.live.connections import sockets
    from core.live.follower import follower

    def end() -> None:
        sockets.close_all()
        follower.stop()
        worker.handle_exit_signal()

    worker.loop.add_signal_handler(signal.SIGTERM, end)
