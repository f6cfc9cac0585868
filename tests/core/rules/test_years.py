from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from core import rules
from tests.core.rules.years import LIVES, ZONES, changes_of, live

HOUR = 60
"""Minutes."""


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", LIVES)
def test_a_rule_lives_through_the_days_on_which_a_clock_jumps(name, zone):
    """The whole year, each minute of it, is a soak: tests/soak/years.py."""
    changes = changes_of(zone, 2026)
    assert len(changes) == 2
    is_schedule = LIVES[name][0] == "schedule"
    minute_by_minute, week_before = (3, 10 * HOUR, 1), (9 * 24, 10 * 24 * HOUR, HOUR)
    spans = [minute_by_minute, week_before] if is_schedule else [(30, 60 * HOUR, 15)]
    for day, (before, minutes, step) in product(changes, spans):
        midnight = datetime.combine(day, datetime.min.time(), ZoneInfo(zone))
        start = midnight.astimezone(UTC) - timedelta(hours=before)
        life = live(name, zone, start, minutes, step)
        assert life.faults == []
        assert life.minutes == minutes


def test_every_rule_has_a_life():
    assert {rule for rule, _ in LIVES.values()} == set(rules.names())
