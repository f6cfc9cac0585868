"""Measures from a commit in one process to sockets of another: latency, bytes, CPU and memory.

Next to it, in the same run and served by the same gunicorn: a JSON endpoint that is polled each
second, and Channels' group_send over Redis. An update is one message: what one device told at one
poll, four values of it.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median, quantiles

from bench import group_send, pollers
from bench.serving import Web, serving
from bench.table import Row, is_quick, show

OURS, GROUP = "/ws/events/", "/ws/group/"
VALUES = 4
"""Of a message; as in bench/happen.py."""
POLL_SECONDS = 2 if is_quick() else 6


@dataclass(frozen=True)
class Scene:
    """So many commits, with a pause longer than their deliveries take: none waits for another."""

    path: str
    sockets: int
    commits: int
    pause_seconds: float


SCENES = [Scene(OURS, 100, 30, 0.2), Scene(OURS, 1000, 60, 0.2), Scene(OURS, 3000, 25, 0.3)]


@dataclass(frozen=True)
class Live:
    scene: Scene
    latencies: list[float]
    bytes: float
    processor: float
    """Seconds a delivery."""
    memory: float
    queries: float
    texts: float

    @property
    def p99(self) -> float:
        return quantiles(self.latencies, n=100)[98]


@dataclass(frozen=True)
class Polled:
    clients: int
    waits: list[float]
    up: float
    down: float
    processor: float

    @property
    def bytes(self) -> float:
        return self.up + self.down


def main() -> None:
    database = "PostgreSQL" if os.environ["DATABASE_URL"].startswith("postgres") else "SQLite"
    sockets = 100 if is_quick() else 1000
    with serving() as web:
        poll(web, 10, 1)  # what happens once
        polled = [poll(web, clients, POLL_SECONDS) for clients in sorted({100, sockets})]
    group = by_group(sockets)
    with serving() as web:
        follow(web, Scene(OURS, 10, 10, 0.1), web.memory)
        base = web.memory
        scenes = [Scene(OURS, 100, 10, 0.2)] if is_quick() else SCENES
        ours = [follow(web, scene, base) for scene in scenes]
    [it] = [one for one in ours if one.scene.sockets == sockets]
    rows = [
        *map(row_of_scene, ours),
        row_of_log(it),
        *rows_of_group(it, group),
        *rows_of_poll(it, polled),
    ]
    show(f"Live, {database}: commit to browser, one web process", rows)


def by_group(sockets: int) -> Live | None:
    if not group_send.is_possible():
        print("\ngroup_send is left out: no Redis answers at BENCH_REDIS_URL")
        return None
    with serving() as web:
        follow(web, Scene(GROUP, 10, 10, 0.1), web.memory)
        return follow(web, Scene(GROUP, sockets, 5 if is_quick() else 25, 0.5), web.memory)


def follow(web: Web, scene: Scene, base: int) -> Live:
    """`base` is the memory of the process before its first sockets."""
    wanted = scene.commits + (newest() if scene.path == OURS else 0)
    given = [str(web.port), scene.path, str(scene.sockets), str(wanted)]
    with subprocess.Popen(
        program("followers", *given), stdout=subprocess.PIPE, text=True
    ) as followers:
        assert followers.stdout and followers.stdout.readline() == "ready\n"
        memory, before, began = web.memory - base, web.counted(), web.processor_seconds
        happen = program(
            "happen",
            str(scene.commits),
            str(scene.pause_seconds),
            *["group"] * (scene.path == GROUP),
        )
        written = subprocess.run(
            happen, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.splitlines()
        told = json.loads(followers.stdout.readline())
    processor, after = web.processor_seconds - began, web.counted()
    committed = {pk: float(moment) for pk, moment in map(str.split, written)}
    latencies = [
        moment - committed[pk] for pk, moments in told["came"].items() for moment in moments
    ]
    count = len(latencies)
    assert count == scene.sockets * scene.commits, (count, scene)
    looked, wrote = (
        (after.get(name, 0) - before.get(name, 0)) / scene.commits for name in ("queries", "texts")
    )
    return Live(
        scene,
        latencies,
        told["bytes"] / count,
        processor / count,
        memory / scene.sockets,
        looked,
        wrote,
    )


def poll(web: Web, clients: int, seconds: int) -> Polled:
    began = web.processor_seconds
    polled = subprocess.run(
        program("pollers", str(web.port), str(clients), str(seconds)),
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(polled.stdout)
    count = len(told["waits"])
    return Polled(
        clients,
        told["waits"],
        told["up"] / count,
        told["down"] / count,
        (web.processor_seconds - began) / count,
    )


def program(name: str, *given: str) -> list[str]:
    return [sys.executable, "-m", f"bench.{name}", *given]


def newest() -> int:
    """The id of the newest event, as the database has it."""
    code = (
        "from core.models import Event; "
        "print(Event.objects.values_list('pk', flat=True).last() or 0)"
    )
    shell = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    return int(subprocess.run(shell, stdout=subprocess.PIPE, text=True, check=True).stdout)


def row_of_scene(live: Live) -> Row:
    target = live.scene.sockets == 1000 and live.scene.path == OURS
    by = " by group_send" if live.scene.path == GROUP else ""
    middle, longest = milliseconds(median(live.latencies)), milliseconds(max(live.latencies))
    return Row(
        f"{live.scene.sockets:,} sockets{by}: p50, p99, longest",
        f"{middle}, {milliseconds(live.p99)}, {longest} ms",
        f"{1e6 * live.processor:.0f} us of CPU a delivery, {live.memory / 1024:.0f} KiB a socket",
        "p99 < 60 ms" if target else "",
        live.p99 < 0.06 if target else None,
    )


def row_of_log(live: Live) -> Row:
    measured = f"{live.queries:.2f} queries, {live.texts:.2f} serialisations"
    return Row(
        "an event, for all readers", measured, "", "1 and 1", live.queries <= 1 and live.texts <= 1
    )


def rows_of_group(live: Live, group: Live | None) -> list[Row]:
    if group is None:
        return []
    less = group.processor / live.processor
    pair = f"{1e6 * live.processor:.0f} and {1e6 * group.processor:.0f} us"
    return [
        row_of_scene(group),
        Row(
            "CPU of a delivery, here and by group_send",
            pair,
            f"1/{less:.1f}",
            "<= 1/10",
            less >= 10,
        ),
    ]


def rows_of_poll(live: Live, polled: list[Polled]) -> list[Row]:
    """The ratios are to polls by few, which are cheaper than those that wait for each other."""
    rows, few = [row_of_polls(one) for one in polled], polled[0]
    share = few.processor / live.processor
    pair = f"{1e6 * live.processor:.0f} and {1e6 * few.processor:.0f} us"
    rows += [
        Row(
            "CPU of an update and of an empty poll",
            pair,
            f"1/{share:.0f}",
            "<= 1/100",
            share >= 100,
        )
    ]
    less = few.bytes / live.bytes
    what, pair = (
        f"bytes of an update of {VALUES} values and of an empty poll",
        f"{live.bytes:.0f} and {few.bytes:.0f} B",
    )
    rows += [Row(what, pair, f"1/{less:.1f}", "<= 1/7", less >= 7)]
    shortest = few.down + len(pollers.SHORTEST.format(port=8000)) + 2
    pair = f"{live.bytes:.0f} and {shortest:.0f} B"
    return [
        *rows,
        Row(
            "the same, of the shortest request that a program can poll with",
            pair,
            f"1/{shortest / live.bytes:.1f}",
        ),
    ]


def row_of_polls(polled: Polled) -> Row:
    p99 = quantiles(polled.waits, n=100)[98]
    waits = f"{milliseconds(median(polled.waits))}, {milliseconds(p99)} ms"
    cost = (
        f"{1e6 * polled.processor:.0f} us of CPU a poll, "
        f"{polled.up:.0f} B of request, {polled.down:.0f} B of answer"
    )
    answered = f"{len(polled.waits) / POLL_SECONDS:,.0f} answered a second"
    return Row(
        f"{polled.clients:,} clients poll each second: p50, p99", f"{waits}; {answered}", cost
    )


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


if __name__ == "__main__":
    main()
