"""Celery's workers against `poll_devices`: 10,000 gateways at 150 ms, with 1, 2 and 4 workers of
one process each; and what a device costs with 1,000, 10,000 and 100,000 of them.

Needs RabbitMQ at BENCH_RABBITMQ_URL (amqp://guest:guest@127.0.0.1:5672//).
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import psycopg
from amqp.exceptions import ChannelError
from kombu import Connection, Queue

from bench.polling import LATENCY, Poll, poll, program
from bench.simulated import simulator
from bench.table import Row, is_quick, show

BROKER = os.environ.get("BENCH_RABBITMQ_URL") or "amqp://guest:guest@127.0.0.1:5672//"
LONGEST_SECONDS = 300
MOST_SIMULATED = 10_000
"""Devices of one simulator."""
GAIN = 1.6
"""Of two processes over one, where nothing else is the limit."""


def main() -> None:
    quick = is_quick()
    count = 2_000 if quick else 10_000
    with simulator(count, LATENCY) as address:
        fill([address], count)
        command = min(poll(count).seconds for _ in range(2))
        with_workers(4, count)  # batches are as large as the runs before say
        taken = {number: min(with_workers(number, count) for _ in range(2)) for number in (1, 2, 4)}
    show(f"Workers, PostgreSQL, {count:,} gateways at 150 ms", shared(count, command, taken))

    counts = (200, 1_000, 4_000) if quick else (1_000, 10_000, 100_000)
    polls = {}
    for devices in counts:
        each = min(devices, MOST_SIMULATED)
        with ExitStack() as running:
            simulators = [simulator(each, 0.0) for _ in range(devices // each)]
            fill([running.enter_context(one) for one in simulators], each)
            polls[devices] = poll(devices)
    show("What a device costs, PostgreSQL, at 0 ms", costs(polls))


def shared(count: int, command: float, taken: dict[int, float]) -> list[Row]:
    rows = [
        Row("`poll_devices`, a whole process with its threads", f"{count / command:,.0f} devices/s")
    ]
    for number, seconds in taken.items():
        gain = taken[1] / seconds
        goal = {"target": f">= {GAIN} x", "met": gain >= GAIN} if number == 2 else {}
        rows.append(
            Row(
                f"{number} worker{'s' if number > 1 else ''}, from the message to the last batch",
                f"{count / seconds:,.0f} devices/s",
                f"{gain:.2f} of one worker",
                **goal,
            )
        )
    return rows


def costs(polls: dict[int, Poll]) -> list[Row]:
    """Next to the whole process what each device more costs: the start is paid once."""
    rows, fewer, less = list[Row](), 0, 0.0
    for devices, run in polls.items():
        more = (run.cpu_seconds - less) / (devices - fewer)
        rows.append(
            Row(
                f"{devices:,} devices: {run.seconds:.1f} s, {run.megabytes:.0f} MB",
                f"{1e6 * run.cpu_seconds / devices:,.0f} us of processor time each",
                f"{1e6 * more:,.0f} us each more" if fewer else "",
            )
        )
        fewer, less = devices, run.cpu_seconds
    return rows


def fill(addresses: Sequence[str], count: int) -> None:
    """Store so many gateways of each simulator in place of those there are, and poll once."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.execute("TRUNCATE core_gateway, core_run CASCADE")
    for address in addresses:
        program("template_loop", address, count, 0)
    poll(len(addresses) * count)


def with_workers(number: int, count: int) -> float:
    """Return the seconds of a slot, from its message to the end of the run."""
    queue = f"bench-{uuid4().hex[:12]}"
    with workers(number, queue), psycopg.connect(os.environ["DATABASE_URL"]) as database:
        database.autocommit = True
        [[newest]] = database.execute("SELECT max(id) FROM core_run").fetchall()
        began = time.perf_counter()
        send(queue)
        while not (done := ended(database, newest)):
            assert time.perf_counter() - began < LONGEST_SECONDS, "no run came to its end"
            time.sleep(0.02)
        taken = time.perf_counter() - began
    assert done == count, f"{done} of {count} gateways"
    return taken


def ended(database: psycopg.Connection, newest: int) -> int | None:
    """Return how many gateways the run after `newest` asked, once it is over."""
    found = database.execute(
        "SELECT counts->'gateways' FROM core_run "
        "WHERE id > %s AND task = 'poll' AND outcome = 'done'",
        [newest],
    ).fetchone()
    return int(found[0]) if found else None


def send(queue: str) -> None:
    from celery import Celery

    app = Celery(broker=BROKER, set_as_current=False)
    app.conf.task_default_queue = queue
    app.send_task("poll_devices", [time.time()])
    app.close()


@contextmanager
def workers(number: int, queue: str) -> Iterator[None]:
    environ = os.environ | {"CELERY_BROKER_URL": BROKER, "CELERY_QUEUE": queue}
    command = [sys.executable, "-m", "celery", "-A", "iotapp", "worker", "--loglevel=ERROR"]
    command += ["--without-gossip", "--without-mingle", "--concurrency=1"]
    processes = [
        subprocess.Popen(
            [*command, f"--hostname={uuid4().hex[:8]}@bench"],
            env=environ,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(number)
    ]
    try:
        wait_for_consumers(queue, number)
        yield
    finally:
        end(processes)
        with Connection(BROKER) as broker, broker.channel() as channel:
            for name in (queue, f"{queue}-now"):
                channel.queue_delete(name)
                channel.exchange_delete(name)


def wait_for_consumers(queue: str, number: int) -> None:
    until = time.monotonic() + 60
    with Connection(BROKER) as broker:
        while True:
            with broker.channel() as channel, suppress(ChannelError):
                found = Queue(queue)(channel).queue_declare(passive=True)
                if found.consumer_count >= number:
                    return
            assert time.monotonic() < until, "the workers did not come"
            time.sleep(0.1)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()
