"""Evented rows change only where it is told."""

import pytest

from core.models import Device, Event, Run
from core.models.evented import Evented, NotPublishing
from core.tasks.publish import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


class EventedRun(Evented, Run):
    class Meta:
        proxy = True
        app_label = "tests"


class EventedDevice(Evented, Device):
    class Meta:
        proxy = True
        app_label = "tests"


def told():
    return list(Event.objects.values_list("kind", "body__id"))


def test_saving_outside_is_refused_and_says_what_to_do():
    with pytest.raises(NotPublishing, match="EventedRun None changes outside publishing.*core/tasks/publish.py in place of"):
        EventedRun.objects.create(task="poll")
    assert not Run.objects.exists()


def test_deleting_outside_is_refused():
    run = EventedRun.objects.get(pk=Run.objects.create(task="poll").pk)
    with pytest.raises(NotPublishing):
        run.delete()
    assert Run.objects.exists()


def test_saving_inside_tells_by_itself():
    with publishing():
        run = EventedRun.objects.create(task="poll")
        run.counts = {"stored": 3}
        run.save(update_fields=["counts"])
    assert told() == [("run", run.pk)]
    assert Event.objects.get().body["counts"] == {"stored": 3}


def test_deleting_inside_tells_that_it_is_gone():
    stored = make_device(make_gateway())
    with publishing():
        EventedDevice.objects.get(pk=stored.pk).delete()
    assert told() == [("device removed", stored.pk)]
    assert Event.objects.get().gateway == stored.gateway_id


def test_a_refused_save_tells_nothing():
    with publishing(), pytest.raises(ValueError, match="Cannot force"):
        EventedRun(task="poll").save(force_insert=True, force_update=True)
    assert not Event.objects.exists()
