"""What commits is told, what rolls back is not; each changed object once, as readers may see it."""

import contextvars
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core.models import Attribute, Device, DeviceCommand, Event, Gateway, Plan, Run, Series
from core.models.event import EventKind
from core.tasks.events.outbox import CHANNEL, is_publishing, publishing
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    with quietly():
        return make_device(make_gateway("Hub", credential="the secret"))


def kinds():
    return list(Event.objects.values_list("kind", flat=True))


def command(plug):
    return DeviceCommand.objects.create(
        attribute=plug.attributes.get(name="on"),
        number=1.0,
        source="human",
        reason="Pressed",
        expires_at=timezone.now() + timedelta(hours=1),
    )


def plan(plug):
    now = timezone.now()
    times = {
        "opens_at": now,
        "deadline": now + timedelta(hours=1),
        "made_at": now,
        "counted_until": now,
    }
    return Plan.objects.create(
        device=plug, rule="x", signal="price", unit="GBP", job={}, windows=[], **times
    )


def test_readings_are_told_as_given(plug):
    with publishing() as outbox:
        outbox.readings(plug.pk, plug.gateway_id, {"on": True, "power": 12.5})
    event = Event.objects.get()
    of_plug = (plug.pk, plug.gateway_id)
    assert (event.kind, event.device, event.gateway) == (EventKind.READINGS, *of_plug)
    assert event.body == {"on": True, "power": 12.5}
    assert abs(event.happened_at - timezone.now()) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "value", [0.1, 2**53, -1.5e-7, 'Küche "{%s}" ☀', None, [], {}, [[1, "2"]]], ids=repr
)
def test_values_come_back_as_they_were(plug, value):
    with publishing() as outbox:
        outbox.readings(plug.pk, plug.gateway_id, {"value": value})
    assert Event.objects.get().body == {"value": value}


def test_events_stand_in_the_order_in_which_they_were_told(plug):
    with publishing() as outbox:
        for number in range(600):
            outbox.readings(plug.pk, plug.gateway_id, {"number": number})
    assert [event.body["number"] for event in Event.objects.order_by("pk")] == list(range(600))


def test_a_number_that_is_not_finite_is_refused(plug):
    with pytest.raises(ValueError, match="not JSON compliant"), publishing() as outbox:
        outbox.readings(plug.pk, plug.gateway_id, {"power": float("nan")})


def test_a_changed_device_is_told_once_as_it_is_at_the_end(plug):
    with publishing() as outbox:
        for name in ("One", "Two"):
            Device.objects.filter(pk=plug.pk).update(name=name)
            outbox.changed(plug)
        Attribute.objects.filter(device=plug, name="power").update(number=7.0)
    event = Event.objects.get()
    assert (event.kind, event.body["name"]) == (EventKind.DEVICE, "Two")
    assert [attribute["value"] for attribute in event.body["attributes"]] == [None, 7.0]


def test_each_kind_is_told_with_its_device_and_gateway(plug):
    with publishing() as outbox:
        run = Run.objects.create(task="poll")
        for changed in (run, command(plug), plan(plug), plug, plug.gateway):
            outbox.changed(changed)
    of_plug = (plug.pk, plug.gateway_id)
    assert list(Event.objects.values_list("kind", "device", "gateway")) == [
        ("gateway", None, plug.gateway_id),
        ("device", *of_plug),
        ("plan", *of_plug),
        ("command", *of_plug),
        ("run", None, None),
    ]


def test_nothing_is_told_that_readers_do_not_see(plug):
    Gateway.objects.update(address="http://192.168.1.20")
    with publishing() as outbox:
        outbox.changed(plug)
        outbox.changed(plug.gateway)
    told = str(list(Event.objects.values_list("body", flat=True)))
    assert not [word for word in ("192.168", "secret", "credential", "latitude") if word in told]


@pytest.mark.parametrize("how", ["deleted", "removed", "its gateway removed"])
def test_a_device_out_of_sight_is_told_as_removed(plug, how):
    of_plug = (EventKind.DEVICE_REMOVED, plug.pk, plug.gateway_id, {"id": plug.pk})
    with publishing() as outbox:
        outbox.changed(plug)
        if how == "deleted":
            plug.delete()
        else:
            rows = Device.objects if how == "removed" else Gateway.objects
            rows.update(removed_at=timezone.now())
    assert list(Event.objects.values_list("kind", "device", "gateway", "body")) == [of_plug]


def test_what_is_deleted_in_bulk_is_told_as_removed(plug):
    with publishing() as outbox:
        outbox.changed(plug)
        outbox.changed_pks(Device, [plug.pk])
        outbox.changed(plug.gateway)
        Device.objects.all().delete()
        Gateway.objects.all().delete()
    assert list(Event.objects.values_list("kind", "device", "gateway")) == [
        ("gateway removed", None, plug.gateway_id),
        ("device removed", plug.pk, plug.gateway_id),
    ]


def test_pruned_history_is_no_event(plug):
    with publishing() as outbox:
        for old in (command(plug), plan(plug), Run.objects.create(task="poll")):
            outbox.changed(old)
            old.delete()
    assert not Event.objects.exists()


def test_only_what_the_log_tells_of_can_be_told(plug):
    with publishing() as outbox, pytest.raises(TypeError, match="does not tell of Series"):
        outbox.changed_pks(Series, [1])


def test_what_rolls_back_is_not_told(plug):
    with pytest.raises(ZeroDivisionError), publishing() as outbox:
        outbox.changed(plug)
        _ = 1 / 0
    with publishing() as outbox:
        outbox.changed(plug)
        transaction.set_rollback(True)
    assert not Event.objects.exists()
    assert not is_publishing()


def test_an_inner_one_joins_the_outer(plug):
    with publishing() as outer:
        with publishing() as inner:
            inner.changed(plug)
        assert inner is outer
        assert is_publishing()
        assert not Event.objects.exists()
    assert kinds() == ["device"]


def broken(outbox, plug):
    with publishing():
        outbox.readings(plug.pk, plug.gateway_id, {"never": True})
        raise ZeroDivisionError


def rolled_back(outbox, plug):
    with publishing():
        outbox.readings(plug.pk, plug.gateway_id, {"never": True})
        transaction.set_rollback(True)
    raise ZeroDivisionError


@pytest.mark.parametrize("inner", [broken, rolled_back])
def test_what_an_inner_one_told_is_dropped_with_it(plug, inner):
    with publishing() as outbox:
        outbox.readings(plug.pk, plug.gateway_id, {"before": True})
        with pytest.raises(ZeroDivisionError):
            inner(outbox, plug)
        outbox.readings(plug.pk, plug.gateway_id, {"after": True})
    assert [event.body for event in Event.objects.all()] == [{"before": True}, {"after": True}]


@pytest.mark.django_db(transaction=True)
def test_within_a_bare_transaction_it_is_refused():
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"), publishing():
        pass
    assert not is_publishing()


def test_what_changes_nothing_costs_nothing(django_assert_num_queries):
    # Two: the savepoint that stands for the transaction in a test.
    with django_assert_num_queries(2), publishing():
        pass


def test_many_changes_cost_a_few_queries(plug):
    with quietly():
        devices = [plug, *(make_device(plug.gateway, f"plug {number}") for number in range(20))]
    with CaptureQueriesContext(connection) as captured, publishing() as outbox:
        outbox.changed_pks(Device, [device.pk for device in devices])
    # A test's savepoint, the lock, devices, attributes, the insert, the savepoint's end.
    assert len(captured) <= 6
    assert Event.objects.count() == 21


def test_another_thread_with_a_copy_of_the_context_is_not_publishing():
    seen = []
    with publishing():
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: seen.append(context.run(is_publishing)))
        thread.start()
        thread.join()
    assert seen == [False]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_commit_notifies_and_nothing_before_it(plug):
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    with publishing() as outbox:
        outbox.changed(plug)
    heard = list(connection.connection.notifies(timeout=1, stop_after=1))
    with connection.cursor() as cursor:
        cursor.execute("UNLISTEN *")
    assert [(notify.channel, notify.payload) for notify in heard] == [(CHANNEL, "")]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_lock_is_free_while_others_work_and_taken_last(plug):
    with publishing() as outbox:
        outbox.changed(plug)
        assert not advisory_locks()
        with CaptureQueriesContext(connection) as captured:
            outbox.flush()
        assert advisory_locks() == 1
        assert "pg_advisory_xact_lock" in captured[0]["sql"]
        # A row locked after it could deadlock.
        assert not [query for query in captured if "UPDATE" in query["sql"]]


def advisory_locks():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        return cursor.fetchone()[0]
