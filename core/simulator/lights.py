"""Simulated lights and blinds, and what a simulated device of a kind is made of."""

import json
from collections.abc import Sequence
from typing import Any

from core.simulator.devices import DeviceKind, SimulatedDevice

LAMP = DeviceKind("Desk lamp", "DuoBulbG3", "S3BL-D010009AEU", 3, "cct:0", 9.0)
"""White light; like many it rounds its colour temperature."""
BLIND = DeviceKind("Blind", "Plus2PM", "SNSW-102P16EU", 2, "cover:0", 120.0)
COLDEST, WARMEST = 6500, 2700
ROUNDS_TO = 50
TRAVEL_SECONDS = 20
"""From closed to open."""


class SimulatedLight(SimulatedDevice):
    """A light of any kind that is dimmed, and of the kind cct of a colour temperature."""

    brightness = 60
    color_temperature = 3000

    def adjust(self, brightness: object, color_temperature: object) -> None:
        """Take what is ordered, in the range and the steps that it has."""
        if isinstance(brightness, int):
            self.brightness = min(100, max(0, brightness))
        if isinstance(color_temperature, int):
            rounded = round(color_temperature / ROUNDS_TO) * ROUNDS_TO
            self.color_temperature = min(COLDEST, max(WARMEST, rounded))
        self.source = "HTTP_in"
        self.told()

    def power(self, now: float) -> float:
        return super().power(now) * self.brightness / 100

    def _component(self, now: float) -> str:
        self._count_energy(now)
        white = {"ct": self.color_temperature} if self.kind.component.startswith("cct:") else {}
        status = {
            "id": self.kind.component_id,
            "source": self.source,
            "output": self.on,
            "brightness": self.brightness,
            **white,
            "apower": round(self.power(now), 1),
            "aenergy": {"total": round(self._energy, 3)},
        }
        return f"{json.dumps(self.kind.component)}:{json.dumps(status)}"

    def _component_config(self) -> dict[str, Any]:
        return {**super()._component_config(), "ct_range": [WARMEST, COLDEST]}


class SimulatedCover(SimulatedDevice):
    """A blind that takes its time."""

    def __init__(self, number: int, now: float, kinds: Sequence[DeviceKind]) -> None:
        super().__init__(number, now, kinds)
        self._from = self._to = 100.0
        self._left_at = now

    def go_to(self, position: int, now: float) -> None:
        self._from, self._to, self._left_at = self.position(now), float(position), now
        self.source = "HTTP_in"
        self.told()

    def position(self, now: float) -> float:
        gone = (now - self._left_at) / TRAVEL_SECONDS * 100
        if gone >= abs(self._to - self._from):
            return self._to
        return self._from + (gone if self._to > self._from else -gone)

    def _component(self, now: float) -> str:
        position = self.position(now)
        state = "stopped"
        if position != self._to:
            state = "opening" if self._to > position else "closing"
        elif position in (0, 100):
            state = "open" if position else "closed"
        status = {
            "id": self.kind.component_id,
            "source": self.source,
            "state": state,
            "apower": 0.0 if position == self._to else self.kind.watts,
            "pos_control": True,
            "current_pos": round(position),
        }
        return f"{json.dumps(self.kind.component)}:{json.dumps(status)}"


def simulated(number: int, now: float, kinds: Sequence[DeviceKind]) -> SimulatedDevice:
    """Make the device of this number, of one of these kinds, with all its channels."""
    kind = kinds[number % len(kinds)]
    device = _class_of(kind)(number, now, kinds)
    device.channels += [_class_of(one)(number, now, [one]) for one in kind.channels]
    return device


def _class_of(kind: DeviceKind) -> type[SimulatedDevice]:
    if kind.component.startswith("cover:"):
        return SimulatedCover
    if kind.component.startswith(("light:", "cct:")):
        return SimulatedLight
    return SimulatedDevice
