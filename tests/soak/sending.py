"""Prove that, however processes die, each order takes effect once or is replaced.

None is confirmed that did not take effect.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import InterfaceError, OperationalError, connection

from core.models import Attribute, DeviceCommand
from core.models.device_command import State
from core.simulator import Fault, Simulator
from core.simulator import SimulatedDevice as SimulatedDevice
from core.tasks import gateways
from tests.soak.kills import Assassin, Ended, let_time_pass, start

LONG_AGO = datetime.min.replace(tzinfo=UTC)
SPANS = (timedelta(), timedelta(seconds=20), timedelta(seconds=120))
"""What passes between a kill and the next process: nothing, the claim of a command, that of a
gateway."""
BY_HAND = 0.25
"""How often somebody switches a plug at the plug itself between two processes, of those that no
order is under way to: what was last heard of it is then no longer true."""
LAST_ROUNDS = 8
"""How many clean polls the rest of the orders gets.

A quarter of an hour apart: as long as the longest wait for a retry.
"""
FAULTS: tuple[Callable[[random.Random], list[Fault]], ...] = (
    lambda dice: [],
    lambda dice: [Fault("latency", dice.uniform(0.0, 0.1))],
    lambda dice: [
        Fault("drip_body", 0.001, writes_only=True)
    ],  # done, and the answer takes its time
    lambda dice: [Fault("lost_command", dice.uniform(0.0, 0.05), count=1)],
    lambda dice: [Fault("lost_answer", dice.uniform(0.0, 0.05), count=1)],
)


@dataclass(frozen=True)
class Write:
    """An order that reached a device, and the command that was being sent to it then."""

    at: datetime
    device: int
    value: bool
    has_effect: bool
    command: int | None


class Watched(SimulatedDevice):
    """Keeps when it showed what to a read, and when it changed to what, by an order or by hand."""

    asked: threading.Event
    shown: list[tuple[datetime, bool]]
    changes: list[tuple[datetime, bool]]
    switched_by_hand_at = LONG_AGO

    def status(self, now: float) -> str:
        self.asked.set()
        self.shown.append((datetime.fromtimestamp(now, UTC), self.on))
        return super().status(now)


class WatchedSimulator(Simulator):
    """Plugs whose every read and write is kept."""

    def __init__(self, devices: int) -> None:
        super().__init__(devices=0)
        # Every fourth is a plug; those between are other kinds of device.
        self.devices = [Watched(number, time.time()) for number in range(4 * devices)]
        self.plugs = self.devices[::4]
        self.asked = threading.Event()
        for plug in self.plugs:
            plug.asked, plug.shown, plug.changes = self.asked, [], []
        self.written: list[Write] = []
        self.switches: dict[int, int] = {}
        self.clerk = ThreadPoolExecutor(1)  # Django refuses to query in the thread of an event loop

    def stop(self) -> None:
        super().stop()
        self.clerk.submit(lambda: connection.close()).result()
        self.clerk.shutdown()

    def order(self, device: SimulatedDevice, on: bool, toggle_after: float | None) -> bool:
        was_on = super().order(device, on, toggle_after)
        at, command = (
            datetime.now(UTC),
            self.clerk.submit(being_sent, self.switches[device.number]).result(),
        )
        self.written.append(Write(at, device.number, on, on != was_on, command))
        if on != was_on and isinstance(device, Watched):
            device.changes.append((at, on))
        return was_on


def being_sent(switch_pk: int) -> int | None:
    """Wait for a database that is away: it knows when it is back."""
    until = time.monotonic() + 60
    while True:
        try:
            return (
                DeviceCommand.objects.filter(attribute=switch_pk, state=State.SENDING)
                .values_list("pk", flat=True)
                .first()
            )
        except (InterfaceError, OperationalError):
            if time.monotonic() > until:
                raise
            connection.close()
            time.sleep(0.2)


@dataclass
class Orders:
    """What was done and what came of it; all but the first block must be zero."""

    kills: int = 0
    by_hand: int = 0
    committed: int = 0
    confirmed: int = 0
    superseded: int = 0
    writes: int = 0
    effects: int = 0
    sent_again: int = 0

    lost: int = 0
    twice: int = 0
    falsely_confirmed: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"sending: {self.kills} kills, {self.committed} orders committed ({self.confirmed} "
            f"confirmed, {self.superseded} "
            f"superseded by newer ones), {self.writes} writes ({self.sent_again} orders sent "
            f"again), {self.effects} effects, "
            f"{self.by_hand} changes by hand: {self.lost} lost, {self.twice} effects twice, "
            f"{self.falsely_confirmed} falsely "
            f"confirmed; {len(self.wrong)} wrong"
        )

    @property
    def faults(self) -> list[str]:
        counted = ("lost", "twice", "falsely_confirmed")
        return [
            f"{name}: {getattr(self, name)}" for name in counted if getattr(self, name)
        ] + self.wrong


def kill_sending(kills: int, database_url: str, plugs: int = 4, seed: int = 1) -> Orders:
    """Kill a process that orders and sends, so many times; then compare with the devices.

    Clean polls finish what was left open.
    """
    dice, orders = random.Random(seed), Orders()
    with WatchedSimulator(plugs) as simulator:
        for plug in simulator.plugs:
            [pk] = gateways.add("shelly", simulator.address(plug.number)).new
            simulator.switches[plug.number] = Attribute.objects.get(device=pk, name="on").pk
        assassin = Assassin(
            (), database_url, simulator.asked, dice, until_request=0.8, after_request=1.2, early=2
        )
        said: list[int] = []
        while orders.kills < kills:
            _torment(simulator, dice)
            assassin.command = (
                "-m",
                "tests.soak.order_and_send",
                str(dice.randrange(10**6)),
                "100",
            )
            ended = assassin.strike()
            if not ended.was_killed:
                orders.wrong.append(f"it ended by itself: {ended}")
                break
            orders.kills += 1
            said += [int(line) for line in ended.said.splitlines() if line.isdigit()]
            let_time_pass(dice.choice(SPANS))
            _switch_by_hand(simulator, dice)
        for plug in simulator.plugs:
            plug.faults = []
        finish(database_url, orders)
        check_orders(simulator, said, orders)
    return orders


def _torment(simulator: WatchedSimulator, dice: random.Random) -> None:
    for plug in simulator.plugs:
        plug.faults = dice.choice(FAULTS)(dice)


def _switch_by_hand(simulator: WatchedSimulator, dice: random.Random) -> None:
    under_way = set(DeviceCommand.objects.open().values_list("attribute", flat=True))
    for plug in simulator.plugs:
        if simulator.switches[plug.number] not in under_way and dice.random() < BY_HAND:
            plug.on, plug.switched_by_hand_at = not plug.on, datetime.now(UTC)
            plug.changes.append((plug.switched_by_hand_at, plug.on))


def finish(database_url: str, orders: Orders) -> None:
    for _ in range(LAST_ROUNDS):
        let_time_pass(timedelta(minutes=15))
        process = start(("manage.py", "poll_devices"), database_url)
        said, _ = process.communicate(timeout=180)
        if process.returncode:
            orders.wrong.append(f"a clean poll: {Ended(process.returncode, said)}")
        if not DeviceCommand.objects.open().exists():
            return


def check_orders(simulator: WatchedSimulator, said: list[int], orders: Orders) -> None:
    commands = {
        command.pk: command for command in DeviceCommand.objects.select_related("attribute")
    }
    states = Counter(command.state for command in commands.values())
    orders.committed, orders.confirmed, orders.superseded = (
        len(commands),
        states[State.CONFIRMED],
        states[State.SUPERSEDED],
    )
    orders.sent_again = sum(command.attempts > 1 for command in commands.values())
    orders.lost = (
        len(set(said) - set(commands)) + len(commands) - orders.confirmed - orders.superseded
    )
    orders.by_hand = sum(len(plug.changes) - plug.effects for plug in simulator.plugs)
    orders.writes, orders.effects = (
        len(simulator.written),
        sum(plug.effects for plug in simulator.plugs),
    )
    _check_effects(simulator, commands, orders)
    for plug in simulator.plugs:
        of_plug = [
            command
            for command in commands.values()
            if command.attribute_id == simulator.switches[plug.number]
        ]
        _check_last(plug, max(of_plug, key=lambda command: command.pk, default=None), orders)
        _check_confirmed(plug, of_plug, simulator, orders)


def _check_effects(
    simulator: WatchedSimulator, commands: dict[int, DeviceCommand], orders: Orders
) -> None:
    """Each effect is that of one order, of its value, and after those of older orders."""
    effects = [write for write in simulator.written if write.has_effect]
    orders.twice = sum(count - 1 for count in Counter(write.command for write in effects).values())
    if len(effects) != orders.effects:
        orders.wrong.append(
            f"{len(effects)} effects by orders, and the devices count {orders.effects}"
        )
    latest: dict[int, int] = {}
    for write in simulator.written:
        command = commands.get(write.command or 0)
        if (
            command is None
            or command.value is not write.value
            or command.pk < latest.get(write.device, 0)
        ):
            orders.wrong.append(f"nobody ordered this, or not then: {write}")
        else:
            latest[write.device] = command.pk


def _check_last(plug: Watched, last: DeviceCommand | None, orders: Orders) -> None:
    """The plug is as it was last ordered, unless somebody has switched it since."""
    if last is None or (last.finished_at or datetime.now(UTC)) < plug.switched_by_hand_at:
        return
    if last.state != State.CONFIRMED or plug.on is not last.value:
        orders.wrong.append(f"the last order of {plug.name} is {last}, and it is {plug.on}")


def _check_confirmed(
    plug: Watched, commands: list[DeviceCommand], simulator: WatchedSimulator, orders: Orders
) -> None:
    effects = {
        write.command: write.at
        for write in simulator.written
        if write.device == plug.number and write.has_effect
    }
    for command in commands:
        if command.state == State.CONFIRMED:
            orders.falsely_confirmed += not _was_so(
                plug, command, effects.get(command.pk, LONG_AGO)
            )


def _was_so(plug: Watched, command: DeviceCommand, effect_at: datetime) -> bool:
    """Whether the plug was as ordered when that was confirmed, and the last read before had shown
    it after its effect."""
    assert command.finished_at
    value = next((on for at, on in reversed(plug.changes) if at <= command.finished_at), False)
    read_at, shown = next(
        ((at, on) for at, on in reversed(plug.shown) if at <= command.finished_at), (LONG_AGO, None)
    )
    return value is shown is command.value and read_at >= effect_at
