"""The planner as a service: the best time, and from which forecast it comes."""

from datetime import UTC, datetime, timedelta

import pytest

from core.feeds import Signal
from core.models import FeedSource, Forecast, Measurement, Series, Site
from core.planning.forecast import Rung
from core.tasks.best_window import NoSuchWindow, NothingKnown, best_window, region_of
from core.tasks.forecasts.regions import Region
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRICE, INTENSITY = Signal.PRICE, Signal.CARBON_INTENSITY
HERE = Region("carbon_intensity_gb", "13")


def series(signal=PRICE, unit="GBP/kWh"):
    source, _ = FeedSource.objects.get_or_create(feed=HERE.feed, region=HERE.region)
    return Series.objects.create(source=source, signal=signal, unit=unit)


def forecast(of, values, issued_at=NOW, begins_at=NOW):
    """A value for each hour."""
    slots = [
        [
            (begins_at + number * HOUR).timestamp(),
            (begins_at + (number + 1) * HOUR).timestamp(),
            value,
        ]
        for number, value in enumerate(values)
    ]
    Forecast.objects.create(
        series=of,
        issued_at=issued_at,
        known_at=issued_at,
        ends_at=begins_at + len(values) * HOUR,
        slots=slots,
    )


def find(signal=PRICE, minutes=120, hours=8, **options):
    options.setdefault("before", NOW + hours * HOUR)
    return best_window(NOW, HERE, signal, minutes=minutes, **options)


def times(found):
    return [
        ((one.starts_at - NOW) / HOUR, (one.ends_at - NOW) / HOUR) for one in found.plan.windows
    ]


def test_the_cheapest_hours_in_one_run_or_several():
    forecast(series(), [9, 1, 9, 2, 3, 9, 9, 9])
    assert times(find()) == [(3, 5)]
    assert times(find(contiguous=False)) == [(1, 2), (3, 4)]


def test_it_says_what_that_is_worth():
    forecast(series(), [9, 1, 9, 2, 3, 9, 9, 9])
    found = find(watts=500)
    assert (found.value, found.at_once) == (2.5, 5)
    assert (found.plan.cost, found.plan.unit) == (2.5, "GBP")


def test_nothing_begins_before_after():
    forecast(series(), [1, 1, 9, 2, 3, 9, 9, 9])
    assert times(find(after=NOW + 2 * HOUR)) == [(3, 5)]


def test_a_single_low_hour_of_an_intensity_is_half_noise():
    """The planner sees it smoothed; what is told of the run is the forecast itself."""
    forecast(series(INTENSITY, "gCO2/kWh"), [300, 90, 300, 100, 100, 100, 300, 300])
    found = find(INTENSITY, minutes=60)
    assert times(found) == [(3, 4)]
    assert found.value == 100


def test_the_least_times_of_a_device_are_kept():
    forecast(series(), [9, 1, 9, 1, 9, 9, 9, 9])
    device = make_device(make_gateway(), min_on_minutes=120)
    assert times(find(contiguous=False)) == [(1, 2), (3, 4)]
    assert times(find(contiguous=False, device=device)) == [(0, 2)]


def test_it_says_from_which_forecast():
    forecast(series(), [9, 1, 9, 2], issued_at=NOW - HOUR, begins_at=NOW - HOUR)
    found = find(hours=3)
    assert found.outlook.rung is Rung.LIVE
    assert found.outlook.issued_at == NOW - HOUR
    assert {found.origin(slot) for slot in found.slots} == {"forecast"}


def test_what_an_earlier_issue_and_a_typical_day_say_is_labelled():
    prices = series()
    forecast(prices, [5] * 6, issued_at=NOW - 2 * HOUR, begins_at=NOW)
    forecast(prices, [5, 5], issued_at=NOW - HOUR, begins_at=NOW)
    Measurement.objects.bulk_create(
        Measurement(
            series=prices,
            starts_at=NOW - number * HOUR,
            ends_at=NOW - (number - 1) * HOUR,
            value=1 if (NOW - number * HOUR).hour == 19 else 7,
            known_at=NOW,
        )
        for number in range(1, 10 * 24)
    )
    found = find(minutes=60)
    assert times(found) == [(7, 8)]
    origins = [found.origin(slot) for slot in found.slots]
    assert origins == ["forecast"] * 2 + ["earlier forecast"] * 4 + ["typical day"] * 2


def test_what_no_slot_covers_is_told():
    forecast(series(), [1, 2])
    assert find(minutes=180).plan.short_minutes == 60


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"minutes": 481}, "duration: 481 min do not fit, there are 480."),
        ({"before": NOW - HOUR}, "before: it must be after now, and after `after`."),
        ({"after": NOW + 9 * HOUR}, "before: it must be after now, and after `after`."),
        ({"hours": 169}, "before: at most 7 days ahead."),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(options, sentence):
    forecast(series(), [1, 2])
    with pytest.raises(NoSuchWindow) as refused:
        find(**options)
    assert str(refused.value) == sentence


def test_without_data_it_says_what_to_do():
    with pytest.raises(NothingKnown, match="Nothing is known of price in carbon_.*fetch_forecasts"):
        find()


def test_where_a_signal_is_looked_up(settings):
    settings.FEEDS = ["carbon_intensity_gb:13", "open_meteo"]
    site = Site(latitude=51.5, longitude=-0.12)
    device = make_device(make_gateway(), region="carbon_intensity_gb:7")
    storm = Signal.CAPE
    assert region_of(INTENSITY, site) == ("carbon_intensity_gb", "13")
    assert region_of(INTENSITY, site, region="5") == ("carbon_intensity_gb", "5")
    assert region_of(INTENSITY, site, device=device) == ("carbon_intensity_gb", "7")
    assert region_of(storm, site) == ("open_meteo", "51.50,-0.12")
    assert region_of(storm, site, place="52.5, 13.4") == ("open_meteo", "52.50,13.40")
    with pytest.raises(NoSuchWindow, match="'here' is no place"):
        region_of(storm, site, place="here")
    with pytest.raises(NoSuchWindow, match="has regions, not places"):
        region_of(INTENSITY, site, place="52.5,13.4")
    with pytest.raises(NothingKnown, match="No feed that FEEDS names offers price"):
        region_of(PRICE, site)
    with pytest.raises(NothingKnown, match="needs a place"):
        region_of(storm, Site())
