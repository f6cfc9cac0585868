"""Who wins, who waits, and the way back.

Every cell of the tables is written out by hand, against the specification.
"""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from core.planning.precedence import Limits, is_renewed, waits, way_back, winner
from core.readings import Source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY = 10 * MINUTE

# held, guard averts harm, fail-safe due, rule decides: who wins. A dash: nobody, the device is left
# alone.
WINNERS = """
no   no   no   no   -
no   no   no   yes  rule
no   no   yes  no   fail-safe
no   no   yes  yes  fail-safe
no   yes  no   no   guard
no   yes  no   yes  guard
no   yes  yes  no   guard
no   yes  yes  yes  guard
yes  no   no   no   human
yes  no   no   yes  human
yes  no   yes  no   human
yes  no   yes  yes  human
yes  yes  no   no   human
yes  yes  no   yes  human
yes  yes  yes  no   human
yes  yes  yes  yes  human
"""
ROWS = [line.split() for line in WINNERS.strip().splitlines()]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_every_cell_of_who_wins(row):
    held, guard, fail_safe, rule = (word == "yes" for word in row[:4])
    heard = winner(held=held, guard=guard, fail_safe=fail_safe, rule=rule)
    assert (heard or "-") == row[4]


def test_the_table_of_who_wins_is_whole():
    assert [tuple(row[:4]) for row in ROWS] == list(product(("no", "yes"), repeat=4))


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("is_on", "wanted", "minutes", "switches", "why"),
    [
        (True, False, 4, 0, "on for 4 of at least 10 min"),
        (True, False, 10, 0, ""),
        (True, False, -1, 0, ""),  # a clock that ran ahead holds nothing
        (False, True, 4, 0, "off for 4 of at least 20 min"),
        (False, True, 20, 0, ""),
        (True, True, 4, 99, ""),
        (False, False, 4, 99, ""),
        (False, True, 60, 6, "switched 6 times"),
        (False, True, 60, 5, ""),
    ],
)
def test_only_a_rule_waits_for_the_limits(source, is_on, wanted, minutes, switches, why):
    limits = Limits(10 * MINUTE, 20 * MINUTE, 6)
    told = waits(limits, source, is_on, wanted, NOW - minutes * MINUTE, switches, NOW)
    assert (why in told and bool(told) == bool(why)) if source is Source.RULE else told == ""


def test_without_limits_nothing_waits():
    assert waits(Limits(), Source.RULE, True, False, NOW, 1000, NOW) == ""
    assert waits(Limits(10 * MINUTE), Source.RULE, True, False, None, 0, NOW) == ""


# value, fail-safe, minutes that the decision holds: minutes of the timer. A dash: none.
WAYS_BACK = [
    (True, "off", None, 80),
    (True, "off", 180, 200),
    (True, "off", -5, 80),
    (True, "on", 180, None),
    (True, "keep", 180, None),
    (False, "off", 180, None),
    (False, "on", 180, 200),
    (False, "keep", 180, None),
    (21.5, "off", 180, None),
    ("heat", "off", 180, None),
]


@pytest.mark.parametrize(("value", "fail_safe", "holds", "timer"), WAYS_BACK)
def test_only_what_is_not_the_fail_safe_state_needs_a_way_back(value, fail_safe, holds, timer):
    until = None if holds is None else NOW + holds * MINUTE
    assert way_back(value, fail_safe, until, NOW, EVERY) == (
        None if timer is None else timer * MINUTE
    )


@pytest.mark.parametrize(
    ("left", "lasts", "renewed"),
    [
        (None, 80, True),  # no timer runs
        (60, 80, False),  # enough is left
        (19, 80, True),  # it would run out within two rounds
        (19, 19, False),  # and so would a new one
    ],
)
def test_a_timer_is_set_anew_before_it_runs_out(left, lasts, renewed):
    reverts_at = None if left is None else NOW + left * MINUTE
    assert is_renewed(reverts_at, lasts * MINUTE, NOW, EVERY) is renewed
