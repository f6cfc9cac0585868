"""Proof: bodies that stall or drip end with 408 at a real server, and hold up nobody."""

import socket
import time
from dataclasses import dataclass, field

from iotapp.bodies import LONGEST_SECONDS
from tests.core.live.web_server import Web

HEAD = b"POST /accounts/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"


@dataclass
class Bodies:
    """What came of it: `faults` must be empty."""

    slow: int = 0
    seconds: float = 0.0
    page_seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"bodies: {self.slow} that stall or drip were ended after {self.seconds:.1f} s; "
            f"a page took at most {self.page_seconds:.2f} s meanwhile; {len(self.faults)} faults"
        )


def stall(database_url: str, clients: int = 100) -> Bodies:
    """Open so many connections, half of which drip; ask for a page each second meanwhile."""
    web, bodies = Web(database_url), Bodies(slow=clients)
    web.start()
    try:
        began = time.monotonic()
        slow = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(clients)]
        for client in slow:
            client.sendall(HEAD)
        while time.monotonic() - began < LONGEST_SECONDS - 1:
            for client in slow[::2]:
                client.sendall(b"x")
            bodies.page_seconds = max(bodies.page_seconds, _page_seconds(web))
            time.sleep(0.5)
        for client in slow:
            client.settimeout(LONGEST_SECONDS)
            answer = client.recv(1000)
            if not answer.startswith(b"HTTP/1.1 408 "):
                bodies.faults.append(repr(answer[:60]))
            client.close()
        bodies.seconds = time.monotonic() - began
    finally:
        web.end()
    return bodies


def _page_seconds(web: Web) -> float:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        while client.recv(65_536):
            pass
    return time.monotonic() - began
