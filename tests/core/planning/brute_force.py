"""A planner that tries every way to run on a small grid, to compare the real one with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

import pytest

from core.feeds import Slot
from core.planning import Job, WindowPlan, cost, plan

NIGHT = datetime(2026, 11, 21, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
Way = tuple[int, ...]
"""The steps in which it is on."""


@dataclass(frozen=True)
class Small:
    """A world of at most ten steps, each known or not. Times and lengths are in steps.

    `on`: for how long it has been running when the time to plan begins; None: it is off.
    """

    values: list[float | None]
    slot: int
    now: int
    amount: int
    latest: bool
    min_on: int = 0
    min_off: int = 0
    on: int | None = None
    off: int | None = None
    step: timedelta = MINUTE

    def at(self, steps: float) -> datetime:
        return NIGHT + steps * self.step

    @property
    def slots(self) -> list[Slot]:
        pairs = enumerate(self.values)
        known = [
            (self.at(k * self.slot), self.at((k + 1) * self.slot), value)
            for k, value in pairs
            if value is not None
        ]
        return [Slot(*one, "gCO2/kWh") for one in known]

    @property
    def end(self) -> int:
        return len(self.values) * self.slot

    def job(self, contiguous: bool = False) -> Job:
        minutes = self.amount * (self.step / MINUTE)
        limits = {"min_on": self.min_on * self.step, "min_off": self.min_off * self.step}
        return Job(
            NIGHT, self.at(self.end), minutes, contiguous=contiguous, latest=self.latest, **limits
        )

    def planned(self, contiguous: bool = False) -> WindowPlan:
        on_since = None if self.on is None else self.at(self.now - self.on)
        off_since = None if self.off is None else self.at(self.now - self.off)
        return plan(self.job(contiguous), self.slots, self.at(self.now), on_since, off_since)

    def value(self, step: int) -> float | None:
        return self.values[step // self.slot]

    @property
    def must(self) -> Way:
        """The steps in which a device that is on must go on, as far as they are known."""
        steps = range(self.now, min(self.now + self.still_on, self.end))
        known = [step for step in steps if self.value(step) is not None]
        return tuple(step for k, step in enumerate(known) if step == self.now + k)

    @property
    def still_on(self) -> int:
        return 0 if self.on is None else max(0, self.min_on - self.on)

    @property
    def goes_on(self) -> bool:
        """Whether it is on, and may be until its least time on is over."""
        is_known = self.on is not None and self.value(self.now) is not None
        return is_known and len(self.must) == self.still_on

    @property
    def off_until(self) -> int:
        if self.on is not None:
            return self.now + self.still_on + self.min_off
        return self.now if self.off is None else max(self.now, self.now - self.off + self.min_off)

    def every_way(self) -> Iterator[Way]:
        """Yield all the ways to be on and off that the limits allow.

        If there is none, the longest single runs: shorter than the least time on.
        """
        steps, is_possible = range(self.now, self.end), False
        for bits in range(1, 2 ** len(steps)):
            way = tuple(step for k, step in enumerate(steps) if bits >> k & 1)
            if all(self.value(step) is not None for step in way) and self.allows(way):
                is_possible = True
                yield way
        if not is_possible:
            yield from self.shorter_runs()

    def shorter_runs(self) -> Iterator[Way]:
        known = [step for step in range(self.off_until, self.end) if self.value(step) is not None]
        longest = max((end - start for start, end in runs(known)), default=0)
        size = min(longest, max(self.amount, self.min_on))
        for start in known if size else []:
            way = tuple(range(start, start + size))
            if set(way) <= set(known):
                yield way

    def allows(self, way: Way) -> bool:
        if way[: len(self.must)] != self.must:
            return False
        rest = way if self.goes_on else way[len(self.must) :]
        spans = runs(rest)
        if self.goes_on and rest[0] == self.now:
            spans = [(spans[0][0] - (self.on or 0), spans[0][1]), *spans[1:]]
        elif rest and rest[0] < self.off_until:
            return False
        lengths = [end - start for start, end in spans]
        pauses = [after[0] - before[1] for before, after in pairwise(spans)]
        return all(one >= self.min_on for one in lengths) and all(
            one >= self.min_off for one in pauses
        )

    def rank(self, way: Way) -> tuple[int, int, float]:
        """Long enough before too short, the length wanted before any other, then what is cheap."""
        wanted = max(self.amount, len(self.must))
        return len(way) < wanted, abs(len(way) - wanted), self.price(way)

    def price(self, way: Way) -> float:
        return sum(self.value(step) or 0 for step in way)

    def is_in_one_run(self, way: Way) -> bool:
        """Whether a way is one run, but for what must still be run of the present one."""
        return len(runs(way)) == 1 or len(runs(way[len(self.must) :])) == 1


def runs(way: Sequence[int]) -> list[tuple[int, int]]:
    groups = [
        [step for _, step in group]
        for _, group in groupby(enumerate(way), key=lambda pair: pair[1] - pair[0])
    ]
    return [(group[0], group[-1] + 1) for group in groups]


def steps_of(small: Small, made: WindowPlan) -> Way:
    """The steps that a plan runs in; windows must be whole steps, in order, and apart."""
    spans = [
        ((w.starts_at - NIGHT) / small.step, (w.ends_at - NIGHT) / small.step) for w in made.windows
    ]
    assert all(start == round(start) and end == round(end) and start < end for start, end in spans)
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    return tuple(step for start, end in spans for step in range(round(start), round(end)))


def check(small: Small, made: WindowPlan, ways: list[Way]) -> None:
    """Whatever the best of all the ways costs, the plan costs: not only as it says."""
    way = steps_of(small, made)
    if not ways:
        assert not way
        return
    best = min(map(small.rank, ways))
    assert way in ways
    assert small.rank(way) == best
    assert made.cost == pytest.approx(best[2] * (small.step / HOUR))
    assert made.cost == pytest.approx(cost(made.windows, small.slots, 1000))
    assert made.short_minutes == pytest.approx(
        max(0, small.amount - len(way)) * (small.step / MINUTE)
    )


def check_in_one_run(small: Small) -> None:
    """One run is as long as any is, and as cheap if nothing runs yet."""
    made = small.planned(contiguous=True)
    ways = [way for way in small.every_way() if small.is_in_one_run(way)]
    way = steps_of(small, made)
    if small.on is None or not ways:
        check(small, made, ways)
        return
    assert way in ways
    assert min(len(way), small.amount) == max(min(len(one), small.amount) for one in ways)
    going_on = tuple(range(small.now, small.now + small.amount))
    if going_on in ways and not small.must:
        assert small.price(way) <= small.price(going_on)
