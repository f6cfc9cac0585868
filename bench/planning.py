"""How much processor time it takes to plan 10,000 devices, next to trying every minute."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import cos, pi

from bench.table import Row, is_quick, show
from core.feeds import Slot
from core.planning import Job, plan

DEVICES = 10_000
SAMPLE = 20
TARGET_SECONDS = 5
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(minutes=10, seconds=7)
MINUTE, HALF_HOUR, HOUR = timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=1)
Work = tuple[Job, list[Slot]]
KINDS: dict[str, dict[str, object]] = {
    "in one run": {"contiguous": True},
    "split": {},
    "split, each run at least 30 min, each pause 15": {
        "min_on": 30 * MINUTE,
        "min_off": 15 * MINUTE,
    },
    "split, each run at least 60 min, each pause 30": {
        "min_on": 60 * MINUTE,
        "min_off": 30 * MINUTE,
    },
}
ONE, SPLIT, LIMITED, MORE_LIMITED = KINDS
MIX = (*(ONE, SPLIT) * 2, LIMITED, *(ONE, SPLIT) * 2, MORE_LIMITED)


def main() -> None:
    devices = 600 if is_quick() else DEVICES
    rng = random.Random(3)
    outside = [forecast(rng) for _ in range(20)]
    work: dict[str, list[Work]] = {kind: [] for kind in KINDS}
    for k in range(devices):
        kind = MIX[k % len(MIX)]
        work[kind].append((job(rng, KINDS[kind]), rng.choice(outside)))
    spent = {kind: seconds(plan, work[kind]) for kind in KINDS}
    each = {kind: 1000 * spent[kind] / len(work[kind]) for kind in KINDS}
    naive = 1000 * seconds(every_minute, work[ONE][:SAMPLE]) / SAMPLE
    in_all = sum(spent.values())
    rows = [
        Row(f"in one run, every minute tried: a sample of {SAMPLE}", f"{naive:.1f} ms each"),
        Row(
            f"in one run: {len(work[ONE]):,}",
            f"{each[ONE]:.2f} ms each",
            f"{naive / each[ONE]:.0f} x faster",
        ),
        *(
            Row(f"{kind}: {len(work[kind]):,}", f"{each[kind]:.2f} ms each")
            for kind in list(KINDS)[1:]
        ),
        Row(
            f"all {devices:,}",
            f"{in_all:.2f} s",
            target=f"< {TARGET_SECONDS} s",
            met=in_all < TARGET_SECONDS,
        ),
    ]
    show(f"Planning {devices:,} devices over 48 hours of half-hours: processor time", rows)


def forecast(rng: random.Random) -> list[Slot]:
    """Return two days of half-hours from midnight: low at night and at noon, with noise.

    In whole gCO2/kWh, as the source gives it.
    """
    level, sun = rng.uniform(100, 200), rng.uniform(0, 60)
    slots, drift = [], 0.0
    for k in range(96):
        drift += rng.gauss(0, 6)
        wave = cos(k * pi / 24)
        value = round(max(0, level - 50 * wave - sun * max(0, -wave) + drift))
        starts_at = MIDNIGHT + k * HALF_HOUR
        slots.append(Slot(starts_at, starts_at + HALF_HOUR, value, "gCO2/kWh"))
    return slots


def job(rng: random.Random, kind: dict[str, object]) -> Job:
    minutes = rng.randint(30, 300)
    deadline = MIDNIGHT + rng.randint(12 * 4, 48 * 4) * timedelta(minutes=15)
    return Job(MIDNIGHT, deadline, minutes, watts=2000, latest=rng.random() < 0.5, **kind)


def seconds(planner: Callable[[Job, list[Slot], datetime], object], jobs: list[Work]) -> float:
    began = time.process_time()
    for one, slots in jobs:
        planner(one, slots, NOW)
    return time.process_time() - began


def every_minute(job: Job, slots: list[Slot], now: datetime) -> float:
    """Try each minute as the start, and look up each minute of the run."""
    best = float("inf")
    start = now
    while start + job.minutes * MINUTE <= job.deadline:
        total = 0.0
        for k in range(round(job.minutes)):
            total += slots[(start + k * MINUTE - MIDNIGHT) // HALF_HOUR].value
        best = min(best, total)
        start += MINUTE
    return best


if __name__ == "__main__":
    main()
