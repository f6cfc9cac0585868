"""One web process as `make serve` starts it, and what it costs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import psutil


class Web:
    """A gunicorn with one worker; `bench/served.py` is what it serves."""

    def __init__(self, port: int, worker: psutil.Process) -> None:
        self.port, self._worker = port, worker

    @property
    def processor_seconds(self) -> float:
        return sum(self._worker.cpu_times()[:2])

    @property
    def peak_memory(self) -> int:
        """What it occupied at most so far, in bytes. Linux alone tells."""
        status = Path(f"/proc/{self._worker.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    @property
    def memory(self) -> int:
        return int(self._worker.memory_info().rss)

    def counted(self) -> dict[str, int]:
        with closing(HTTPConnection("localhost", self.port, timeout=30)) as connection:
            connection.request("GET", "/bench/counted")
            return json.load(connection.getresponse())


@contextmanager
def serving() -> Iterator[Web]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--workers", "1", "--log-level", "warning"]
    command += ["--bind", f"127.0.0.1:{port}"]
    environ = os.environ | {
        "SOCKETS_A_PROCESS": "10000",
        "PYTHONWARNINGS": "ignore:No directory at",
    }
    with subprocess.Popen([*command, "bench.served"], env=environ) as server:
        try:
            await_answer(port)
            yield Web(port, psutil.Process(server.pid).children()[0])
        finally:
            server.terminate()


def await_answer(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with closing(HTTPConnection("localhost", port, timeout=5)) as connection:
            try:
                connection.request("GET", "/bench/counted")
                connection.getresponse()
                return
            except OSError:
                time.sleep(0.1)
    raise TimeoutError(f"nothing answers at port {port}")
