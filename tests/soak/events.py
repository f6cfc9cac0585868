"""Proof: whoever asks for the events after the last one seen gets each committed event once, in the
order of its keys, however many write at once. A writer is a process of its own: `python -m` this,
its number, a seed, and how many events."""

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import django

if __name__ == "__main__":
    django.setup()

from django.db import OperationalError  # noqa: E402 (needs what stands above)

from core.models import Device, Event, Gateway  # noqa: E402
from core.models.event import EventKind  # noqa: E402
from core.tasks.events.outbox import Outbox, publishing  # noqa: E402
from tests.soak.kills import start  # noqa: E402

DEVICES = 20
MOST_AT_ONCE = 100
"""Events in one transaction."""
ROLLED_BACK = 0.15
INNER_ROLLED_BACK = 0.15
SLOW = 0.05
LONGEST_SECONDS = 0.1
"""How long a slow transaction stays open while others commit."""
READ_AT_ONCE = 500


@dataclass
class Followed:
    """What a reader saw; all but the first block must be zero."""

    writers: int
    committed: int = 0
    rolled_back: int = 0
    changed: int = 0
    seconds: float = 0.0

    lost: int = 0
    twice: int = 0
    never_committed: int = 0
    out_of_order: int = 0
    other_than_stored: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"events: {self.writers} writers committed {self.committed:,} readings and "
            f"{self.changed:,} changes of {DEVICES} "
            f"devices in {self.seconds:.0f} s, and rolled {self.rolled_back:,} readings back: a "
            "reader asking for what is after "
            f"the last: {self.lost} lost, {self.twice} twice, {self.never_committed} never "
            f"committed, {self.out_of_order} out of "
            f"order, {self.other_than_stored} devices told last other than they are; "
            f"{len(self.wrong)} wrong"
        )

    @property
    def faults(self) -> list[str]:
        counted = ("lost", "twice", "never_committed", "out_of_order", "other_than_stored")
        return [
            f"{name}: {getattr(self, name)}" for name in counted if getattr(self, name)
        ] + self.wrong


def follow_writers(events: int, database_url: str, writers: int = 8, seed: int = 1) -> Followed:
    """Let writers commit so many events together, read them meanwhile, and compare."""
    followed, dice = Followed(writers), random.Random(seed)
    with publishing():
        gateway = Gateway.objects.create(
            vendor="shelly", name="A proof", address="http://127.0.0.1:1"
        )
    Device.objects.bulk_create(
        Device(gateway=gateway, vendor_id=f"{number}", name="0") for number in range(DEVICES)
    )
    started_at = time.monotonic()
    commands = [
        ("-m", "tests.soak.events", f"{writer}", f"{dice.random()}", f"{events // writers}")
        for writer in range(writers)
    ]
    processes = [start(command, database_url) for command in commands]
    seen = _follow(processes)
    followed.seconds = time.monotonic() - started_at
    committed = [number for process in processes for number in _said(process, followed)]
    _check(seen, Counter(committed), followed)
    return followed


def _follow(processes: list[subprocess.Popen[str]]) -> list[Event]:
    """Reads while anybody writes, and to the end afterwards."""
    seen: list[Event] = []
    while True:
        is_over = all(process.poll() is not None for process in processes)
        found = list(Event.objects.after(seen[-1].pk if seen else 0)[:READ_AT_ONCE])
        seen += found
        if is_over and not found:
            return seen
        if not found:
            time.sleep(0.002)


def _said(process: subprocess.Popen[str], followed: Followed) -> list[str]:
    """The numbers that it says it committed: spans, so that they fit into the pipe while nobody
    reads it."""
    said, _ = process.communicate()
    if process.returncode:
        followed.wrong.append(said[-500:])
        return []
    writer, rolled_back, *spans = said.split()
    followed.rolled_back += int(rolled_back)
    return [f"{writer}.{number}" for span in spans for number in range(*map(int, span.split("-")))]


def _check(seen: list[Event], committed: Counter[str], followed: Followed) -> None:
    told = Counter(event.body["number"] for event in seen if event.kind == EventKind.READINGS)
    keys = [event.pk for event in seen]
    followed.committed, followed.changed = committed.total(), len(seen) - told.total()
    followed.lost = (committed - told).total() + Event.objects.count() - len(set(keys))
    followed.twice = sum(count - 1 for count in told.values()) + len(keys) - len(set(keys))
    followed.never_committed = len(set(told) - set(committed))
    followed.out_of_order = _falls(keys) + _falls_of_writers(seen)
    last = {event.device: event.body["name"] for event in seen if event.kind == EventKind.DEVICE}
    stored = dict(Device.objects.values_list("pk", "name"))
    followed.other_than_stored = sum(stored[device] != name for device, name in last.items())


def _falls(numbers: list[int]) -> int:
    return sum(later <= earlier for earlier, later in zip(numbers, numbers[1:], strict=False))


def _falls_of_writers(seen: list[Event]) -> int:
    """What one process wrote one after the other is read in that order."""
    of: dict[str, list[int]] = {}
    for event in seen:
        if event.kind == EventKind.READINGS:
            writer, _, number = event.body["number"].partition(".")
            of.setdefault(writer, []).append(int(number))
    return sum(map(_falls, of.values()))


class Writer:
    """Commits readings under numbers of its own, and renames devices."""

    def __init__(self, name: str, dice: random.Random) -> None:
        self.name = name
        self.dice = dice
        self.device_pks = list(Device.objects.order_by("pk").values_list("pk", flat=True))
        self.number = 0
        self.rolled_back = 0
        self.committed: list[range] = []

    def commit(self, events: int) -> None:
        """One transaction of so many readings. A third of them may be rolled back before, or all at
        the end."""
        told: list[range] = []
        try:
            with publishing():
                told.append(self._tell(events - events // 3))
                told.append(self._tell_and_maybe_fail(events // 3))
                if self.dice.random() < SLOW:
                    time.sleep(self.dice.uniform(0, LONGEST_SECONDS))
                if self.dice.random() < ROLLED_BACK:
                    raise ZeroDivisionError
        except (
            ZeroDivisionError,
            OperationalError,
        ):  # eight writers without a pause starve one of SQLite's for 20 s at times
            self.rolled_back += sum(map(len, told))
        else:
            self.committed += told

    def _tell(self, events: int) -> range:
        with publishing() as outbox:
            # Locked in one order, as record() does.
            for pk in sorted(self.dice.sample(self.device_pks, self.dice.choice([0, 0, 1, 3]))):
                Device.objects.filter(pk=pk).update(name=f"{self.name}.{self.number}")
                outbox.changed_pks(Device, [pk])
            return self._readings(outbox, events)

    def _tell_and_maybe_fail(self, events: int) -> range:
        try:
            with publishing() as outbox:
                numbers = self._readings(outbox, events)
                if self.dice.random() < INNER_ROLLED_BACK:
                    raise LookupError
                return numbers
        except LookupError:
            self.rolled_back += events
            return range(0)

    def _readings(self, outbox: Outbox, events: int) -> range:
        numbers = range(self.number, self.number + events)
        self.number = numbers.stop
        for number in numbers:
            outbox.readings(
                self.dice.choice(self.device_pks), 1, {"number": f"{self.name}.{number}"}
            )
        return numbers


def main(name: str, seed: float, events: int) -> None:
    writer = Writer(name, random.Random(seed))
    while sum(map(len, writer.committed)) < events:
        writer.commit(writer.dice.randint(1, MOST_AT_ONCE))
    print(
        name,
        writer.rolled_back,
        *(f"{span.start}-{span.stop}" for span in writer.committed if span),
    )


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
