"""A real WebSocket server, in threads, that does what a test's function says."""

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve


class SocketServer:
    """`conversation` is called with each connection, in a thread of its own."""

    def __init__(
        self, conversation: Callable[[ServerConnection], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self.conversation = conversation
        self.server = serve(
            self._serve, "127.0.0.1", 0, compression=None, ssl=tls, close_timeout=0.1
        )
        self.address = (
            f"{'https' if tls else 'http'}://127.0.0.1:{self.server.socket.getsockname()[1]}"
        )
        self.thread = threading.Thread(target=self.server.serve_forever)

    def _serve(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed, TimeoutError):  # a test says whether it should have left
            self.conversation(connection)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()


def tell(connection: ServerConnection, message: Any) -> None:
    connection.send(json.dumps(message))


def hear(connection: ServerConnection) -> Any:
    return json.loads(connection.recv(timeout=30))
