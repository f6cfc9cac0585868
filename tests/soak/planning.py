"""Random jobs with least times and gaps: the planner next to one that tries every way to run."""

from dataclasses import dataclass, field
from random import Random

from tests.core.planning.brute_force import Small, check, check_in_one_run


@dataclass
class Comparison:
    """Plans compared, and the worlds in which the two disagree."""

    plans: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"planner and brute force: {self.plans:,} plans, {len(self.faults)} differ"


def compare_plans(worlds: int, seed: int = 1) -> Comparison:
    """Plan each random world split and in one run."""
    random, comparison = Random(seed), Comparison()
    for _ in range(worlds):
        world = _random_world(random)
        for contiguous in (False, True):
            comparison.plans += 1
            try:
                if contiguous:
                    check_in_one_run(world)
                else:
                    check(world, world.planned(), list(world.every_way()))
            except AssertionError as error:
                comparison.faults.append(f"{world}, contiguous={contiguous}: {error}")
    return comparison


def _random_world(random: Random) -> Small:
    values = [random.choice([None, -2, 0, 1, 1, 2, 3]) for _ in range(random.randint(1, 10))]
    on = random.choice([None, random.randint(0, 4)])
    off = random.choice([None, random.randint(0, 4)]) if on is None else None
    return Small(
        values,
        slot=1,
        now=random.randrange(len(values)),
        amount=random.randint(1, 8),
        latest=random.choice([False, True]),
        min_on=random.randint(0, 4),
        min_off=random.randint(0, 4),
        on=on,
        off=off,
    )
