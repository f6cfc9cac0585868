"""Simulated Shelly Gen2 devices over real HTTP, for demo, tests and benchmarks: up to 10,000 in one
process, on one port.

Device K answers under the path /K, so its gateway's address is http://127.0.0.1:8100/3. It tells by
itself what changes over a WebSocket, ws://127.0.0.1:8100/3/rpc. Besides the devices' own API:

    GET  /counts  /K/counts     what was asked, ordered and switched
    GET  /fault   /K/fault      what is wrong on purpose
    POST /fault   /K/fault      replace that: a fault or a list of them in JSON, such as
                                {"kind": "latency", "argument": 0.5}; without K for all devices, or
                                a share of them ({"kind": "hang", "share": 0.1}); [] heals

In tests: `with Simulator(devices=4) as simulator`, then `simulator.address(3)`,
`simulator.devices[3].on`, `simulator.devices[3].faults = [Fault("lying")]`.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Self

from core.simulator.connection import Connection
from core.simulator.devices import KINDS, METER, PUMP, STRIP, DeviceKind, SimulatedDevice
from core.simulator.faults import Fault
from core.simulator.guard import Guard
from core.simulator.lights import BLIND, LAMP, simulated

__all__ = [
    "BLIND",
    "BY_NAME",
    "KINDS",
    "LAMP",
    "METER",
    "PUMP",
    "STRIP",
    "SimulatedDevice",
    "Fault",
    "Simulator",
    "kinds_named",
]

BY_NAME = {"blind": BLIND, "lamp": LAMP, "meter": METER, "pump": PUMP, "strip": STRIP}
"""Kinds that are asked for one by one, besides those of a home."""


def kinds_named(names: Iterable[str]) -> Sequence[DeviceKind]:
    """Return the kinds of these names; those of a home if there is none."""
    return [BY_NAME[name] for name in names] or KINDS


GOLDEN = 0.6180339887498949
"""The multiples of this, modulo 1, are scattered as evenly as can be."""


class Simulator:
    """Many devices, served by a thread of its own between `start()` and `stop()`, or in this thread
    by `run()`."""

    def __init__(
        self,
        devices: int = 4,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        password: str = "",
        latency: float = 0.0,
        faults: Iterable[tuple[Fault, float]] = (),
        kinds: Sequence[DeviceKind] = KINDS,
    ) -> None:
        """`port` 0 is a free one; `latency` in seconds, for all; `faults` with the share of devices
        that have each; of `kinds` one after the other."""
        self.host = "127.0.0.1" if host == "localhost" else host
        if not ip_address(self.host).is_loopback:
            raise ValueError(
                f"{host} is not this machine's loopback address: "
                "a simulator has no business on the network."
            )
        now = time.time()
        self.port, self.latency = port, latency
        self.guard = Guard(password)
        self.devices = [simulated(number, now, kinds) for number in range(devices)]
        self.connections: set[Connection] = set()
        for device in self.devices:
            for channel in device.channels:
                channel.told = partial(self._told, device)
        self._timers: dict[SimulatedDevice, asyncio.TimerHandle] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.spread(faults)

    def address(self, number: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/{number}"

    def spread(self, faults: Iterable[tuple[Fault, float]]) -> None:
        """Give all devices their faults anew, each to its share of them. Shares below 1 fall on
        different devices."""
        scattered = sorted(self.devices, key=lambda device: device.number * GOLDEN % 1)
        for device in scattered:
            device.faults = []
        begin = 0.0
        for fault, share in faults:
            its = scattered
            if share < 1:
                end = begin + share
                its = scattered[round(begin * len(scattered)) : round(end * len(scattered))]
                begin = end
            for device in its:
                device.faults.append(replace(fault))

    def counts(self) -> dict[str, int]:
        """The sums over all devices."""
        totals = dict.fromkeys(("requests", "writes", "effects", "reverts"), 0)
        for device in self.devices:
            for key, count in device.counts().items():
                totals[key] += count
        return totals

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve in a thread; returns when it listens. Raises OSError if the port is taken."""
        ready = threading.Event()
        failures: list[Exception] = []

        def serve() -> None:
            try:
                self.run(ready.set)
            except Exception as error:  # raised again in the thread that waits
                failures.append(error)
            finally:
                ready.set()

        self._thread = threading.Thread(target=serve, name="simulator", daemon=True)
        self._thread.start()
        ready.wait()
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """End serving, from any thread or signal handler. Waits for the end if it serves in a
        thread of its own."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread:
            self._thread.join()

    def run(self, ready: Callable[[], object]) -> None:
        """Serve in this thread until `stop()`. Calls `ready` once it listens. Raises OSError if the
        port is taken."""
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await loop.create_server(
            lambda: Connection(self), self.host, self.port, backlog=4096
        )
        self.port, self._loop = server.sockets[0].getsockname()[1], loop
        ready()
        await self._stopping.wait()
        server.close()
        for timer in self._timers.values():
            timer.cancel()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await server.wait_closed()

    def order(self, device: SimulatedDevice, on: bool, toggle_after: float | None) -> bool:
        """Switch a device, or a channel of one, as Switch.Set does. Called in the serving
        thread."""
        if running := self._timers.pop(device, None):
            running.cancel()
        device.timer = None
        if toggle_after is not None:
            device.timer = (time.time(), toggle_after)
            self._timers[device] = asyncio.get_running_loop().call_later(
                toggle_after, self._revert, device
            )
        return device.order(on)

    def pretend(self, device: SimulatedDevice, on: bool, toggle_after: float | None) -> bool:
        """What a lying device does instead of `order`: nothing."""
        return device.on

    def _told(self, device: SimulatedDevice) -> None:
        """Let those who listen to a device know, whichever thread switched it."""
        if self._loop and not self._loop.is_closed():
            with suppress(RuntimeError):  # it was closed this moment
                self._loop.call_soon_threadsafe(self._notify, device)

    def _notify(self, device: SimulatedDevice) -> None:
        for connection in tuple(self.connections):
            if connection.socket and connection.socket.device is device:
                connection.socket.notify()

    def _revert(self, device: SimulatedDevice) -> None:
        del self._timers[device]
        device.revert()
