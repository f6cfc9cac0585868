"""Fetching and reading as of a time: the replay feed, and one that answers over real HTTP."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from threading import Barrier, Thread
from time import sleep

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from core.feeds import Signal
from core.models import FeedSource, Forecast, Measurement, Series, Site
from core.planning.forecast import Rung
from core.tasks.forecasts import ask, fetch
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region, configured, region_for
from tests.core.raw_server import answer
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.tasks.local_feed import HALF_HOUR, said

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTENSITY = Signal.CARBON_INTENSITY
LOCAL = Region("local", "13")


@pytest.fixture(autouse=True)
def at_noon(time_machine):
    time_machine.move_to(NOW, tick=False)


def hang():
    yield b"HTTP/1.1 200 OK\r\n"
    sleep(1)


def values(slots):
    return [slot.value for slot in slots]


def device(vendor_id="plug", **fields):
    return make_device(make_gateway(address=f"http://127.0.0.1/{vendor_id}"), vendor_id, **fields)


# Which region.


def test_the_first_feed_that_offers_the_signal_counts(source, settings):
    settings.FEEDS = ["replay", "local:13"]
    assert region_for(device(), INTENSITY, Site()) == Region("replay", "")
    assert region_for(device("other"), Signal.CAPE, Site()) == LOCAL
    assert region_for(device("third"), Signal.PRICE, Site()) is None


def test_the_devices_region_goes_before_that_of_the_setting(source, settings):
    settings.FEEDS = ["local:13"]
    assert region_for(device(region="7"), INTENSITY, Site()) == Region("local", "7")


def test_a_region_for_one_feed_is_not_seen_by_another(source, settings):
    settings.FEEDS = ["local:13"]
    assert region_for(device(region="replay:7"), INTENSITY, Site()) == LOCAL
    assert region_for(device("other", region="local:7"), INTENSITY, Site()) == Region("local", "7")


def test_a_feed_by_place_is_asked_for_where_the_device_is(source, settings):
    source.feed.by_place = True
    settings.FEEDS = ["local"]
    assert region_for(device(latitude=51.4968, longitude=-0.001), INTENSITY, Site()) == Region(
        "local", "51.50,0.00"
    )
    with pytest.raises(
        LookupError,
        match="Local needs a place: give the home its latitude and longitude .* or Other its own",
    ):
        region_for(device("other"), INTENSITY, Site())


def test_a_place_in_the_setting_keeps_its_comma(settings):
    settings.FEEDS = ["open_meteo:51.50", "-0.12", "replay"]
    assert configured() == [Region("open_meteo", "51.50,-0.12"), Region("replay", "")]


def test_an_unknown_feed_is_told_to_who_needs_it(settings):
    settings.FEEDS = ["nonsense"]
    with pytest.raises(LookupError, match="There is no feed 'nonsense'"):
        region_for(device(), INTENSITY, Site())


# Fetching.


def test_forecasts_and_measurements_are_stored_apart(source):
    source.answers["13"] = said(NOW - HOUR, [1, 2]) + said(
        NOW - HOUR, [9, 4, 5, 6], NOW - timedelta(minutes=5)
    )
    fetched = fetch_regions([LOCAL])
    assert (fetched.asked, fetched.forecasts, fetched.measurements, fetched.failed) == (1, 1, 2, [])
    assert values(Forecast.objects.get().as_slots()) == [4, 5, 6]
    assert list(Measurement.objects.values_list("value", flat=True)) == [1, 2]


def test_the_replay_feed_needs_no_network():
    fetched = fetch_regions([Region("replay", "")])
    assert (fetched.asked, fetched.failed) == (1, [])
    assert fetched.forecasts > 0


def test_only_what_is_due_is_asked(source, time_machine):
    source.answers["13"] = said(NOW, [1], NOW)
    assert fetch_regions([LOCAL, LOCAL]).asked == 1
    again = fetch_regions([LOCAL])
    assert (again.asked, again.fresh) == (0, 1)
    assert fetch_regions([LOCAL], force=True).asked == 1
    time_machine.move_to(NOW + HALF_HOUR - timedelta(seconds=20), tick=False)
    source.answers["13"] = said(NOW + HALF_HOUR, [1], NOW)
    assert fetch_regions([LOCAL]).asked == 1


def test_the_first_fetch_looks_back_four_weeks_the_next_as_far_as_revisions_reach(source):
    source.answers["13"] = said(NOW, [1], NOW)
    fetch_regions([LOCAL])
    fetch_regions([LOCAL], force=True)
    assert source.asked == [
        (NOW - timedelta(days=28), NOW + 24 * HOUR),
        (NOW - 24 * HOUR, NOW + 24 * HOUR),
    ]


def test_after_days_away_the_gap_is_asked_for(source, time_machine):
    source.answers["13"] = said(NOW, [1], NOW)
    fetch_regions([LOCAL])
    time_machine.move_to(NOW + timedelta(days=5), tick=False)
    fetch_regions([LOCAL])
    assert source.asked[-1][0] == NOW - 24 * HOUR


def test_when_the_long_look_back_fails_a_short_one_is_tried(source):
    source.answers["13"] = answer(b"", "500 Internal Server Error")
    for _ in range(3):
        fetch_regions([LOCAL], force=True)
    assert [NOW - since for since, _ in source.asked] == [
        timedelta(days=28),
        timedelta(days=28),
        timedelta(days=1),
    ]


def test_one_source_never_stops_another(source, monkeypatch):
    monkeypatch.setattr(ask, "DEADLINE_SECONDS", 0.5)
    source.answers |= {
        "1": None,
        "2": answer(b"{", "200 OK"),
        "3": [["nonsense"]],
        "4": [],
        "5": hang(),
        "6": answer(b"", "401 Unauthorized"),
        "13": said(NOW, [1], NOW),
    }
    others = [Region("local", region) for region in "123456"]
    fetched = fetch_regions([*others, Region("nonsense", ""), Region("local", "x" * 61), LOCAL])
    assert fetched.forecasts == 1
    why = dict(fetched.failed)
    assert set(why) == {*map(str, others), "nonsense", "local:" + "x" * 61}
    assert "(a fault in core/feeds/local.py)" in why["local:3"]
    assert "answered with nothing" in why["local:4"]
    assert FeedSource.objects.get(region="6").refused


def test_a_source_that_fails_is_left_alone_for_longer(source, time_machine):
    source.answers["13"] = answer(b"", "503 Service Unavailable")
    fetch_regions([LOCAL])
    fetch_regions([LOCAL])
    [(name, until)] = fetch_regions([LOCAL]).resting
    assert (name, until) == ("local:13", NOW + timedelta(minutes=10))
    source.answers["13"] = said(NOW, [1], NOW)
    time_machine.move_to(until, tick=False)
    assert fetch_regions([LOCAL]).failed == []
    assert FeedSource.objects.get().failures == 0


def test_what_makes_no_sense_is_left_out(source):
    late = NOW + 1000 * HOUR
    source.answers["13"] = [
        *said(NOW - HALF_HOUR, [5]),
        *said(NOW - HOUR, ["nan"]),
        *said(NOW - HOUR, ["inf"]),
        *said(NOW - HOUR, [1], unit="lbs/MWh"),
        *said(NOW, [1], NOW + HOUR),  # issued in the future
        *said(NOW + HOUR, [1]),  # measured in the future
        *said(datetime(2026, 3, 11), [1]),  # without a zone
        ((NOW - HOUR).isoformat(), 0, 1, None, "gCO2/kWh"),
        ((NOW - HOUR).isoformat(), 3000, 1, None, "gCO2/kWh"),
        *said(late, [1], NOW),  # not asked for
    ]
    fetched = fetch_regions([LOCAL])
    assert (fetched.left_out, fetched.forecasts, fetched.measurements) == (8, 0, 1)


def test_an_answer_without_end_is_refused(source, monkeypatch):
    monkeypatch.setattr(ask, "MOST_SLOTS", 3)
    source.answers["13"] = said(NOW, [1, 2, 3, 4], NOW)
    assert fetch_regions([LOCAL]).failed == [("local:13", "It answered with more than 3 slots.")]


def test_a_source_that_goes_over_to_another_unit_is_refused(source):
    source.answers["13"] = said(NOW, [1], NOW)
    fetch_regions([LOCAL])
    Series.objects.update(unit="EUR/kWh")
    [(_, why)] = fetch_regions([LOCAL], force=True).failed
    assert why.startswith("It tells carbon intensity in gCO2/kWh, and before in EUR/kWh.")


def test_what_was_not_come_to_in_time_waits_for_the_next_fetch(source, monkeypatch):
    monkeypatch.setattr(fetch, "BEGIN_WITHIN_SECONDS", -1)
    assert (fetch_regions([LOCAL]).postponed, source.server.connections) == (1, 0)


# As of a time.


def test_a_measurement_revised_is_a_row_of_its_own_and_known_later(source, time_machine):
    source.answers["13"] = said(NOW - HOUR, [1, 2])
    fetch_regions([LOCAL])
    time_machine.move_to(NOW + HOUR, tick=False)
    source.answers["13"] = said(NOW - HOUR, [1, 3, 4])
    assert fetch_regions([LOCAL]).measurements == 2
    span = (NOW - HOUR, NOW + HOUR)
    assert values(AsOf(NOW).measurements(LOCAL, INTENSITY, *span)) == [1, 2]
    assert values(AsOf(NOW + HOUR).measurements(LOCAL, INTENSITY, *span)) == [1, 3, 4]
    assert values(
        AsOf(NOW + HOUR).measurements(LOCAL, INTENSITY, NOW - timedelta(minutes=29), NOW)
    ) == [3]
    assert values(AsOf(NOW - HOUR).measurements(LOCAL, INTENSITY, *span)) == []


def test_an_issue_is_stored_once_and_only_grows(source):
    source.answers["13"] = said(NOW, [1, 2], NOW)
    fetch_regions([LOCAL])
    source.answers["13"] = said(NOW + HALF_HOUR, [9, 3], NOW)
    assert fetch_regions([LOCAL], force=True).forecasts == 0
    assert values(Forecast.objects.get().as_slots()) == [1, 2, 3]


def test_the_forecast_known_at_a_time_is_the_newest_then(source, time_machine):
    for hour in range(2):
        time_machine.move_to(NOW + hour * HOUR, tick=False)
        source.answers["13"] = said(NOW, [hour] * 10, NOW + hour * HOUR)
        fetch_regions([LOCAL])
    for hour in range(2):
        at = NOW + hour * HOUR
        seen = AsOf(at).outlook(LOCAL, INTENSITY, at + HOUR)
        assert (seen.rung, seen.issued_at, set(values(seen.slots))) == (Rung.LIVE, at, {hour})
    assert AsOf(NOW - HOUR).outlook(LOCAL, INTENSITY, NOW).rung is Rung.NONE


def test_the_ladder_is_climbed_down_as_a_source_stays_away(source):
    source.answers["13"] = said(NOW - timedelta(days=7), [50] * 48 * 7) + said(NOW, [1] * 8, NOW)
    fetch_regions([LOCAL])
    rungs = [
        AsOf(NOW + hours * HOUR).outlook(LOCAL, INTENSITY, NOW + 24 * HOUR) for hours in (1, 2, 5)
    ]
    assert [outlook.rung for outlook in rungs] == [Rung.LIVE, Rung.LAST, Rung.TYPICAL]
    assert {outlook.slots[-1].value for outlook in rungs} == {50}


def test_a_short_issue_that_comes_after_a_long_one_does_not_hide_it(source):
    region = FeedSource.objects.create(feed="replay")
    series = Series.objects.create(source=region, signal=INTENSITY, unit="gCO2/kWh")
    for issued_at, hours, value in ((NOW - 3 * HOUR, 48, 100.0), (NOW, 3, 50.0)):
        packed = [
            [(NOW + hour * HOUR).timestamp(), (NOW + (hour + 1) * HOUR).timestamp(), value]
            for hour in range(-3, hours)
        ]
        Forecast.objects.create(
            series=series,
            issued_at=issued_at,
            known_at=issued_at,
            ends_at=NOW + hours * HOUR,
            slots=packed,
        )
    seen = AsOf(NOW).outlook(Region("replay", ""), INTENSITY, NOW + 48 * HOUR)
    assert [slot.value for slot in seen.slots] == [50.0] * 3 + [100.0] * 45
    assert (seen.rung, seen.typical_from) == (Rung.LIVE, None)
    # Before the short one was known, nothing of it is seen.
    before = AsOf(NOW - HOUR).outlook(Region("replay", ""), INTENSITY, NOW + 47 * HOUR)
    assert {slot.value for slot in before.slots} == {100.0}


def test_a_signal_is_read_once_however_many_ask(source, django_assert_num_queries):
    source.answers["13"] = said(NOW - timedelta(days=7), [50] * 48 * 7) + said(NOW, [1] * 8, NOW)
    fetch_regions([LOCAL])
    as_of = AsOf(NOW)
    # Series, the newest forecast, none that reaches further, measurements.
    with django_assert_num_queries(4):
        for hours in range(1, 40):
            as_of.outlook(LOCAL, INTENSITY, NOW + hours * HOUR)
            as_of.measurements(LOCAL, INTENSITY, NOW - hours * HOUR, NOW)


def test_why_it_is_not_fresh(source, time_machine):
    assert "was not asked yet" in AsOf(NOW).error(LOCAL)
    source.answers["13"] = said(NOW, [1], NOW)
    fetch_regions([LOCAL])
    assert AsOf(NOW).error(LOCAL) == ""
    assert "was last asked at 2026-03-11 12:00 UTC" in AsOf(NOW + 2 * HOUR).error(LOCAL)
    source.answers["13"] = answer(b"", "503 Service Unavailable")
    fetch_regions([LOCAL], force=True)
    assert "503" in AsOf(NOW).error(LOCAL)


@pytest.mark.django_db(transaction=True)
def test_two_fetches_at_once_store_everything_once(source):
    source.answers["13"] = said(NOW - 20 * HOUR, range(40)) + said(NOW, range(40), NOW)
    both, fetched = Barrier(2), []

    def run():
        both.wait()
        fetched.append(fetch_regions([LOCAL], force=True))
        connection.close()

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.failed for one in fetched] == [[], []]
    assert (Forecast.objects.count(), Measurement.objects.count()) == (1, 40)
    assert sum(one.measurements for one in fetched) == 40


# The command.


def say(**options):
    out = StringIO()
    call_command("fetch_forecasts", stdout=out, **options)
    return out.getvalue()


def test_the_command_fetches_what_rules_look_at(source, settings):
    settings.FEEDS = ["local", "replay"]
    device(region="13", rule="awesome")
    source.answers["13"] = said(NOW, [1], NOW)
    assert say().strip() == "Asked 1 sources: 1 new forecasts."
    assert json.loads(say(force=True, json=True)) | {"asked": 1, "failures": []} == json.loads(
        say(force=True, json=True)
    )


def test_without_a_rule_it_fetches_what_the_setting_names(source, settings):
    settings.FEEDS = ["replay", "local"]
    source.feed.by_place = True
    assert say().startswith("Asked 1 sources")
    assert FeedSource.objects.get().feed == "replay"


def test_it_says_so_when_nobody_can_be_asked(settings):
    settings.FEEDS = []
    device(rule="awesome")
    assert say().startswith("Nothing to fetch")


def test_it_ends_badly_when_a_source_failed_or_a_device_has_no_place(source, settings):
    settings.FEEDS = ["local"]
    source.feed.by_place = True
    source.answers["13"] = answer(b"", "503 Service Unavailable")
    device(region="13", rule="awesome")
    device("other", rule="awesome")
    with pytest.raises(CommandError, match=r"local:13: .* 503 (.|\n)*Other: Local needs a place"):
        say()
