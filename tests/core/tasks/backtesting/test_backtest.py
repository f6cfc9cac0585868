"""Rules over the past: what they may see at each moment, and what is made of what they did."""

import gzip
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from core import rules
from core.feeds import Signal, Slot
from core.models import FeedSource, Forecast, Measurement, Series
from core.planning import Window
from core.planning.forecast import Rung
from core.planning.precedence import Limits
from core.rules import Decision, Rule
from core.tasks.backtesting import past, svg
from core.tasks.backtesting.backtest import backtest
from core.tasks.backtesting.device import BacktestSettings
from core.tasks.backtesting.past import LastForecasts, Measured, SignalHistory
from core.tasks.forecasts.regions import Region

# Commands look whether the site is whole.
pytestmark = pytest.mark.django_db

MONDAY = datetime(2023, 3, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CLEAN_AT = (2, 3, 4)
"""The hours (UTC) that are clean in every day of the tests."""


def hourly(
    hours, value=lambda at: 100.0 if at.hour in CLEAN_AT else 300.0, signal=Signal.CARBON_INTENSITY
):
    starts = [MONDAY + hour * HOUR for hour in range(hours)]
    return [Slot(at, at + HOUR, value(at), "gCO2/kWh", signal=signal) for at in starts]


def make_past(actual, forecast=None, signal=Signal.CARBON_INTENSITY):
    expected = [replace(slot, issued_at=slot.starts_at) for slot in forecast or actual]
    return SignalHistory(
        signal, HOUR, [Measured(slot.ends_at, slot) for slot in actual], LastForecasts(expected)
    )


def terms(rule="cleanest_hours", days=3, **options):
    known = rules.load(rule)
    return BacktestSettings(known, known.read(options), MONDAY, MONDAY + days * DAY)


def played(told, *pasts):
    return backtest(told, {one.signal: one for one in pasts})


@dataclass(frozen=True)
class Options:
    watts: float = 1000


def rule_of(decide):
    return Rule("ours", Options, decide, "1", (Signal.CARBON_INTENSITY,), False)


def test_with_a_perfect_forecast_all_is_saved_that_can_be():
    result = played(terms(), make_past(hourly(96)))
    assert [one.score.costs.actual for one in result.jobs] == [300, 300]
    assert result.costs.share == 1
    assert (result.undelivered, result.changes, result.switches) == (0, 0, 6)
    assert result.predicted == result.costs.actual


def test_jobs_that_opened_before_the_range_or_end_after_it_are_not_counted():
    result = played(terms(days=3), make_past(hourly(72)))
    assert [one.job.deadline.day for one in result.jobs] == [21, 22]


def test_a_wrong_forecast_costs_what_was_measured_not_what_was_expected():
    expected = hourly(72, lambda at: 50.0 if at.hour in (10, 11, 12) else 300.0)
    result = played(terms(), make_past(hourly(72), expected))
    assert result.predicted == 300
    assert result.costs.actual == 1800
    assert result.costs.share == 0


def test_what_is_not_measured_is_not_compared():
    actual = [slot for slot in hourly(72) if slot.starts_at.day != 21 or slot.starts_at.hour > 5]
    result = played(terms(), make_past(actual, hourly(72)))
    assert (len(result.jobs), len(result.compared)) == (2, 1)
    assert "1 not compared, because measurements are missing" in result.in_words()


def test_nothing_is_seen_of_what_is_still_to_come():
    """Other measurements after a time, and no decision before it differs."""
    until = MONDAY + 9.5 * DAY
    actual = hourly(240, lambda at: 100.0 + (at.hour * 37 + at.day * 11) % 200)
    other = [
        slot if slot.ends_at <= until else replace(slot, value=500 - slot.value) for slot in actual
    ]
    ran = []
    for measured in (actual, other):
        one = make_past(measured)
        one.forecasts = LastForecasts([])
        ran.append(
            [window for window in played(terms(days=10), one).on if window.starts_at < until]
        )
    assert len(ran[0]) > 6
    assert ran[0] == ran[1]


def test_at_a_tick_only_slots_that_ended_are_measured():
    seen = []

    def watch(situation):
        seen.append((situation.now, situation.outlook.rung, situation.outlook.typical_from))

    one = make_past(hourly(120))
    one.forecasts = LastForecasts([])
    played(BacktestSettings(rule_of(watch), Options(), MONDAY, MONDAY + 4 * DAY, every=HOUR), one)
    first = next(now for now, rung, _ in seen if rung is Rung.TYPICAL)
    assert first == MONDAY + 3 * DAY  # a typical day needs three that ended


def test_progress_is_told_in_decisions():
    calls, one = [], make_past(hourly(96))
    backtest(terms(days=4), {one.signal: one}, lambda done, total: calls.append((done, total)))
    assert calls == [(0, 576), (500, 576)]


def test_a_device_obeys_at_once_and_its_limits_make_a_rule_wait():
    restless = rule_of(lambda situation: Decision(not situation.is_on, "restless"))
    told = BacktestSettings(
        restless, Options(), MONDAY, MONDAY + 2 * HOUR, limits=Limits(min_on=30 * HOUR / 60)
    )
    result = played(told, make_past(hourly(2)))
    assert result.on[:2] == [
        Window(MONDAY, MONDAY + HOUR / 2),
        Window(MONDAY + HOUR * 2 / 3, MONDAY + HOUR * 7 / 6),
    ]
    assert (result.switches, result.waited) == (6, 6)


def test_a_rule_without_a_job_is_compared_with_the_mean():
    result = played(terms("awesome", days=1), make_past(hourly(24)))
    assert (result.cost, result.spread) == (300, 825)
    assert "300 gCO2; as many minutes at the mean of all times: 825 gCO2" in result.in_words()


def test_a_rule_that_sets_something_else_cannot_be_played():
    told = BacktestSettings(
        rule_of(lambda situation: Decision(21.5, "warm", "target")), Options(), MONDAY, MONDAY + DAY
    )
    with pytest.raises(ValueError, match="ours sets something else"):
        played(told, make_past(hourly(24)))


def test_no_decision_leaves_the_device_as_it_is():
    def undecided(situation):
        if situation.now >= MONDAY + HOUR:
            raise rules.Undecided("nothing known")
        return Decision(True, "first")

    result = played(
        BacktestSettings(rule_of(undecided), Options(), MONDAY, MONDAY + 2 * HOUR),
        make_past(hourly(24)),
    )
    assert result.on == [Window(MONDAY, MONDAY + 2 * HOUR)]
    assert result.undecided == 6


def test_a_guard_is_held_to_what_was_measured():
    def flashes(*hours):
        return hourly(
            48, lambda at: 9.0 if (at - MONDAY) / HOUR in hours else 0.0, Signal.LIGHTNING
        )

    result = played(
        terms("lightning_guard", days=2),
        make_past(flashes(10, 40), flashes(10, 20), Signal.LIGHTNING),
    )
    assert (result.warned.hits, result.warned.misses, result.warned.false_alarms) == (1, 1, 1)
    assert result.warned.lead >= HOUR / 2
    assert "POD 0.50" in result.in_words()


@pytest.fixture
def stored(db) -> Series:
    source = FeedSource.objects.create(feed="replay", region="")
    return Series.objects.create(source=source, signal="carbon_intensity", unit="gCO2/kWh")


def issue(series, known_at, value):
    slots = Forecast.packed(hourly(96, lambda at: value))
    Forecast.objects.create(
        series=series,
        issued_at=known_at,
        known_at=known_at,
        ends_at=MONDAY + 96 * HOUR,
        slots=slots,
    )


def test_of_what_is_stored_a_forecast_counts_from_when_it_was_fetched(stored):
    issue(stored, MONDAY - HOUR, 100.0)
    issue(stored, MONDAY + 1.25 * HOUR, 200.0)
    history = past.from_database(
        Region("replay", ""), Signal.CARBON_INTENSITY, MONDAY, MONDAY + DAY
    )
    values = [
        history.outlook(MONDAY + minutes * HOUR / 60).slots[0].value
        for minutes in (0, 60, 74, 75, 200)
    ]
    assert values == [100, 100, 100, 200, 200]


def test_an_outlook_is_made_anew_only_when_something_is_new(stored):
    issue(stored, MONDAY - HOUR, 100.0)
    history = past.from_database(
        Region("replay", ""), Signal.CARBON_INTENSITY, MONDAY, MONDAY + DAY
    )
    first = history.outlook(MONDAY)
    assert history.outlook(MONDAY + HOUR / 2) is first
    assert history.outlook(MONDAY + HOUR) is not first


def test_a_revised_measurement_is_known_later_and_settles(stored):
    for known_at, value in ((MONDAY + HOUR, 100), (MONDAY + 5 * HOUR, 130)):
        Measurement.objects.create(
            series=stored, starts_at=MONDAY, ends_at=MONDAY + HOUR, value=value, known_at=known_at
        )
    history = past.from_database(
        Region("replay", ""), Signal.CARBON_INTENSITY, MONDAY, MONDAY + DAY
    )
    assert [slot.value for slot in history.measured] == [130]


def write(path, slots):
    rows = [
        f"{one.starts_at.isoformat()},{one.ends_at.isoformat()},{one.value},{one.value}"
        for one in slots
    ]
    text = "\n".join(["from,to,forecast,actual", *rows])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def say(*words):
    out = StringIO()
    call_command("backtest", *words, stdout=out)
    return out.getvalue()


def parsed(drawing):
    return ElementTree.fromstring(drawing)  # noqa: S314 (our own)


RANGE = ("--from", "2023-03-20", "--to", "2023-03-22")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("when", "device=Sensor"), "device: there is no device 'Sensor'"),
        (("when", "device=0"), "device: a backtest's own device is a switch and nothing else"),
        (("when",), "Name one whose history is stored: device=NAME"),
        (("schedule",), "schedule looks at no price and no forecast"),
    ],
)
def test_what_a_backtest_cannot_know_is_refused(tmp_path, words, sentence):
    with pytest.raises(CommandError, match=sentence):
        say(*words, *RANGE, "--file", write(tmp_path / "a.csv", hourly(24)))


@pytest.mark.parametrize("name", ["history.csv", "history.csv.gz"])
def test_the_command_plays_a_file(tmp_path, name):
    said = say(
        "cleanest_hours",
        "minutes=180",
        *RANGE,
        "--zone",
        "UTC",
        "--file",
        write(tmp_path / name, hourly(96)),
    )
    assert said == (
        "cleanest_hours, 2023-03-20 00:00 to 2023-03-23 00:00 UTC: "
        "432 decisions, 6 switches, on for 9 h\n"
        "forecasts: the last one before each slot, as if it had been known 48 h ahead; "
        "nobody had these then, so a plan saves less in truth, and changes more often\n"
        "2 jobs, 0 of them not delivered in full, 0 changes of plan (0.0 a job)\n"
        "600 gCO2 (600 gCO2 were predicted); "
        "1.8 kgCO2 switched on at once, 600 gCO2 with hindsight\n"
        "saved 1.2 kgCO2, 100% of what hindsight would have saved\n"
    )


def test_options_of_the_rule_may_stand_last(tmp_path):
    file = write(tmp_path / "a.csv", hourly(96))
    told = json.loads(
        say(
            "cleanest_hours",
            *RANGE,
            "--zone",
            "UTC",
            "--json",
            "--file",
            file,
            "minutes=60",
            "after=22:00",
        )
    )
    assert [job["minutes"] for job in told["jobs"]] == [60, 60]
    assert told["jobs"][0]["opens_at"] == "2023-03-20T22:00:00+00:00"


def test_the_command_gives_every_job_to_programs(tmp_path):
    told = json.loads(
        say(
            "cleanest_hours",
            *RANGE,
            "--zone",
            "UTC",
            "--json",
            "--file",
            write(tmp_path / "a.csv", hourly(72)),
        )
    )
    assert (told["sum"]["share_of_ideal"], told["sum"]["not_delivered"]) == (1, 0)
    assert [job["deadline"] for job in told["jobs"]] == [
        "2023-03-21T07:00:00+00:00",
        "2023-03-22T07:00:00+00:00",
    ]


def test_days_are_those_of_the_device_and_one_has_23_hours(tmp_path):
    file = write(tmp_path / "a.csv", hourly(24 * 9))
    told = json.loads(
        say(
            "cleanest_hours",
            "--from",
            "2023-03-24",
            "--to",
            "2023-03-27",
            "--zone",
            "Europe/London",
            "--json",
            "--file",
            file,
        )
    )
    assert told["decisions"] == (4 * 24 - 1) * 6
    assert [job["deadline"][11:16] for job in told["jobs"]] == ["07:00", "06:00", "06:00"]


def test_the_drawing_is_strict_xml_and_shows_a_week_at_most(tmp_path):
    file, drawing = write(tmp_path / "a.csv", hourly(24 * 10)), tmp_path / "a.svg"
    say(
        "cleanest_hours",
        "--from",
        "2023-03-20",
        "--to",
        "2023-03-29",
        "--zone",
        "UTC",
        "--file",
        file,
        "--svg",
        str(drawing),
    )
    root = parsed(drawing.read_text())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "cleanest hours, 23 March 2023 to 29 March 2023, UTC"
    bars = [element for element in root.iter() if element.get("class") == "on"]
    assert len(bars) == 2 * 7 + 1  # and the legend


def test_a_drawing_of_nothing_is_a_drawing():
    one = make_past([])
    assert parsed(svg.draw_svg(played(terms(), one), {one.signal: one})) is not None


def test_the_command_plays_what_is_stored(stored, settings):
    settings.FEEDS = ["replay"]
    issue(stored, MONDAY - HOUR, 100.0)
    assert "1 job" in say(
        "cleanest_hours", "--from", "2023-03-20", "--to", "2023-03-21", "--zone", "UTC"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("minutes=soon",), "is no number"),
        (("minuets=3",), "has no option minuets"),
        (("--file", "nowhere.csv"), "nowhere.csv"),
        ((), "Nothing is stored of carbon_intensity from replay"),
        (("--region", "elsewhere:1"), "There is no feed 'elsewhere'. Known: .*replay"),
        (("--region", "replay:1"), "Nothing is stored of carbon_intensity from replay:1"),
        (("--to", "2023-03-19"), "--to 2023-03-19 is before --from 2023-03-20"),
        (("--zone", "Mars/Olympus"), "no time zone"),
        (("--every", "0"), "not a number of minutes"),
        (("minutes",), "NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_told(db, settings, words, said):
    settings.FEEDS = ["replay"]
    with pytest.raises(CommandError, match=said):
        say("cleanest_hours", *RANGE, *words)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from,to,actual\n", "no column forecast"),
        ("from,to,forecast,actual\nnoon,later,1,2\n", "line 2"),
        (
            "from,to,forecast,actual\n2023-03-20T01:00Z,2023-03-20T00:00Z,1,2\n",
            "line 2: .* is not after",
        ),
        (
            "from,to,forecast,actual\n2023-03-20T00:00Z,2023-03-20T01:00Z,nan,2\n",
            "line 2: nan is no number",
        ),
        ("from,to,forecast,actual\n2023-03-20T00:00Z\n", "line 2"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_line(tmp_path, text, said):
    path = tmp_path / "history.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        past.from_file(path)


def test_a_file_may_lack_values_and_times_without_a_zone_are_utc(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "from,to,forecast,actual\n"
        "2023-03-20T00:00,2023-03-20T00:30,,0\n"
        "2023-03-20 00:30,2023-03-20 01:00,7,\n"
    )
    read = past.from_file(path)
    assert [(slot.starts_at, slot.value) for slot in read.measured] == [(MONDAY, 0)]
    assert read.outlook(MONDAY + HOUR / 2).slots[0].value == 7


def test_the_zone_of_a_device_says_what_07_00_is():
    told = replace(terms(), zone=ZoneInfo("Asia/Tokyo"))
    assert {one.job.deadline.hour for one in played(told, make_past(hourly(72))).jobs} == {22}


def test_without_anything_known_then_it_says_so_and_claims_no_loss():
    """As where a feed was fetched for the first time only after these days."""
    actual = hourly(96)
    late = [Measured(MONDAY + 100 * DAY, slot) for slot in actual]
    one = SignalHistory(Signal.CARBON_INTENSITY, HOUR, late, LastForecasts([]))
    result = played(terms(), one)
    said = result.in_words()
    assert "none was known then, nor a typical day: this says nothing of the rule" in said
    assert "2 not compared, because nothing was known to plan by" in said
    assert "lost" not in said
    assert "saved" not in said
    told = result.as_json()
    assert (told["forecasts"], told["sum"]["settled"], told["sum"]["saving"]) == ("none", 0, None)
    assert [job["planned_without_data"] for job in told["jobs"]] == [True, True]


def test_by_a_typical_day_alone_it_says_so():
    one = make_past(hourly(24 * 7))
    one.forecasts = LastForecasts([])
    result = played(terms(days=7), one)
    assert "none was known then; by a typical day" in result.in_words()
    assert result.blind > 0
    assert result.costs.share == 1  # of those that a typical day was known for


@pytest.mark.parametrize("content", ["", "2020-01-01T00:00,2020-01-01T01:00,1,2\n"])
def test_a_file_without_anything_of_these_days_is_refused(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_text(f"from,to,forecast,actual\n{content}")
    with pytest.raises(CommandError, match="has no measurement .actual. from 2023-03-20 00:00"):
        say("cleanest_hours", *RANGE, "--zone", "UTC", "--file", str(path))


def test_a_store_without_anything_of_these_days_is_refused(stored):
    Measurement.objects.create(
        series=stored, starts_at=MONDAY - DAY, ends_at=MONDAY, value=1, known_at=MONDAY
    )
    with pytest.raises(CommandError, match="nothing is stored between 2023-03-20 and 2023-03-23"):
        say("cleanest_hours", *RANGE, "--zone", "UTC")


def test_what_is_stored_of_a_replay_says_so(stored):
    issue(stored, MONDAY - HOUR, 100.0)
    said = say("cleanest_hours", *RANGE, "--zone", "UTC")
    assert "forecasts: as they were fetched then (replayed data)\n" in said
    assert json.loads(say("cleanest_hours", *RANGE, "--zone", "UTC", "--json"))["is_replayed"]


@pytest.mark.parametrize(
    "broken",
    [b"no gzip", gzip.compress(b"from,to,forecast,actual\n")[:-9]],
    ids=["no archive", "cut short"],
)
def test_a_broken_archive_is_refused_in_words(tmp_path, broken):
    path = tmp_path / "history.csv.gz"
    path.write_bytes(broken)
    with pytest.raises(ValueError, match="cannot be read"):
        past.from_file(path)


def issued(path, issues):
    """A file with a row for each slot of each issue; what was measured stands in each of them."""
    lines = ["issued,from,to,forecast,actual"]
    for issued_at, slots, actual in issues:
        for slot, measured in zip(slots, actual, strict=True):
            start, end = slot.starts_at.isoformat(), slot.ends_at.isoformat()
            lines.append(f"{issued_at.isoformat()},{start},{end},{slot.value},{measured.value}")
    path.write_text("\n".join(lines))
    return past.from_file(path)


def test_a_forecast_with_an_issue_time_counts_from_then_on(tmp_path):
    actual = hourly(48)
    old, new = hourly(48, lambda at: 1.0), hourly(24, lambda at: 2.0)
    history = issued(
        tmp_path / "issued.csv",
        [(MONDAY - HOUR, old, actual), (MONDAY + 5 * HOUR, new, actual[:24])],
    )
    before, after = (history.outlook(MONDAY + hours * HOUR) for hours in (4, 5))
    assert {slot.value for slot in before.slots} == {1.0}
    # The one issued before fills in where the newer one ends.
    assert [after.at(MONDAY + hours * HOUR).value for hours in (6, 23, 24, 47)] == [2, 2, 1, 1]
    assert history.kind == past.ForecastKind.ISSUED


def test_a_forecast_that_got_right_only_at_the_last_minute_is_worth_nothing(tmp_path):
    """Issued when its slot begins it is perfect, and before that it shows the wrong hours."""
    actual = hourly(72)
    wrong = hourly(72, lambda at: 50.0 if at.hour in (10, 11, 12) else 300.0)
    late = [(slot.starts_at, [slot], [slot]) for slot in actual]
    as_issued = issued(tmp_path / "a.csv", [(MONDAY - HOUR, wrong, actual), *late])
    assert played(terms(), as_issued).costs.share == 0
    last_only = make_past(actual)
    result = played(terms(), last_only)
    assert result.costs.share == 1
    assert "nobody had these then" in result.in_words()


def test_how_often_a_plan_changed_is_shown_for_a_job(tmp_path):
    actual = hourly(72)
    early, later = (
        hourly(72, lambda at, first=first: 50.0 if at.hour == first else 300.0) for first in (1, 4)
    )
    revised = [(MONDAY - HOUR, early, actual)]
    revised += [(MONDAY + day * DAY + 12 * HOUR, later, actual) for day in range(3)]
    revised += [(MONDAY + day * DAY + 18 * HOUR, early, actual) for day in range(3)]
    result = played(terms(minutes=60), issued(tmp_path / "a.csv", revised))
    assert result.changes > 0
    a_job = result.changes / len(result.jobs)
    assert f"({a_job:.1f} a job)" in result.in_words()
    assert result.as_json()["sum"]["changes_a_job"] == round(a_job, 2)
