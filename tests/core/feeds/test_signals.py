"""A signal is open: a feed's file names its own, and nothing else is edited for it."""

import copy
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from core import feeds, rules
from core.feeds import Signal, Slot
from core.tasks.forecasts.store import checked_answer

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
FILE = '''
"""The tide."""

from core import feeds
from core.feeds import Signal, Slot

TIDE = Signal("tide", "m", "water level in the harbour")


class Feed(feeds.Feed):
    label = "The tide"
    signals = (TIDE,)

    def fetch(self, region, since, until):
        yield Slot(since, until, 1.5, TIDE.unit, None, TIDE)
'''


@pytest.fixture
def tide(tmp_path, monkeypatch):
    """A feed of somebody's own, in a folder of its own."""
    (tmp_path / "harbour_tide.py").write_text(FILE)
    monkeypatch.setattr(feeds, "__path__", [*feeds.__path__, str(tmp_path)])
    feeds.signals.cache_clear()
    yield feeds.load("harbour_tide")
    feeds.signals.cache_clear()


def test_a_file_brings_its_signal_with_unit_and_meaning(tide):
    assert "tide" in feeds.signals()
    found = feeds.signal("tide")
    assert (found.unit, found.meaning) == ("m", "water level in the harbour")


def test_its_slots_are_stored_in_its_unit_only(tide):
    right = list(tide().fetch("", NOW - HOUR, NOW))
    [signal] = tide.signals
    wrong = Slot(NOW - HOUR, NOW, 1.0, "ft", None, signal)
    answer = checked_answer([*right, wrong], NOW - HOUR, NOW, NOW)
    assert list(answer.measurements) == ["tide"] and answer.left_out == 1


def test_a_rule_that_names_it_looks_at_it(tide):
    below = rules.load("below")
    assert below.signals(below.options(signal="tide")) == (feeds.signal("tide"),)


def test_what_no_feed_tells_any_more_keeps_its_name():
    gone = feeds.signal("sunspots_of_old")
    assert (gone, gone.unit, gone.meaning) == ("sunspots_of_old", "", "sunspots of old")


@pytest.mark.parametrize(
    ("unit", "is_one"),
    [("EUR/kWh", True), ("GBP/kWh", True), ("/kWh", False), ("EURO/kWh", False), ("EUR", False)],
)
def test_a_price_is_in_one_currency(unit, is_one):
    assert Signal.PRICE.has_unit(unit) is is_one


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301
def test_a_copy_keeps_unit_and_meaning(again):
    copied = again(Signal.PRICE)
    assert copied == "price" and copied.unit == "/kWh" and copied.is_cost
