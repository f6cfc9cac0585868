"""A model on past days. Data: core/feeds/replay.csv (NESO Carbon Intensity API, CC BY 4.0)."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from core import feeds
from core.feeds import Signal
from core.models import Measurement
from core.tasks.do_some_science import do_some_science
from core.tasks.forecasts.regions import Region
from tests.core.tasks.test_score_feeds import HALF_HOUR, REAL, measure, series_of

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = Region("usual_day", "carbon_intensity_gb")
ARGUMENTS = ("do_some_science", str(MODEL), "--from", "2026-03-07", "--to", "2026-03-07")
VALUES = [actual for _, actual in REAL[:384]]
pytestmark = pytest.mark.django_db


@pytest.fixture
def source():
    series = series_of()
    measure(series, VALUES, start=START)
    return series


def tried(now=START + 8 * DAY):
    trial = do_some_science(MODEL, START + 5 * DAY, START + 6 * DAY, now)
    return trial.as_json()["scores"]


def test_persistence_agrees_with_an_independent_computation(source):
    first = tried()["persistence"][0]
    errors = []
    for place in range(240, 288, 2):
        errors += [VALUES[place - 1] - VALUES[place + ahead] for ahead in (0, 1)]
    assert first["slots"] == len(errors) == 48
    assert first["mae"] == pytest.approx(sum(map(abs, errors)) / 48)
    assert first["bias"] == pytest.approx(sum(errors) / 48)


def test_nonsense_that_became_known_later_changes_nothing(source):
    """Past and future are revised to nonsense after the time up to which it is scored."""
    scored_at = START + 6.5 * DAY
    honest = tried(scored_at)
    Measurement.objects.bulk_create(
        Measurement(
            series=source,
            starts_at=START + place * HALF_HOUR,
            ends_at=START + (place + 1) * HALF_HOUR,
            value=1e6,
            known_at=scored_at + timedelta(minutes=1),
        )
        for place in range(384)
    )
    assert tried(scored_at) == honest


def test_what_was_fetched_late_is_not_seen(source):
    Measurement.objects.update(known_at=START + 8 * DAY)
    with pytest.raises(LookupError, match="nothing was known yet"):
        tried()


def test_the_command_shows_a_table_or_json(source, time_machine):
    time_machine.move_to(START + 8 * DAY)
    shown, as_json = io.StringIO(), io.StringIO()
    call_command(*ARGUMENTS, stdout=shown)
    call_command(*ARGUMENTS, "--json", stdout=as_json)
    assert "MAE, persistence" in shown.getvalue() and "0-1 h" in shown.getvalue()
    assert json.loads(as_json.getvalue())["scores"] == tried()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nobody", "--from", "2026-03-07", "--to", "2026-03-07"), "no feed 'nobody'"),
        (("replay", "--from", "2026-03-07", "--to", "2026-03-07"), "no model"),
        (("usual_day:carbon_intensity_gb", "--from", "2026-03-07", "--to", "2026-03-01"), "swap"),
        ((str(MODEL), "--from", "2026-01-07", "--to", "2026-01-07"), "nothing was known yet"),
    ],
)
def test_a_wrong_wish_is_a_sentence(source, arguments, says):
    with pytest.raises(CommandError, match=says):
        call_command("do_some_science", *arguments)


def test_a_model_of_lightning_is_scored_as_warnings_too(monkeypatch):
    """Five flashes from 14 to 15 o'clock on each day: the usual day knows, persistence is late."""
    model = feeds.load("usual_day")
    monkeypatch.setattr(model, "signals", (Signal.LIGHTNING,))
    series = series_of(Signal.LIGHTNING)
    measure(series, [5.0 if place % 48 in (28, 29) else 0.0 for place in range(384)], start=START)
    trial = do_some_science(MODEL, START + 5 * DAY, START + 7 * DAY, START + 8 * DAY)
    events = trial.as_json()["events"]
    assert events["threshold"] > 0
    usual, persistence = (events["scores"][name] for name in ("model", "persistence"))
    assert (usual["hits"], usual["misses"]) == (2, 0)
    assert persistence["hits"] - persistence["of_them_late"] == 0
    assert "events, " in trial.in_words()
