"""Adding, discovering, moving and removing gateways and devices."""

import pytest
from django.core.exceptions import ValidationError

from core.models import Device, Gateway, Observation
from core.net.errors import ApiError, ApiRefused
from core.tasks import decide, discovery, gateways, poll, prune
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db


def test_a_gateway_is_asked_who_it_is_and_stored_with_its_devices(simulator):
    found = gateways.add("shelly", f" {simulator.address(0)}/ ")
    assert (found.gateway.name, found.gateway.address) == ("Heater", simulator.address(0))
    device = Device.objects.get()
    assert [attribute.name for attribute in device.attributes.all()][:2] == ["on", "power"]


def test_nothing_is_stored_when_nobody_answers(db):
    with pytest.raises(ApiError):
        gateways.add("shelly", "http://127.0.0.1:9")
    assert not Gateway.objects.exists()


def test_the_same_gateway_twice_is_told(simulator):
    gateway = gateways.add("shelly", simulator.address(0)).gateway
    with pytest.raises(gateways.AlreadyThere, match="already stored") as there:
        gateways.add("shelly", simulator.address(0))
    assert there.value.gateway == gateway


def test_the_same_gateway_by_another_address_is_told(simulator):
    gateways.add("shelly", simulator.address(0))
    with pytest.raises(gateways.AlreadyThere):
        gateways.add("shelly", simulator.address(0).replace("127.0.0.1", "localhost"))


def test_an_unknown_vendor_is_told(db):
    with pytest.raises(LookupError, match="Known: home_assistant, mqtt, shelly"):
        gateways.add("toaster", "http://127.0.0.1:9")


def test_discovering_again_changes_no_name_that_a_person_gave(simulator, heater):
    gateways.change_device(heater.pk, name="Bathroom")
    found = discovery.discover(heater.gateway_id)
    assert (found.new, found.known) == ([], [heater.pk])
    assert Device.objects.get().name == "Bathroom"


def test_a_removed_device_stays_away_until_it_is_restored(heater):
    gateways.remove_device(heater.pk)
    assert discovery.discover(heater.gateway_id).left_out == [heater.vendor_id]
    assert not Device.objects.present().exists()
    found = discovery.discover(heater.gateway_id, restore=True)
    assert (found.known, found.restored) == ([], [heater.pk])
    assert found.in_words() == "Heater: 0 new, 0 known, 1 restored."
    assert Device.objects.active().get() == heater


def test_a_restored_device_is_polled_at_once(heater):
    poll.poll_devices(force=True)
    gateways.remove_device(heater.pk)
    prune.prune()
    discovery.discover(heater.gateway_id, restore=True)
    assert heater.attributes.get(name="on").value is not None


def test_who_adds_a_gateway_again_is_told_how_to_restore_a_removed_device(simulator, heater):
    gateways.remove_device(heater.pk)
    restore = f"discover_devices --restore --gateway {heater.gateway_id}"
    with pytest.raises(gateways.AlreadyThere, match=restore):
        gateways.add("shelly", simulator.address(0))


def test_a_device_removed_and_pruned_is_restored_with_its_attributes(heater):
    names = list(heater.attributes.values_list("name", flat=True))
    gateways.remove_device(heater.pk)
    prune.prune()
    assert not heater.attributes.exists()
    discovery.discover(heater.gateway_id, restore=True)
    assert list(heater.attributes.values_list("name", flat=True)) == names


def test_a_removed_gateway_is_out_of_sight_and_its_credential_is_gone(heater):
    gateways.change(heater.gateway_id, name="Plug", enabled=True, credential="secret")
    gateways.remove(heater.gateway_id)
    assert not Gateway.objects.present().exists()
    assert not Gateway.objects.get().credential


def test_pruning_deletes_what_is_left_of_a_removed_gateway(heater):
    poll.poll_devices()
    gateways.remove(heater.gateway_id)
    pruned = prune.prune()
    assert pruned["gateways"] == 1
    assert not Gateway.objects.exists()
    assert not Observation.objects.exists()


def test_a_removed_gateway_can_be_added_again(simulator, heater):
    gateways.remove(heater.gateway_id)
    assert len(gateways.add("shelly", simulator.address(0)).new) == 1


def test_a_gateway_moves_only_to_where_it_answers_itself(simulator, heater):
    with pytest.raises(ApiRefused, match="Car charger"):
        gateways.change(heater.gateway_id, address=simulator.address(1))
    elsewhere = simulator.address(0).replace("127.0.0.1", "localhost")
    assert gateways.change(heater.gateway_id, address=elsewhere).address == elsewhere


def test_an_address_that_another_gateway_has_is_told(simulator):
    gateway = gateways.add("shelly", simulator.address(0)).gateway
    there = simulator.address(0).replace("127.0.0.1", "localhost")
    make_gateway("Attic", there)
    with pytest.raises(gateways.AlreadyThere, match="This is Attic, already stored"):
        gateways.change(gateway.pk, address=there)


@pytest.mark.parametrize(
    "field", [{"zone": "Europe/Atlantis"}, {"rule": "magic"}, {"latitude": 91.0}]
)
def test_what_a_device_cannot_have_is_refused(heater, field):
    with pytest.raises(ValidationError):
        gateways.change_device(heater.pk, **field)


def test_a_change_of_what_somebody_else_changed_meanwhile_is_refused(heater):
    seen = heater.version
    gateways.change_device(heater.pk, version=seen, name="Boiler")
    with pytest.raises(
        gateways.VersionConflict, match="Boiler was changed by somebody else"
    ) as refused:
        gateways.change_device(heater.pk, version=seen, name="Kettle")
    assert refused.value.there.name == "Boiler"
    gateways.change_device(heater.pk, version=refused.value.there.version, name="Kettle")
    with pytest.raises(gateways.VersionConflict):
        gateways.set_rule(heater.pk, "awesome", {}, version=seen)


def test_a_gateway_is_not_overwritten_either(heater):
    gateway = gateways.change(
        heater.gateway_id, name="Hall", enabled=True, version=heater.gateway.version
    )
    with pytest.raises(gateways.VersionConflict):
        gateways.change(gateway.pk, name="Attic", enabled=True, version=gateway.version - 1)


def test_a_decision_is_no_change_by_a_person(heater):
    gateways.set_rule(heater.pk, "awesome", {})
    before = Device.objects.get(pk=heater.pk).version
    poll.poll_devices(force=True)
    decide.decide()
    assert Device.objects.get(pk=heater.pk).version == before
