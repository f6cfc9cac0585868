"""Proof: clients that never read cost little, are dropped, and hold up nobody.

Some are caught up and fall behind what comes; the others are sent a snapshot and what they missed,
page by page, and take none.
"""

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

import psutil

from tests.core.live.changes import write_events
from tests.core.live.web_server import Client, Web

TEXT = "x" * 3000
BURST = 100
BURSTS = 20
DROPPED_WITHIN_SECONDS = 60


@dataclass
class Deafness:
    """What came of it."""

    clients: int = 0
    megabytes: float = 0.0
    """What the web process occupied more than before, at most."""
    slowest: float = 0.0
    """Seconds until a client that reads had a burst of events."""
    seconds: float = 0.0
    """Until the last of those that never read was dropped."""
    left: int = 0
    """Sockets that were not dropped."""

    def __str__(self) -> str:
        return (
            f"deaf: {self.clients} clients that never read cost {self.megabytes:.1f} MB at most "
            "and were dropped within "
            f"{self.seconds:.0f} s, {self.left} were not; one that reads had {BURST} events after "
            f"{self.slowest:.2f} s at most"
        )


def never_read(count: int, database_url: str, heartbeat_seconds: float = 5) -> Deafness:
    web = Web(database_url, SOCKET_HEARTBEAT_SECONDS=str(heartbeat_seconds))
    web.start()
    try:
        with web.open() as other, ExitStack() as stack:
            other.begin()
            for _ in range(BURSTS):  # so many recent ones are kept anyway
                _burst(other, BURST)
            return _never_read(count, web, other, stack)
    finally:
        web.end()


def _never_read(count: int, web: Web, other: Client, stack: ExitStack) -> Deafness:
    [worker] = psutil.Process(web._process.pid).children()
    found, before = Deafness(count), worker.memory_info().rss
    began, most, is_over = time.monotonic(), [before], threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            most.append(max(most[-1], worker.memory_info().rss))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(count):
            deaf = stack.enter_context(
                web.open(sock=deaf_socket(web), max_queue=1, close_timeout=0.1, ping_interval=None)
            )
            _ask(deaf, ("everything that comes", "snapshot", "what was missed")[number % 3])
        for _ in range(BURSTS):
            found.slowest = max(found.slowest, _burst(other, BURST))
        while _sockets(worker, web.port) > 1 and time.monotonic() < began + DROPPED_WITHIN_SECONDS:
            _burst(other, 1)
            time.sleep(0.1)
        found.left = _sockets(worker, web.port) - 1
        found.seconds = time.monotonic() - began
    finally:
        is_over.set()
        looking.join()
    found.megabytes = (most[-1] - before) / 1e6
    return found


def _sockets(worker: psutil.Process, port: int) -> int:
    open = (
        psutil.CONN_ESTABLISHED,
        psutil.CONN_CLOSE_WAIT,
        psutil.CONN_FIN_WAIT1,
        psutil.CONN_FIN_WAIT2,
    )
    return sum(
        one.laddr.port == port and one.status in open for one in worker.net_connections("tcp")
    )


def _ask(deaf: Client, for_what: str) -> None:
    newest = deaf.hear()["hello"]["last"]
    deaf.say(subscribe={"to": "all"})
    if for_what == "snapshot":
        deaf.say(snapshot={})
    else:
        deaf.say(
            resume={"after": newest if for_what == "everything that comes" else newest - BURST}
        )


def _burst(other: Client, count: int) -> float:
    """The seconds until a client that reads had so many events."""
    began = time.monotonic()
    write_events(count, text=TEXT)
    other.events(count)
    return time.monotonic() - began


def deaf_socket(web: Web) -> socket.socket:
    """Of an end that takes in next to nothing: its system keeps 4 KiB, its library (`max_queue`) a
    message."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", web.port))
    return deaf
