"""Every rule at every minute of a year, in zones whose clock is put forward and back."""

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import product
from multiprocessing import get_context

from tests.core.rules.years import LIVES, ZONES, Life, live

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAY_MINUTES = 24 * 60


def live_a_year(days: int) -> list[Life]:
    """Let a device live so many days by each rule in each zone."""
    lives = list(product(LIVES, ZONES))
    names, zones = zip(*lives, strict=True)
    starts, minutes = [YEAR] * len(lives), [days * DAY_MINUTES] * len(lives)
    # Not forked: a child would take over the database connection of the tests.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        return list(processes.map(live, names, zones, starts, minutes))
