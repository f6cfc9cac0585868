"""Proof: polls killed at any moment leave nothing twice, nothing half, and nobody locked out."""

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from django.conf import settings
from django.db.models.functions import Now

from core.models import Attribute, Gateway, Lease, Observation, Run
from core.models.run import Outcome
from core.tasks import gateways, runs
from core.tasks.polling.record import DEVICES_A_BATCH
from core.tasks.runs import LEASE_SECONDS
from tests.soak.kills import Assassin, let_time_pass

POLL = ("manage.py", "poll_devices")
TOO_EARLY = 8
"""After every so many kills somebody starts again at once, while the lease of the killed run still
lasts."""
MOVES = 0.6
"""How often an entity's hub has something new when a poll comes; else it offers again what it
offered before."""


class Homes:
    """Home Assistants on one port, under /0, /1 and so on. All entities of a home measure at one
    time, its latest; their values follow from that time, so that any stored value can be told from
    one that was never offered."""

    def __init__(self, sizes: list[int], slowest: float = 0.1) -> None:
        self.sizes = sizes
        self.slowest = slowest
        self.offered: list[dict[datetime, int]] = [{} for _ in sizes]
        self.asked = threading.Event()
        self.dice = random.Random(1)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        for home in range(len(sizes)):
            self.move(home)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def address(self, home: int) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{home}"

    def move(self, home: int) -> None:
        """Everything in this home measures anew."""
        self.offered[home][datetime.now(UTC)] = len(self.offered[home])

    def latest(self, home: int) -> datetime:
        return next(reversed(self.offered[home]))

    def states(self, home: int) -> list[dict[str, Any]]:
        at = self.latest(home)
        return [
            entity(home, number, self.offered[home][at], at) for number in range(self.sizes[home])
        ]

    def answer(self, path: str) -> Any:
        home, _, what = path[1:].partition("/")
        if what == "api/config":
            return {
                "location_name": f"Home {home}",
                "version": "2025.4.0",
                "unit_system": {"temperature": "°C"},
            }
        if what == "api/states":
            self.asked.set()
            time.sleep(self.dice.uniform(0, self.slowest))
            return self.states(int(home))
        raise LookupError(path)

    def _handler(homes) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    body = json.dumps(homes.answer(self.path)).encode()
                except LookupError:  # it keeps no history, for one
                    self.send_error(404)
                    return
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    self.close_connection = True  # who asked was killed

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *words: object) -> None:
                pass

        return Handler


def value(home: int, number: int, generation: int) -> float | str:
    return (
        f"word {home}.{number}.{generation}"
        if number % 3 == 2
        else float((number * 31 + generation * 17) % 1009)
    )


def entity(home: int, number: int, generation: int, at: datetime) -> dict[str, Any]:
    is_text = isinstance(value(home, number, generation), str)
    return {
        "entity_id": f"sensor.s{number}",
        "state": str(value(home, number, generation)),
        "attributes": {} if is_text else {"unit_of_measurement": "W"},
        "last_changed": at.isoformat(),
        "last_reported": at.isoformat(),
        "last_updated": at.isoformat(),
    }


@dataclass
class Polls:
    """What was done and what came of it; all but the first block must be zero."""

    kills: int = 0
    ended_by_themselves: int = 0
    sent_away: int = 0
    vanished: int = 0
    observations: int = 0
    offers_stored: int = 0

    twice: int = 0
    never_offered: int = 0
    half_stored: int = 0
    missing: int = 0
    out_of_date: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"poll_devices: {self.kills} kills ({self.vanished} within a run; "
            f"{self.ended_by_themselves} more ended before), "
            f"{self.sent_away} started too early and left; "
            f"{self.observations:,} observations of {self.offers_stored:,} answers: "
            f"{self.twice} twice, {self.never_offered} never offered, "
            f"{self.half_stored} half stored; after one clean run {self.missing} missing, "
            f"{self.out_of_date} attributes not the latest; {len(self.wrong)} runs wrong"
        )

    @property
    def faults(self) -> list[str]:
        counted = ("twice", "never_offered", "half_stored", "missing", "out_of_date")
        return [
            f"{name}: {getattr(self, name)}" for name in counted if getattr(self, name)
        ] + self.wrong


def kill_polls(kills: int, database_url: str, sizes: list[int], seed: int = 1) -> Polls:
    """Kill so many polls, run one clean one, and compare what is stored with what was offered."""
    dice, polls = random.Random(seed), Polls()
    with Homes(sizes) as homes:
        for home in range(len(sizes)):
            gateways.add("home_assistant", homes.address(home), "a token")
        assassin = Assassin(POLL, database_url, homes.asked, dice)
        _expect(polls, assassin.watch().code == 0, "the first poll failed")
        for _ in range(3 * kills):
            if polls.kills == kills:
                break
            _round(assassin, homes, polls)
        _pass_time()
        ended = assassin.watch()
        _expect(polls, ended.code == 0 and "busy" not in ended.said, f"the clean run: {ended}")
        _check_runs(polls)
        check_rows(polls, homes)
    return polls


def _round(assassin: Assassin, homes: Homes, polls: Polls) -> None:
    for home in range(len(homes.sizes)):
        if assassin.dice.random() < MOVES:
            homes.move(home)
    ended = assassin.strike()
    polls.kills += ended.was_killed
    polls.ended_by_themselves += not ended.was_killed
    _expect(polls, ended.was_killed or ended.code == 0, f"a poll ended by itself: {ended}")
    killed = Run.objects.filter(outcome=Outcome.RUNNING).first()
    if (
        killed
        and Lease.objects.filter(expires_at__gt=Now()).exists()
        and polls.kills // TOO_EARLY >= polls.sent_away
    ):
        _start_too_early(assassin, killed, polls)
    _pass_time()


def _start_too_early(assassin: Assassin, killed: Run, polls: Polls) -> None:
    ended = assassin.watch_briefly()
    killed.refresh_from_db()
    if killed.outcome == Outcome.DONE:
        return  # its last words were with the database already, which took them after the kill
    polls.sent_away += 1
    _expect(
        polls,
        ended.code == 0 and "another run is at work" in ended.said,
        f"a start too early: {ended}",
    )
    _expect(
        polls,
        killed.outcome == Outcome.RUNNING,
        f"a start too early made of the killed run: {killed}",
    )


def _pass_time() -> None:
    """A killed run keeps others out of the task for a minute, out of its gateways a bit longer."""
    let_time_pass(timedelta(seconds=LEASE_SECONDS + 60 + 2 * settings.GATEWAY_TIMEOUT_SECONDS))


def _check_runs(polls: Polls) -> None:
    """Each holder of the lease has one run, which is done, or vanished with its process."""
    outcomes = Counter(Run.objects.values_list("outcome", flat=True))
    polls.vanished = outcomes[Outcome.VANISHED]
    _expect(
        polls,
        Lease.objects.get(task=runs.POLL).token == outcomes.total(),
        f"{Lease.objects.get(task=runs.POLL)} for {outcomes.total()} runs",
    )
    _expect(
        polls,
        polls.vanished <= polls.kills,
        f"{polls.vanished} runs vanished of {polls.kills} kills",
    )
    _expect(
        polls,
        polls.vanished + outcomes[Outcome.DONE] == outcomes.total(),
        f"runs ended as {dict(outcomes)}",
    )
    _expect(
        polls,
        not Gateway.objects.exclude(claimed_until=None).exists(),
        "a gateway is still claimed",
    )
    _expect(
        polls, not Gateway.objects.exclude(failures=0).exists(), "a gateway is said to have failed"
    )


def check_rows(polls: Polls, homes: Homes) -> None:
    of_homes = Observation.objects.filter(attribute__device__gateway__vendor="home_assistant")
    rows = of_homes.values_list(
        "attribute__device__gateway__address",
        "attribute__device__vendor_id",
        "observed_at",
        "number",
        "text",
    )
    seen: Counter[tuple[int, int, datetime]] = Counter()
    for address, vendor_id, at, number, text in rows.iterator(10_000):
        home, place = int(address.rpartition("/")[2]), int(vendor_id.removeprefix("sensor.s"))
        seen[home, place, at] += 1
        generation = homes.offered[home].get(at)
        stored = number if text is None else text
        polls.never_offered += generation is None or stored != value(home, place, generation)
    polls.observations = seen.total()
    polls.twice = sum(count - 1 for count in seen.values())
    polls.offers_stored = len({(home, at) for home, _, at in seen})
    _check_whole(
        polls, homes, Counter((home, at, place // DEVICES_A_BATCH) for home, place, at in seen)
    )
    for home, size in enumerate(homes.sizes):
        polls.missing += sum(not seen[home, place, homes.latest(home)] for place in range(size))
    _check_latest(polls, homes)


def _check_whole(polls: Polls, homes: Homes, pieces: Counter[tuple[int, datetime, int]]) -> None:
    """Of each answer, what belongs to one transaction is there as a whole or not at all."""
    for (home, _, piece), count in pieces.items():
        whole = min(DEVICES_A_BATCH, homes.sizes[home] - piece * DEVICES_A_BATCH)
        polls.half_stored += count != whole


def _check_latest(polls: Polls, homes: Homes) -> None:
    of_homes = Attribute.objects.filter(device__gateway__vendor="home_assistant")
    for attribute in of_homes.select_related("device__gateway"):
        home = int(attribute.device.gateway.address.rpartition("/")[2])
        at, place = homes.latest(home), int(attribute.device.vendor_id.removeprefix("sensor.s"))
        offered = (at, value(home, place, homes.offered[home][at]))
        polls.out_of_date += (
            attribute.observed_at,
            attribute.value,
        ) != offered or not attribute.available


def _expect(polls: Polls, holds: bool, otherwise: str) -> None:
    if not holds:
        polls.wrong.append(otherwise)
