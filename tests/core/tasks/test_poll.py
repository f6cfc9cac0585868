"""Polling simulated devices through the ordinary vendor client."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Attribute, Device, Gateway, Observation, Run, Secret
from core.models.run import Outcome
from core.simulator import Fault
from core.tasks import gateways, poll
from core.tasks.polling.clients import client_for
from core.tasks.runs import AlreadyRunning, Terminated, running
from tests.core.tasks.homes import sigterm_when_asked

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(simulator):
    """Four simulated devices, each its own gateway, in order."""
    return [gateways.add("shelly", simulator.address(number)).gateway for number in range(4)]


def test_every_device_is_polled_and_stored(home):
    summary = poll.poll_devices()
    assert (summary.asked.gateways, summary.asked.failed) == (4, [])
    assert Observation.objects.count() == summary.asked.recorded.stored > 8
    assert set(Device.objects.values_list("available", flat=True)) == {True}
    assert not Attribute.objects.filter(heard_at=None, number__isnull=False).exists()


def test_the_run_keeps_its_counts(home):
    summary = poll.poll_devices()
    run = Run.objects.get()
    assert (run.task, run.outcome, run.counts) == ("poll", Outcome.DONE, summary.counts())


def test_one_gateway_never_stops_another(home, simulator, settings):
    settings.GATEWAY_TIMEOUT_SECONDS = 0.5
    simulator.devices[0].faults = [Fault("hang")]
    simulator.devices[1].faults = [Fault("garbage")]
    simulator.devices[2].faults = [Fault("unreachable")]
    summary = poll.poll_devices()
    failed = {name for name, _ in summary.asked.failed}
    assert failed == {str(gateway) for gateway in home[:3]}
    assert len(summary.asked.failed) == 3
    assert summary.asked.recorded.stored > 0
    assert Run.objects.get().error.count("\n") == 2


def test_a_gateway_that_fails_is_left_alone_for_longer_and_asked_at_once_on_request(
    home, simulator, time_machine
):
    simulator.devices[0].faults = [Fault("500")]
    for _ in range(2):
        poll.poll_devices()
    assert [name for name, _ in poll.poll_devices().resting] == [str(home[0])]
    assert poll.poll_devices(force=True).asked.gateways == 4
    simulator.devices[0].faults = []
    assert poll.poll_devices(home[0].pk).asked.failed == []
    assert poll.poll_devices().resting == []


def test_the_vendors_wish_to_be_left_alone_is_kept(home, simulator):
    simulator.devices[0].faults = [Fault("429", 3600)]
    poll.poll_devices()
    home[0].refresh_from_db()
    assert timedelta(minutes=59) < home[0].retry_at - timezone.now() <= timedelta(minutes=60)


def test_a_refused_password_waits_for_a_person(home, simulator):
    simulator.devices[0].faults = [Fault("unauthorised")]
    poll.poll_devices()
    home[0].refresh_from_db()
    assert home[0].refused
    assert home[0].retry_at - timezone.now() > timedelta(minutes=50)


def test_a_credential_that_cannot_be_decrypted_costs_its_gateway_alone(home):
    Gateway.objects.filter(pk=home[0].pk).update(credential=Secret("nonsense"))
    summary = poll.poll_devices()
    assert summary.asked.gateways == 4
    assert [why for _, why in summary.asked.failed] == [
        "The stored credential cannot be decrypted: SECRET_KEY or FIELD_KEYS changed. "
        "Enter the credential again."
    ]


def test_a_gateway_that_somebody_else_asks_is_left_to_them(home):
    Gateway.objects.filter(pk=home[0].pk).update(claimed_until=Now() + timedelta(seconds=30))
    summary = poll.poll_devices()
    assert (summary.asked.gateways, summary.asked.busy) == (3, [str(home[0])])


def test_a_claim_of_a_process_that_died_ends_by_itself(home):
    Gateway.objects.filter(pk=home[0].pk).update(claimed_until=Now() - timedelta(seconds=1))
    assert poll.poll_devices().asked.gateways == 4


def test_disabled_and_removed_devices_are_not_asked(home, simulator):
    gateways.change(home[0].pk, name="x", enabled=False)
    gateways.change_device(home[1].devices.get().pk, enabled=False)
    gateways.remove(home[2].pk)
    asked = [device.requests for device in simulator.devices]
    assert poll.poll_devices().asked.gateways == 1
    assert [device.requests for device in simulator.devices][:3] == asked[:3]


def test_two_polls_never_run_at_once(home):
    with running("poll"), pytest.raises(AlreadyRunning):
        poll.poll_devices()


def test_a_poll_of_one_gateway_needs_no_lease(home):
    with running("poll"):
        assert poll.poll_devices(home[0].pk).asked.gateways == 1


def test_progress_counts_to_all(home):
    seen = []
    poll.poll_devices(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 4) for done in (1, 2, 3, 4)]


@pytest.mark.django_db(transaction=True)
def test_a_rotated_credential_is_stored_before_it_is_used(home):
    client = client_for(home[0])
    client.http.renew("newer")
    home[0].refresh_from_db()
    assert (client.http.credential, home[0].credential.reveal()) == ("newer", "newer")


def test_the_largest_answer_is_a_setting(home, settings):
    settings.LARGEST_ANSWER_BYTES = 100
    failed = poll.poll_devices().asked.failed
    assert len(failed) == 4
    assert all("more than 100 bytes (LARGEST_ANSWER_MB)" in why for _, why in failed)


def test_sigterm_while_gateways_are_asked_gives_their_claims_back(home, simulator):
    """The next poll asks them at once, and finds none busy. A claim of another process stays."""
    simulator.devices[0].faults = [Fault("hang")]
    Gateway.objects.filter(pk=home[3].pk).update(claimed_until=Now() + timedelta(minutes=1))
    sigterm_when_asked(simulator.devices[0])
    with pytest.raises(Terminated):
        poll.poll_devices()
    simulator.devices[0].faults = []
    summary = poll.poll_devices()
    assert (summary.asked.gateways, summary.asked.busy) == (3, [str(home[3])])
