"""Prove that workers, beats, the broker and the database may die at any moment.

`python -m` this, for how many seconds, on the database of DATABASE_URL and the broker of
CELERY_BROKER_URL, both of which it starts and stops itself: see `torment_workers`.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings

from tests.soak.servers import OwnPostgreSQL, OwnRabbitMQ
from tests.waiting import wait_until

WORKERS, BEATS = 4, 2
SLOT_MINUTES = "0.1"
ORDER_SECONDS = 0.3
"""Between two clicks."""
BROKER_AWAY_SECONDS, DATABASE_AWAY_SECONDS = 8, 5
PLUGS = 4
HOMES = [520, 20, 20, 20, 20, 20]
PATIENCE_SECONDS = 120


@dataclass
class Torment:
    """What was done and what came of it; `faults` must be empty."""

    kills: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    alerts: dict[str, int] = field(default_factory=dict)
    """How many were opened, by what they tell of."""
    messages: int = 0
    twice: int = 0
    """Messages that arrived again, since their sender was killed before it noted them."""
    clicks_refused: int = 0
    """While the database was away: nothing was committed, and whoever clicked was told."""
    orders: str = ""
    polls: str = ""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{WORKERS} workers, {BEATS} beats, {self.kills} kills, runs {self.runs}, "
            f"alerts {self.alerts}, {self.messages} messages of them ({self.twice} sent again), "
            f"{self.clicks_refused} clicks refused while the database was away\n"
            f"{self.orders}\n{self.polls}"
        )


def torment_workers(seconds: float) -> Torment:
    """Run the proof in a process of its own, on servers of its own. Raises Missing."""
    with (
        TemporaryDirectory() as name,
        OwnPostgreSQL(Path(name)) as database,
        OwnRabbitMQ(Path(name)) as broker,
    ):
        environment = os.environ | {
            "DATABASE_URL": database.url,
            "CELERY_BROKER_URL": broker.url,
            "CELERY_QUEUE": "proof",
            "DJANGO_SETTINGS_MODULE": "iotapp.settings",
            "DEBUG": "1",
            "SECRET_KEY": settings.SECRET_KEY,
            "POLL_INTERVAL_MINUTES": SLOT_MINUTES,
            "PYTHONWARNINGS": "ignore",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.workers", str(seconds)],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            return _serve(process, {"database": database, "broker": broker})
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _serve(process: subprocess.Popen[str], servers: dict[str, Any]) -> Torment:
    """Stop and start servers as the proof asks, until it has its result."""
    assert process.stdin and process.stdout
    for line in process.stdout:
        asked, _, what = line.strip().partition(" ")
        if asked == "result":
            return Torment(**json.loads(what))
        if asked in ("stop", "start"):
            getattr(servers[what], asked)()
            process.stdin.write("done\n")
            process.stdin.flush()
    raise AssertionError(f"the proof ended without a result: {process.wait()}")


class Processes:
    """Workers and beats, one of which is killed now and then and replaced at once."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.workers = [self._worker() for _ in range(WORKERS)]
        self.beats = [self._start("beat", "--loglevel=ERROR") for _ in range(BEATS)]

    def _worker(self) -> subprocess.Popen[bytes]:
        name = f"--hostname={self.dice.randrange(10**9)}@proof"
        return self._start(
            *("worker", "--without-gossip", "--without-mingle", "--concurrency=1"),
            *(name, "--loglevel=CRITICAL"),
        )

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "iotapp", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sys.stderr,
            start_new_session=True,
        )

    def kill_one(self) -> None:
        """Kill a worker with its child, or the child alone."""
        number = self.dice.randrange(WORKERS)
        worker = self.workers[number]
        if self.dice.random() < 0.5 and (children := _children(worker.pid)):
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(children), signal.SIGKILL)
            return
        _kill(worker)
        self.workers[number] = self._worker()

    def stop(self) -> list[str]:
        """Tell all to stop. Return what did not end by itself, or not well."""
        wrong = []
        for process in [*self.beats, *self.workers]:
            process.send_signal(signal.SIGTERM)
        for process in [*self.beats, *self.workers]:
            try:
                code = process.wait(PATIENCE_SECONDS)
                # One that was about to start is ended by the signal itself.
                if code not in (0, -signal.SIGTERM):
                    wrong.append(f"{process.args!r} ended with {code}")
            except subprocess.TimeoutExpired:
                wrong.append(f"{process.args!r} did not stop")
        return wrong

    def kill(self) -> None:
        for process in [*self.beats, *self.workers]:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _children(pid: int) -> list[int]:
    said = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in said.read_text().split()]
    return []


def main(seconds: float) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    print("result", json.dumps(asdict(_prove(seconds))), flush=True)


def _prove(seconds: float) -> Torment:
    from django.db import connection

    from core.models import Attribute, DeviceCommand, Gateway, Run
    from core.tasks import gateways
    from tests.core.tasks.alerts.receivers import hook_server
    from tests.soak import polling, sending
    from tests.soak.worker_alerts import check_alerts

    dice, torment, said = random.Random(1), Torment(), list[int]()
    url = os.environ["DATABASE_URL"]
    with ExitStack() as open_ones:
        hook = open_ones.enter_context(hook_server())
        os.environ["ALERTS"] = f"{hook.address}/of-the-proof"  # for workers
        settings.ALERTS = [os.environ["ALERTS"]]
        homes = open_ones.enter_context(polling.Homes(HOMES))
        simulator = open_ones.enter_context(sending.WatchedSimulator(PLUGS))
        for home in range(len(HOMES)):
            gateways.add("home_assistant", homes.address(home), "a token")
        for plug in simulator.plugs:
            [pk] = gateways.add("shelly", simulator.address(plug.number)).new
            simulator.switches[plug.number] = Attribute.objects.get(device=pk, name="on").pk
        switches = list(simulator.switches.values())
        processes = Processes(dice)
        open_ones.callback(processes.kill)
        ending = threading.Event()
        people = [
            threading.Thread(target=_click, args=(switches, ending, said, torment)),
            threading.Thread(target=_move, args=(homes, ending)),
        ]
        for each in people:
            each.start()
        try:
            _torment(processes, seconds, torment)
        finally:
            ending.set()
            for each in people:
                each.join()
        connection.close()  # it broke with the database
        # What is left they do by themselves: a run that ends shows that they are well.
        done = Run.objects.filter(outcome="done", task="poll")
        before = done.count()
        try:
            wait_until(lambda: done.count() >= before + 2, PATIENCE_SECONDS)
        except AssertionError:
            torment.faults.append("after it all no slot was polled any more")
        torment.faults += processes.stop()
        orders, polls = sending.Orders(), polling.Polls()
        sending.finish(url, orders)
        sending.check_orders(simulator, said, orders)
        polling.check_rows(polls, homes)
        check_alerts(torment, lambda: Counter(str(body["id"]) for body in hook.bodies))
        torment.runs = dict(Counter(Run.objects.values_list("outcome", flat=True)))
        orders.kills = polls.kills = torment.kills
        torment.orders, torment.polls = str(orders), str(polls)
        torment.faults += orders.faults + polls.faults
        if DeviceCommand.objects.open().exists():
            torment.faults.append("orders are open")
        if Gateway.objects.exclude(claimed_until=None).exists():
            torment.faults.append("a gateway is still claimed")
        if not done.count():
            torment.faults.append("no run came to its end")
    return torment


def _torment(processes: Processes, seconds: float, torment: Torment) -> None:
    """Kill a worker each second; at a third the broker goes, at two thirds the database."""
    started_at = time.monotonic()
    outages = [
        (seconds / 3, "broker", BROKER_AWAY_SECONDS),
        (2 * seconds / 3, "database", DATABASE_AWAY_SECONDS),
    ]
    while (passed := time.monotonic() - started_at) < seconds:
        if outages and passed > outages[0][0]:
            _, server, away = outages.pop(0)
            _ask("stop", server)
            time.sleep(away)
            _ask("start", server)
        processes.kill_one()
        torment.kills += 1
        time.sleep(1)


def _ask(what: str, server: str) -> None:
    print(what, server, flush=True)
    if sys.stdin.readline().strip() != "done":
        raise AssertionError("who runs the servers is gone")


def _click(switches: list[int], ending: threading.Event, said: list[int], torment: Torment) -> None:
    """Order as the pages do: commit, hand to a worker, and send here if no broker answers."""
    from django.db import InterfaceError, OperationalError, connection

    from core.models import DeviceCommand
    from core.readings import Source
    from core.tasks.orders import send
    from core.tasks.orders.at_once import send_at_once
    from tests.soak.order_and_send import NEVER, SAME_AGAIN

    dice = random.Random(2)
    while not ending.wait(ORDER_SECONDS):
        switch = dice.choice(switches)
        try:
            before = DeviceCommand.objects.filter(attribute=switch).order_by("pk").last()
            value = bool(before and before.number) == (dice.random() < SAME_AGAIN)
            command = send.order(
                switch, value, source=Source.HUMAN, reason="a proof", expires_in=NEVER
            )
            said.append(command.pk)
            send_at_once([command.pk])
        except (InterfaceError, OperationalError):
            connection.close()
            torment.clicks_refused += 1
    connection.close()


def _move(homes: Any, ending: threading.Event) -> None:
    dice = random.Random(3)
    while not ending.wait(0.5):
        homes.move(dice.randrange(len(homes.sizes)))


if __name__ == "__main__":
    main(float(sys.argv[1]))
