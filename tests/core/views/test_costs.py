"""Costs on pages, as CSV, over the API and by the command: the same numbers everywhere."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from django.core.management import call_command
from django.test import Client

from core.feeds import Signal
from core.models import Membership, Plan, Role, User
from core.tasks.events.outbox import publishing
from core.tasks.scorecard import jobs_of
from tests.core.tasks.test_costs import growing, home, measured, meter, said

__all__ = ["home"]
pytestmark = pytest.mark.django_db
NOON = datetime(2026, 6, 17, 12, tzinfo=UTC)


@pytest.fixture
def washer(home, time_machine):
    time_machine.move_to(NOON, tick=False)
    energy = meter()
    said(energy, growing(NOON - timedelta(hours=30), 29 * 60, 0.1))
    measured(Signal.CARBON_INTENSITY, "gCO2/kWh", lambda at: 100)
    measured(Signal.PRICE, "GBP/kWh", lambda at: 0.25)
    return energy.device


def client(gateway=None):
    user = User.objects.create(username="anna")
    membership = Membership.objects.create(user=user, role=Role.VIEWER, everywhere=gateway is None)
    if gateway:
        membership.gateways.add(gateway)
    browser = Client()
    browser.force_login(user)
    return browser


def test_the_page_shows_each_device_and_the_sum(washer):
    page = client().get("/costs/").content.decode()
    assert page.count("17.4 kWh") == page.count("1.74 kgCO2") == page.count("4.35 GBP") == 2
    assert "Saved by plans" in page and f"/devices/{washer.pk}/#costs" in page


def test_the_page_of_a_device_shows_its_days(washer):
    page = client().get(f"/devices/{washer.pk}/").content.decode()
    assert "Energy and cost" in page and "Tue 16 Jun" in page and "17.4 kWh" in page


def test_strangers_see_no_costs(washer, settings):
    settings.PUBLIC_STATUS = True
    assert "Energy and cost" not in Client().get(f"/devices/{washer.pk}/").content.decode()
    for path in ("/costs/", "/costs/costs.csv"):
        assert Client().get(path).status_code == 302
    assert Client().get("/api/v1/costs/").status_code == 401


def test_who_is_limited_to_a_gateway_sees_costs_of_its_devices_only(washer):
    other = meter(vendor_id="other")
    said(other, growing(NOON - timedelta(hours=5), 60, 0.1))
    browser = client(other.device.gateway)
    assert "17.4 kWh" not in browser.get("/costs/").content.decode()
    [told] = browser.get("/api/v1/costs/").json()["results"]
    assert told["device"] == other.device.pk
    assert browser.get("/costs/costs.csv").content.decode().count("Plug") == 0


def test_csv_api_and_command_say_the_same(washer):
    browser = client()
    [told] = browser.get("/api/v1/costs/", {"days": 7}).json()["results"]
    assert told["total"] == {
        "kwh": 17.4,
        "grams_co2": 1740.0,
        "grams_of_kwh": 17.4,
        "money": [{"currency": "GBP", "amount": 4.35}],
        "money_of_kwh": 17.4,
    }
    rows = list(csv.DictReader(io.StringIO(browser.get("/costs/costs.csv").content.decode())))
    assert [row["day"] for row in rows] == [day["day"] for day in told["days"]]
    assert sum(float(row["kwh"]) for row in rows) == pytest.approx(17.4)
    assert sum(float(row["amount"] or 0) for row in rows) == pytest.approx(4.35)
    out = io.StringIO()
    call_command("costs", "--json", stdout=out)
    assert json.loads(out.getvalue()) == [told]
    out = io.StringIO()
    call_command("costs", "--device", str(washer.pk), stdout=out)
    assert "17.4 kWh" in out.getvalue() and "4.35 GBP" in out.getvalue()


RANGE = 10_000.0
"""Of a counter with four digits of kWh."""


def counts(start, grows, begins_anew=(), wraps=False):
    """Yield what a counter says each ten minutes that it grew so much in."""
    count = start
    for place, grown in enumerate(grows):
        count = grown if place in begins_anew else count + grown
        count = count - RANGE if wraps and count >= RANGE else count
        yield NOON + timedelta(minutes=10 * (place - len(grows) + 1)), count


def told_by(counter, grows):
    """Return the kWh of each day in London, by adding up what it grew by, and their sum."""
    by_day = {}
    for (at, _), grown in list(zip(counter, grows, strict=True))[1:]:
        # What it grew by was used before it said so, so at midnight it is of the day before.
        day = (at + timedelta(hours=1, seconds=-1)).date().isoformat()
        by_day[day] = by_day.get(day, 0) + grown
    return by_day


def test_the_api_sums_up_counters_that_restart_wrap_and_are_replaced(home, time_machine):
    """Next to sums of what was really used; a restart, a wrap, another device's count are none."""
    time_machine.move_to(NOON, tick=False)
    dice = Random(3)  # noqa: S311 (a test)
    measured(Signal.CARBON_INTENSITY, "gCO2/kWh", lambda at: 100)
    measured(Signal.PRICE, "GBP/kWh", lambda at: 0.25)
    grows = {}
    for name, how in {
        "restarts": {"start": 700.0, "begins_anew": (100, 101, 250, 399)},
        "wraps": {"start": RANGE - 8, "wraps": True},
        "is whole": {"start": 0.0},
    }.items():
        grown = [dice.choice([0, 0.02, 0.11]) for _ in range(400)]
        readings = list(counts(grows=grown, **how))
        said(meter(vendor_id=name), readings)
        grows[name] = told_by(readings, grown)
    # Another device with a count of its own: what lies between its last and its first is not known.
    readings = list(counts(500.0, [0.1] * 200))
    replaced = [(at, n if at < NOON - timedelta(hours=10) else n + 4000) for at, n in readings]
    said(meter(vendor_id="is replaced"), replaced)
    grows["is replaced"] = told_by(readings, [0.1] * 200)
    grows["is replaced"]["2026-06-17"] -= 0.1

    answer = client().get("/api/v1/costs/", {"days": 7}).json()
    assert len(answer["results"]) == 4
    for told in answer["results"]:
        [name] = [name for name in grows if same(told, grows[name])]
        assert told["total"]["kwh"] == pytest.approx(sum(grows.pop(name).values()), abs=1e-5)
    kwh = sum(one["total"]["kwh"] for one in answer["results"])
    assert answer["total"]["kwh"] == pytest.approx(kwh, abs=1e-5)
    assert answer["total"]["grams_co2"] == pytest.approx(100 * kwh, abs=0.01)
    [money] = answer["total"]["money"]
    assert (money["currency"], money["amount"]) == ("GBP", pytest.approx(0.25 * kwh, abs=1e-4))


def same(told, by_day):
    said_by_day = {day["day"]: day["kwh"] for day in told["days"] if day["kwh"]}
    return said_by_day == pytest.approx({day: n for day, n in by_day.items() if n}, abs=1e-5)


def test_how_its_plans_came_out_stands_beside_the_costs(washer):
    """Those of the same days of the clock at home, and no others."""
    first_midnight = datetime(2026, 6, 10, 23, tzinfo=UTC)
    for deadline in (first_midnight, first_midnight + timedelta(hours=1), NOON):
        with publishing():
            Plan.objects.create(
                device=washer,
                job={"minutes": 60},
                windows=[],
                opens_at=deadline - timedelta(hours=3),
                deadline=deadline,
                made_at=deadline - timedelta(hours=3),
                counted_until=deadline,
                settled_at=deadline,
                delivered=60,
                unit="gCO2",
                predicted=100,
                actual=120,
                at_once=300,
                ideal=80,
            )
    browser = client()
    [told] = browser.get("/api/v1/costs/", {"days": 7}).json()["results"]
    assert told["jobs"] == jobs_of(list(Plan.objects.exclude(deadline=first_midnight))).as_json()
    assert (told["jobs"]["saving"], told["jobs"]["jobs"]) == (360, 2)
    assert "360 gCO2" in browser.get("/costs/").content.decode()


def test_without_plans_no_score_stands_beside_the_costs(washer):
    [told] = client().get("/api/v1/costs/").json()["results"]
    assert told["jobs"] is None


def test_a_name_is_no_formula_in_the_table(washer):
    washer.name = "=1+1"
    with publishing():
        washer.save()
    assert ",'=1+1," in client().get("/costs/costs.csv").content.decode()


@pytest.mark.parametrize("asked", ["days=0", "days=32", "days=x", "months=0", "months=13"])
def test_the_api_refuses_days_and_months_that_are_too_many(washer, asked):
    assert client().get(f"/api/v1/costs/?{asked}").status_code == 400


def test_page_csv_api_and_command_say_the_same_by_the_month(washer):
    # In the last half an hour of May in London. It began anew since.
    said(
        washer.attributes.get(name="energy"),
        growing(datetime(2026, 5, 31, 22, 30, tzinfo=UTC), 30, 0.5),
        heard_at=NOON - timedelta(hours=1),
    )
    browser = client()
    [told] = browser.get("/api/v1/costs/", {"months": 2}).json()["results"]
    assert told["days"] == [] and told["known_since"] == "2026-05-31"
    assert [month["month"] for month in told["months"]] == ["2026-05", "2026-06"]
    assert [month["kwh"] for month in told["months"]] == [1.5, 17.4]
    page = browser.get("/costs/?months=12").content.decode()
    assert page.count(">17.4 kWh<") == 1 and page.count(">18.9 kWh<") == 2
    assert "May 2026" in page and "Known from 31 May 2026 on" in page
    assert page.count("since 31 May 2026") == 1
    text = browser.get("/costs/costs.csv?months=12").content.decode()
    rows = [row for row in csv.DictReader(io.StringIO(text)) if float(row["kwh"])]
    assert [(row["month"], float(row["kwh"])) for row in rows] == [
        ("2026-05", 1.5),
        ("2026-06", 17.4),
    ]
    out = io.StringIO()
    call_command("costs", "--months", "2", "--json", stdout=out)
    assert json.loads(out.getvalue()) == [told]


def test_the_page_shows_each_day_of_a_week_and_no_day_where_it_is_the_only_one(washer):
    browser = client()
    page = browser.get("/costs/").content.decode()
    assert "By day</h2>" in page and "Tue 16 Jun" in page
    assert "By day</h2>" not in browser.get("/costs/?days=1").content.decode()


def test_without_any_meter_the_page_says_so(home):
    assert "Nothing measured yet" in client().get("/costs/").content.decode()
    out = io.StringIO()
    call_command("costs", stdout=out)
    assert "No device has told" in out.getvalue()


def test_costs_by_replayed_data_say_so_everywhere(washer, settings):
    browser = client()
    assert "replayed" not in browser.get("/costs/").content.decode()
    settings.FEEDS = ["replay"]
    for path in ("/costs/", f"/devices/{washer.pk}/"):
        assert "CO2 and cost are by <b>replayed data</b>" in browser.get(path).content.decode()
    assert browser.get("/api/v1/costs/").json()["results"][0]["is_replayed"] is True
    assert ",true," in browser.get("/costs/costs.csv").content.decode()
    out = io.StringIO()
    call_command("costs", stdout=out)
    assert "replayed data" in out.getvalue()
