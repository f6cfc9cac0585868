"""Measure summing up a million observations by the hour, and reading them that way."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.utils import timezone

from bench import home
from bench.table import Row, is_quick, show
from core.models import Attribute, Observation
from core.models.hourly import hour_of
from core.tasks.observations import spans
from core.tasks.retention import Kept
from core.tasks.roll_up import roll_up

T = TypeVar("T")
STEP = timedelta(minutes=10)
DAY = timedelta(days=1)
LEAST_TIMES = 2
"""How many times faster a long range is read by hours than by the observations of six an hour."""


def main() -> None:
    devices, moments, rounds = (4, 500, 3) if is_quick() else (40, 5_000, 7)
    home.plugs(devices)
    now = timezone.now()
    home.history(moments, now - STEP * moments, STEP)
    home.heard(now)
    stored = Observation.objects.count()
    done, seconds, cpu = timed(roll_up)
    _, _, cpu_again = timed(roll_up)
    attribute = Attribute.objects.filter(name="temperature").order_by("pk")[0]
    times = [hour_of(now) - place * DAY for place in range(STEP * moments // DAY)][::-1]
    by_hours = min(timed(lambda: spans(attribute, times, now))[2] for _ in range(rounds))
    attribute.rolled_until = None
    raw = min(timed(lambda: spans(attribute, times, now))[2] for _ in range(rounds))
    deleted, seconds_deleting, _ = timed(lambda: roll_up(Kept(now, days=1)))
    gone = deleted.deleted["observations"]
    days, attributes = len(times) - 1, devices * len(home.SPECS)
    rows = [
        Row(
            f"{stored:,} observations summed up",
            f"{seconds:.1f} s, {done.written:,} hours",
            f"{stored / seconds:,.0f} a second",
        ),
        Row(
            "of these, processor time here",
            f"{cpu:.1f} s",
            f"{1e6 * cpu / stored:.1f} us an observation",
        ),
        Row(
            "once more, with nothing new",
            f"{cpu_again:.2f} s of processor time",
            f"{1000 * cpu_again / attributes:.1f} ms an attribute",
        ),
        Row(
            "observations deleted then",
            f"{seconds_deleting:.1f} s",
            f"{gone / seconds_deleting:,.0f} a second",
        ),
        Row(f"{days} days by the day, by observations", f"{1000 * raw:.1f} ms of processor time"),
        Row(
            f"{days} days by the day, by hours",
            f"{1000 * by_hours:.1f} ms of processor time",
            f"{raw / by_hours:.1f} x faster",
            f">= {LEAST_TIMES}",
            raw / by_hours >= LEAST_TIMES,
        ),
    ]
    show(f"Summed up by the hour, {home.database()}", rows)


def timed(what: Callable[[], T]) -> tuple[T, float, float]:
    """Return what it returns, the seconds it took, and those of the processor in this process."""
    began, began_here = time.perf_counter(), time.process_time()
    done = what()
    return done, time.perf_counter() - began, time.process_time() - began_here


if __name__ == "__main__":
    main()
