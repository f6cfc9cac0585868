"""The device page and its buttons."""

from datetime import timedelta

import pytest
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Gateway, Observation, Role, Silence
from core.simulator import Fault
from core.tasks import gateways, poll
from core.tasks.retention import Kept
from core.tasks.roll_up import roll_up
from tests.core.tasks.homes import make_device, make_gateway
from tests.core.views.conftest import log_in

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def plug():
    return make_device(make_gateway("Hall hub"), "kettle")


@pytest.fixture
def thermostat(plug):
    Attribute.objects.create(
        device=plug, name="target", kind="number", unit="°C", minimum=5, maximum=30, writable=True
    )
    Attribute.objects.create(
        device=plug, name="mode", kind="choice", choices=["off", "heat"], writable=True
    )
    Attribute.objects.create(device=plug, name="note", kind="text", writable=True)
    return plug


def page(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def fill(attribute, step, count, value=lambda place: float(place % 100)):
    """`count` observations, `step` apart, the newest now."""
    now = timezone.now()
    Observation.objects.bulk_create(
        Observation(attribute=attribute, observed_at=now - step * place, number=value(place))
        for place in range(count)
    )
    attribute.number, attribute.observed_at, attribute.heard_at = value(0), now, now
    attribute.save()


def test_every_attribute_is_shown_with_its_value_and_freshness(client, thermostat):
    fill(thermostat.attributes.get(name="power"), MINUTE, 3, lambda place: 431.5)
    shown = page(client, f"/devices/{thermostat.pk}/")
    for words in ("431.5 W", "target", "mode", "note", "fresh", "never"):
        assert words in shown


def test_the_devices_of_the_same_hardware_are_linked(client, plug):
    housing = {"hardware": "strip", "hardware_name": "Workshop"}
    one, other = (make_device(plug.gateway, name, **housing) for name in ("lathe", "light"))
    elsewhere = make_device(make_gateway("Attic", "http://127.0.0.1:2"), "saw", **housing)
    gone = make_device(plug.gateway, "gone", removed_at=timezone.now(), **housing)
    shown = page(client, f"/devices/{one.pk}/")
    assert "a part of Workshop" in shown and f'href="/devices/{other.pk}/"' in shown
    assert not any(f'href="/devices/{pk}/"' in shown for pk in (elsewhere.pk, gone.pk, plug.pk))
    assert "a part of" not in page(client, f"/devices/{plug.pk}/")


def test_a_channel_left_of_its_hardware_is_no_part(client, plug):
    lone = make_device(plug.gateway, "lone", hardware="strip", hardware_name="Workshop")
    assert "a part of" not in page(client, f"/devices/{lone.pk}/")


def test_each_writable_kind_has_its_control(owner, thermostat):
    shown = page(owner, f"/devices/{thermostat.pk}/")
    assert "Turn on" in shown
    assert 'min="5.0"' in shown
    assert '<option value="heat">' in shown
    assert "5 to 30" in shown


def test_there_are_no_controls_without_permission(client, reader, thermostat):
    for browser in (client, reader):
        assert "<button" not in page(browser, f"/devices/{thermostat.pk}/").split("<main")[1]


def test_a_device_that_does_not_exist_or_was_removed_is_not_found(client, plug):
    Device.objects.filter(pk=plug.pk).update(removed_at=timezone.now())
    assert client.get(f"/devices/{plug.pk}/").status_code == 404
    assert client.get(f"/devices/{10**25}/").status_code == 404


@pytest.mark.parametrize(("span", "points"), [("day", 25), ("week", 61), ("month", 61)])
def test_the_chart_draws_what_is_stored_in_its_span(client, plug, span, points):
    power = plug.attributes.get(name="power")
    fill(power, timedelta(hours=1), 61)
    shown = page(client, f"/devices/{plug.pk}/?attribute={power.pk}&span={span}")
    assert f"{points - 1 if span == 'day' else points} values stored" in shown
    assert shown.count("<title>") > 240  # a readout for each column


def test_more_than_two_thousand_values_are_sampled_and_the_caption_says_so(client, plug):
    power = plug.attributes.get(name="power")
    fill(power, MINUTE / 3, 2100)
    assert "Sampled at 480 points" in page(client, f"/devices/{plug.pk}/?attribute={power.pk}")


def test_many_values_that_are_summed_up_are_drawn_as_means_with_their_extremes(client, plug):
    power = plug.attributes.get(name="power")
    fill(power, 10 * MINUTE, 2500, lambda place: 500.0 if place == 1000 else 20.0)
    path = f"/devices/{plug.pk}/?attribute={power.pk}&span="
    assert "Sampled" in page(client, path + "month")
    roll_up()
    shown = page(client, path + "month")
    assert "Means of 2 hours" in shown
    assert "(20 to 500)" in shown
    assert 'class="band"' in shown
    assert "Means of 19 hours" in page(client, path + "year")


def test_values_that_are_gone_are_drawn_by_their_hours(client, plug):
    power, on = (plug.attributes.get(name=name) for name in ("power", "on"))
    for attribute in (power, on):
        fill(attribute, timedelta(minutes=30), 1000, lambda place: float(place % 4 == 0))
    roll_up(Kept(timezone.now(), days=2))
    path = f"/devices/{plug.pk}/?span=month&attribute="
    before = timezone.now() - timedelta(days=10)
    assert not Observation.objects.filter(observed_at__lt=before).exists()
    assert page(client, path + f"{power.pk}").count("nothing heard") in range(60, 90)
    assert "25% of the time on" in page(client, path + f"{on.pk}")


def test_a_silence_is_a_gap_in_the_chart(client, plug):
    power = plug.attributes.get(name="power")
    fill(power, timedelta(hours=1), 20)
    whole = page(client, f"/devices/{plug.pk}/?attribute={power.pk}").count("nothing heard")
    now = timezone.now()
    Silence.objects.create(
        attribute=power, starts_at=now - timedelta(hours=8.5), ends_at=now - timedelta(hours=7.5)
    )
    broken = page(client, f"/devices/{plug.pk}/?attribute={power.pk}").count("nothing heard")
    assert broken - whole in range(8, 11)  # an hour of 240 columns a day


def test_the_same_value_told_again_is_no_gap(client, plug):
    on = plug.attributes.get(name="on")
    fill(on, timedelta(days=3), 2, lambda place: 1.0)
    Observation.objects.filter(observed_at__gt=timezone.now() - timedelta(days=1)).delete()
    assert "nothing heard" not in page(client, f"/devices/{plug.pk}/?attribute={on.pk}").replace(
        "<title>", "", 1
    )


def test_an_attribute_that_was_never_heard_has_an_empty_chart(client, plug):
    assert "No data in this period" in page(client, f"/devices/{plug.pk}/")


def test_text_is_listed_instead_of_drawn(client, thermostat):
    mode = thermostat.attributes.get(name="mode")
    Observation.objects.create(attribute=mode, observed_at=timezone.now(), text="heat")
    shown = page(client, f"/devices/{thermostat.pk}/?attribute={mode.pk}")
    assert "<figure" not in shown
    assert "<td>heat</td>" in shown


@pytest.mark.parametrize(
    "query", ["span=decade", "attribute=x", f"attribute={10**30}", "attribute=0"]
)
def test_nonsense_in_the_address_is_no_error(client, plug, query):
    page(client, f"/devices/{plug.pk}/?{query}")


def test_a_device_page_costs_the_same_whatever_it_holds(
    client, thermostat, django_assert_max_num_queries
):
    for attribute in thermostat.attributes.filter(kind="number"):
        fill(attribute, MINUTE, 50)
    with django_assert_max_num_queries(9):
        page(client, f"/devices/{thermostat.pk}/")


def test_pressing_orders_sends_reads_back_and_tells(owner, heater, simulator):
    simulator.devices[0].on = False
    on = heater.attributes.get(name="on")
    response = owner.post(
        f"/attributes/{on.pk}/order/", {"value": "on", "next": "/?page=1"}, follow=True
    )
    assert response.redirect_chain == [("/?page=1", 302)]
    assert simulator.devices[0].on
    assert "Heater, on: confirmed." in response.content.decode()
    command = DeviceCommand.objects.get()
    assert (command.source, command.reason, command.user.username) == (
        "human",
        "Pressed by user-administrator",
        "user-administrator",
    )


def test_a_press_keeps_the_rule_away_and_says_so(owner, heater):
    Device.objects.filter(pk=heater.pk).update(rule="awesome")
    on = heater.attributes.get(name="on")
    shown = owner.post(f"/attributes/{on.pk}/order/", {"value": "on"}, follow=True).content.decode()
    assert "Rules do not switch it for 2 h." in shown
    assert "Held until" in shown


def test_a_device_that_lies_is_told_loudly(owner, heater, simulator):
    simulator.devices[0].on = False
    simulator.devices[0].faults = [Fault("lying")]
    on = heater.attributes.get(name="on")
    shown = owner.post(f"/attributes/{on.pk}/order/", {"value": "on"}, follow=True).content.decode()
    assert "accepted, not seen in effect yet" in shown
    assert DeviceCommand.objects.get().state == "accepted"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("on", "maybe"),
        ("on", ""),
        ("target", "31"),
        ("target", "nan"),
        ("target", "x"),
        ("mode", "boil"),
        ("power", "5"),
    ],
)
def test_what_cannot_be_ordered_is_told_and_not_stored(owner, thermostat, name, value):
    attribute = thermostat.attributes.get(name=name)
    response = owner.post(f"/attributes/{attribute.pk}/order/", {"value": value}, follow=True)
    assert '<li class="error">' in response.content.decode()
    assert not DeviceCommand.objects.exists()


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"],
)
def test_a_form_never_leads_to_another_site(owner, thermostat, elsewhere):
    attribute = thermostat.attributes.get(name="mode")
    response = owner.post(
        f"/attributes/{attribute.pk}/order/", {"value": "boil", "next": elsewhere}
    )
    assert response.headers["Location"] == f"/devices/{thermostat.pk}/"


def test_an_order_needs_the_permission_and_a_token(client, reader, plug):
    from django.test import Client

    address = f"/attributes/{plug.attributes.get(name='on').pk}/order/"
    assert (
        client.post(address, {"value": "on", "next": "/?q=k"}).headers["Location"]
        == "/login/?next=/%3Fq%3Dk"
    )
    assert reader.post(address, {"value": "on"}).status_code == 403
    assert Client(enforce_csrf_checks=True).post(address, {"value": "on"}).status_code == 403
    assert not DeviceCommand.objects.exists()


def test_an_order_is_never_a_get(owner, plug):
    assert owner.get(f"/attributes/{plug.attributes.get(name='on').pk}/order/").status_code == 405


def test_ask_now_polls_the_gateway_at_once(owner, heater):
    shown = owner.post(f"/devices/{heater.pk}/ask/", follow=True).content.decode()
    assert "answered." in shown
    assert Observation.objects.exists()


def test_ask_now_tells_why_it_failed(owner, heater, simulator):
    poll.poll_devices(heater.gateway_id)
    simulator.devices[0].faults = [Fault("500")]
    assert (
        "did not answer:" in owner.post(f"/devices/{heater.pk}/ask/", follow=True).content.decode()
    )


def test_ask_now_does_not_ask_twice_at_once(owner, heater):
    Gateway.objects.filter(pk=heater.gateway_id).update(claimed_until=timezone.now() + MINUTE)
    assert (
        "is being polled already"
        in owner.post(f"/devices/{heater.pk}/ask/", follow=True).content.decode()
    )


def test_ask_now_has_nothing_to_ask_where_everything_is_disabled(owner, heater):
    Device.objects.filter(pk=heater.pk).update(enabled=False)
    assert (
        "has no device to poll"
        in owner.post(f"/devices/{heater.pk}/ask/", follow=True).content.decode()
    )


def test_a_number_field_starts_at_the_value_that_holds(owner, thermostat):
    target = thermostat.attributes.get(name="target")
    fill(target, MINUTE, 1, lambda place: 20.125)
    assert 'value="20.125"' in page(owner, f"/devices/{thermostat.pk}/")


def test_a_device_is_changed_by_its_form(owner, plug):
    typed = {
        "name": "Big kettle",
        "place": "Kitchen",
        "latitude": "52.5",
        "longitude": "-1.5",
        "zone": "Europe/London",
        "region": "13",
        "min_on_minutes": "10",
        "min_off_minutes": "5",
        "most_switches_an_hour": "4",
        "fail_safe": "keep",
        "fail_safe_minutes": "30",
        "hold_minutes": "0",
    }
    response = owner.post(f"/devices/{plug.pk}/change/", typed)
    assert response.headers["Location"] == f"/devices/{plug.pk}/"
    plug.refresh_from_db()
    assert {name: str(getattr(plug, name)) for name in typed} == typed
    assert not plug.enabled


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("latitude", "91"),
        ("zone", "Mars/Olympus"),
        ("hold_minutes", "-1"),
        ("longitude", "nan"),
    ],
)
def test_a_wrong_field_is_told_at_the_field_and_nothing_is_changed(owner, plug, field, value):
    shown = owner.post(
        f"/devices/{plug.pk}/change/", {"name": "New", "enabled": "on", field: value}
    ).content.decode()
    assert f'id="id_{field}_error"' in shown
    plug.refresh_from_db()
    assert plug.name == "Kettle"
    assert "<h1>Change Kettle</h1>" in shown


def save(client, device, **typed):
    told = {
        "name": device.name,
        "enabled": "on",
        "min_on_minutes": 0,
        "min_off_minutes": 0,
        "most_switches_an_hour": 12,
    }
    told |= {"fail_safe": "off", "fail_safe_minutes": 60, "hold_minutes": 120, **typed}
    return client.post(f"/devices/{device.pk}/change/", told)


def test_a_save_over_a_newer_change_is_refused_once_with_both_versions(owner, plug):
    seen = plug.version
    gateways.change_device(plug.pk, name="Boiler", latitude=52.5, enabled=False)
    refused = save(owner, plug, name="Teapot", latitude="52.50", place="Hall", version=seen)
    told = {row.label: (row.theirs, row.yours) for row in refused.context["seen"].differences}
    assert told == {"Name": ("Boiler", "Teapot"), "Place": ("", "Hall"), "Enabled": ("no", "yes")}
    shown = refused.content.decode()
    for words in (
        "Boiler was changed by somebody else in the meantime",
        'value="Teapot"',
        "<h1>Change Boiler</h1>",
    ):
        assert words in shown
    plug.refresh_from_db()
    assert (plug.name, plug.place) == ("Boiler", "")
    assert f'name="version" value="{plug.version}"' in shown
    assert save(owner, plug, name="Teapot", version=plug.version).status_code == 302
    assert Device.objects.get(pk=plug.pk).name == "Teapot"


def test_a_typing_error_keeps_the_version_that_was_seen(owner, plug):
    seen = plug.version
    gateways.change_device(plug.pk, name="Boiler")
    assert (
        f'name="version" value="{seen}"'
        in save(owner, plug, latitude="91", version=seen).content.decode()
    )


@pytest.mark.parametrize("version", ["-1", "soon", "9" * 30])
def test_a_version_that_never_was_is_refused_too(owner, plug, version):
    assert save(owner, plug, version=version).context["seen"].there == plug


def test_a_save_that_tells_no_version_is_saved(owner, plug):
    gateways.change_device(plug.pk, name="Boiler")
    assert save(owner, plug, name="Teapot").status_code == 302


def test_where_nothing_differs_in_the_form_that_is_said(owner, plug):
    gateways.set_rule(plug.pk, "awesome", {})
    assert (
        "Your values are the same as the stored ones."
        in save(owner, plug, version=plug.version).content.decode()
    )


def test_removing_asks_first(owner, plug):
    assert "Remove Kettle?" in page(owner, f"/devices/{plug.pk}/remove/")
    assert Device.objects.present().exists()


def test_a_removed_device_is_gone(owner, plug):
    assert (
        "Kettle was removed"
        in owner.post(f"/devices/{plug.pk}/remove/", follow=True).content.decode()
    )
    assert not Device.objects.present().exists()


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("change", Role.ADMINISTRATOR),
        ("rule", Role.ADMINISTRATOR),
        ("remove", Role.ADMINISTRATOR),
        ("ask", Role.OPERATOR),
        ("hold", Role.OPERATOR),
        ("release", Role.OPERATOR),
    ],
)
def test_each_button_needs_a_role(client, reader, plug, path, least):
    address = f"/devices/{plug.pk}/{path}/"
    assert client.post(address).headers["Location"].startswith("/login/")
    refused = reader.post(address)
    assert refused.status_code == 403
    assert "Your account lacks the right to" in refused.content.decode()
    is_enough = least == Role.OPERATOR
    assert (log_in(Role.OPERATOR).post(address).status_code in (200, 302)) == is_enough
    assert log_in(Role.ADMINISTRATOR).post(address).status_code in (200, 302)
