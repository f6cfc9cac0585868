"""From the commit in one process to browsers over sockets of another: how long, how many bytes, how much processor and memory."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import quantiles

import psutil

from bench.table import Row, is_quick, show

EVENTS = 60
PAUSE_SECONDS = 0.3
"""Longer than 3,000 deliveries take, or each event would wait for the one before it."""


@dataclass(frozen=True)
class Measured:
    sockets: int
    latencies: list[float]
    bytes: float
    processor: float
    memory: float

    def row(self) -> Row:
        cuts = quantiles(self.latencies, n=100)
        target = self.sockets == 1000
        return Row(
            f"{self.sockets:,} sockets: p50, p99, longest",
            f"{1000 * cuts[49]:.1f}, {1000 * cuts[98]:.1f}, {1000 * max(self.latencies):.1f} ms",
            f"{1e6 * self.processor:.0f} us and {self.bytes:.0f} B a delivery, {self.memory / 1024:.0f} KiB a socket",
            "p99 < 60 ms" if target else "",
            cuts[98] < 0.06 if target else None,
        )


def main() -> None:
    database = "PostgreSQL" if os.environ["DATABASE_URL"].startswith("postgres") else "SQLite"
    with serving() as (port, worker):
        measure(port, worker, 10)  # what happens once
        rows = [measure(port, worker, count).row() for count in ((100,) if is_quick() else (100, 1000, 3000))]
    show(f"Live, {database}: {EVENTS} commits, one each {1000 * PAUSE_SECONDS:.0f} ms, one web process", rows)


@contextmanager
def serving() -> Iterator[tuple[int, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--workers", "1", "--log-level", "warning", "--bind", f"127.0.0.1:{port}"]
    environ = os.environ | {"SOCKETS_A_PROCESS": "5000", "SECURE_SSL_REDIRECT": "0"}
    with subprocess.Popen([*command, "iotapp.asgi"], env=environ) as server:
        try:
            await_answer(port)
            yield port, psutil.Process(server.pid).children()[0]
        finally:
            server.terminate()


def await_answer(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with closing(HTTPConnection("localhost", port, timeout=5)) as connection:
            try:
                connection.request("GET", "/healthz")
                connection.getresponse()
                return
            except OSError:
                time.sleep(0.1)
    raise TimeoutError(f"nothing answers at port {port}")


def measure(port: int, worker: psutil.Process, count: int) -> Measured:
    before, wanted = worker.memory_info().rss, newest(port) + EVENTS
    command = [sys.executable, "-m", "bench.followers", str(port), str(count), str(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as followers:
        assert followers.stdout and followers.stdout.readline() == "ready\n"
        memory, began = worker.memory_info().rss - before, sum(worker.cpu_times()[:2])
        writer = [sys.executable, "-m", "bench.happen", str(EVENTS), str(PAUSE_SECONDS)]
        written = subprocess.run(writer, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
        told = json.loads(followers.stdout.readline())
    processor = sum(worker.cpu_times()[:2]) - began
    committed = {pk: float(moment) for pk, moment in map(str.split, written)}
    latencies = [moment - committed[pk] for pk, moments in told["came"].items() for moment in moments]
    assert len(latencies) == count * EVENTS, (len(latencies), count * EVENTS)
    deliveries = len(latencies)
    return Measured(count, latencies, told["bytes"] / deliveries, processor / deliveries, memory / count)


def newest(port: int) -> int:
    """The id of the newest event, as the database has it."""
    program = "from core.models import Event; print(Event.objects.values_list('pk', flat=True).last() or 0)"
    shell = [sys.executable, "manage.py", "shell", "-v0", "-c", program]
    return int(subprocess.run(shell, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
