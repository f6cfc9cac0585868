"""The status page: what is wrong first, in six queries."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import (
    Device,
    DeviceCommand,
    FeedSource,
    Forecast,
    Freshness,
    Gateway,
    Observation,
    Run,
    Series,
)
from core.models.freshness import STALE_AFTER, late_after
from core.models.run import Outcome
from core.tasks.events.outbox import publishing
from core.tasks.runs import health
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def gateway():
    return make_gateway("Hall hub")


def hear(device, now, power=431.5, on=1.0):
    """As if the device had told these values for a day, every hour."""
    for attribute, number in zip(device.attributes.all(), (on, power), strict=True):
        times = [now - timedelta(hours=hours) for hours in range(24)]
        Observation.objects.bulk_create(
            Observation(attribute=attribute, observed_at=time, number=number) for time in times
        )
        attribute.number, attribute.observed_at, attribute.heard_at = number, now, now
        attribute.save()
    Device.objects.filter(pk=device.pk).update(heard_at=now, measured_at=now)
    return device


def polled(now, ago=MINUTE):
    with publishing():
        return Run.objects.create(
            task="poll", outcome=Outcome.DONE, started_at=now - ago, finished_at=now - ago
        )


def page(client, address="/"):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def test_an_empty_database_tells_a_newcomer_what_to_type(client):
    shown = page(client)
    assert "manage.py add_gateway shelly http://192.168.1.20" in shown
    assert "make demo" in shown


def test_a_device_is_shown_with_state_values_and_its_day(client, gateway, now):
    hear(make_device(gateway, "kettle", place="Kitchen"), now)
    shown = page(client)
    for words in (
        "Kettle",
        "Kitchen",
        "Hall hub",
        "fresh",
        "431.5 W",
        "power, last day: 431.5 W",
        '<time datetime="',
    ):
        assert words in shown


def test_reading_costs_six_queries_for_an_anonymous_person(
    client, gateway, now, django_assert_max_num_queries
):
    polled(now)
    for number in range(60):
        hear(make_device(gateway, f"plug {number}"), now)
    with django_assert_max_num_queries(6):
        assert "Page 1 of 2" in page(client)


def test_what_is_known_of_outside_costs_no_query_more(
    client, gateway, now, django_assert_max_num_queries
):
    polled(now)
    expect_outside(now, [200.0, 100.0])
    for number in range(60):
        hear(make_device(gateway, f"plug {number}"), now)
    with django_assert_max_num_queries(6):
        assert "Carbon intensity of the grid" in page(client)


def expect_outside(
    now, values, signal="carbon_intensity", unit="gCO2/kWh", issued=timedelta(), region=""
):
    """A forecast of the replay feed, an hour a slot, the first of them an hour that holds now."""
    source, _ = FeedSource.objects.get_or_create(feed="replay", region=region)
    series, _ = Series.objects.get_or_create(source=source, signal=signal, unit=unit)
    first = now - timedelta(minutes=30)
    starts = [first + timedelta(hours=place) for place in range(len(values))]
    slots = [
        [at.timestamp(), (at + timedelta(hours=1)).timestamp(), value]
        for at, value in zip(starts, values, strict=True)
    ]
    ends_at = starts[-1] + timedelta(hours=1)
    return Forecast.objects.create(
        series=series, issued_at=now - issued, known_at=now - issued, ends_at=ends_at, slots=slots
    )


def test_the_outside_signal_is_told_now_and_ahead(client, now):
    expect_outside(now, [200.0, 180.0, 100.0, 150.0])
    shown = page(client)
    for words in (
        "<b>200</b> gCO2/kWh now, falling",
        "Lowest in the next 3 h 30 min: <b>100</b> at",
        "next 3 h 30 min: 100 to 200",
    ):
        assert words in shown
    assert "by the last forecast" not in shown


def test_an_old_forecast_is_said_to_be_old(client, now):
    expect_outside(now, [200.0], issued=timedelta(hours=5, minutes=1))
    shown = page(client)
    assert "By the last forecast, 5 h old; replayed data of another time, not live." in shown


def test_of_a_danger_the_most_is_told(client, now):
    expect_outside(now, [0.0, 7.0, 40.0], signal="lightning", unit="flashes/h")
    shown = page(client)
    assert "Lightning nearby" in shown
    assert "Highest in the next 2 h 30 min: <b>40</b>" in shown


def test_the_newest_forecast_counts(client, now):
    expect_outside(now, [300.0], issued=timedelta(minutes=40))
    expect_outside(now, [200.0], issued=timedelta(minutes=10))
    shown = page(client)
    assert "<b>200</b>" in shown
    assert "<b>300</b>" not in shown


def test_the_first_feed_that_is_configured_is_shown(client, settings, now):
    settings.FEEDS = ["replay:north"]
    expect_outside(now, [300.0], region="south")
    expect_outside(now, [200.0], region="north")
    shown = page(client)
    assert "<b>200</b>" in shown
    assert "<b>300</b>" not in shown


@pytest.mark.parametrize("configured", [[], ["gone"], ["replay"]])
def test_without_a_forecast_nothing_is_said_of_outside(client, settings, configured):
    settings.FEEDS = configured
    assert "Forecasts" not in page(client)


def test_a_forecast_that_is_over_says_that_nothing_is_known(client, now):
    forecast = expect_outside(now, [200.0])
    forecast.slots = [[0, 3600, 200.0]]
    forecast.save()
    assert "No value for now." in page(client)


def test_a_held_device_says_until_when_and_by_whom(reader, gateway, now):
    device = hear(make_device(gateway, "kettle", rule="awesome", decision="off, because"), now)
    held = Device.objects.filter(pk=device.pk)
    held.update(held_at=now, held_until=now + timedelta(hours=2), hold_reason="pressed by anna")
    shown = page(reader)
    assert "held until" in shown
    assert ": pressed by anna" in shown
    assert "off, because" not in shown
    held.update(held_until=now - MINUTE)
    assert "off, because" in page(reader)


def test_what_is_wrong_comes_first(client, gateway, now):
    hear(make_device(gateway, "aa fine"), now)
    make_device(gateway, "bb never")
    broken = hear(make_device(make_gateway("Broken", "http://127.0.0.1:2"), "cc broken"), now)
    Device.objects.filter(pk=broken.pk).update(available=False)
    shown = page(client)
    assert shown.index("Cc Broken") < shown.index("Bb Never") < shown.index("Aa Fine")


def test_a_failing_gateway_is_named_with_its_error_and_when_it_is_asked_again(reader, gateway, now):
    Gateway.objects.filter(pk=gateway.pk).update(
        failures=3, error="No answer in 10 s", retry_at=now + timedelta(hours=2, seconds=30)
    )
    shown = page(reader)
    assert "No answer in 10 s" in shown
    assert "in 2 h" in shown


def test_polls_and_missed_polls_are_told(client, now):
    for ago in (95, 5):
        polled(now, ago * MINUTE)
    shown = page(client)
    assert "5 min ago" in shown
    assert "8 polls missed" in shown


@pytest.mark.parametrize("seconds", [3, -3])
def test_a_poll_that_is_about_to_come_comes_in_a_moment(client, now, time_machine, seconds):
    polled(now)
    time_machine.move_to(health(now).next_poll_at - timedelta(seconds=seconds), tick=False)
    assert re.search("Next <time [^>]*>in a moment</time>", page(client))


def test_devices_and_no_poll_say_what_to_run(client, gateway):
    make_device(gateway)
    assert "No poll has completed yet. Run: python manage.py poll_devices" in page(client)


@pytest.mark.parametrize("words", ["kettle", "KITCHEN hall", "hub"])
def test_search_finds_by_name_place_and_gateway(client, gateway, words):
    make_device(gateway, "kettle", place="Kitchen")
    assert "Kettle" in page(client, f"/?q={words}")


def test_search_leaves_the_others_out_and_says_when_nothing_is_left(client, gateway):
    make_device(gateway, "kettle")
    assert "No device matches" in page(client, "/?q=lamp")


def test_filters_by_state_and_gateway(client, gateway, now):
    hear(make_device(gateway, "kettle"), now)
    make_device(make_gateway("Other", "http://127.0.0.1:2"), "lamp")
    assert "Lamp" not in page(client, "/?state=fresh")
    assert "Kettle" not in page(client, "/?state=never")
    assert "Lamp" not in page(client, f"/?gateway={gateway.pk}")


@pytest.mark.parametrize(
    "query",
    ["page=99", "page=x", "state=nonsense", "gateway=-1", f"gateway={10**30}", "q=%00", "q=%25"],
)
def test_nonsense_in_the_address_is_no_error(client, gateway, query):
    make_device(gateway, "kettle")
    page(client, f"/?{query}")


def test_removed_devices_and_those_of_removed_gateways_are_gone(client, gateway, now):
    make_device(gateway, "kettle", removed_at=now)
    gone = make_gateway("Gone", "http://127.0.0.1:2")
    make_device(gone, "lamp")
    Gateway.objects.filter(pk=gone.pk).update(removed_at=now)
    assert "No devices yet" in page(client)


def test_an_anonymous_reader_gets_no_buttons(client, gateway, now):
    hear(make_device(gateway, "kettle"), now)
    assert '<form method="post"' not in page(client)


def test_only_who_may_order_gets_the_switch(owner, reader, gateway, now):
    hear(make_device(gateway, "kettle"), now)
    assert "Turn off" in page(owner)
    assert "Turn off" not in page(reader)


def test_a_disabled_device_is_paused_and_has_no_switch(owner, gateway, now):
    hear(make_device(gateway, "kettle", enabled=False), now)
    shown = page(owner)
    assert "paused" in shown
    assert "Turn off" not in shown


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("requested", "pressed, not sent yet"),
        ("accepted", "accepted, not seen in effect yet"),
        ("confirmed", "confirmed"),
        ("unconfirmed", "accepted, but never seen in effect"),
    ],
)
def test_the_last_order_is_told_with_what_became_of_it(client, gateway, now, state, words):
    device = hear(make_device(gateway, "kettle"), now)
    order(device, now - MINUTE, "superseded")
    order(device, now, state)
    shown = page(client).split("</main>")[0]
    assert words in shown
    assert "replaced by a newer command" not in shown


def test_an_order_of_last_week_is_no_news(client, gateway, now):
    order(hear(make_device(gateway, "kettle"), now), now - timedelta(days=7), "confirmed")
    assert "Ordered" not in page(client)


def order(device, time, state):
    ordered = {
        "number": 1.0,
        "source": "human",
        "reason": "Pressed",
        "requested_at": time,
        "expires_at": time + MINUTE,
    }
    with publishing():
        return DeviceCommand.objects.create(
            attribute=device.attributes.get(name="on"), state=state, **ordered
        )


def test_without_public_status_a_person_logs_in_first(client, settings, gateway):
    settings.PUBLIC_STATUS = False
    assert client.get("/?q=x").headers["Location"] == "/login/?next=/%3Fq%3Dx"


def test_without_public_status_whoever_is_logged_in_reads(reader, settings):
    settings.PUBLIC_STATUS = False
    page(reader)


def test_names_are_text_never_markup(client, gateway):
    make_device(gateway, "<script>alert(1)</script>")
    assert "<script>alert" not in page(client).lower()


def test_the_page_works_under_its_policy_no_inline_style_or_script(owner, gateway, now):
    hear(make_device(gateway, "kettle"), now)
    shown = page(owner)
    assert " style=" not in shown
    assert "<style" not in shown
    assert shown.count("<script") == shown.count('<script type="module" src="/static/core/') > 0


LATE = late_after() + MINUTE
AGES = (None, MINUTE, LATE)


@pytest.mark.parametrize("heard", AGES)
@pytest.mark.parametrize("measured", [None, MINUTE, STALE_AFTER + MINUTE])
@pytest.mark.parametrize("failures", [0, 2])
def test_the_database_ranks_freshness_as_python_does(now, heard, measured, failures):
    for number, (available, enabled, asked) in enumerate(
        (a, b, c) for a in (True, False) for b in (True, False) for c in (True, False)
    ):
        gateway = make_gateway(f"hub {number}", f"http://127.0.0.1:{number + 1}")
        Gateway.objects.filter(pk=gateway.pk).update(failures=failures, enabled=asked)
        make_device(
            gateway, available=available, enabled=enabled,
            heard_at=heard and now - heard, measured_at=measured and now - measured,
        )  # fmt: skip
    devices = Device.objects.select_related("gateway")
    for freshness in Freshness:
        in_python = {device.pk for device in devices if device.freshness(now) == freshness}
        assert (
            set(Device.objects.in_state(freshness, now).values_list("pk", flat=True)) == in_python
        )
        assert Device.objects.count_by_freshness(now)[freshness] == len(in_python)


def test_channels_of_one_hardware_stand_together_under_its_name(client, now, gateway):
    other = make_gateway("Attic hub", "http://127.0.0.1:2")
    hear(make_device(gateway, "zebra"), now)
    for number in (3, 1, 2):
        housing = {"hardware": "strip", "hardware_name": "Workshop", "model": "Pro4PM"}
        hear(make_device(other, f"{number} of strip", **housing), now)
    hear(make_device(gateway, "window"), now)
    shown = page(client)
    places = [shown.index(f">{name}</a>") for name in ("Window", "3 Of Strip", "1 Of Strip")]
    assert places == sorted(places)
    assert shown.count(">Workshop</strong>") == 1
    assert shown.count('class="device part') == 3
    assert shown.index("2 Of Strip") < shown.index(">Zebra</a>")


def test_a_channel_that_stands_alone_has_no_heading(client, now, gateway):
    hear(make_device(gateway, "one", hardware="strip", hardware_name="Workshop"), now)
    hear(make_device(gateway, "other", hardware="lamp", hardware_name="Lamp"), now)
    assert "housing" not in page(client)


def test_channels_are_found_by_the_name_of_their_hardware(client, now, gateway):
    hear(make_device(gateway, "lathe", hardware="strip", hardware_name="Workshop"), now)
    assert "Lathe" in page(client, "/?q=workshop")
