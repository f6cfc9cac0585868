"""What simulated devices are: four kinds of a home, whose values move like those of a real house.

The values are an excerpt of measurements, see the first line of home.csv: two weeks, repeated,
aligned on the time of day and on the day of the week (UTC), and interpolated. Devices of the same
kind live days apart, differ a little in scale, and waver a little from second to second.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from core.simulator.faults import Fault

HOME = Path(__file__).with_name("home.csv")
ROW_SECONDS = 600
KEPT_SECONDS = 60 * 86_400
"""How long a meter keeps what it measured."""
RECORDS_A_PAGE = 100
FIRST_MONDAY = 4 * 86_400
"""The first Monday midnight after 1970 began; the excerpt begins with one too."""


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of device, as a real model. `watts` is what it draws when it is on.

    With further `channels` each is of a kind of its own; `channel` is what the first is called, if
    people named it.
    """

    name: str
    app: str
    model: str
    generation: int
    component: str
    watts: float = 0.0
    channel: str | None = None
    channels: tuple["DeviceKind", ...] = ()

    @property
    def component_id(self) -> int:
        return int(self.component.partition(":")[2])

    def further(self, component: str, name: str | None, watts: float = 0.0) -> "DeviceKind":
        """Make the kind of another channel of the same hardware."""
        return replace(self, component=component, channel=name, watts=watts)


KINDS = (
    DeviceKind("Heater", "PlusPlugS", "SNPL-00112EU", 2, "switch:0", 1850.0),
    DeviceKind("Car charger", "Pro1PM", "SPSW-201PE16EU", 2, "switch:0", 7200.0),
    DeviceKind("Kitchen appliances", "MiniPMG3", "S3PM-001PCEU16", 3, "pm1:0"),
    DeviceKind("Living room", "PlusHT", "SNSN-0013A", 2, "temperature:0"),
)
"""Of many devices, each fourth is of the same kind."""

METER = DeviceKind("Mains", "ProEM", "SPEM-002CEBEU50", 2, "em1:0")
"""It keeps what it measured in each minute."""
PUMP = DeviceKind("Pump", "Plus1PM", "SNSW-001P16EU", 2, "switch:0", 750.0)

_STRIP = DeviceKind("Workshop", "Pro4PM", "SPSW-104PE16EU", 2, "switch:0", 60.0, "Bench light")
STRIP = replace(
    _STRIP,
    channels=(
        _STRIP.further("switch:1", "Lathe", 900.0),
        _STRIP.further("switch:2", "Dust extractor", 1200.0),
        _STRIP.further("switch:3", None, 150.0),
    ),
)
"""Four switches in one housing."""


@cache
def home() -> dict[str, list[float]]:
    """The excerpt's columns: appliances_w, living_room_c, living_room_percent."""
    with HOME.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {column: [float(row[column]) for row in rows] for column in rows[0]}


def at(column: str, when: float) -> float:
    """A column's value at a Unix time, between its two neighbours."""
    values = home()[column]
    row, rest = divmod((when - FIRST_MONDAY) / ROW_SECONDS, 1)
    before, after = values[int(row) % len(values)], values[(int(row) + 1) % len(values)]
    return before + (after - before) * rest


class SimulatedDevice:
    """One simulated device. `on` and `faults` may be read and set at any time, from any thread;
    `on` as if by hand."""

    def __init__(self, number: int, now: float, kinds: Sequence[DeviceKind] = KINDS) -> None:
        self.number = number
        self.kind = kinds[number % len(kinds)]
        fellow = number // len(kinds)
        self.name = self.kind.name if fellow == 0 else f"{self.kind.name} {fellow + 1}"
        self.mac = f"02A803{number:06X}"
        self.id = f"shelly{self.kind.app.lower()}-{self.mac.lower()}"
        self.faults: list[Fault] = []
        self._on = False
        self.source = "init"
        """Who switched last, in Shelly's words."""
        self.timer: tuple[float, float] | None = None
        """When the running timer began, and after how many seconds it toggles."""
        self.told: Callable[[], object] = lambda: None
        """Called when it was switched, in the thread that did it."""
        self.channels: list[SimulatedDevice] = [self]
        """Itself, and the others in the same housing; those answer for nothing but their own
        component."""
        self.requests = self.writes = self.effects = self.reverts = 0
        """What was asked, orders among it, changes of the switch made by orders, and those made by
        timers."""
        self.lost: list[tuple[float, float]] = []
        self._days = 86_400 * (fellow * 3 % 14)
        self._scale = 0.92 + (number * 7 % 17) / 100
        self._started_at = self._counted_at = now
        self._energy = 50_000.0 + number % 1000 * 37
        self._tail = self._unchanging()

    @property
    def on(self) -> bool:
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        self._switch(on, "switch")

    def rewind(self, when: float) -> None:
        """Start again at an earlier time, to be taken through what follows by `be()`."""
        self._started_at = self._counted_at = when

    def be(self, on: bool, now: float) -> None:
        """Be switched by a program at a time up to which its energy is counted."""
        if on != self._on:
            self._switch(on, "HTTP_in", now)

    @property
    def has_switch(self) -> bool:
        return self.kind.component.startswith("switch:")

    def channel(self, component: str) -> "SimulatedDevice | None":
        return next((one for one in self.channels if one.kind.component == component), None)

    def order(self, on: bool) -> bool:
        """Switch because somebody ordered it. Returns how it was before."""
        was_on = self._switch(on, "HTTP_in")
        self.effects += on != was_on
        return was_on

    def revert(self) -> None:
        """Toggle because the timer ran out."""
        self.timer = None
        self._switch(not self.on, "timer")
        self.reverts += 1

    def _switch(self, on: bool, source: str, now: float | None = None) -> bool:
        was_on = self.on
        self._count_energy(time.time() if now is None else now)
        self._on, self.source = on, source
        self.told()
        return was_on

    def power(self, now: float) -> float:
        if self.kind.component in ("pm1:0", "em1:0"):
            return at("appliances_w", now + self._days) * self._scale * self._waver(now)
        return self.kind.watts * self._waver(now) if self.on else 0.0

    def status(self, now: float) -> str:
        """Shelly.GetStatus in JSON."""
        system = f'"unixtime":{int(now)},"uptime":{int(now - self._started_at)}'
        return f"{{{self._components(now)},{self._tail}{system}}}}}"

    def changes(self, now: float) -> str:
        """What NotifyStatus tells of its components, in JSON."""
        return f'{{"ts":{now:.2f},{self._components(now)}}}'

    def _components(self, now: float) -> str:
        return ",".join(channel._component(now) for channel in self.channels)

    def _component(self, now: float) -> str:
        if self.kind.component == "temperature:0":
            return self._climate(now)
        power, voltage = self.power(now), 230 + 2 * math.sin(now / 11 + self.number)
        self._count_energy(now)
        meter = (
            f'"apower":{power:.1f},"voltage":{voltage:.1f},"freq":50.0,'
            f'"current":{power / voltage:.3f},"aenergy":{{"total":{self._energy:.3f},'
            f'"by_minute":[0.0,0.0,0.0],"minute_ts":{int(now // 60) * 60}}}'
        )
        if self.kind.component == "em1:0":
            return (
                f'"em1:0":{{"id":0,"act_power":{power:.1f},"voltage":{voltage:.1f},'
                f'"current":{power / voltage:.3f},"freq":50.0,"calibration":"factory"}},'
                f'"em1data:0":{{"id":0,"total_act_energy":{self._energy:.3f},'
                f'"total_act_ret_energy":0.0}}'
            )
        if self.kind.component == "pm1:0":
            return f'"pm1:0":{{"id":0,{meter}}}'
        chip = 38 + (14 if self.on else 0) + 2 * math.sin(now / 60 + self.number)
        timer = ""
        if self.timer:
            began, seconds = self.timer
            timer = f'"timer_started_at":{began:.2f},"timer_duration":{seconds:.2f},'
        output = "true" if self.on else "false"
        return (
            f'"{self.kind.component}":{{"id":{self.kind.component_id},"source":"{self.source}","output":{output},{timer}{meter},'
            f'"temperature":{{"tC":{chip:.1f},"tF":{chip * 1.8 + 32:.1f}}}}}'
        )

    def _climate(self, now: float) -> str:
        warmth = (
            at("living_room_c", now + self._days)
            + self.number % 5 * 0.3
            + 0.03 * math.sin(now / 7 + self.number)
        )
        humidity = at("living_room_percent", now + self._days) * self._scale + 0.2 * math.sin(
            now / 13 + self.number
        )
        return (
            f'"temperature:0":{{"id":0,"tC":{warmth:.2f},"tF":{warmth * 1.8 + 32:.2f}}},'
            f'"humidity:0":{{"id":0,"rh":{humidity:.1f}}},'
            '"devicepower:0":{"id":0,"battery":{"V":6.04,"percent":100},"external":{"present":true}}'
        )

    def records(self, ts: int, end_ts: int | None, now: float) -> str:
        """EM1Data.GetData in JSON: the whole minutes from `ts` to `end_ts`, a page of them.

        `lost` holds spans of Unix time in which it had no power.
        """
        first = max(ts, int(now) - KEPT_SECONDS) // -60 * -60
        last = int(min(end_ts or now, now - 60))
        minutes = [minute for minute in range(first, last + 1, 60) if not self._was_off(minute)]
        page, rest = minutes[:RECORDS_A_PAGE], minutes[RECORDS_A_PAGE:]
        blocks: list[dict[str, Any]] = []
        for minute in page:
            if not blocks or minute != blocks[-1]["ts"] + 60 * len(blocks[-1]["values"]):
                blocks.append({"ts": minute, "period": 60, "values": []})
            power = self.power(minute + 30)
            blocks[-1]["values"].append(
                [round(power / 60, 4), 0.0, 230.0, round(power / 230, 3)],
            )
        keys = ["total_act_energy", "total_act_ret_energy", "avg_voltage", "avg_current"]
        following = {"next_record_ts": rest[0]} if rest else {}
        return json.dumps({"keys": keys, "data": blocks, **following})

    def _was_off(self, minute: float) -> bool:
        return any(begin <= minute < end for begin, end in self.lost)

    def info(self, protected: bool) -> str:
        """Shelly.GetDeviceInfo in JSON."""
        return json.dumps(
            {
                "name": self.name,
                "id": self.id,
                "mac": self.mac,
                "slot": 0,
                "model": self.kind.model,
                "gen": self.kind.generation,
                "fw_id": "20250520-083712/1.6.2-gsimulated",
                "ver": "1.6.2",
                "app": self.kind.app,
                "auth_en": protected,
                "auth_domain": self.id if protected else None,
            }
        )

    def config(self) -> str:
        """Shelly.GetConfig in JSON."""
        device = {
            "name": self.name,
            "mac": self.mac,
            "fw_id": "20250520-083712/1.6.2-gsimulated",
            "discoverable": True,
        }
        components = {
            channel.kind.component: channel._component_config() for channel in self.channels
        }
        return json.dumps({**components, "sys": {"device": device, "cfg_rev": 1}})

    def _component_config(self) -> dict[str, Any]:
        return {"id": self.kind.component_id, "name": self.kind.channel}

    def counts(self) -> dict[str, int]:
        return {
            "requests": self.requests,
            "writes": self.writes,
            "effects": sum(channel.effects for channel in self.channels),
            "reverts": sum(channel.reverts for channel in self.channels),
        }

    def _count_energy(self, now: float) -> None:
        self._energy += self.power(now) * max(0.0, now - self._counted_at) / 3600
        self._counted_at = now

    def _waver(self, now: float) -> float:
        return (
            1 + 0.006 * math.sin(now / 9 + self.number) + 0.004 * math.sin(now * 1.7 + self.number)
        )

    def _unchanging(self) -> str:
        """What of a status stays the same, up to the open end of `sys`."""
        still = {
            "ble": {},
            "cloud": {"connected": False},
            "mqtt": {"connected": False},
            "wifi": {
                "sta_ip": "127.0.0.1",
                "status": "got ip",
                "ssid": "simulated",
                "rssi": -50 - self.number % 30,
            },
            "ws": {"connected": False},
        }
        system = {
            "mac": self.mac,
            "restart_required": False,
            "time": None,
            "cfg_rev": 1,
            "available_updates": {},
        }
        return f'{json.dumps(still)[1:-1]},"sys":{json.dumps(system)[:-1]},'
