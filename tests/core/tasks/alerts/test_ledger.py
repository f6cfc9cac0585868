"""The ledger: one alert a root cause, one message when it opens and one when it ends."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.models import Alert, FeedSource, Gateway, Run
from core.models.alert import Fate
from core.tasks.alerts.find import find
from core.tasks.events.outbox import publishing
from core.tasks.send_alerts import send_alerts
from tests.core.tasks.alerts.rows import MINUTE, add_device, add_gateway, is_as, look, polled

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock():
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def test_nothing_wrong_opens_nothing(hook, clock):
    add_device(add_gateway("Hub", NOW), "plug", NOW)
    assert look(clock, NOW).in_words().startswith("0 alerts open.")
    assert not Alert.objects.exists()
    assert hook.requests == []


def test_a_gateway_is_told_of_after_three_failures_and_when_it_is_back(hook, clock):
    add_gateway("Other", NOW)
    hub = add_gateway("Hub", NOW)
    for failures in (1, 2):
        is_as(hub, failures=failures, error="no answer")
        look(clock, NOW + failures * 10 * MINUTE)
    assert hook.requests == []
    is_as(hub, failures=3)
    look(clock, NOW + 30 * MINUTE)
    look(clock, NOW + 40 * MINUTE)
    assert hook.titles == ["Hub does not answer"]
    assert "no answer" in hook.bodies[0]["text"]
    is_as(hub, failures=0, error="")
    look(clock, NOW + 50 * MINUTE)
    look(clock, NOW + 60 * MINUTE)
    assert hook.titles == ["Hub does not answer", "Over: Hub does not answer"]
    assert [body["state"] for body in hook.bodies] == ["opened", "ended"]
    assert not Alert.objects.unended().exists()


def test_a_refused_credential_is_told_of_at_once(hook, clock):
    add_gateway("Other", NOW)
    is_as(add_gateway("Hub", NOW), failures=1, refused=True, error="refused the credential")
    look(clock, NOW)
    assert hook.titles == ["Hub refuses us"]


def test_a_gateway_that_is_down_explains_its_devices_and_orders(hook, clock):
    add_gateway("Other", NOW)
    hub = add_gateway("Hub", NOW)
    is_as(hub, failures=5)
    for name in ("a", "b"):
        is_as(add_device(hub, name, NOW), measured_at=NOW - timedelta(days=2))
    look(clock, NOW)
    assert hook.titles == ["Hub does not answer"]


def test_the_internet_away_explains_its_gateways_and_not_those_at_home(hook, clock):
    add_gateway("Local", NOW)
    for name in ("One", "Two"):
        is_as(add_gateway(name, NOW, f"https://{name}.example.org"), failures=3)
    look(clock, NOW)
    assert hook.titles == ["The internet is away"]


def test_gateways_that_rest_after_an_outage_are_not_told_of_until_they_are_asked_again(hook, clock):
    one, two = (add_gateway(name, NOW, f"https://{name}.example.org") for name in ("One", "Two"))
    Gateway.objects.update(failures=3, asked_at=NOW)
    look(clock, NOW)
    assert hook.titles == ["Nothing answers: is the network of this machine away?"]
    back = NOW + 30 * MINUTE
    is_as(one, failures=0, asked_at=back, answered_at=back)
    look(clock, back)
    look(clock, back + 10 * MINUTE)
    assert len(hook.titles) == 2
    is_as(two, failures=4, asked_at=back + 20 * MINUTE)
    look(clock, back + 20 * MINUTE)
    assert hook.titles[2:] == ["Two does not answer"]


def test_a_feed_that_rests_after_an_outage_is_not_told_of_until_it_is_asked_again(
    hook, clock, settings
):
    settings.FEEDS = ["open_meteo"]
    gateway = add_gateway("Cloud", NOW, "https://cloud.example.org")
    Gateway.objects.update(failures=3)
    FeedSource.objects.create(feed="open_meteo", failures=4, error="no answer", asked_at=NOW)
    look(clock, NOW)
    network = "Nothing answers: is the network of this machine away?"
    assert hook.titles == [network]
    is_as(gateway, failures=0)
    for minutes in (30, 40):
        look(clock, NOW + minutes * MINUTE)
    assert hook.titles == [network, f"Over: {network}"]
    FeedSource.objects.update(failures=5, asked_at=NOW + 50 * MINUTE)
    look(clock, NOW + 50 * MINUTE)
    assert hook.titles[2:] == ["The feed open_meteo fails"]


def test_a_gateway_that_was_down_before_the_network_stays_open_through_it(hook, clock):
    hub = add_gateway("Hub", NOW)
    other = add_gateway("Other", NOW)
    is_as(hub, failures=3)
    look(clock, NOW)
    is_as(other, failures=3)
    look(clock, NOW + 30 * MINUTE)
    is_as(other, failures=0)
    look(clock, NOW + 60 * MINUTE)
    assert hook.titles == [
        "Hub does not answer",
        "Nothing answers: is the network of this machine away?",
        "Over: Nothing answers: is the network of this machine away?",
    ]
    assert [alert.key for alert in Alert.objects.open()] == [f"gateway:{hub.pk}"]


def test_many_gateways_that_fail_are_one_alert(hook, clock):
    add_gateway("Fine", NOW)
    for number in range(30):
        is_as(add_gateway(f"G{number}", NOW), failures=3)
    look(clock, NOW)
    assert hook.titles == ["30 gateways fail"]


def test_a_device_that_is_not_reached_is_told_of_after_three_polls(hook, clock):
    hub = add_gateway("Hub", NOW)
    add_device(hub, "fine", NOW)
    lamp = add_device(hub, "lamp", NOW)
    is_as(lamp, available=False)
    for minutes in (0, 1, 10, 11):
        look(clock, NOW + minutes * MINUTE)
    assert hook.requests == []
    look(clock, NOW + 20 * MINUTE)
    assert hook.titles == ["Lamp is not reached by its gateway"]


def test_looks_between_two_polls_do_not_make_three_of_them(hook, clock):
    hub = add_gateway("Hub", NOW)
    add_device(hub, "fine", NOW)
    is_as(add_device(hub, "lamp", NOW), available=False)
    for minutes in (0, 6, 10, 16):
        look(clock, NOW + minutes * MINUTE, poll=minutes % 10 == 0)
    assert hook.requests == []
    look(clock, NOW + 20 * MINUTE)
    assert hook.titles == ["Lamp is not reached by its gateway"]


def test_a_device_away_for_one_poll_leaves_no_trace(hook, clock):
    hub = add_gateway("Hub", NOW)
    lamp = add_device(hub, "lamp", NOW)
    is_as(lamp, available=False)
    look(clock, NOW)
    is_as(lamp, available=True)
    look(clock, NOW + 10 * MINUTE)
    assert not Alert.objects.exists()


def test_a_stale_device_is_told_of_at_once(hook, clock):
    hub = add_gateway("Hub", NOW)
    add_device(hub, "fine", NOW)
    is_as(add_device(hub, "lamp", NOW), measured_at=NOW - timedelta(days=1, minutes=1))
    look(clock, NOW)
    assert hook.titles == ["Lamp has told nothing new for long"]


def test_most_devices_of_a_hub_silent_is_one_alert(hook, clock):
    hub = add_gateway("Hub", NOW)
    for name in "abcd":
        is_as(add_device(hub, name, NOW), measured_at=NOW - timedelta(days=2))
    for poll in range(3):
        look(clock, NOW + poll * 10 * MINUTE)
    assert hook.titles == ["4 devices behind Hub are silent"]


def test_polls_that_do_not_run_are_one_alert_and_explain_stale_devices(hook, clock):
    hub = add_gateway("Hub", NOW)
    lamp = add_device(hub, "lamp", NOW)
    polled(NOW)
    for minutes in (10, 20):
        look(clock, NOW + minutes * MINUTE, poll=False)
    assert hook.requests == []
    for minutes in (30, 40, 2000):
        look(clock, NOW + minutes * MINUTE, poll=False)
    assert hook.titles == ["Polls are late"]
    is_as(lamp, heard_at=NOW + 2010 * MINUTE, measured_at=NOW + 2010 * MINUTE)
    look(clock, NOW + 2010 * MINUTE)
    assert hook.titles == ["Polls are late", "Over: Polls are late"]


def test_a_clock_put_right_by_hours_makes_no_poll_late(hook, clock):
    add_gateway("Hub", NOW)
    polled(NOW)
    look(clock, NOW + timedelta(hours=10), poll=False)
    Run.objects.all().delete()
    look(clock, NOW + timedelta(hours=10, minutes=1))
    assert hook.requests == []


def test_a_time_in_which_nothing_ran_is_told_afterwards_once(hook, clock):
    add_gateway("Hub", NOW)
    polled(NOW)
    for minutes in (200, 205, 210):
        look(clock, NOW + minutes * MINUTE)
    assert hook.titles == ["Nothing was polled for 3 h 20 min"]


def test_an_unset_clock_looks_for_nothing(hook, clock):
    from core.tasks.runs import ClockNotSet

    clock.move_to(datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(ClockNotSet):
        send_alerts()


def test_a_feed_that_fails_is_told_of(hook, clock, settings):
    settings.FEEDS = ["open_meteo", "replay"]
    FeedSource.objects.create(feed="open_meteo", failures=3, error="answered 503", asked_at=NOW)
    FeedSource.objects.create(feed="watttime", failures=9, asked_at=NOW)  # not in FEEDS any more
    look(clock, NOW)
    assert hook.titles == ["The feed open_meteo fails"]


def test_an_old_forecast_is_told_of(hook, clock, settings):
    settings.FEEDS = ["open_meteo"]
    source = FeedSource.objects.create(feed="open_meteo", fetched_at=NOW)
    series = source.series.create(signal="cape", unit="J/kg")
    old = NOW - timedelta(days=2)
    series.forecasts.create(issued_at=old, known_at=old, ends_at=NOW, slots=[])
    look(clock, NOW)
    assert hook.titles == ["The forecast of open_meteo is old"]


def test_a_nearly_full_disk_is_told_of_once_and_ends_with_some_room(hook, clock, monkeypatch):
    from shutil import _ntuple_diskusage as usage  # what disk_usage returns

    def has(free):
        found = usage(int(100e9), int(100e9 - free), int(free))
        monkeypatch.setattr("core.tasks.alerts.site.shutil.disk_usage", lambda path: found)

    for minutes, free in ((0, 4e9), (10, 6e9), (20, 8e9)):
        has(free)
        look(clock, NOW + minutes * MINUTE)
    assert hook.titles == ["The disk is nearly full", "Over: The disk is nearly full"]
    assert Alert.objects.get().ended_at == NOW + 20 * MINUTE


def test_two_that_look_at_once_open_one_alert(hook, clock):
    add_gateway("Other", NOW)
    is_as(add_gateway("Hub", NOW), failures=3)
    look(clock, NOW)
    look(clock, NOW)
    assert Alert.objects.count() == 1
    assert hook.titles == ["Hub does not answer"]


def test_quiet_hours_hold_back_what_is_not_urgent_by_the_homes_clock(hook, clock, settings):
    from datetime import time

    from core.tasks.site import set_site

    set_site(zone="Europe/Berlin")
    settings.ALERT_QUIET_HOURS = (time(22), time(7))
    night = datetime(2026, 3, 2, 21, 30, tzinfo=UTC)  # 22:30 in Berlin
    add_gateway("Other", night)
    hub, gone = add_gateway("Hub", night), add_gateway("Gone", night)
    is_as(hub, failures=3)
    is_as(gone, failures=3)
    look(clock, night)
    with publishing():
        Run.objects.all().delete()
    look(clock, night + 10 * MINUTE, poll=False)
    look(clock, night + 20 * MINUTE, poll=False)
    assert hook.titles == ["Polls are late"]  # urgent
    is_as(gone, failures=0)
    look(clock, datetime(2026, 3, 3, 5, 50, tzinfo=UTC))
    assert "Hub does not answer" not in hook.titles
    look(clock, datetime(2026, 3, 3, 6, 0, tzinfo=UTC))  # 07:00
    # Gone is back: nobody is woken, or told in the morning.
    told = [title for title in hook.titles if "olls" not in title]
    assert told == ["Hub does not answer"]
    assert set(Alert.objects.get(gateway=gone.pk).messages.values_list("fate", flat=True)) == {
        Fate.DROPPED
    }


def test_a_look_takes_no_more_queries_for_more_failing_gateways():
    add_gateway("Answering", NOW)
    counted = []
    for names in (range(2), range(2, 19)):
        for number in names:
            is_as(add_gateway(f"Hub {number}", NOW), failures=5, error="no answer")
        with CaptureQueriesContext(connection) as queries:
            found = find(NOW, ())
        assert sum(one.key.startswith("gateway:") for one in found) == names.stop
        counted.append(len(queries))
    assert counted[0] == counted[1]
