"""An order with a key is made once, however often and by however many it is sent."""

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from core.models import DeviceCommand, IdempotencyKey
from core.readings import Source, Unacceptable
from core.tasks import prune
from core.tasks.orders import send
from core.tasks.orders.once import KeyReused, StillInProgress, answered, order_once
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db


@pytest.fixture
def switch():
    return make_device(make_gateway()).attributes.get(name="on")


def order(switch, value=True, key="a", owner="user 1"):
    asked = {"attribute": switch.pk, "value": value}

    def commit():
        return send.order(switch.pk, value, source=Source.HUMAN, reason="a test")

    return order_once(owner, key, asked, commit)


def let_time_pass(**span):
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(**span))


def test_the_same_again_is_the_first_answer_again(switch):
    first = order(switch)
    answered("user 1", "a", {"state": "confirmed"})
    again = order(switch)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.command_pk == first.command_pk
    assert again.answer == {"state": "confirmed"}
    assert DeviceCommand.objects.count() == 1


def test_only_the_first_answer_is_kept(switch):
    order(switch)
    answered("user 1", "a", {"state": "confirmed"})
    answered("user 1", "a", {"state": "failed"})
    assert order(switch).answer == {"state": "confirmed"}


def test_a_key_is_for_one_request(switch):
    order(switch, True)
    with pytest.raises(KeyReused):
        order(switch, False)
    assert DeviceCommand.objects.count() == 1


def test_a_key_is_ones_own(switch):
    order(switch, owner="user 1")
    assert order(switch, owner="user 2").is_new


def test_while_the_first_is_not_answered_others_are_told_so(switch):
    first = order(switch)
    with pytest.raises(StillInProgress):
        order(switch)
    let_time_pass(seconds=61)
    again = order(switch)
    assert (again.command_pk, again.answer) == (first.command_pk, None)


def test_a_refused_order_leaves_its_key_free(switch):
    with pytest.raises(Unacceptable):
        order(switch, "much")
    assert order(switch, True).is_new


def test_after_a_day_a_key_is_new_again(switch):
    order(switch)
    let_time_pass(hours=25)
    assert order(switch, False).is_new


def test_old_keys_are_pruned(switch):
    order(switch)
    order(switch, key="young")
    IdempotencyKey.objects.filter(key="a").update(created_at=timezone.now() - timedelta(hours=25))
    assert prune.prune()["idempotency keys"] == 1
    assert [used.key for used in IdempotencyKey.objects.all()] == ["young"]


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_orders(switch):
    made, refused = [], []
    begin = threading.Barrier(20)

    def replay():
        begin.wait()
        try:
            made.append(order(switch))
        except StillInProgress:
            refused.append(True)
        finally:
            connection.close()

    threads = [threading.Thread(target=replay) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(refused)) == (1, 19)
    assert DeviceCommand.objects.count() == 1
