"""Ordering over the API: to a simulated device over real HTTP, once, with its outcome."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection

from core.live import threads
from core.models import Device, DeviceCommand
from core.models.access import Right, Role
from core.simulator import Fault, Simulator
from core.tasks import gateways, tokens
from core.tasks.orders import outcome
from tests.core.api.conftest import Api, person
from tests.core.api.test_skeleton import expect_problem

AGAIN = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}


@pytest.fixture
def heater(transactional_db):
    with Simulator(devices=1) as simulator:
        [pk] = gateways.add("shelly", simulator.address(0)).new
        heater = Device.objects.get(pk=pk)
        heater.simulated = simulator.devices[0]
        yield heater
        everything_is_sent()


def everything_is_sent():
    """The next test empties the tables: not before the threads of this one are done."""
    idle = threading.Barrier(threads.WRITERS + 1)
    for _ in range(threads.WRITERS):
        threads.writers.submit(idle.wait, 30)
    idle.wait(30)


def order(device, value=True, **more):
    return {"device": device.pk, "attribute": "on", "value": value, **more}


def test_an_order_is_done_and_its_outcome_is_the_answer(operator, heater):
    response = operator.post("/commands/?wait=10", order(heater))
    assert response.status_code == 201
    body = response.json()
    assert (body["state"], body["open"], body["value"]) == ("confirmed", False, True)
    assert heater.simulated.on
    assert response["Location"].endswith(f"/api/v1/commands/{body['id']}/")


def test_it_says_who_ordered_it(operator, heater):
    body = operator.post("/commands/", order(heater)).json()
    assert body["reason"] == "Ordered through the API by otto"
    assert body["source"] == "human"


def test_without_a_wait_the_answer_comes_at_once_and_the_ledger_later(operator, heater):
    heater.simulated.faults.append(Fault("latency", 0.3))
    body = operator.post("/commands/", order(heater)).json()
    assert body["open"]
    later = operator.get(f"/commands/{body['id']}/", wait=10).json()
    assert [step["state"] for step in later["steps"]] == [
        "requested",
        "sending",
        "accepted",
        "confirmed",
    ]


def test_the_same_key_again_is_the_first_answer_again(operator, heater):
    first = operator.post("/commands/?wait=10", order(heater), AGAIN)
    again = operator.post("/commands/?wait=10", order(heater), AGAIN)
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again["Location"] == first["Location"]
    assert (first.get("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (None, "true")
    assert DeviceCommand.objects.count() == 1


def test_a_key_outlives_the_rotation_of_its_token(heater):
    first = tokens.issue(person("olga", Role.OPERATOR), "night job", [Right.CONTROL])
    second = tokens.rotate(first.token, timedelta(hours=1))
    third = tokens.rotate(second.token, timedelta(hours=1))
    answers = [
        Api(authorization=f"Bearer {one.text}").post("/commands/", order(heater), AGAIN)
        for one in (first, second, third)
    ]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert DeviceCommand.objects.count() == 1


def test_another_token_of_the_same_person_has_keys_of_its_own(heater):
    olga = person("olga", Role.OPERATOR)
    for _ in range(2):
        text = tokens.issue(olga, "night job", [Right.CONTROL]).text
        Api(authorization=f"Bearer {text}").post("/commands/", order(heater), AGAIN)
    assert DeviceCommand.objects.count() == 2


def test_quotes_around_a_key_do_not_matter(operator, heater):
    bare = {"Idempotency-Key": AGAIN["Idempotency-Key"].strip('"')}
    operator.post("/commands/", order(heater), AGAIN)
    assert "Idempotency-Replayed" in operator.post("/commands/", order(heater), bare)


def test_a_key_for_another_order_is_refused(operator, heater):
    operator.post("/commands/", order(heater), AGAIN)
    body = expect_problem(operator.post("/commands/", order(heater, False), AGAIN), 422)
    assert body["detail"] == "This Idempotency-Key was used for another request. Use a new one."
    assert DeviceCommand.objects.count() == 1


def test_while_the_first_waits_for_its_outcome_others_come_again(operator, heater):
    heater.simulated.faults.append(Fault("latency", 0.3))
    codes = []
    first = threading.Thread(
        target=lambda: (
            codes.append(operator.post("/commands/?wait=10", order(heater), AGAIN).status_code),
            connection.close(),
        )
    )
    first.start()
    until = time.monotonic() + 30
    while not DeviceCommand.objects.exists() and time.monotonic() < until:
        time.sleep(0.01)
    response = operator.post("/commands/?wait=10", order(heater), AGAIN)
    expect_problem(response, 409)
    assert response["Retry-After"] == "1"
    first.join()
    assert codes == [201]
    assert operator.post("/commands/", order(heater), AGAIN).json()["state"] == "confirmed"


@pytest.mark.parametrize("key", ["a\\b", 'a"b', "", '"', '""', "a b", "ä", "k" * 256])
def test_a_key_that_is_none_is_refused(operator, device, key):
    body = expect_problem(operator.post("/commands/", order(device), {"Idempotency-Key": key}), 400)
    assert body["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"value": "perhaps"}, "'perhaps'"),
        ({"value": {"a": 1}}, "{'a': 1}"),
        ({"value": None}, "value: This field may not be null."),
        ({"attribute": "power", "value": 5}, "can only be read"),
        ({"attribute": "nothing"}, "Plug has no attribute nothing."),
        ({"for_minutes": 0}, "for_minutes"),
        ({"minutes": 5}, "minutes: There is no such field."),
        ({"device": True}, "device: A valid integer is required."),
    ],
)
def test_what_cannot_be_ordered_is_refused_with_a_sentence(operator, device, wrong, sentence):
    response = operator.post("/commands/", order(device) | wrong, AGAIN)
    assert response.status_code in (400, 422)
    assert sentence in response.json()["detail"]
    assert not DeviceCommand.objects.exists()


def test_a_body_that_is_no_object_is_refused(operator, db):
    for body in ([], [1], "a", 5, None, True):
        expect_problem(operator.post("/commands/", body), 400)


def test_who_may_order(anonymous, viewer, operator, administrator, device):
    expect_problem(anonymous.post("/commands/", order(device)), 401)
    expect_problem(viewer.post("/commands/", order(device)), 403)
    assert operator.post("/commands/", order(device)).status_code == 201
    assert administrator.post("/commands/", order(device)).status_code == 201


def test_who_is_limited_to_a_gateway_orders_nothing_elsewhere(gateway, device, other):
    limited = Api(person("olga", Role.OPERATOR, gateway))
    expect_problem(limited.post("/commands/", order(other)), 404)
    assert limited.post("/commands/", order(device)).status_code == 201


def test_who_is_limited_sees_no_commands_of_others(gateway, device, other, operator):
    mine = operator.post("/commands/", order(device)).json()["id"]
    theirs = operator.post("/commands/", order(other)).json()["id"]
    limited = Api(person("lena", Role.VIEWER, gateway))
    assert [one["id"] for one in limited.get("/commands/").json()["results"]] == [mine]
    expect_problem(limited.get(f"/commands/{theirs}/", wait=1), 404)


def test_readers_without_a_log_in_see_no_names_and_no_errors(anonymous, operator, device):
    pk = operator.post("/commands/", order(device)).json()["id"]
    DeviceCommand.objects.update(
        error="http://10.0.0.7", steps=[["2026-01-01T00:00:00+00:00", "failed", "http://10.0.0.7"]]
    )
    response = anonymous.get(f"/commands/{pk}/")
    assert response.status_code == 200
    assert b"otto" not in response.content
    assert b"10.0.0.7" not in response.content
    assert b"10.0.0.7" not in anonymous.get("/commands/").content
    assert b"10.0.0.7" in operator.get("/commands/").content


def test_commands_are_found_by_device_attribute_and_state(operator, device, other):
    one, two = (operator.post("/commands/", order(each)).json() for each in (device, other))

    def found(**wanted):
        return [each["id"] for each in operator.get("/commands/", **wanted).json()["results"]]

    assert found() == [two["id"], one["id"]]
    assert found(device=device.pk) == [one["id"]]
    assert found(attribute=two["attribute"]) == [two["id"]]
    assert found(state="requested") == found(open="true") == [two["id"], one["id"]]
    assert found(state="failed") == found(open="false") == []


def test_a_wait_that_nobody_can_grant_is_refused(operator, device):
    for wait in ("26", "-1", "nan", "x"):
        expect_problem(operator.get("/commands/1/", wait=wait), 400)


def test_only_so_many_wait_at_once(operator, device, monkeypatch):
    """The others get what is known: the process has threads for a few only."""
    pk = operator.post("/commands/", order(device)).json()["id"]
    monkeypatch.setattr(outcome, "_places", threading.BoundedSemaphore(1))
    outcome._places.acquire()
    began = time.monotonic()
    assert operator.get(f"/commands/{pk}/", wait=25).json()["open"]
    assert time.monotonic() - began < 20
