"""Who is at a device's page, as it is stored and told."""

from datetime import timedelta
from threading import Barrier, Thread

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from core.models import Device, Event, Presence, User
from core.models.event import EventKind
from core.models.presence import LASTS
from core.tasks import gateways, presence, prune
from core.tasks.events.outbox import publishing
from core.tasks.presence import Viewer
from tests.core.quietly import quietly
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def plug():
    with quietly():
        return make_device(make_gateway())


@pytest.fixture
def anna():
    return User.objects.create(username="anna").pk


@pytest.fixture
def berta():
    return User.objects.create(username="berta").pk


def told():
    """The events since it was last asked: (device, people, how many)."""
    events = list(Event.objects.filter(kind=EventKind.PRESENCE).order_by("pk"))
    Event.objects.all().delete()
    return [
        (event.device, [one["name"] for one in event.body["present"]], event.body["count"])
        for event in events
    ]


def time_passes(rows=None):
    (rows or Presence.objects.all()).update(expires_at=F("expires_at") - LASTS)


def test_who_comes_and_goes_is_told_with_all_who_are_there(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    presence.enter([Viewer("b", plug.pk)])
    presence.leave(["a"])
    assert told() == [
        (plug.pk, ["anna"], 1),
        (plug.pk, ["anna", "somebody"], 2),
        (plug.pk, ["somebody"], 1),
    ]


def test_many_who_come_at_once_are_one_event_a_device(plug, anna, berta):
    other = make_device(plug.gateway, "other")
    presence.enter([Viewer("a", plug.pk, anna), Viewer("b", plug.pk, berta), Viewer("c", other.pk)])
    assert told() == [(plug.pk, ["anna", "berta"], 2), (other.pk, ["somebody"], 1)]


def test_the_event_holds_who_changes_it_first_and_no_key(plug, anna, berta):
    presence.enter([Viewer("key", plug.pk, anna), Viewer("b", plug.pk, berta, is_changing=True)])
    event = Event.objects.get(kind=EventKind.PRESENCE)
    assert event.gateway == plug.gateway_id
    assert event.body == {
        "device": plug.pk,
        "count": 2,
        "changing": 1,
        "present": [{"name": "berta", "changing": True}, {"name": "anna", "changing": False}],
    }


def test_a_person_in_two_windows_counts_once(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna), Viewer("b", plug.pk, anna, is_changing=True)])
    body = Event.objects.get(kind=EventKind.PRESENCE).body
    assert (body["count"], body["present"]) == (1, [{"name": "anna", "changing": True}])


def test_a_crowd_is_counted_and_twenty_of_it_are_listed(plug):
    presence.enter([Viewer(str(number), plug.pk) for number in range(50)])
    [(_, listed, count)] = told()
    assert (len(listed), count) == (20, 50)


def test_who_has_no_log_in_changes_nothing(plug):
    presence.enter([Viewer("a", plug.pk, None, is_changing=True)])
    assert not Presence.objects.get().is_changing


def test_going_to_another_page_is_told_at_both(plug, anna):
    other = make_device(plug.gateway, "other")
    presence.enter([Viewer("a", plug.pk, anna)])
    told()
    presence.enter([Viewer("a", other.pk, anna)])
    assert told() == [(plug.pk, [], 0), (other.pk, ["anna"], 1)]


def test_saying_the_same_again_is_not_told(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    told()
    presence.enter([Viewer("a", plug.pk, anna)])
    assert told() == []


def test_at_a_device_that_is_not_there_nobody_is(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    told()
    presence.enter([Viewer("a", plug.pk + 1, anna), Viewer("b", plug.pk + 1)])
    assert told() == [(plug.pk, [], 0)]
    assert not Presence.objects.exists()


def test_a_lease_that_is_renewed_goes_on_untold(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna), Viewer("b", plug.pk)])
    Presence.objects.update(expires_at=F("expires_at") - LASTS / 2)
    told()
    assert presence.renew(["a", "b"]) == set()
    Presence.objects.update(expires_at=F("expires_at") - LASTS / 2)
    assert (presence.forget(), told()) == (0, [])


def test_renewing_takes_one_statement(plug, django_assert_num_queries):
    keys = [str(number) for number in range(100)]
    presence.enter([Viewer(key, plug.pk) for key in keys])
    with django_assert_num_queries(1):
        presence.renew(keys)


def test_a_lease_that_is_over_is_told_whoever_forgets_it(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna), Viewer("b", plug.pk)])
    time_passes(Presence.objects.filter(pk="a"))
    told()
    assert prune.prune()["presences"] == 1
    assert told() == [(plug.pk, ["somebody"], 1)]


def test_who_is_over_is_in_no_list_even_before_it_is_forgotten(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    time_passes()
    told()
    presence.enter([Viewer("b", plug.pk)])
    assert told() == [(plug.pk, ["somebody"], 1)]


def test_who_was_over_has_to_enter_again_and_is_told_again(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    time_passes()
    told()
    assert presence.renew(["a"]) == {"a"}
    presence.enter([Viewer("a", plug.pk, anna)])
    assert told() == [(plug.pk, ["anna"], 1)]


def test_of_a_device_that_was_removed_nothing_is_told(plug, anna):
    presence.enter([Viewer("a", plug.pk, anna)])
    gateways.remove_device(plug.pk)
    told()
    presence.leave(["a"])
    assert told() == []
    with quietly():
        Device.objects.all().delete()


def test_what_is_rolled_back_is_not_told(plug, anna):
    with pytest.raises(ZeroDivisionError), publishing():
        presence.enter([Viewer("a", plug.pk, anna)])
        raise ZeroDivisionError
    assert (told(), Presence.objects.count()) == ([], 0)


@pytest.mark.django_db(transaction=True)
def test_those_who_come_and_go_at_the_same_moment_are_all_in_the_last_list(plug):
    together = Barrier(8)

    def come(number):
        together.wait(10)
        presence.enter([Viewer(f"{number}", plug.pk), Viewer(f"{number} leaves", plug.pk)])
        presence.leave([f"{number} leaves"])
        connection.close()

    threads = [Thread(target=come, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told()[-1][2] == Presence.objects.count() == 8


@pytest.mark.parametrize("ahead", [timedelta(hours=10), timedelta(days=4400)], ids=str)
def test_a_presence_from_the_future_is_over(plug, ahead):
    """Its process was killed while the database's clock ran ahead."""
    Presence.objects.create(key="a", device=plug, name="anna", expires_at=Now() + ahead)
    assert not Presence.objects.here().exists()
    assert presence.forget() == 1
