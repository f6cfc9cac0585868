"""Prove that an acknowledgement that is lost, or false, is never believed.

Nothing is sent too late, and nothing is done again.

Orders go one after the other to plugs that lose them, do them and lose the answer, or say yes and
do nothing, on a clock that the proof moves. What the plugs saw and did is then held against the
ledger.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import time_machine

from core.models import Attribute, DeviceCommand
from core.models.device_command import State
from core.readings import Source
from core.simulator import Fault
from core.tasks import gateways, poll
from core.tasks.orders import send
from tests.soak.kills import let_clock_of_the_database_pass
from tests.soak.sending import LAST_ROUNDS, Watched, WatchedSimulator, being_sent

SPOILED = ("lost_command", "lost_answer", "lying")
AWAY = "503"
HEALTHY, GOES_AWAY, BY_HAND, SAME_AGAIN, TOO_LATE = 0.15, 0.15, 0.35, 0.35, 0.1
"""How often a plug is well, out of reach after an order arrived or later, switched by hand while
nothing is under way to it, and ordered to be what it was last ordered to be; and how often what was
ordered is left to the next round to send."""
COMES_BACK = 0.4
IF_FREE, IF_BUSY = 0.9, 0.2
"""How often something is ordered of a plug in a round: while nothing is under way to it, and while
something is."""
SPANS = [timedelta(seconds=seconds) for seconds in (1, 5, 8, 15, 15, 40, 130, 700)]
EXPIRES = [timedelta(seconds=seconds) for seconds in (30, 120, 600)]
LetPass = Callable[[timedelta], None]


@dataclass(frozen=True)
class Arrival:
    """An order that reached a plug.

    The command that was being sent, and what was wrong with the plug ("": nothing).
    """

    at: datetime
    device: int
    command: int | None
    fault: str


class Plug(Watched):
    """Tells of every order that reaches it, also of one that it loses or only pretends to do."""

    arrived: Callable[["Plug"], None]
    goes_away = False
    """Once an order has arrived: what became of it cannot be read at once."""
    _writes = 0

    @property
    def is_away(self) -> bool:
        return any(fault.kind == AWAY for fault in self.faults)

    @property
    def writes(self) -> int:
        return self._writes

    @writes.setter
    def writes(self, count: int) -> None:
        is_one_more, self._writes = count > self._writes, count
        if is_one_more:
            self.arrived(self)


class Liars(WatchedSimulator):
    """Plugs of which every order is kept, whatever they make of it."""

    def __init__(self, plugs: int) -> None:
        super().__init__(plugs)
        self.devices = [Plug(number, time.time()) for number in range(4 * plugs)]
        self.plugs = self.devices[::4]
        self.arrivals: list[Arrival] = []
        for plug in self.plugs:
            plug.asked, plug.shown, plug.changes, plug.arrived = self.asked, [], [], self._arrived

    def _arrived(self, plug: Plug) -> None:
        command = self.clerk.submit(being_sent, self.switches[plug.number]).result()
        self.arrivals.append(
            Arrival(
                datetime.now(UTC), plug.number, command, plug.faults[0].kind if plug.faults else ""
            )
        )
        if plug.goes_away:
            asyncio.get_running_loop().call_soon(
                go_away, plug
            )  # after this order, before any other request

    @property
    def spoiled(self) -> Counter[str]:
        return Counter(arrival.fault for arrival in self.arrivals if arrival.fault in SPOILED)


def go_away(plug: Plug) -> None:
    plug.faults = [Fault(AWAY, 0)]


@dataclass
class Acknowledgements:
    """What was done and what came of it; all but the first block must be zero."""

    spoiled: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    arrivals: int = 0
    sent_again: int = 0
    by_hand: int = 0
    states: Counter[str] = field(default_factory=Counter)

    falsely_confirmed: int = 0
    sent_after_expiry: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        spoiled = ", ".join(f"{self.spoiled[kind]:,} {kind.replace('_', ' ')}" for kind in SPOILED)
        states = ", ".join(f"{count:,} {state}" for state, count in self.states.most_common())
        return (
            f"acknowledgements: {self.spoiled.total():,} spoiled ({spoiled}); {self.orders:,} "
            f"orders ({states}), "
            f"{self.arrivals:,} arrived ({self.sent_again:,} orders more than once), "
            f"{self.by_hand:,} changes by hand: "
            f"{self.falsely_confirmed} falsely confirmed, {self.sent_after_expiry} sent after "
            f"expiry, {self.twice} twice; "
            f"{len(self.wrong)} wrong"
        )

    @property
    def faults(self) -> list[str]:
        counted = ("falsely_confirmed", "sent_after_expiry", "twice")
        return [
            f"{name}: {getattr(self, name)}" for name in counted if getattr(self, name)
        ] + self.wrong


def spoil_acknowledgements(count: int, plugs: int = 4, seed: int = 1) -> Acknowledgements:
    """Order and send until so many acknowledgements were spoiled, let clean polls finish, and hold
    the ledger against the plugs."""
    dice, result = random.Random(seed), Acknowledgements()
    with Liars(plugs) as simulator, moved_clock() as let_pass:
        for plug in simulator.plugs:
            [pk] = gateways.add("shelly", simulator.address(plug.number)).new
            simulator.switches[plug.number] = Attribute.objects.get(device=pk, name="on").pk
        while simulator.spoiled.total() < count:
            _order_and_send(simulator, dice)
            _go_on(simulator, dice, let_pass)
            _switch_by_hand(simulator, dice)
        _finish(simulator, result, let_pass)
        _check(simulator, result)
    return result


@contextmanager
def moved_clock() -> Iterator[LetPass]:
    """A clock that moves only when it is moved. A sleep while sending moves it."""
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:

        def let_pass(span: timedelta) -> None:
            clock.shift(span)
            let_clock_of_the_database_pass(span)

        real, send.time = (
            send.time,
            SimpleNamespace(sleep=lambda seconds: let_pass(timedelta(seconds=seconds))),
        )
        try:
            yield let_pass
        finally:
            send.time = real


def _order_and_send(simulator: Liars, dice: random.Random) -> None:
    for plug in simulator.plugs:
        is_healthy = dice.random() < HEALTHY
        plug.faults = (
            [] if is_healthy else [Fault(dice.choice(SPOILED), 0, count=dice.choice((1, 1, 2, 3)))]
        )
        plug.goes_away = dice.random() < GOES_AWAY
    busy = _busy()
    switches = [simulator.switches[plug.number] for plug in simulator.plugs]
    pks = [
        _order(pk, dice) for pk in switches if dice.random() < (IF_BUSY if pk in busy else IF_FREE)
    ]
    if dice.random() >= TOO_LATE:
        send.send(dice.choice([pks, None]))


def _busy() -> set[int]:
    """The switches that something is under way to."""
    return set(DeviceCommand.objects.open().values_list("attribute", flat=True))


def _order(switch_pk: int, dice: random.Random) -> int:
    """Most times the other way round than the order before, so that what arrives has an effect."""
    before = DeviceCommand.objects.filter(attribute=switch_pk).order_by("pk").last()
    value = bool(before and before.number) == (dice.random() < SAME_AGAIN)
    return send.order(
        switch_pk, value, source=Source.HUMAN, reason="a proof", expires_in=dice.choice(EXPIRES)
    ).pk


def _go_on(simulator: Liars, dice: random.Random, let_pass: LetPass) -> None:
    """Time passes, and what is open is polled, or carried on with, a few times. Plugs go away and
    come back."""
    for _ in range(dice.randint(0, 4)):
        let_pass(dice.choice(SPANS))
        for plug in simulator.plugs:
            if plug.is_away and dice.random() < COMES_BACK:
                plug.faults = []
            elif dice.random() < GOES_AWAY:
                go_away(plug)
        dice.choice([send.carry_on, lambda: poll.poll_devices(force=True)])()
    let_pass(dice.choice(SPANS))


def _switch_by_hand(simulator: Liars, dice: random.Random) -> None:
    busy = _busy()
    for plug in simulator.plugs:
        if simulator.switches[plug.number] not in busy and dice.random() < BY_HAND:
            plug.on = not plug.on
            plug.changes.append((datetime.now(UTC), plug.on))


def _finish(simulator: Liars, result: Acknowledgements, let_pass: LetPass) -> None:
    for plug in simulator.plugs:
        plug.faults = []
    for _ in range(LAST_ROUNDS):
        let_pass(timedelta(minutes=15))
        poll.poll_devices(force=True)
    result.wrong += [f"it never ended: {command}" for command in DeviceCommand.objects.open()]


def _check(simulator: Liars, result: Acknowledgements) -> None:
    commands = {
        command.pk: command for command in DeviceCommand.objects.select_related("attribute")
    }
    result.spoiled, result.orders, result.arrivals = (
        simulator.spoiled,
        len(commands),
        len(simulator.arrivals),
    )
    result.sent_again = sum(command.attempts > 1 for command in commands.values())
    result.states = Counter(command.state for command in commands.values())
    result.by_hand = sum(len(plug.changes) - plug.effects for plug in simulator.plugs)
    for arrival in simulator.arrivals:
        _check_arrival(arrival, commands.get(arrival.command or 0), result)
    done = {write.command: write.at for write in reversed(simulator.written)}
    result.twice = sum(
        arrival.at > done.get(arrival.command, arrival.at) for arrival in simulator.arrivals
    )
    for plug in simulator.plugs:
        of_plug = [
            command
            for command in commands.values()
            if command.attribute_id == simulator.switches[plug.number]
        ]
        false = [
            command
            for command in of_plug
            if command.state == State.CONFIRMED and not _was_so(plug, command)
        ]
        result.falsely_confirmed += len(false)
        result.wrong += [
            f"it was not so when it was confirmed: {command} {command.steps}" for command in false
        ]
        _check_last(plug, max(of_plug, key=lambda command: command.pk, default=None), result)


def _check_arrival(
    arrival: Arrival, command: DeviceCommand | None, result: Acknowledgements
) -> None:
    if command is None:
        result.wrong.append(f"it arrived, and nobody was sending it: {arrival}")
        return
    result.sent_after_expiry += arrival.at >= command.expires_at
    if command.state == State.EXPIRED:
        result.wrong.append(
            f"it arrived, and is said to have never been sent: {command} {command.steps}"
        )


def _was_so(plug: Plug, command: DeviceCommand) -> bool:
    """Whether the plug was as ordered when that was confirmed, and had shown it to the last read
    before. On a clock that stands still a newer order may switch it in the moment of the
    confirmation: that comes after it."""
    assert command.sent_at and command.finished_at
    is_on = next((on for at, on in reversed(plug.changes) if at < command.finished_at), False)
    shown_at, shown = next((at, on) for at, on in reversed(plug.shown) if at <= command.finished_at)
    return is_on is shown is command.value and shown_at > command.sent_at


def _check_last(plug: Plug, last: DeviceCommand | None, result: Acknowledgements) -> None:
    """The outcome of a plug's last order is what the plug did, unless switched since."""
    if (
        last is None
        or last.finished_at is None
        or any(at > last.finished_at for at, _ in plug.changes)
    ):
        return
    if last.state == State.CONFIRMED and plug.on is not last.value:
        result.wrong.append(f"the last order of {plug.name} is {last}, and it is {plug.on}")
