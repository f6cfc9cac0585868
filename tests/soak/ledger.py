"""Prove that device commands are stored truthfully, in whatever order things come.

A Hypothesis state machine.

Real tasks on a real database against simulated plugs over real HTTP, on a clock that the machine
moves: ticks come late, doubled and overlapped, processes die between any two steps, people press
buttons here and at the devices, devices restart, lie, lose orders and answers, and their timers run
out.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import time_machine
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core import rules
from core.models import Attribute, Device, DeviceCommand, FeedSource, Gateway, Lease, Receipt, Run
from core.models.device import FailSafe
from core.models.device_command import State
from core.readings import Source
from core.simulator import Fault
from core.simulator import SimulatedDevice as SimulatedDevice
from core.tasks import decide, gateways, poll
from core.tasks.orders import holds, send
from tests.soak.kills import let_clock_of_the_database_pass
from tests.soak.rules import scripted
from tests.soak.sending import WatchedSimulator

PLUGS = 3
WORDS = ("on", "off", "nothing", "guard", "undecided", "broken")
HELD_BY_HAND = "changed at the device itself"
FAULTS = {
    "none": [],
    "unreachable": [Fault("unreachable")],
    "lost command": [Fault("lost_command", 0, count=1)],
    "lost answer": [Fault("lost_answer", 0, count=1)],
    "lying": [Fault("lying", count=1)],
    "busy": [Fault("503")],
}

plugs = st.integers(0, PLUGS - 1)


class Home(WatchedSimulator):
    """Plugs whose timers run on the clock that the machine moves, while it is right."""

    wrong_by = timedelta()
    """How far the machine's clock is ahead of the true one."""

    def true_time(self) -> float:
        return time.time() - self.wrong_by.total_seconds()

    def order(self, device: SimulatedDevice, on: bool, toggle_after: float | None) -> bool:
        was_on = super().order(device, on, None)
        device.timer = None if toggle_after is None else (self.true_time(), toggle_after)
        return was_on

    def run_timers(self) -> list[SimulatedDevice]:
        now = self.true_time()
        due = [plug for plug in self.plugs if plug.timer and now >= sum(plug.timer)]
        for plug in due:
            plug.revert()
            plug.changes.append((datetime.now(UTC), plug.on))
        return due


@dataclass
class Truth:
    """What the machine knows of a plug and the ledger does not."""

    number: int
    device_pk: int
    switch_pk: int
    by_hand: int = 0
    """Changes at the plug itself since a hold was last seen to come of one."""
    undecided_since: datetime | None = None


@dataclass
class Tally:
    """What all machines did together."""

    steps: int = 0
    orders: int = 0
    holds: int = 0
    reverts: int = 0
    machines: int = 0
    jumps: int = 0
    blocked: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        states = ", ".join(f"{count} {state}" for state, count in self.states.most_common())
        return (
            f"ledger: {self.steps:,} steps, {self.orders:,} orders ({states}), {self.holds:,} "
            "holds seen at the device, "
            f"{self.reverts:,} timers ran out, {self.jumps:,} jumps of the clock, "
            f"{self.blocked:,} runs refused: 0 violations"
        )


TALLY = Tally()


@contextmanager
def scripted_rules() -> Iterator[None]:
    folder = str(Path(__file__).with_name("rules"))
    rules.__path__.append(folder)
    rules.load.cache_clear()
    import core.rules.scripted  # type: ignore[import-not-found]  # found in the folder just added

    core.rules.scripted.SCRIPT = scripted.SCRIPT
    try:
        yield
    finally:
        rules.__path__.remove(folder)
        rules.load.cache_clear()


class Ledger(RuleBasedStateMachine):
    home: Home
    """Set by the proof: it runs all the time, for every machine."""

    @initialize(
        fail_safe=st.sampled_from(list(FailSafe)),
        least=st.sampled_from([0, 30]),
        said=st.lists(st.sampled_from(WORDS), min_size=3),
    )
    def begin(self, fail_safe, least, said):
        self.traveller = time_machine.travel(self.begins_at(), tick=False)
        self.clock = self.traveller.start()
        send.time = SimpleNamespace(
            sleep=lambda seconds: self.let_pass(timedelta(seconds=seconds))
        )  # other threads do sleep
        for model in (Gateway, Lease, Run, Receipt, FeedSource):
            model.objects.all().delete()
        scripted.SCRIPT.clear()
        scripted.SCRIPT.update({f"Plug {place}": word for place, word in enumerate(said[:PLUGS])})
        self.home.written.clear()
        self.truths = [self._plug(number, fail_safe, least) for number in range(PLUGS)]
        self.checked: set[int] = set()
        self.poll()

    def begins_at(self):
        return datetime.now(UTC)

    def _plug(self, place, fail_safe, least):
        plug = self.home.plugs[place]
        plug.faults, plug.timer = [], None
        plug.on, plug.source = False, "init"
        plug.shown.clear()
        plug.changes.clear()
        [pk] = gateways.add("shelly", self.home.address(plug.number)).new
        gateways.change_device(
            pk,
            name=f"Plug {place}",
            rule="scripted",
            fail_safe=fail_safe,
            min_on_minutes=least,
            most_switches_an_hour=0,
        )
        switch = Attribute.objects.get(device=pk, name="on").pk
        self.home.switches[plug.number] = switch
        return Truth(plug.number, pk, switch)

    def teardown(self):
        if hasattr(self, "traveller"):
            self.check_the_ledger()
            self.quieten()
            send.time = time
            self.traveller.stop()

    def quieten(self):
        """In the end everything is healthy: what is open comes to an end."""
        for truth in self.truths:
            self.plug(truth).faults = []
            scripted.SCRIPT[f"Plug {truth.number // 4}"] = "nothing"
        for _ in range(6):
            self.let_pass(timedelta(minutes=15))
            self.poll()
        assert not DeviceCommand.objects.open().exists(), list(DeviceCommand.objects.open())
        self.check_the_ledger()
        TALLY.orders += DeviceCommand.objects.count()
        TALLY.states.update(DeviceCommand.objects.values_list("state", flat=True))

    def plug(self, truth):
        return self.home.plugs[truth.number // 4]

    def let_pass(self, span):
        self.clock.shift(span)
        let_clock_of_the_database_pass(span)
        TALLY.reverts += len(self.home.run_timers())

    def poll(self):
        poll.poll_devices(force=True)

    def decide(self):
        return decide.decide()

    def true_now(self):
        """What a clock shows that is never wrong."""
        return timezone.now()

    def least_undecided(self, truth):
        """How long nothing was decided, at least, when the fail-safe acts."""
        return timedelta(minutes=60)

    # What happens

    @rule(minutes=st.sampled_from([0.1, 1, 5, 10, 25, 70]))
    def time_passes(self, minutes):
        TALLY.steps += 1
        self.let_pass(timedelta(minutes=minutes))

    @rule(place=plugs, word=st.sampled_from(WORDS))
    def an_ordinary_round(self, place, word):
        """Ten minutes later the scheduler comes, and one rule has changed its mind."""
        scripted.SCRIPT[f"Plug {place}"] = word
        self.let_pass(timedelta(minutes=10))
        self.poll()
        self.tick(1)

    @rule()
    def poll_runs(self):
        TALLY.steps += 1
        self.poll()

    @rule(times=st.integers(1, 2))
    def tick(self, times):
        TALLY.steps += 1
        for _ in range(times):
            before = max(DeviceCommand.objects.values_list("pk", flat=True), default=0)
            held = {
                truth.device_pk: self.device(truth).is_held(timezone.now()) for truth in self.truths
            }
            for verdict in self.decide():
                self.check_who_won(verdict, held[verdict.device.pk])
            self.check_new_orders(before)

    @rule(place=plugs, word=st.sampled_from(WORDS))
    def the_rule_thinks(self, place, word):
        TALLY.steps += 1
        scripted.SCRIPT[f"Plug {place}"] = word

    @rule(place=plugs, fault=st.sampled_from(sorted(FAULTS)))
    def trouble(self, place, fault):
        TALLY.steps += 1
        self.home.plugs[place].faults = [
            Fault(one.kind, one.argument, one.count) for one in FAULTS[fault]
        ]

    @rule(place=plugs)
    def a_person_at_the_device(self, place):
        TALLY.steps += 1
        plug = self.home.plugs[place]
        plug.on, plug.timer = not plug.on, None
        plug.changes.append((datetime.now(UTC), plug.on))
        self.truths[place].by_hand += 1

    @rule(place=plugs)
    def the_device_restarts(self, place):
        TALLY.steps += 1
        plug = self.home.plugs[place]
        plug.on, plug.timer = False, None
        plug.source = "init"
        plug.changes.append((datetime.now(UTC), False))

    @rule(place=plugs, on=st.booleans(), is_sent=st.booleans())
    def a_person_presses(self, place, on, is_sent):
        """Not sent: the server died after the commit."""
        TALLY.steps += 1
        command = send.order(
            self.truths[place].switch_pk, on, source=Source.HUMAN, reason="pressed"
        )
        if is_sent:
            send.send([command.pk])

    @rule(place=plugs, minutes=st.sampled_from([30, None]))
    def a_person_holds(self, place, minutes):
        TALLY.steps += 1
        until = timezone.now() + timedelta(minutes=minutes) if minutes else None
        holds.hold(self.truths[place].device_pk, until, "held by hand")

    @rule(place=plugs)
    def a_person_releases(self, place):
        TALLY.steps += 1
        holds.release(self.truths[place].device_pk)

    @rule(is_written=st.booleans())
    @precondition(lambda self: DeviceCommand.objects.waiting().exists())
    def a_process_dies_while_sending(self, is_written):
        TALLY.steps += 1
        for command in send._claim(None):
            if is_written:
                self.write(command)

    @rule(seconds=st.sampled_from([0, 3, 20, 700]), is_decided=st.booleans())
    @precondition(lambda self: DeviceCommand.objects.waiting().exists())
    def a_process_is_slow_and_another_overtakes_it(self, seconds, is_decided):
        TALLY.steps += 1
        claimed = send._claim(None)
        self.let_pass(timedelta(seconds=seconds))
        if is_decided:
            self.tick(1)
        else:
            send.carry_on()
        for command in claimed:
            send._note(command, self.write(command))

    def write(self, command):
        try:
            send._write_one(command)
        except Exception as error:
            return error
        return None

    # What must hold

    def device(self, truth):
        return Device.objects.get(pk=truth.device_pk)

    def check_who_won(self, verdict, was_held):
        """Compare with a second account: the script, the hold, since when nothing was decided."""
        truth = next(truth for truth in self.truths if truth.device_pk == verdict.device.pk)
        word, now = scripted.SCRIPT.get(str(verdict.device), "nothing"), self.true_now()
        is_held = self.device(truth).is_held(timezone.now())
        assert (verdict.source is Source.HUMAN) == was_held or is_held, verdict
        is_blind = verdict.state.switch.name not in verdict.state.fresh
        undecided = word in ("undecided", "broken") or is_blind
        if verdict.source is Source.FAIL_SAFE:
            assert truth.undecided_since and self.device(truth).fail_safe != FailSafe.KEEP, verdict
            assert now - truth.undecided_since >= self.least_undecided(truth), verdict
        if verdict.source is Source.GUARD:
            assert word == "guard" and verdict.decision.value is False, verdict
        truth.undecided_since = (
            (truth.undecided_since or now)
            if undecided or verdict.source is Source.FAIL_SAFE
            else None
        )

    def check_new_orders(self, before):
        """A rule orders only what it says now, and nothing against a guard."""
        for command in DeviceCommand.objects.filter(pk__gt=before).select_related(
            "attribute__device"
        ):
            word = scripted.SCRIPT.get(str(command.attribute.device), "nothing")
            allowed = {Source.RULE: (word,), Source.GUARD: ("off",) if word == "guard" else ()}
            assert (
                command.source not in allowed
                or ("on" if command.value else "off") in allowed[command.source]
            ), command

    @invariant()
    def holds_have_a_reason(self):
        for truth in getattr(self, "truths", ()):
            device = self.device(truth)
            if (
                device.hold_reason.startswith(HELD_BY_HAND)
                and device.held_at
                and device.held_at not in self.seen_holds
            ):
                assert truth.by_hand, (
                    f"nobody touched {device}, and it is held: {device.hold_reason}"
                )
                self.seen_holds.add(device.held_at)
                TALLY.holds += 1

    @property
    def seen_holds(self):
        return self.__dict__.setdefault("_seen_holds", set())

    @invariant()
    def check_the_ledger(self):
        if not hasattr(self, "checked"):
            return
        commands = {
            command.pk: command
            for command in DeviceCommand.objects.select_related("attribute__device")
        }
        self.check_writes(commands)
        for command in commands.values():
            if command.state == State.CONFIRMED and command.pk not in self.checked:
                self.checked.add(command.pk)
                assert self.was_shown(command), f"never seen: {command} {command.steps}"
            if command.state == State.EXPIRED:
                assert not any(write.command == command.pk for write in self.home.written), command

    def check_writes(self, commands):
        effects = Counter(write.command for write in self.home.written if write.has_effect)
        for write in self.home.written:
            command = commands.get(write.command or 0)
            assert command, f"written, and nobody was sending it: {write}"
            assert write.at <= command.expires_at, f"written after it had expired: {command}"
            assert command.value is write.value, f"{write} is not what was ordered: {command}"
            if effects[command.pk] > 1:
                assert self.was_changed_between(command), (
                    f"had effect twice: {command} {command.steps}"
                )

    def was_changed_between(self, command):
        """Whether the plug was changed otherwise while the order was open.

        Then it may have to be done again.
        """
        truth = next(truth for truth in self.truths if truth.switch_pk == command.attribute_id)
        until = command.finished_at or datetime.now(UTC)
        values = [on for at, on in self.plug(truth).changes if command.requested_at <= at <= until]
        return (not command.value) in values

    def was_shown(self, command):
        """Whether a read showed the value after the order was written and before it was
        confirmed."""
        truth = next(truth for truth in self.truths if truth.switch_pk == command.attribute_id)
        return any(
            on is command.value and command.sent_at <= at <= command.finished_at
            for at, on in self.plug(truth).shown
        )


def run_the_ledger(machines: int, steps: int, machine: type[Ledger] = Ledger) -> Tally:
    """Run so many machines of so many steps. Raises what is violated, with the shortest way to
    it."""
    global TALLY
    TALLY = Tally()
    with scripted_rules(), Home(PLUGS) as Ledger.home:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=machines,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            ),
        )
    return TALLY
