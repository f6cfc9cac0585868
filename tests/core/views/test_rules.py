"""The page that chooses what decides for a device, with a form made from the rule's options."""

import pytest

from core.models import Device, Membership, Role, User
from core.tasks import gateways
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    return make_device(make_gateway("Hall hub"), "kettle")


def page(client, address):
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def save(client, device, /, place="rule", name="", version="", **typed):
    options = {f"{place}-{option}": value for option, value in typed.items()}
    return client.post(
        f"/devices/{device.pk}/rule/", {"place": place, place: name, "version": version, **options}
    )


def stored(device):
    device = Device.objects.get(pk=device.pk)
    return device.rule, device.options, device.guard, device.guard_options


def test_without_a_rule_only_the_choice_is_shown(owner, plug):
    shown = page(owner, f"/devices/{plug.pk}/rule/")
    assert ">no rule</option>" in shown
    assert 'name="rule-' not in shown


def test_choosing_a_rule_shows_its_options_with_help_unit_and_default(owner, plug):
    shown = page(owner, f"/devices/{plug.pk}/rule/?rule=cleanest_hours")
    for words in (
        'name="rule-minutes"',
        'placeholder="180"',
        "How long it has to run every day",
        'placeholder="07:00"',
        "Gain, %",
        "default: carbon intensity",
        '<option value="price">price</option>',
        '<option value="" selected>default: off</option>',
        "chosen, not saved yet",
    ):
        assert words in shown, words
    assert stored(plug) == ("", {}, "", {})


def test_what_is_stored_is_filled_in(owner, plug):
    gateways.set_rule(plug.pk, "cleanest_hours", {"minutes": 95.0, "contiguous": True})
    shown = page(owner, f"/devices/{plug.pk}/rule/")
    assert 'value="95"' in shown
    assert '<option value="on" selected>on</option>' in shown
    assert "not saved yet" not in shown


def test_a_rule_is_saved_with_the_options_that_were_typed(owner, plug):
    response = save(
        owner, plug, name="cleanest_hours", minutes="120", before="06:30", contiguous="on", gain=""
    )
    assert response.headers["Location"] == f"/devices/{plug.pk}/"
    assert stored(plug)[:2] == (
        "cleanest_hours",
        {"minutes": 120.0, "before": "06:30", "contiguous": "on"},
    )


def test_a_guard_stands_beside_the_rule(owner, plug):
    save(owner, plug, name="awesome")
    save(owner, plug, "guard", "lightning_guard", lead_minutes="90")
    assert stored(plug) == ("awesome", {}, "lightning_guard", {"lead_minutes": 90})


def test_a_rule_is_taken_away(owner, plug):
    save(owner, plug, name="awesome", clean_below="150")
    save(owner, plug, name="")
    assert stored(plug) == ("", {}, "", {})


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"minutes": "5000"}, "minutes"),
        ({"minutes": "soon"}, "minutes"),
        ({"minutes": "nan"}, "minutes"),
        ({"signal": "magic"}, "signal"),
    ],
)
def test_what_makes_no_sense_is_told_at_its_field_and_nothing_is_stored(owner, plug, typed, field):
    response = save(owner, plug, name="cleanest_hours", gain="7", **typed)
    shown = response.content.decode()
    assert response.status_code == 200
    assert f'id="id_rule-{field}_error"' in shown
    assert 'value="7"' in shown
    assert stored(plug)[0] == ""


def test_what_the_rule_itself_refuses_is_told_and_what_was_typed_is_kept(owner, plug):
    shown = save(owner, plug, name="cleanest_hours", before="25:00", minutes="60").content.decode()
    assert "is no time of day" in shown
    assert 'value="25:00"' in shown
    assert stored(plug)[0] == ""


@pytest.mark.parametrize(
    ("place", "name"), [("rule", "magic"), ("guard", "awesome"), ("both", "awesome"), ("", "")]
)
def test_what_is_no_choice_is_not_stored(owner, plug, place, name):
    assert owner.post(f"/devices/{plug.pk}/rule/", {"place": place, place: name}).status_code == 200
    assert stored(plug) == ("", {}, "", {})


def test_an_unknown_rule_in_the_address_is_no_error(owner, plug):
    page(owner, f"/devices/{plug.pk}/rule/?rule=magic&guard=%00")


def test_reading_the_page_needs_the_permission(client, reader, plug):
    assert client.get(f"/devices/{plug.pk}/rule/").status_code == 302
    assert reader.get(f"/devices/{plug.pk}/rule/").status_code == 403


def differences(response, place="rule"):
    [choice] = [one for one in response.context["choices"] if one.place == place]
    return {row.label: (row.theirs, row.yours) for row in choice.seen.differences}


def test_options_that_somebody_else_changed_meanwhile_are_not_overwritten_unless_told_again(
    owner, plug
):
    seen = gateways.set_rule(plug.pk, "cleanest_hours", {"minutes": 60.0, "gain": 5.0}).version
    there = gateways.set_rule(plug.pk, "cleanest_hours", {"minutes": 120.0, "contiguous": True})
    refused = save(
        owner, plug, name="cleanest_hours", version=seen, minutes="90", contiguous="on", gain="5"
    )
    told = differences(refused)
    assert told == {"Minutes": ("120", "90"), "Gain, %": ("", "5")}
    assert 'value="90"' in refused.content.decode()
    assert stored(plug)[1] == {"minutes": 120.0, "contiguous": True}
    assert (
        save(owner, plug, name="cleanest_hours", version=there.version, minutes="90").status_code
        == 302
    )
    assert stored(plug)[1] == {"minutes": 90.0}


def test_another_rule_that_somebody_chose_meanwhile_is_shown_with_its_options(owner, plug):
    seen = plug.version
    there = gateways.set_rule(plug.pk, "cleanest_hours", {"minutes": 60.0})
    told = differences(save(owner, plug, name="", version=seen))
    assert told == {"Which rule": ("cleanest hours", ""), "Minutes": ("60", "")}
    assert save(owner, plug, name="", version=there.version).status_code == 302
    assert stored(plug)[:2] == ("", {})


def test_another_device_is_chosen_from_a_list_and_named_on_the_device_page(owner, plug):
    sensor = make_device(plug.gateway, "sensor")
    option = f'<option value="{sensor.pk}"'
    assert option in page(owner, f"/devices/{plug.pk}/rule/?rule=when")
    assert save(owner, plug, name="when", device=sensor.pk, attribute="power").status_code == 302
    assert stored(plug)[:2] == ("when", {"device": sensor.pk, "attribute": "power"})
    assert f"{option} selected" in page(owner, f"/devices/{plug.pk}/rule/")
    assert "Sensor" in page(owner, f"/devices/{plug.pk}/")
    assert save(owner, plug, name="when", device=987654).status_code == 200


def test_only_devices_that_one_may_see_can_be_looked_at(client, plug):
    hidden = make_device(make_gateway("Other hub", "http://127.0.0.1:2"), "secret cellar")
    user = User.objects.create(username="alma")
    membership = Membership.objects.create(user=user, role=Role.ADMINISTRATOR, everywhere=False)
    membership.gateways.set([plug.gateway_id])
    client.force_login(user)
    shown = page(client, f"/devices/{plug.pk}/rule/?rule=when")
    assert f'<option value="{plug.pk}">' in shown
    assert f'<option value="{hidden.pk}">' not in shown
    assert save(client, plug, name="when", device=hidden.pk).status_code == 200
    assert stored(plug)[0] == ""


def test_an_attribute_that_the_other_device_does_not_have_is_told_at_its_field(owner, plug):
    sensor = make_device(plug.gateway, "sensor")
    shown = save(owner, plug, name="when", device=sensor.pk, attribute="wet").content.decode()
    assert 'id="id_rule-attribute_error"' in shown
    assert "Sensor has no &#x27;wet&#x27;. It has: on, power." in shown
    assert stored(plug)[0] == ""


def test_a_device_that_one_may_not_see_stays_chosen_without_its_name(client, plug):
    far = make_device(make_gateway("Far hub", "http://far"), "far")
    user = User.objects.create(username="lena")
    role = Membership.objects.create(user=user, role=Role.ADMINISTRATOR, everywhere=False)
    role.gateways.add(plug.gateway)
    client.force_login(user)
    gateways.set_rule(plug.pk, "when", {"device": far.pk, "attribute": "power"})
    shown = page(client, f"/devices/{plug.pk}/rule/")
    assert f'<option value="{far.pk}" selected>device {far.pk}</option>' in shown
    answer = save(client, plug, name="when", device=far.pk, attribute="on", version=1)
    assert f"there is no device &#x27;{far.pk}&#x27;" in answer.content.decode()
    assert stored(plug)[1] == {"device": far.pk, "attribute": "power"}
