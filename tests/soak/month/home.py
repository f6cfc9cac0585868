"""A home behind real HTTP whose devices have a true clock, whatever that of our machine shows."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from core import feeds
from core.simulator import KINDS, METER, PUMP, Fault, SimulatedDevice, Simulator
from tests.core.raw_server import Answer, Request, answer, serving
from tests.core.tasks.local_feed import FEED, said
from tests.core.tasks.recorder import Recorder
from tests.soak.month.script import HUB, PLUGS, SENSORS

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SLOTS_AHEAD = 48


class Meter(SimulatedDevice):
    """Its records end at the true time."""

    home: "Home"

    def records(self, ts: int, end_ts: int | None, now: float) -> str:
        return super().records(ts, end_ts, self.home.now.timestamp())


class Hub(Recorder):
    """A Home Assistant with sensors of temperature, which it reads each ten minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.answered = 0
        self.unavailable: set[str] = set()

    def measure(self, now: datetime, dead: set[str], unavailable: set[str]) -> None:
        self.unavailable = unavailable
        for place, name in enumerate(SENSORS):
            rows = self.recorded.setdefault(f"sensor.{name.lower()}", [])
            about = {"device_class": "temperature", "unit_of_measurement": "°C"}
            about["friendly_name"] = name
            warmth = 15 + place + now.timestamp() / 600 % 97 / 10
            state = "unavailable" if name in unavailable else f"{warmth:.1f}"
            is_new = not rows or rows[-1][1] != state
            if is_new and (name not in dead or not rows):
                rows.append((now - MINUTE, state, about))

    def reply(self, request: Request) -> Answer:
        if self.is_away:
            return None
        self.answered += request.target == "/api/states"
        return super().reply(request)

    def _now(self, entity_id: str) -> dict[str, Any]:
        return self._state(entity_id, *self.recorded[entity_id][-1])

    def _history(self, entity_id: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
        rows = self.recorded[entity_id]
        held = [(since, *row[1:]) for row in rows if row[0] <= since][-1:]
        return [
            self._state(entity_id, *row)
            for row in (*held, *(row for row in rows if since < row[0] < until))
        ]


class Home:
    """`now` is the true time."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.feed_is_away = False
        self.simulator = Simulator(devices=len(PLUGS), kinds=(*KINDS, METER, PUMP))
        meter = Meter(PLUGS.index("Mains"), now.timestamp(), (*KINDS, METER, PUMP))
        meter.home = self
        self.simulator.devices[meter.number] = self.meter = meter
        self.hub = Hub()

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """Serve all of it; the feed's file goes into the folder."""
        with ExitStack() as servers:
            servers.enter_context(self.simulator)
            self.hub.address = servers.enter_context(serving(self.hub.reply)).address
            feed = servers.enter_context(serving(self._forecast))
            (folder / "local.py").write_text(FEED)
            feeds.__path__.append(str(folder))
            sys.modules.pop("core.feeds.local", None)
            feeds.load("local").address = feed.address
            yield

    def plug(self, name: str) -> SimulatedDevice:
        return self.simulator.devices[PLUGS.index(name)]

    def be(self, away: set[str], lying: set[str]) -> None:
        """Let these gateways be away, and these do nothing that they are told."""
        for name in PLUGS:
            faults = [Fault("unreachable")] if name in away else []
            self.plug(name).faults = faults + [Fault("lying")] * (name in lying)
        self.hub.is_away = HUB in away

    def answers(self) -> dict[str, int]:
        """Return how often each gateway was asked for its values."""
        plugs = {name: self.plug(name).requests for name in PLUGS}
        return plugs | {HUB: self.hub.answered}

    def _forecast(self, request: Request) -> Answer:
        if self.feed_is_away:
            return answer(b"", "503 Service Unavailable")
        start = self.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        slots = said(start, [300] * SLOTS_AHEAD, self.now - MINUTE)
        return answer(json.dumps(slots).encode())
