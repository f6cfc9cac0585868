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
LEAST_TIMES = 3
"""How many times faster a long range is read by hours than by the observations of six an hour."""


def main() -> None:
    devices, moments, rounds = (4, 500, 3) if is_quick() else (40, 5_000, 7)
    home.plugs(devices)
    now = timezone.now()
    home.history(moments, now - STEP * moments, STEP)
    home.heard(now)
    stored = Observation.objects.count()
    done, seconds = timed(roll_up)
    again, seconds_again = timed(roll_up)
    assert not again.written
    attribute = Attribute.objects.filter(name="temperature").order_by("pk")[0]
    times = [hour_of(now) - place * DAY for place in range(STEP * moments // DAY)][::-1]
    by_hours = min(timed(lambda: spans(attribute, times, now))[1] for _ in range(rounds))
    attribute.rolled_until = None
    raw = min(timed(lambda: spans(attribute, times, now))[1] for _ in range(rounds))
    deleted, seconds_deleting = timed(lambda: roll_up(Kept(now, days=1)))
    gone = deleted.deleted["observations"]
    days = len(times) - 1
    rows = [
        Row(
            "summed up", f"{stored:,} observations in {seconds:.1f} s", f"{stored / seconds:,.0f}/s"
        ),
        Row("hours written", f"{done.written:,}"),
        Row("nothing new", f"{seconds_again:.1f} s for {devices * len(home.SPECS)} attributes"),
        Row(
            "deleted then",
            f"{gone:,} in {seconds_deleting:.1f} s",
            f"{gone / seconds_deleting:,.0f}/s",
        ),
        Row(f"{days} days by the day, by observations", f"{1000 * raw:.1f} ms"),
        Row(
            f"{days} days by the day, by hours",
            f"{1000 * by_hours:.1f} ms",
            f"{raw / by_hours:.1f} x faster",
            f">= {LEAST_TIMES}",
            raw / by_hours >= LEAST_TIMES,
        ),
    ]
    show(f"Summed up by the hour, {home.database()}", rows)


def timed(what: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    done = what()
    return done, time.perf_counter() - began


if __name__ == "__main__":
    main()
