"""Proof: however clients follow, fast, slow or coming and going, and however servers die, every
client ends with exactly what the database holds. Eight writers commit and roll back; real gunicorn
processes are killed and started again; real sockets."""

import json
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import connect

from core.models import Device, Event, Gateway
from core.models.event import EventKind
from core.tasks.events.outbox import publishing
from tests.core.live.web_server import Web
from tests.soak.events import DEVICES
from tests.soak.kills import start

RESTART_EVERY = (2.0, 6.0)
LAST_SECONDS = 90
"""How long clients have to catch up after the last commit."""


@dataclass
class Manner:
    """How a client follows: seconds it dawdles over a message at most, and seconds after which it
    goes away at random."""

    name: str
    dawdles: float = 0.0
    leaves_after: float = 0.0


MANNERS = (
    Manner("steady"),
    Manner("steady"),
    Manner("coming and going", leaves_after=1.0),
    Manner("coming and going", leaves_after=0.2),
    Manner("slow", dawdles=0.3),
    Manner("slow and coming and going", dawdles=0.1, leaves_after=2.0),
)


@dataclass
class Following:
    """What came of it; all but the first block must be zero or empty."""

    clients: int = 0
    events: int = 0
    delivered: int = 0
    restarts: int = 0
    connections: int = 0
    dropped: int = 0
    started_over: int = 0
    seconds: float = 0.0

    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    other_than_stored: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"following: {self.clients} clients of 2 servers, {self.events:,} events by 8 "
            f"writers, {self.delivered:,} delivered "
            f"over {self.connections} connections in {self.seconds:.0f} s; {self.restarts} "
            "servers killed or stopped, "
            f"{self.dropped} slow clients dropped, {self.started_over} started over: {self.lost} "
            f"lost, {self.twice} twice, "
            f"{self.out_of_order} out of order, {self.other_than_stored} devices other than "
            f"stored; {len(self.wrong)} wrong"
        )

    @property
    def faults(self) -> list[str]:
        counted = ("lost", "twice", "out_of_order", "other_than_stored")
        return [
            f"{name}: {getattr(self, name)}" for name in counted if getattr(self, name)
        ] + self.wrong


class Follower(threading.Thread):
    """A client that comes again whenever it was cut off, and resumes from the last event it was
    told."""

    def __init__(self, manner: Manner, sites: list[str], seed: int) -> None:
        super().__init__(daemon=True)
        self.manner, self.sites, self.dice = manner, sites, random.Random(seed)
        self.keys: list[int] = []
        """Of the events told since it last started over."""
        self.names: dict[int, str] = {}
        self.last: int | None = None
        self.connections = self.dropped = self.started_over = self.delivered = 0
        self.is_hurried = threading.Event()
        self.is_over = threading.Event()
        self.error = ""

    def run(self) -> None:
        while not self.is_over.is_set():
            try:
                self._follow(self.dice.choice(self.sites))
            except ConnectionClosed as closed:
                self.dropped += bool(closed.rcvd and closed.rcvd.code == 4413)
            except (OSError, InvalidHandshake, TimeoutError):
                pass
            except Exception as error:  # told at the end: a thread's own is lost
                self.error = f"{self.manner.name}: {type(error).__name__}: {error}"
                return
            time.sleep(self.dice.uniform(0, 0.2))

    def _follow(self, site: str) -> None:
        leaves_at = (
            time.monotonic() + self.dice.expovariate(1 / self.manner.leaves_after)
            if self.manner.leaves_after
            else None
        )
        with connect(
            f"ws{site[4:]}/ws/events/", origin=site, compression=None, proxy=None, open_timeout=5
        ) as socket:
            self.connections += 1
            while not self.is_over.is_set():
                with suppress(TimeoutError):
                    self._take(
                        json.loads(socket.recv(0.5)),
                        lambda **message: socket.send(json.dumps(message)),
                    )
                if self.is_hurried.is_set():
                    continue
                time.sleep(self.dice.uniform(0, self.manner.dawdles))
                if leaves_at and time.monotonic() > leaves_at:
                    return

    def _take(self, message: Any, say: Callable[..., object]) -> None:
        if isinstance(message, list):
            for event in message:
                self._take_event(event)
        elif "hello" in message:
            say(subscribe={"to": "all"})
            say(**({"snapshot": {}} if self.last is None else {"resume": {"after": self.last}}))
        elif "snapshot" in message:
            self._take_page(message["snapshot"])
        elif "ping" in message:
            say(pong={})
        elif "over" in message:
            self.started_over += 1
            say(snapshot={})
        elif "error" in message:
            raise ValueError(message["error"])

    def _take_page(self, page: dict[str, Any]) -> None:
        self.names.update({device["id"]: device["name"] for device in page["devices"]})
        if page["page"] == page["pages"]:
            self.last, self.keys = page["last"], []

    def _take_event(self, event: dict[str, Any]) -> None:
        self.delivered += 1
        self.keys.append(event["id"])
        self.last = event["id"]
        if event["kind"] == EventKind.DEVICE:
            self.names[event["device"]] = event["body"]["name"]


def follow_through_everything(
    events: int, database_url: str, seed: int = 1, writers: int = 8
) -> Following:
    """Let writers commit so many events while clients follow two servers that are killed again and
    again."""
    following, dice = Following(clients=len(MANNERS)), random.Random(seed)
    with publishing():
        gateway = Gateway.objects.create(
            vendor="shelly", name="A proof", address="http://127.0.0.1:1"
        )
    Device.objects.bulk_create(
        Device(gateway=gateway, vendor_id=f"{number}", name="0") for number in range(DEVICES)
    )
    webs = [Web(database_url, SOCKET_HEARTBEAT_SECONDS="2") for _ in range(2)]
    for web in webs:
        web.start()
    began, first = (
        time.monotonic(),
        Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0,
    )
    followers = [
        Follower(manner, [web.site for web in webs], place) for place, manner in enumerate(MANNERS)
    ]
    try:
        for follower in followers:
            follower.start()
        _until(lambda: all(follower.last is not None for follower in followers), 30)
        commands = [
            ("-m", "tests.soak.events", f"{place}", f"{dice.random()}", f"{events // writers}")
            for place in range(writers)
        ]
        processes = [start(command, database_url) for command in commands]
        while any(process.poll() is None for process in processes):
            time.sleep(dice.uniform(*RESTART_EVERY))
            _restart(dice.choice(webs), dice)
            following.restarts += 1
        following.wrong += [
            said[-500:]
            for said, process in [(one.communicate()[0], one) for one in processes]
            if process.returncode
        ]
        last = Event.objects.order_by("-pk").values_list("pk", flat=True).first()
        for follower in followers:
            follower.is_hurried.set()
        _until(
            lambda: all(follower.last == last or follower.error for follower in followers),
            LAST_SECONDS,
        )
    finally:
        for follower in followers:
            follower.is_over.set()
        for follower in followers:
            follower.join(10)
        for web in webs:
            web.end()
    following.seconds = time.monotonic() - began
    _check(followers, first, following)
    return following


def _restart(web: Web, dice: random.Random) -> None:
    if dice.random() < 0.5:
        web.kill()
    else:
        web.stop()
    web.start()


def _until(is_so: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.05)


def _check(followers: list[Follower], first: int, following: Following) -> None:
    stored = list(Event.objects.after(first).values_list("pk", flat=True))
    names = dict(Device.objects.values_list("pk", "name"))
    following.events = len(stored)
    for follower in followers:
        following.wrong += [follower.error] if follower.error else []
        following.delivered += follower.delivered
        following.connections += follower.connections
        following.dropped += follower.dropped
        following.started_over += follower.started_over
        keys = follower.keys
        since = keys[0] if keys else 0
        expected = [pk for pk in stored if pk >= since] if follower.started_over else stored
        following.lost += (
            len(set(expected) - set(keys)) if keys else len(expected) * (not follower.started_over)
        )
        following.twice += len(keys) - len(set(keys))
        following.out_of_order += sum(
            later < earlier for earlier, later in zip(keys, keys[1:], strict=False)
        )
        following.other_than_stored += sum(
            follower.names.get(pk) != name for pk, name in names.items()
        )
