"""What every rule file keeps, and how options are read."""

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core import rules
from core.feeds import Signal, signals
from core.planning.forecast import Outlook
from core.rules import Decision, Rule, Undecided, option
from core.schedule import first_moment, time_of_day
from tests.core.rules.situations import LONDON, decide, outlook, situation, slots, utc

NOON = "2026-06-01 12:00"


@dataclass(frozen=True)
class Options:
    minutes: int = option(30, "How long")
    limit: float = option(1.5, "How much", unit="W")
    quiet: bool = option(False, "Whether")
    kind: str = option("warm", "Which", choices=["warm", "cold"])
    text: str = "anything"

    def __post_init__(self):
        if self.minutes < 0:
            raise ValueError("minutes: less than none.")


RULE = Rule("kettle", Options, lambda situation: None, "1", (), False)


@pytest.mark.parametrize("name", rules.names())
def test_every_rule_can_be_used_without_any_option(name):
    rule = rules.load(name)
    assert rule.read({}) == rule.options()
    assert all(signal in signals() for signal in rule.signals(rule.options()))


@pytest.mark.parametrize("name", rules.names())
def test_every_option_is_of_a_kind_that_can_be_typed(name):
    options = rules.load(name).options
    assert {one.type for one in fields(options)} <= {bool, int, float, str}
    as_typed = {one.name: str(one.default) for one in fields(options)}
    assert rules.load(name).read(as_typed) == options()


@pytest.mark.parametrize("name", [name for name in rules.names() if name != "awesome"])
def test_every_option_says_what_it_is_for(name):
    assert all(one.metadata["help"] for one in fields(rules.load(name).options))


@pytest.mark.parametrize("name", rules.names())
@pytest.mark.parametrize(
    "known", [(), (Outlook(Signal.CARBON_INTENSITY),)], ids=["nothing offered", "nothing known"]
)
def test_without_a_forecast_every_rule_decides_leaves_alone_or_says_why_not(name, known):
    try:
        decision = decide(NOON, name, *known)
    except Undecided as error:
        assert str(error)
    else:
        assert decision is None or decision.reason


@pytest.mark.parametrize("name", rules.names())
def test_the_same_situation_gives_the_same_decision(name):
    known = [outlook(slots(NOON, [100.0] * 60, signal=signal)) for signal in signals()]
    assert answer(name, known) == answer(name, known)


def answer(name, known):
    try:
        return decide(NOON, name, *known)
    except Undecided as error:
        return str(error)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"minutes": "45"}, {"minutes": 45}),
        ({"minutes": 45.0}, {"minutes": 45}),
        ({"limit": "0.5"}, {"limit": 0.5}),
        ({"limit": 0}, {"limit": 0.0}),
        ({"quiet": "on"}, {"quiet": True}),
        ({"quiet": "No"}, {"quiet": False}),
        ({"quiet": True}, {"quiet": True}),
        ({"kind": "cold"}, {"kind": "cold"}),
        ({"minutes": "", "limit": None, "kind": ""}, {}),
    ],
)
def test_options_are_read_as_typed_or_as_stored(written, read):
    assert RULE.read(written) == Options(**read)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (
            {"colour": "red"},
            "kettle has no option colour. It has: minutes, limit, quiet, kind, text.",
        ),
        ({"minutes": "many"}, "minutes: 'many' is no number"),
        ({"minutes": "1.5"}, "minutes: '1.5' is no whole number"),
        ({"minutes": True}, "minutes: True is of the wrong kind"),
        ({"minutes": [1]}, "minutes: .* is of the wrong kind"),
        ({"minutes": -1}, "minutes: less than none"),
        ({"limit": "nan"}, "limit: 'nan' is no number that makes sense"),
        ({"limit": "1e999"}, "limit: '1e999' is no number that makes sense"),
        ({"limit": 10**400}, "limit: .* is no number"),
        ({"quiet": "maybe"}, "quiet: 'maybe' is neither yes nor no"),
        ({"kind": "hot"}, "kind: 'hot' is none of warm, cold"),
        ({"text": 5}, "text: 5 is of the wrong kind"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(written, why):
    with pytest.raises(ValueError, match=why):
        RULE.read(written)


def test_only_guards_are_offered_as_guards():
    assert [name for name, _ in rules.guard_choices()] == ["lightning_guard"]


def test_an_unknown_rule_is_told_with_those_that_are_known():
    with pytest.raises(rules.UnknownRule, match="no rule 'magic'. Known: awesome"):
        rules.load("magic")


def test_a_rule_looks_at_the_signal_of_its_option():
    below = rules.load("below")
    assert below.signals(below.read({"signal": "price"})) == (Signal.PRICE,)
    assert rules.load("awesome").signals(None) == (Signal.CARBON_INTENSITY,)
    assert rules.load("schedule").signals(None) == ()


def test_a_situation_knows_what_is_on_and_what_is_outside():
    now = situation("2026-06-01 12:40", "awesome", outlook(slots(NOON, [100, 200])), is_on=True)
    assert now.is_on
    assert (now.outside.value, len(now.forecast)) == (200, 2)


def test_a_situation_in_which_nothing_is_known():
    now = situation(NOON, "awesome")
    assert (now.outlook, now.forecast, now.outside) == (None, (), None)


def test_times_are_told_as_the_clock_at_the_device_shows_them():
    now = situation(NOON, "awesome", zone=LONDON)
    assert now.clock(utc("2026-06-01 13:00")) == "14:00"
    assert now.clock(utc("2026-06-02 13:00")) == "Tue 14:00"


@pytest.mark.parametrize(
    "text", ["24:00", "7", "7:5", "07:60", "-1:00", "007:30", "07:30 ", "7.30", "٠٧:٣٠", "²:00", ""]
)
def test_what_is_no_time_of_day_is_refused(text):
    with pytest.raises(ValueError, match="is no time of day. Example: 07:30"):
        time_of_day(text)


def test_a_time_of_day():
    assert (time_of_day("07:30"), time_of_day("7:30")) == (
        timedelta(hours=7.5),
        timedelta(hours=7.5),
    )


@pytest.mark.parametrize(
    ("day", "shown", "zone", "moment"),
    [
        (date(2026, 6, 1), "07:00", LONDON, "2026-06-01 06:00"),
        (date(2026, 3, 29), "01:30", LONDON, "2026-03-29 01:00"),  # left out
        (date(2026, 3, 29), "02:00", LONDON, "2026-03-29 01:00"),
        (date(2026, 10, 25), "01:30", LONDON, "2026-10-25 00:30"),  # comes twice
        (date(2026, 10, 25), "02:00", LONDON, "2026-10-25 02:00"),
        (
            date(2026, 4, 24),
            "00:15",
            ZoneInfo("Africa/Cairo"),
            "2026-04-23 22:00",
        ),  # midnight is left out
        (
            date(2026, 4, 5),
            "01:45",
            ZoneInfo("Australia/Lord_Howe"),
            "2026-04-04 14:45",
        ),  # half an hour comes twice
        (
            date(2011, 12, 30),
            "09:00",
            ZoneInfo("Pacific/Apia"),
            "2011-12-30 10:00",
        ),  # a whole day is left out
        (date(2026, 6, 1), "07:00", UTC, "2026-06-01 07:00"),
    ],
)
def test_the_first_moment_a_clock_shows_a_time(day, shown, zone, moment):
    assert first_moment(day, time_of_day(shown), zone) == utc(moment)


def test_a_decision_needs_only_a_value_and_a_reason():
    decision = Decision(True, "why not")
    assert (decision.attribute, decision.until, decision.guard, decision.plan) == (
        "",
        None,
        False,
        None,
    )


def test_midnight_is_the_first_moment_of_a_day():
    assert first_moment(date(2026, 6, 1), timedelta(), LONDON) == datetime(
        2026, 5, 31, 23, tzinfo=UTC
    )
