"""What devices tell by themselves: from the order that switches one to its value in the database,
and to a page's socket, with `manage.py listen_devices` holding 500 connections.

The beginning is before the order goes to the device by HTTP: the way there is part of each latency.
"""

import json
import os
import subprocess
import sys
import threading
import time
from statistics import median, quantiles

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

import psutil
import requests
from django.db.models.functions import Now
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from bench.serving import Web, serving
from bench.simulated import simulator
from bench.table import Row, is_quick, show
from core.models import Device, Event, Gateway
from core.models.event import EventKind
from core.tasks import gateways

PAUSE_SECONDS = 0.05
Came = dict[int, list[float]]
"""By device: when events about its readings came."""


def main() -> None:
    count, rounds = (40, 1) if is_quick() else (500, 2)
    database = "PostgreSQL" if os.environ["DATABASE_URL"].startswith("postgres") else "SQLite"
    with simulator(count, 0.0) as address, serving() as web:
        switches = add(address, count)
        command = [sys.executable, "manage.py", "listen_devices"]
        began = time.monotonic()
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            until(lambda: Gateway.objects.filter(listened_until__gt=Now()).count() == count)
            opened = time.monotonic() - began
            listener = psutil.Process(process.pid)
            processor = sum(listener.cpu_times()[:2])
            stored, shown = measure(web, switches, rounds)
            processor = sum(listener.cpu_times()[:2]) - processor
            memory = listener.memory_info().rss / 1e6
            began = time.monotonic()
            process.terminate()
            process.wait()
            ended = time.monotonic() - began
    p99 = quantiles(shown, n=100)[98]
    show(
        f"Listening, {database}: {count} simulated gateways, {len(shown):,} presses",
        [
            Row("device to stored: p50, p99, longest", spread(stored)),
            Row("device to page: p50, p99, longest", spread(shown), "", "p99 < 1 s", p99 < 1),
            Row("processor time of the listener a press", f"{1e3 * processor / len(shown):.1f} ms"),
            Row("memory of the listener", f"{memory:.0f} MB"),
            Row("from its start until all are listened to", f"{opened:.1f} s"),
            Row("its end after SIGTERM", f"{ended:.1f} s", "", "< 10 s", ended < 10),
        ],
    )


def add(address: str, count: int) -> dict[int, str]:
    """Add all devices as gateways. Return the addresses of those that can be switched, by key."""
    found = {}
    for number in range(count):
        [pk] = gateways.add("shelly", f"{address}/{number}").new
        if Device.objects.get(pk=pk).attributes.filter(name="on").exists():
            found[pk] = f"{address}/{number}/rpc"
    return found


def measure(web: Web, switches: dict[int, str], rounds: int) -> tuple[list[float], list[float]]:
    """Press each switch some times, and return the latencies to the database and to a socket."""
    stored: Came = {}
    shown: Came = {}
    pressed: list[tuple[int, float]] = []
    stopping, ready = threading.Event(), threading.Event()
    readers = [
        threading.Thread(target=watch_database, args=(stored, stopping)),
        threading.Thread(target=follow, args=(web.port, shown, stopping, ready)),
    ]
    for reader in readers:
        reader.start()
    ready.wait()
    session = requests.Session()
    for number in range(rounds):
        for device, address in switches.items():
            params = {"id": 0, "on": number % 2 == 0}
            pressed.append((device, time.monotonic()))
            frame = {"id": 1, "method": "Switch.Set", "params": params}
            session.post(address, json=frame).raise_for_status()
            time.sleep(PAUSE_SECONDS)
    time.sleep(2)
    stopping.set()
    for reader in readers:
        reader.join()
    return latencies(pressed, stored), latencies(pressed, shown)


def latencies(pressed: list[tuple[int, float]], came: Came) -> list[float]:
    """Fails where a press never came."""
    return [min(at for at in came[device] if at > moment) - moment for device, moment in pressed]


def watch_database(came: Came, stopping: threading.Event) -> None:
    """Look for new events each 2 ms."""
    last = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    while not stopping.wait(0.002):
        rows = list(Event.objects.after(last).values_list("pk", "kind", "device"))
        now = time.monotonic()
        for pk, kind, device in rows:
            last = pk
            if kind == EventKind.READINGS:
                came.setdefault(device, []).append(now)


def follow(port: int, came: Came, stopping: threading.Event, ready: threading.Event) -> None:
    """Hear what a page hears."""
    site = f"localhost:{port}"
    with connect(f"ws://{site}/ws/events/", origin=f"http://{site}", compression=None) as socket:
        while not stopping.is_set():
            try:
                said = json.loads(socket.recv(timeout=0.2))
            except TimeoutError:
                continue
            except ConnectionClosed:
                return
            now = time.monotonic()
            if isinstance(said, list):
                for event in said:
                    if event["kind"] == EventKind.READINGS:
                        came.setdefault(event["device"], []).append(now)
            elif "hello" in said:
                socket.send(json.dumps({"subscribe": {"to": "all"}}))
                socket.send(json.dumps({"resume": {"after": said["hello"]["last"]}}))
                ready.set()
            elif "ping" in said:
                socket.send(json.dumps({"pong": {}}))


def until(condition) -> None:
    ends_at = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def spread(seconds: list[float]) -> str:
    p99 = quantiles(seconds, n=100)[98]
    return ", ".join(f"{1e3 * one:.0f}" for one in (median(seconds), p99, max(seconds))) + " ms"


if __name__ == "__main__":
    main()
