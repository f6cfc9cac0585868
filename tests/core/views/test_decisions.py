"""What the device page says of its rule, its plan, its score and its decisions."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import (
    Calibration,
    Device,
    FeedSource,
    Forecast,
    Measurement,
    Observation,
    Plan,
    Receipt,
    Series,
)
from core.planning.calibration import FEATURES, PLACES, DayProfile
from core.planning.calibration import Calibration as Corrects
from core.tasks import gateways
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def now():
    return timezone.now()


@pytest.fixture
def heater(now):
    heater = make_device(make_gateway("Hall hub"), "heater", heard_at=now)
    gateways.set_rule(heater.pk, "cleanest_hours", {"minutes": 90, "watts": 2000})
    return Device.objects.get(pk=heater.pk)


@pytest.fixture
def series():
    source = FeedSource.objects.create(feed="replay")
    return Series.objects.create(source=source, signal="carbon_intensity", unit="gCO2/kWh")


def expect(series, issued_at, hours, value=200.0):
    starts = [issued_at + HOUR * place for place in range(hours)]
    slots = [
        [at.timestamp(), (at + HOUR).timestamp(), value + place] for place, at in enumerate(starts)
    ]
    times = {"issued_at": issued_at, "known_at": issued_at, "ends_at": issued_at + HOUR * hours}
    return Forecast.objects.create(series=series, slots=slots, **times)


def measure(series, start, value):
    return Measurement.objects.create(
        series=series, starts_at=start, ends_at=start + HOUR, value=value, known_at=start + HOUR
    )  # fmt: skip


def make_plan(device, opens_at, deadline, windows=(), **fields):
    given = {
        "rule": "cleanest_hours",
        "signal": "carbon_intensity",
        "region": "replay",
        "unit": "gCO2",
        "made_at": opens_at,
    }
    packed = [[start.timestamp(), end.timestamp()] for start, end in windows]
    with publishing():
        return Plan.objects.create(
            device=device, opens_at=opens_at, deadline=deadline, counted_until=opens_at,
            windows=packed, job={"minutes": 90, "watts": 2000}, **given | fields,
        )  # fmt: skip


def receipt(device, time, sentence="on, because the grid is clean", **fields):
    given = {
        "decided_at": time,
        "repeated_at": time,
        "voice": "rule",
        "rule": "awesome",
        "sentence": sentence,
        "inputs": {},
    }
    return Receipt.objects.create(device=device, **given | fields)


def page(client, device):
    response = client.get(f"/devices/{device.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def test_the_rule_and_its_options_are_told_in_words(client, heater):
    shown = page(client, heater)
    for words in (
        "Rule: cleanest hours",
        "90 min",
        "2,000 W",
        "How long it has to run every day",
        '<span class="muted">default</span>',
    ):
        assert words in shown, words
    assert "Guard:" not in shown


def test_without_a_rule_nobody_decides(client, owner):
    plug = make_device(make_gateway("Hall hub"))
    assert "No rule: this device is switched by hand only." in page(client, plug)
    assert f'href="/devices/{plug.pk}/rule/"' in page(owner, plug)
    assert f'href="/devices/{plug.pk}/rule/"' not in page(client, plug)


def test_a_device_without_a_switch_is_offered_no_rule(owner):
    meter = make_device(make_gateway("Hall hub"))
    meter.attributes.filter(name="on").delete()
    shown = page(owner, meter)
    assert "No rule: this device has no switch." in shown
    assert f'href="/devices/{meter.pk}/rule/"' not in shown


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"min_on_minutes": 90}, "Once on, a rule keeps it on for at least 1 h 30 min."),
        ({"min_off_minutes": 5}, "Once off, a rule keeps it off for at least 5 min."),
        ({}, "A rule may switch it on and off at any time."),
        ({"most_switches_an_hour": 4}, "At most 4 switches an hour."),
        ({"most_switches_an_hour": 0}, "No limit on switches an hour."),
        ({"fail_safe_minutes": 30}, "When no decision was possible for 30 min, it goes off."),
        ({"fail_safe": "keep"}, "When no decision is possible it stays as it is."),
        ({"hold_minutes": 60}, "holds it for 1 h."),
        ({"hold_minutes": 0}, "A change by hand does not hold it."),
        ({}, "Its own timer brings it back to off if this server dies."),
        ({"fail_safe": "keep"}, "If this server dies it stays as it is: its fail-safe says so."),
    ],
)
def test_the_limits_are_sentences(client, heater, fields, says):
    Device.objects.filter(pk=heater.pk).update(**fields)
    assert says in page(client, heater)


def test_where_the_vendor_has_no_timer_the_page_says_so(client):
    hub = make_gateway("Hub", vendor="home_assistant")
    assert "No timer: if this server dies it stays as it is." in page(
        client, make_device(hub, rule="awesome")
    )


@pytest.mark.parametrize(
    ("rule", "options", "says"),
    [("gone", {}, "There is no rule"), ("awesome", {"x": 1}, "has no option x")],
)
def test_a_rule_that_cannot_decide_any_more_says_why(client, heater, rule, options, says):
    Device.objects.filter(pk=heater.pk).update(rule=rule, options=options)
    assert says in page(client, heater)


def test_the_plan_is_drawn_over_forecast_and_measurement(client, heater, series, now):
    expect(series, now - 3 * HOUR, 24)
    measure(series, now - 2 * HOUR, 250.0)
    make_plan(heater, now - 3 * HOUR, now + 9 * HOUR, [(now + HOUR, now + 2.5 * HOUR)], delivered=0)
    shown = page(client, heater)
    for words in (
        'class="line expected" d="M0',
        'class="line" d="M',
        '<rect x="33.333%" width="12.5%"',
        ">deadline</text>",
        ">now</text>",
    ):
        assert words in shown, words
    assert "1 h 30 min of running, nothing of it done so far." in shown
    assert "forecast 201, measured 250" in shown
    assert "forecast 204, planned" in shown
    assert "By the last forecast, 3 h old" in shown


def test_a_corrected_forecast_is_drawn_with_what_was_issued(client, heater, series, now):
    expect(series, now - 3 * HOUR, 24)
    assert 'class="line issued"' not in page(client, heater)
    day = DayProfile((None,) * PLACES, (-50.0,) * PLACES, (0.0,) * PLACES)
    weights = (0.0,) * 4 + (1.0,) + (0.0,) * (FEATURES - 5)
    learnt = Corrects(28, weights, day, 0, 500).as_json()
    Calibration.objects.create(series=series, fitted_at=now - HOUR, learnt=learnt)
    shown = page(client, heater)
    assert 'class="line issued" d="M' in shown
    assert "</svg> forecast, corrected</li>" in shown
    assert "</svg> as issued</li>" in shown
    assert "forecast 154, as issued 204" in shown
    assert '<th scope="col">As issued</th>' in shown


@pytest.mark.parametrize(("hours", "y"), [(9, "-.4em"), (0.5, "2.6em")])
def test_now_and_a_near_deadline_do_not_overlap(client, heater, series, now, hours, y):
    expect(series, now - 3 * HOUR, 24)
    make_plan(heater, now - 3 * HOUR, now + hours * HOUR)
    shown = page(client, heater)
    word = shown[: shown.index(">deadline</text>")].rpartition("<text")[2]
    assert f'y="{y}"' in word


def test_the_plan_of_a_rule_that_is_gone_is_not_drawn(client, heater, series, now):
    make_plan(heater, now - HOUR, now + HOUR, rule="another")
    assert '<h2 id="planned">Plan</h2>' not in page(client, heater)


def test_of_two_plans_the_one_that_was_made_last_is_drawn(client, heater, series, now):
    expect(series, now, 24)
    make_plan(heater, now - 2 * HOUR, now + 2 * HOUR, [(now + HOUR, now + 2 * HOUR)])
    make_plan(heater, now - HOUR, now + 4 * HOUR)
    shown = page(client, heater)
    assert "Nothing is planned" in shown
    assert "min of running" in shown


def test_when_it_ran_is_drawn_too(client, heater, series, now):
    expect(series, now - 3 * HOUR, 24)
    on = heater.attributes.get(name="on")
    for hours, value in ((2, 1.0), (1, 0.0)):
        Observation.objects.create(attribute=on, observed_at=now - HOUR * hours, number=value)
    on.heard_at = now
    on.save()
    make_plan(heater, now - 3 * HOUR, now + 9 * HOUR, delivered=60)
    shown = page(client, heater)
    assert "was on" in shown
    assert shown.count('y="97%"') == 1
    assert "1 h of it done so far" in shown


def test_without_a_plan_the_signal_is_drawn_alone(client, heater, series, now):
    expect(series, now, 24)
    shown = page(client, heater)
    assert '<h2 id="planned">Forecast</h2>' in shown
    assert "replayed data, issued" in shown
    assert "Replayed data of another time, not live." in shown
    assert "live forecast" not in shown
    assert "deadline</text>" not in shown


def test_without_anything_stored_the_page_says_what_to_run(client, heater):
    assert "manage.py fetch_forecasts" in page(client, heater)


def test_a_signal_that_no_feed_offers_is_said(client, heater, settings):
    settings.FEEDS = []
    assert "No feed provides the carbon intensity of the grid" in page(client, heater)


def test_a_rule_that_looks_at_a_meter_can_do_without_a_feed(client, heater, settings):
    settings.FEEDS = []
    gateways.set_rule(heater.pk, "surplus", {})
    alone = page(client, heater)
    assert "No feed provides the expected power of the panels" in alone
    assert "none: by the forecast alone" in alone
    meter = make_device(heater.gateway, "mains")
    gateways.set_rule(heater.pk, "surplus", {"meter": meter.pk})
    shown = page(client, heater)
    assert "No feed provides" not in shown
    assert "Mains" in shown


def test_a_place_that_is_missing_is_said(client, heater, settings):
    settings.FEEDS = ["open_meteo"]
    gateways.set_rule(heater.pk, "", {})
    gateways.set_rule(heater.pk, "lightning_guard", {}, guard=True)
    assert "needs a place" in page(client, heater)


def test_settled_plans_are_told_with_their_sum(client, heater, now):
    costs = {
        "predicted": 300.0,
        "actual": 310.0,
        "at_once": 400.0,
        "ideal": 300.0,
        "settled_at": now,
    }
    make_plan(heater, now - 30 * HOUR, now - 6 * HOUR, delivered=90, **costs)
    shown = page(client, heater)
    for words in ("Results", "<b>90</b> gCO2", "90%", "Saved 90 gCO2"):
        assert words in shown, words


def test_a_plan_that_could_not_be_settled_says_why(client, heater, now):
    make_plan(
        heater,
        now - 30 * HOUR,
        now - 6 * HOUR,
        settled_at=now,
        actual=310.0,
        note="no measurement of 2 h",
    )
    assert "no measurement of 2 h" in page(client, heater)


def test_the_latest_decisions_are_listed(client, heater, now):
    for number in range(12):
        receipt(heater, now - HOUR * number, f"sentence {number}.", times=number + 1)
    shown = page(client, heater)
    assert "sentence 9." in shown
    assert "sentence 10." not in shown
    assert "10 times, last" in shown
    assert "the rule" in shown


def test_a_decision_that_could_not_be_made_is_loud(client, heater, now):
    receipt(heater, now, "no decision: no fresh reading", problem=True)
    assert '<tr class="loud">' in page(client, heater)


def test_who_won_is_told(client, heater, now):
    for voice in ("human", "fail-safe", "guard"):
        receipt(heater, now, voice=voice)
    shown = page(client, heater)
    for words in ("a person", "the fail-safe", "the guard"):
        assert words in shown


def test_all_of_it_costs_the_same_whatever_is_stored(
    client, heater, series, now, django_assert_max_num_queries
):
    for days in range(9):
        expect(series, now - days * 24 * HOUR, 48)
        measure(series, now - days * HOUR - HOUR, 200.0)
        receipt(heater, now - days * HOUR)
        opens_at = now - HOUR - days * 24 * HOUR
        make_plan(heater, opens_at, opens_at + 24 * HOUR, settled_at=now if days else None)
    with django_assert_max_num_queries(18):
        page(client, heater)


def test_the_page_has_no_inline_style_or_script(owner, heater, series, now):
    expect(series, now, 24)
    make_plan(heater, now - HOUR, now + 9 * HOUR, [(now + HOUR, now + 2 * HOUR)])
    shown = page(owner, heater)
    assert " style=" not in shown
    assert shown.count("<script") == shown.count('<script type="module" src="/static/core/')
