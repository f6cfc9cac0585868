"""The clock and the place of the home: asked for once, inherited by every device, named wherever a
time is shown by it."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from core import serializers
from core.feeds import Signal
from core.models import Device, Receipt, Role, Site
from core.models.event import Event
from core.tasks import decide, gateways, poll
from core.tasks.decisions.situations import Round
from core.tasks.forecasts.regions import Region, region_for, regions_without_device
from core.tasks.site import set_site
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import heater, log_in, simulator  # noqa: F401 (fixtures)

pytestmark = pytest.mark.django_db
BERLIN = "Europe/Berlin"
SUMMER = datetime(2026, 7, 6, 20, 10, tzinfo=UTC)
"""22:10 in Berlin."""
WINTER = datetime(2026, 12, 7, 21, 10, tzinfo=UTC)
"""22:10 in Berlin."""


def say(command, *words, **options):
    output = StringIO()
    call_command(command, *map(str, words), stdout=output, **options)
    return output.getvalue()


def at(time_machine, moment):
    time_machine.move_to(moment, tick=True)
    poll.poll_devices(force=True)


@pytest.mark.parametrize("when", [SUMMER, WINTER])
def test_a_schedule_runs_by_the_clock_of_the_home(heater, simulator, time_machine, when):  # noqa: F811
    set_site(zone=BERLIN)
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    at(time_machine, when - timedelta(minutes=15))
    [before] = decide.decide()
    assert before.decision.value is False
    at(time_machine, when)
    [now] = decide.decide()
    assert simulator.devices[0].on
    assert now.sentence == (
        "on, because the schedule says on until 22:20 (times: Europe/Berlin): confirmed"
    )
    at(time_machine, when + timedelta(minutes=10))
    decide.decide()
    assert not simulator.devices[0].on


def test_the_clock_of_the_settings_counts_while_none_is_set(heater, settings):  # noqa: F811
    assert str(Round([heater], SUMMER).states[0].situation.zone) == "UTC"
    settings.TIME_ZONE = "Asia/Tokyo"
    assert str(Round([heater], SUMMER).states[0].situation.zone) == "Asia/Tokyo"


def test_the_devices_own_zone_and_place_go_before_those_of_the_home(settings):
    settings.FEEDS = ["open_meteo"]
    site = set_site(zone=BERLIN, place="Berlin", latitude=52.52, longitude=13.4)
    heir = make_device(make_gateway())
    own = make_device(
        heir.gateway, "pump", zone="Europe/Lisbon", latitude=38.7, longitude=-9.1, place="Garden"
    )
    zones = [str(state.situation.zone) for state in Round([heir, own], SUMMER).states]
    assert zones == [BERLIN, "Europe/Lisbon"]
    assert region_for(heir, Signal.CAPE, site) == Region("open_meteo", "52.52,13.40")
    assert region_for(own, Signal.CAPE, site) == Region("open_meteo", "38.70,-9.10")
    assert serializers.device_json(heir, [], SUMMER, site)["place"] == {
        "name": "Berlin",
        "latitude": 52.52,
        "longitude": 13.4,
        "zone": BERLIN,
    }
    assert serializers.device_json(own, [], SUMMER, site)["place"]["name"] == "Garden"


def test_where_the_home_is_stays_private():
    site = set_site(zone=BERLIN, place="Elm Street 5", latitude=52.52, longitude=13.4)
    shown = serializers.public_device_json(make_device(make_gateway()), [], SUMMER, site)
    assert shown["place"] == {"name": "", "zone": BERLIN}


def test_half_a_place_is_not_mixed_with_the_other_half_of_the_home():
    site = Site(latitude=52.52, longitude=13.4)
    assert site.position_of(Device(latitude=38.7)) == (52.52, 13.4)


def test_open_pages_hear_that_their_devices_have_another_clock():
    device = make_device(make_gateway())
    set_site(zone=BERLIN)
    event = Event.objects.filter(device=device.pk).latest("pk")
    assert event.body["place"]["zone"] == BERLIN


def test_there_is_one_home():
    set_site(zone=BERLIN)
    set_site(name="Summer house")
    assert [(site.name, site.zone) for site in Site.objects.all()] == [("Summer house", BERLIN)]
    with pytest.raises(IntegrityError), transaction.atomic():
        Site.objects.create(id=2)


def test_a_feed_by_place_is_asked_for_the_home_before_any_device_has_a_rule(settings):
    settings.FEEDS = ["open_meteo", "carbon_intensity_gb:13"]
    london = Region("carbon_intensity_gb", "13")
    assert regions_without_device() == [london]
    set_site(latitude=52.52, longitude=13.4)
    assert regions_without_device() == [Region("open_meteo", "52.52,13.40"), london]


# The command


def test_set_site_sets_what_is_given_and_keeps_the_rest():
    assert "Nobody has set the clock of the home" in say("set_site")
    say("set_site", "--zone", BERLIN, "--place", "Berlin")
    shown = say("set_site", "--latitude", "52.52", "--longitude", "13.4")
    assert shown == (
        "Berlin: Berlin, latitude 52.52, longitude 13.4.\n"
        "Times of rules are those of Europe/Berlin.\n"
    )
    assert say("set_site") == shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--zone", "Berlin"), "'Berlin' is no time zone. Example: Europe/London"),
        (("--zone", ""), "'' is no time zone"),
        (("--zone", "../../etc/passwd"), "is no time zone"),
        (("--latitude", "91", "--longitude", "0"), "latitude: .*less than or equal to 90"),
        (("--latitude", "52,5", "--longitude", "0"), "'52,5' is no number of degrees"),
        (("--latitude", "nan", "--longitude", "0"), "'nan' is no number of degrees"),
        (("--latitude", "52.5"), "longitude: Latitude and longitude go together: set both"),
    ],
)
def test_set_site_refuses_with_a_sentence(words, why):
    with pytest.raises(CommandError, match=why):
        say("set_site", *words)
    assert not Site.objects.exclude(zone="", latitude=None).exists()


def test_change_device_gives_a_device_a_clock_and_a_place_of_its_own(heater):  # noqa: F811
    where = ("--zone", "Europe/Lisbon", "--latitude", "38.7", "--longitude", "-9.1")
    say("change_device", heater.pk, *where)
    heater.refresh_from_db()
    assert (heater.zone, heater.latitude, heater.longitude) == ("Europe/Lisbon", 38.7, -9.1)


def test_the_clock_is_asked_for_while_the_home_is_set_up(client, simulator):  # noqa: F811
    asks = "manage.py set_site --zone Europe/Berlin"
    assert asks in client.get("/").content.decode()
    assert asks in say("add_gateway", "shelly", simulator.address(0))
    set_site(zone=BERLIN)
    assert asks not in say("add_gateway", "shelly", simulator.address(1))


def test_set_rule_names_the_clock_of_its_times(heater):  # noqa: F811
    schedule = ("set_rule", heater.pk, "schedule", "on=22:00-22:20")
    assert say(*schedule).endswith("Set it: python manage.py set_site --zone Europe/Berlin\n")
    set_site(zone=BERLIN)
    assert say(*schedule).endswith(".\nTimes of rules are those of Europe/Berlin.\n")
    gateways.change_device(heater.pk, zone="Europe/Lisbon")
    assert say(*schedule).endswith(".\nTimes of its rules are those of Europe/Lisbon.\n")
    assert "Times" not in say("set_rule", heater.pk, "awesome")


def test_status_says_that_the_clock_is_not_set_while_a_rule_goes_by_it(heater):  # noqa: F811
    assert "Nobody has set the clock" not in say("status")
    gateways.set_rule(heater.pk, "awesome", {})
    assert "Nobody has set the clock of the home" in say("status")
    set_site(zone=BERLIN)
    assert "Nobody has set the clock" not in say("status")


def test_a_time_without_a_zone_is_one_of_the_home(heater, time_machine):  # noqa: F811
    set_site(zone=BERLIN)
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    at(time_machine, SUMMER)
    shown = json.loads(say("do_something_awesome", "--json", "--as-of", "2026-07-06T22:11"))
    assert "on until 22:20 (times: Europe/Berlin)" in shown[0]["sentence"]


def test_explain_shows_every_time_by_one_clock(heater, time_machine):  # noqa: F811
    set_site(zone=BERLIN)
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    at(time_machine, SUMMER)
    decide.decide()
    shown = say("explain", Receipt.objects.get().pk)
    assert "2026-07-06 22:10:" in shown
    assert "UTC" not in shown
    assert "That agrees." in shown


def test_a_hold_ends_by_the_clock_of_the_home(heater, time_machine):  # noqa: F811
    set_site(zone=BERLIN)
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    at(time_machine, SUMMER)
    assert say("hold_device", heater.pk, "--for", "60").endswith("23:10, Europe/Berlin\n")
    [verdict] = decide.decide()
    assert "held until 23:10 (times: Europe/Berlin): " in verdict.sentence


def test_a_backtest_goes_by_the_clock_of_the_home(tmp_path):
    set_site(zone=BERLIN)
    rows = [f"2023-03-{day}T{hour:02}:00Z" for day in range(19, 24) for hour in range(24)]
    lines = [f"{start},{end},1,1" for start, end in zip(rows, rows[1:], strict=False)]
    history = tmp_path / "history.csv"
    history.write_text("\n".join(["from,to,forecast,actual", *lines]))
    days = ("--from", "2023-03-20", "--to", "2023-03-21")
    shown = say("backtest", "cleanest_hours", *days, "--file", history)
    assert "2023-03-20 00:00 to 2023-03-22 00:00 Europe/Berlin: " in shown


# The pages


def test_the_page_of_the_home_sets_its_clock():
    owner = log_in(Role.ADMINISTRATOR)
    shown = owner.get("/home/").content.decode()
    assert "The time zone of the home is not set: rules go by UTC" in shown
    answer = owner.post("/home/", {"zone": BERLIN, "name": "Flat"}, follow=True)
    assert "Times of rules are those of Europe/Berlin." in answer.content.decode()
    assert (Site.home().zone, Site.home().name) == (BERLIN, "Flat")


def test_the_page_refuses_an_unknown_zone_with_an_example():
    answer = log_in(Role.ADMINISTRATOR).post("/home/", {"zone": "Berlin"})
    assert "&#x27;Berlin&#x27; is no time zone. Example: Europe/London" in answer.content.decode()
    assert Site.home().zone == ""


def test_the_page_of_the_home_is_for_those_who_may_change_it(client):
    assert client.get("/home/").status_code == 302
    assert log_in().get("/home/").status_code == 403
    assert 'href="/home/"' not in client.get("/").content.decode()
    assert 'href="/home/"' in log_in(Role.ADMINISTRATOR).get("/").content.decode()


def test_the_status_page_asks_for_the_clock_until_it_is_set(heater, client):  # noqa: F811
    asks = "The time zone of the home is not set"
    assert asks not in client.get("/").content.decode()
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    assert asks in client.get("/").content.decode()
    set_site(zone=BERLIN)
    assert asks not in client.get("/").content.decode()


def test_a_chart_shows_utc_where_it_says_so(heater, client, time_machine):  # noqa: F811
    at(time_machine, SUMMER)
    with timezone.override("Asia/Tokyo"):
        shown = client.get(f"/devices/{heater.pk}/").content.decode()
    assert "6 Jul, 20:0" in shown
    assert "7 Jul, 05:0" not in shown


def test_pages_say_whose_clock_a_rule_goes_by(heater):  # noqa: F811
    owner = log_in(Role.ADMINISTRATOR)
    set_site(zone=BERLIN, latitude=52.52, longitude=13.4)
    gateways.set_rule(heater.pk, "schedule", {"on": "22:00-22:20"})
    page = f"/devices/{heater.pk}/"
    assert "Times of its rule are those of Europe/Berlin." in owner.get(page).content.decode()
    rule = owner.get(f"{page}rule/").content.decode()
    assert "Times of day are those of Europe/Berlin, the clock of the home" in rule
    change = owner.get(f"{page}change/").content.decode()
    assert "Empty: that of the home, Europe/Berlin" in change
    assert "Empty: that of the home, 52.52" in change
    for shown in (page, "/", f"{page}change/"):
        assert 'Times on this page are <span class="zone">UTC</span>' in (
            owner.get(shown).content.decode()
        )
