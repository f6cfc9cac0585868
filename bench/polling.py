"""`manage.py poll_devices` against 10,000 simulated devices, each a gateway of its own.

This process stays small, without Django: Linux counts what the parent occupies into the peak memory
of its children.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulated import simulator
from bench.table import Row, is_quick, show

LATENCY = 0.15
THREADS = 16
"""With which bare requests are fastest on two cores."""


@dataclass(frozen=True)
class Run:
    """One process: what it printed, how long it took from start to end, the processor time and the
    most memory it used."""

    said: str
    seconds: float
    cpu_seconds: float
    megabytes: float


@dataclass(frozen=True)
class Poll(Run):
    stored: int


def main() -> None:
    count, sample, rounds = (2000, 15, 1) if is_quick() else (10_000, 30, 2)
    with simulator(count, LATENCY) as address:
        template = float(program("template_loop", address, count, sample).said) / sample
        slow = [poll(count) for _ in range(rounds)]
    bare, fast = [], []
    with simulator(count, 0.0, int(address.rpartition(":")[2])):
        for _ in range(rounds):
            bare.append(program("bare_requests", address, count, THREADS))
            fast.append(poll(count))
    database = "SQLite" if os.environ["DATABASE_URL"].startswith("sqlite") else "PostgreSQL"
    stored = f"{fast[0].stored:,} values stored each time"
    show(
        f"Polling, {database}, {count:,} gateways, {stored}: best of {rounds}",
        [
            *with_latency(count, sample, template, best(slow)),
            *without(count, best(bare), best(fast)),
            processor_time(count, bare, fast),
            memory(max(one.megabytes for one in (*slow, *fast))),
        ],
    )


def best(runs: Sequence[Run]) -> float:
    return min(run.seconds for run in runs)


def with_latency(count: int, sample: int, template: float, ours: float) -> list[Row]:
    times = template * count / ours
    return [
        Row(f"150 ms: the template's loop, {sample} devices", f"{1 / template:,.1f} devices/s"),
        Row(
            "150 ms: `poll_devices`",
            f"{count / ours:,.0f} devices/s",
            f"{times:,.0f} x",
        ),
    ]


def without(count: int, bare: float, ours: float) -> list[Row]:
    share = bare / ours
    return [
        Row(
            f"0 ms: bare requests in {THREADS} threads, nothing stored",
            f"{count / bare:,.0f} devices/s",
        ),
        Row(
            "0 ms: `poll_devices`",
            f"{count / ours:,.0f} devices/s",
            f"{share:.0%} of bare",
            ">= 60%",
            share >= 0.6,
        ),
    ]


def processor_time(count: int, bare: Sequence[Run], ours: Sequence[Run]) -> Row:
    """Of the polling process alone: what the database's server does is not in it."""
    least = min(run.cpu_seconds for run in bare)
    used = min(run.cpu_seconds for run in ours)
    return Row(
        "0 ms: processor time of `poll_devices`",
        f"{1e6 * used / count:,.0f} us a device, bare {1e6 * least / count:,.0f}",
        f"{used / least:.2f} of bare",
        "<= 1.3",
        used <= 1.3 * least,
    )


def memory(megabytes: float) -> Row:
    return Row(
        "peak memory of `poll_devices`",
        f"{megabytes:.0f} MB",
        target="< 200 MB",
        met=megabytes < 200,
    )


def poll(count: int) -> Poll:
    run = finished([sys.executable, "manage.py", "poll_devices", "--json"])
    summary = json.loads(run.said)
    assert summary["gateways"] == count and not summary["failed"], summary
    return Poll(run.said, run.seconds, run.cpu_seconds, run.megabytes, summary["stored"])


def program(module: str, *arguments: object) -> Run:
    """One of the programs next to this one."""
    return finished([sys.executable, "-m", f"bench.{module}", *map(str, arguments)])


def finished(command: list[str]) -> Run:
    """The whole process, from start to end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout as told:
        said = told.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    megabyte = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return Run(said, took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / megabyte)


if __name__ == "__main__":
    main()
