"""`manage.py poll_devices` against 10,000 simulated devices, each a gateway of its own.

This process stays small, without Django: Linux counts what the parent occupies into the peak memory of its children.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from bench.databases import POLL_WORKERS
from bench.simulated import simulator
from bench.table import Row, is_quick, show

LATENCY = 0.15
FEW_THREADS = 16
"""About where bare requests are fastest on two cores."""


@dataclass(frozen=True)
class Poll:
    seconds: float
    megabytes: float
    stored: int


def main() -> None:
    count, sample, rounds = (2000, 15, 1) if is_quick() else (10_000, 30, 2)
    with simulator(count, LATENCY) as address:
        template = seconds("template_loop", address, count, sample) / sample
        slow = poll(count)
    fast, few, many = [], [], []
    with simulator(count, 0.0, int(address.rpartition(":")[2])):
        for _ in range(rounds):
            few.append(seconds("bare_requests", address, count, FEW_THREADS))
            fast.append(poll(count))
            many.append(seconds("bare_requests", address, count, POLL_WORKERS))
    database = "SQLite" if os.environ["DATABASE_URL"].startswith("sqlite") else "PostgreSQL"
    title = f"Polling, {database}, {count:,} gateways, {fast[0].stored:,} values stored in each poll"
    ours = min(one.seconds for one in fast)
    show(
        title,
        [
            *with_latency(count, sample, template, slow.seconds),
            *without(count, ours, min(few), min(many)),
            memory(max(one.megabytes for one in (slow, *fast))),
        ],
    )


def with_latency(count: int, sample: int, template: float, ours: float) -> list[Row]:
    times = template * count / ours
    return [
        Row(f"150 ms: the template's loop, {sample} devices", f"{1 / template:,.1f} devices/s"),
        Row("150 ms: `poll_devices`", f"{count / ours:,.0f} devices/s", f"{times:,.0f} x", ">= 300 x", times >= 300),
    ]


def without(count: int, ours: float, few: float, many: float) -> list[Row]:
    share = min(few, many) / ours
    return [
        Row(f"0 ms: bare requests, {FEW_THREADS} threads, nothing stored", f"{count / few:,.0f} devices/s"),
        Row(f"0 ms: bare requests, {POLL_WORKERS} threads, nothing stored", f"{count / many:,.0f} devices/s"),
        Row("0 ms: `poll_devices`", f"{count / ours:,.0f} devices/s", f"{share:.0%} of the faster", ">= 60%", share >= 0.6),
    ]


def memory(megabytes: float) -> Row:
    return Row("peak memory of `poll_devices`", f"{megabytes:.0f} MB", target="< 200 MB", met=megabytes < 200)


def poll(count: int) -> Poll:
    """The whole process, from start to end."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "manage.py", "poll_devices", "--json"], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as told:
        summary = json.load(told)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0 and summary["gateways"] == count and not summary["failed"], summary
    megabytes = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes elsewhere
    return Poll(took, megabytes, summary["stored"])


def seconds(module: str, *arguments: object) -> float:
    """What one of the programs next to this one measured."""
    command = [sys.executable, "-m", f"bench.{module}", *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
