"""Evented rows change only where it is told."""

import pytest

from core.models import Device, DeviceCommand, Event, Gateway, Plan, Run
from core.models.evented import Evented, NotPublishing
from core.tasks.events.outbox import publishing
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    with quietly():
        return Run.objects.create(task="poll")


def told():
    return list(Event.objects.values_list("kind", "body__id"))


def test_what_live_pages_follow_is_evented():
    assert all(issubclass(model, Evented) for model in (Device, Gateway, DeviceCommand, Run, Plan))


def test_saving_outside_is_refused_and_says_what_to_do():
    with pytest.raises(
        NotPublishing,
        match="Run None changes outside publishing.*core/tasks/events/outbox.py in place of",
    ):
        Run.objects.create(task="poll")
    assert not Run.objects.exists()


def test_deleting_outside_is_refused(run):
    with pytest.raises(NotPublishing):
        run.delete()
    assert Run.objects.exists()


def test_saving_inside_tells_by_itself(run):
    with publishing():
        for stored in (1, 3):
            run.counts = {"stored": stored}
            run.save(update_fields=["counts"])
    assert told() == [("run", run.pk)]
    assert Event.objects.get().body["counts"] == {"stored": 3}


def test_deleting_inside_tells_that_it_is_gone():
    with quietly():
        device = make_device(make_gateway())
    pk = device.pk
    with publishing():
        device.delete()
    assert told() == [("device removed", pk)]
    assert Event.objects.get().gateway == device.gateway_id


def test_a_refused_save_tells_nothing(run):
    with publishing(), pytest.raises(ValueError, match="Cannot force"):
        run.save(force_insert=True, force_update=True)
    assert not Event.objects.exists()
