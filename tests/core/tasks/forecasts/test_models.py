"""Models: files in core/feeds that predict from what another feed measured.

Measurements are half-hours of Great Britain in April 2023 from core/feeds/replay.csv (NESO Carbon
Intensity API, CC BY 4.0).
"""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import call_command

from core import feeds
from core.feeds import Signal
from core.models import Attribute, FeedSource, Forecast, Measurement, Observation, Silence
from core.tasks.do_some_science import do_some_science
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.frames import frame_for
from core.tasks.forecasts.regions import Region
from core.tasks.score_feeds import score_feeds
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.tasks.test_score_feeds import REAL, foretell, measure, series_of

NOW = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
WEEK = timedelta(days=7)
MODEL = Region("usual_day", "carbon_intensity_gb")
pytestmark = pytest.mark.django_db


@pytest.fixture
def source(time_machine):
    """A week of measurements up to noon, and the source not due."""
    time_machine.move_to(NOW, tick=False)
    series = series_of()
    FeedSource.objects.update(fetched_at=NOW)
    measure(series, [actual for _, actual in REAL[:336]], start=NOW - WEEK)
    return series


def predicted():
    fetched = fetch_regions([MODEL], force=False)
    assert not fetched.failed
    return Forecast.objects.get(series__source__feed="usual_day")


def test_a_prediction_is_stored_by_its_issue_and_is_what_rules_see(source):
    forecast = predicted()
    assert forecast.issued_at == NOW
    seen = AsOf(NOW).outlook(MODEL, Signal.CARBON_INTENSITY, NOW + timedelta(hours=24))
    assert seen.slots[0].starts_at == NOW and seen.issued_at == NOW
    assert len(forecast.slots) == 96


def test_the_next_slot_is_the_usual_one_and_what_is_left_of_the_last_error(source):
    values = [actual for _, actual in REAL[:336]]

    def usual(place):
        days = sorted(values[place % 48 :: 48])
        return days[len(days) // 2]

    error = sum(values[place] - usual(place) for place in (334, 335)) / 2
    assert predicted().slots[0][2] == pytest.approx(usual(336) + error)


def test_nonsense_from_the_future_changes_no_prediction(source):
    frame, honest = frame_for(MODEL, feeds.load("usual_day"), NOW), predicted().slots
    Forecast.objects.all().delete()
    FeedSource.objects.filter(feed="usual_day").delete()
    measure(source, [1e6] * 96, start=NOW)
    revised = Measurement.objects.filter(series=source, ends_at__lte=NOW)
    Measurement.objects.bulk_create(
        Measurement(
            series=source,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            value=-1e6,
            known_at=NOW + HALF_HOUR,
        )
        for row in list(revised)
    )
    foretell(source, NOW + HALF_HOUR, [1e6] * 96)
    assert frame_for(MODEL, feeds.load("usual_day"), NOW) == frame
    assert predicted().slots == honest


def test_it_is_scored_by_what_was_measured_later(source, time_machine):
    forecast = predicted()
    later = NOW + timedelta(hours=6)
    actual = [value for _, value in REAL[336:348]]
    measure(source, actual, start=NOW)
    time_machine.move_to(later, tick=False)
    FeedSource.objects.filter(feed="carbon_intensity_gb").update(fetched_at=later)
    fetch_regions([MODEL])
    [score] = [one for one in score_feeds(later) if one.region == MODEL]
    errors = [slot[2] - value for slot, value in zip(forecast.slots, actual, strict=False)]
    first = score.leads[0]
    assert first.count == 2
    assert first.mae == pytest.approx(sum(map(abs, errors[:2])) / 2)
    assert first.bias == pytest.approx(sum(errors[:2]) / 2)


def test_a_model_that_raises_stops_nothing_else(source, monkeypatch):
    def predict(self, frame, now):
        return 1 / 0

    monkeypatch.setattr(feeds.load("usual_day"), "predict", predict)
    result = fetch_regions([MODEL, Region("replay", "")])
    [(name, why)] = result.failed
    assert name == str(MODEL) and "core/feeds/usual_day.py" in why
    assert result.forecasts > 0


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ("", "Nothing else in FEEDS offers carbon_intensity"),
        ("usual_day", "is a model itself"),
        ("replay", "is replayed"),
    ],
)
def test_without_a_source_it_says_what_to_do(source, settings, region, says):
    settings.FEEDS = ["usual_day"]
    [(_, why)] = fetch_regions([Region("usual_day", region)]).failed
    assert says in why


def test_it_takes_the_next_feed_that_offers_its_signal(source, settings):
    settings.FEEDS = ["usual_day", "open_meteo", "carbon_intensity_gb"]
    call_command("fetch_forecasts")
    assert Forecast.objects.filter(series__source__feed="usual_day", issued_at=NOW).exists()


def test_the_frame_is_a_series_for_pandas(source):
    pytest.importorskip("pandas")
    series = frame_for(MODEL, feeds.load("usual_day"), NOW).pandas()
    assert len(series) == 336 and series.iloc[-1] == REAL[335][1]


def test_from_observations_to_a_served_and_scored_model_as_the_page_says(
    source, monkeypatch, tmp_path, settings, time_machine, capsys
):
    """The whole of docs/science.md: the file as it is written there, and its commands."""
    page = (Path(feeds.__file__).parents[2] / "docs" / "science.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "yesterday.py").write_text(code)
    monkeypatch.setattr(feeds, "__path__", [*feeds.__path__, str(tmp_path)])
    settings.FEEDS = ["yesterday", "carbon_intensity_gb"]
    call_command("export_observations", "-o", tmp_path / "home.csv")
    call_command("fetch_forecasts")
    outlook = AsOf(NOW).outlook(
        Region("yesterday", ""), Signal.CARBON_INTENSITY, NOW + timedelta(hours=24)
    )
    assert [slot.value for slot in outlook.slots] == [actual for _, actual in REAL[288:336]]
    measure(source, [actual for _, actual in REAL[336:384]], start=NOW)
    time_machine.move_to(NOW + timedelta(days=1), tick=False)
    FeedSource.objects.filter(feed="carbon_intensity_gb").update(fetched_at=NOW + timedelta(days=1))
    call_command("fetch_forecasts")
    [score] = score_feeds(NOW + timedelta(days=1))
    errors = [REAL[place - 48][1] - REAL[place][1] for place in range(336, 384)]
    assert sum(lead.count for lead in score.leads) == 48
    total = sum(lead.mae * lead.count for lead in score.leads if lead.count)
    assert total / 48 == pytest.approx(sum(map(abs, errors)) / 48)
    assert (tmp_path / "home.csv").read_text().startswith("attribute,device,name,unit")


# Of a device


@pytest.fixture
def meter(db, time_machine):
    """A week of a power that is 0.1 kW at night and 1.5 kW from 8 to 20, each half-hour."""
    time_machine.move_to(NOW, tick=False)
    device = make_device(make_gateway("Home"), "meter")
    power = Attribute.objects.get(device=device, name="power")
    power.unit, power.number, power.heard_at = "kW", 1.5, NOW
    power.save()
    times = [NOW - WEEK + place * HALF_HOUR for place in range(337)]
    Observation.objects.bulk_create(
        Observation(attribute=power, observed_at=at, number=1.5 if 8 <= at.hour < 20 else 0.1)
        for at in times
    )
    return power


def learning(meter):
    return Region("usual_power", f"device:{meter.device_id}.power")


def test_a_model_learns_from_a_device_in_the_unit_of_its_signal(meter, settings):
    settings.FEEDS = [str(learning(meter))]
    call_command("fetch_forecasts")
    forecast = Forecast.objects.get(series__source__feed="usual_power")
    assert (forecast.series.signal, forecast.series.unit) == ("power", "W")
    hours = {datetime.fromtimestamp(start, UTC).hour: value for start, _, value in forecast.slots}
    assert (hours[9], hours[3]) == (1500, 100)


def test_it_is_scored_by_what_the_device_measured_later(meter, time_machine):
    assert not fetch_regions([learning(meter)]).failed
    later = NOW + timedelta(hours=3)
    Observation.objects.create(attribute=meter, observed_at=NOW + HALF_HOUR, number=2)
    Attribute.objects.update(heard_at=later)
    time_machine.move_to(later, tick=False)
    fetch_regions([learning(meter)])
    [score] = score_feeds(later)
    assert (score.leads[0].count, score.leads[0].bias) == (2, -250)
    assert score.leads[1].bias == -500


def test_a_gap_is_no_measurement(meter):
    Silence.objects.create(
        attribute=meter, starts_at=NOW - timedelta(hours=5, minutes=10), ends_at=NOW - HALF_HOUR
    )
    frame = frame_for(learning(meter), feeds.load("usual_power"), NOW)
    assert len(frame.measured) == 336 - 9
    assert frame.measured[-1].ends_at == NOW


def test_nothing_of_after_a_time_is_known_then(meter):
    at = NOW - timedelta(days=3)
    frame = frame_for(learning(meter), feeds.load("usual_power"), at)
    assert frame.measured[-1].ends_at == at and len(frame.measured) == 4 * 48
    trial = do_some_science(learning(meter), at, NOW - timedelta(days=2), NOW).as_json()
    assert trial["unit"] == "W" and trial["scores"]["model"][0]["mae"] == 0


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("power", "There is no device:power"),
        ("99.power", "There is no device:99.power"),
        ("{pk}.voltage", "There is no device:"),
        ("{pk}.temperature", "is in °C, and power in W"),
    ],
)
def test_a_device_that_is_not_there_is_named(meter, place, says):
    Attribute.objects.create(
        device=meter.device, name="temperature", kind="number", unit="°C", heard_at=NOW
    )
    region = Region("usual_power", "device:" + place.format(pk=meter.device_id))
    [(_, why)] = fetch_regions([region]).failed
    assert says in why
