"""Readings that are pushed: with a token of the gateway, or signed with its secret."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.models import Device, Gateway, Observation, Secret, SignedMessage
from core.models.access import Role
from core.tasks import prune, signed_messages
from core.tasks.receive_readings import MOST_READINGS
from core.tasks.signed_messages import new_secret, sign
from tests.core.api.conftest import HERE, Api, person
from tests.core.api.test_skeleton import expect_problem
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = new_secret()


@pytest.fixture
def webhook():
    gateway = make_gateway("Sensors", "push:1", "webhook", SECRET)
    Gateway.objects.filter(pk=gateway.pk).update(allow_new=True)
    return gateway


@pytest.fixture
def pusher(webhook, with_token):
    return with_token("ingest", gateways=[webhook])


def reading(value=21.5, **more):
    return {"device": "cellar", "attribute": "temperature", "value": value, **more}


def push(api, body, status=200):
    response = api.post("/readings/", body)
    assert response.status_code == status, response.content
    return response.json()


def at_once(count, send):
    """Call it in so many threads, and return what came of it, sorted."""
    outcomes = []

    def run():
        try:
            outcomes.append(send())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


def test_one_reading_is_stored(pusher):
    assert push(pusher, reading(unit="°C")) == {
        "stored": 1,
        "duplicates": 0,
        "without_value": 0,
        "refused": [],
        "new_devices": [Device.objects.get().pk],
    }


def test_a_batch_states_once_what_its_readings_have_in_common(pusher):
    body = {"device": "cellar", "time": "2026-01-01T00:00:00Z", "name": "Cellar"}
    body["readings"] = [{"attribute": "temperature", "value": 1}, reading(5, device="attic")]
    assert push(pusher, body)["stored"] == 2
    assert {device.vendor_id: device.name for device in Device.objects.all()} == {
        "cellar": "Cellar",
        "attic": "Cellar",
    }


def test_what_is_refused_is_told_by_its_place(pusher):
    body = push(pusher, {"readings": [reading(), reading("warm"), 5, reading(time="x")]}, 207)
    assert (body["stored"], [one["index"] for one in body["refused"]]) == (1, [1, 2, 3])
    problem = expect_problem(pusher.post("/readings/", reading("warm")), 422)
    assert problem["errors"] == [{"field": "readings.0", "detail": "'warm' is no number"}]


@pytest.mark.parametrize(
    "body",
    [
        *(None, [], "a", 5, {}, {"readings": 5}, {"readings": [], "value": 1}),
        {"readings": [{}] * (MOST_READINGS + 1)},
        {**reading(), "gateway": True},
        {**reading(), "gateway": "1"},
        {**reading(), "devcie": 1},
    ],
)
def test_a_message_that_is_none_is_refused_as_a_whole(pusher, body):
    expect_problem(pusher.post("/readings/", body), 422)


def test_who_may_push_and_where(
    webhook, gateway, device, pusher, with_token, viewer, operator, administrator, anonymous
):
    to_webhook, elsewhere = reading(gateway=webhook.pk), reading(gateway=gateway.pk)
    expect_problem(anonymous.post("/readings/", to_webhook), 401)
    for lacks in (viewer, operator, with_token("read"), with_token("control"), with_token("admin")):
        expect_problem(lacks.post("/readings/", to_webhook), 403)
    expect_problem(pusher.post("/readings/", elsewhere), 404)
    expect_problem(administrator.post("/readings/", reading()), 422)
    expect_problem(administrator.post("/readings/", reading(gateway=10**30)), 404)
    assert not Observation.objects.exists()
    assert push(administrator, to_webhook)["stored"] == 1
    limited = Api(person("lea", Role.ADMINISTRATOR, gateway))
    expect_problem(limited.post("/readings/", to_webhook), 404)


def test_a_token_of_one_device_pushes_for_no_other_and_adds_none(webhook, pusher, with_token):
    push(pusher, {"readings": [reading(), reading(device="attic")]})
    of_one = with_token("ingest", devices=[Device.objects.get(vendor_id="cellar")])
    said = [reading(time=1.7e9, device=name) for name in ("cellar", "attic", "new")]
    body = push(of_one, {"gateway": webhook.pk, "readings": said}, 207)
    assert (body["stored"], [one["index"] for one in body["refused"]]) == (1, [1, 2])
    assert Device.objects.count() == 2


def test_a_disabled_gateway_answers_that_it_is(webhook, pusher):
    Gateway.objects.update(enabled=False)
    assert "disabled" in expect_problem(pusher.post("/readings/", reading()), 409)["detail"]


def test_a_removed_gateway_is_not_there(webhook, pusher):
    Gateway.objects.update(removed_at=datetime.now(UTC))
    expect_problem(pusher.post("/readings/", reading()), 404)


def test_two_at_once_make_one_device(webhook, token):
    """The other one waits; what both sent is stored once."""
    text = token("ingest", gateways=[webhook])
    codes = []
    body = {"readings": [reading(place, time=1.7e9 + place) for place in range(200)]}

    bearer = f"Bearer {text}"
    codes = at_once(4, lambda: Api(authorization=bearer).post("/readings/", body).status_code)
    assert codes == [200] * 4
    assert (Device.objects.count(), Observation.objects.count()) == (1, 200)


# Signed


def send_signed(gateway, body, envelope=None, secret=SECRET, **changed):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    envelope = envelope or sign(secret, f"msg_{len(data)}", datetime.now(UTC), data)
    headers = {
        "webhook-id": envelope.message_id,
        "webhook-timestamp": envelope.timestamp,
        "webhook-signature": envelope.signatures,
    }
    return Client(raise_request_exception=False).post(
        f"{HERE}/gateways/{getattr(gateway, 'pk', gateway)}/readings/",
        data,
        content_type="text/plain",
        headers={name: text for name, text in (headers | changed).items() if text is not None},
    )


def test_a_signed_message_needs_no_token(webhook):
    response = send_signed(webhook, reading())
    assert (response.status_code, response.json()["stored"]) == (200, 1)


def test_the_signature_is_that_of_standard_webhooks(webhook):
    """The example that the libraries of Standard Webhooks are tested with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sent_at = datetime.fromtimestamp(1_614_265_330, UTC)
    envelope = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, b'{"test": 2432232314}')
    assert envelope.signatures == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_is_taken_once(webhook):
    data = json.dumps(reading()).encode()
    envelope = sign(SECRET, "msg_1", datetime.now(UTC), data)
    codes = [send_signed(webhook, data, envelope).status_code for _ in range(20)]
    assert codes == [200] + [409] * 19
    assert Observation.objects.count() == 1


def test_of_many_at_once_one_is_taken(webhook):
    data = json.dumps(reading()).encode()
    envelope = sign(SECRET, "msg_1", datetime.now(UTC), data)
    codes = at_once(4, lambda: send_signed(webhook, data, envelope).status_code)
    assert codes == [200, 409, 409, 409]


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-signature": None},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "\xe4"},
        {"webhook-signature": ""},
        {"webhook-id": None},
        {"webhook-id": "msg_other"},
        {"webhook-id": "m" * 256},
        {"webhook-timestamp": None},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "²"},
        {"webhook-timestamp": "9" * 30},
    ],
)
def test_a_message_with_another_envelope_is_refused(webhook, changed):
    response = send_signed(webhook, reading(), **changed)
    assert "not valid" in expect_problem(response, 401)["detail"]
    assert not Observation.objects.exists()


def test_another_body_secret_or_gateway_is_refused(webhook, gateway):
    envelope = sign(SECRET, "msg_1", datetime.now(UTC), b"{}")
    answers = [
        send_signed(webhook, reading(), envelope),
        send_signed(webhook, reading(), secret=new_secret()),
        send_signed(gateway, reading()),
        send_signed(10**30, reading()),
    ]
    details = {expect_problem(response, 401)["detail"] for response in answers}
    assert len(details) == 1


def test_a_gateway_without_a_secret_takes_no_signature(webhook):
    webhook.credential = Secret()
    Gateway.objects.update(credential=Secret())
    expect_problem(send_signed(webhook, reading(), secret="whsec_" + "A" * 32), 401)


def test_one_of_several_signatures_is_enough(webhook):
    """As while the secret is being changed."""
    data = json.dumps(reading()).encode()
    one = sign(new_secret(), "msg_1", datetime.now(UTC), data)
    two = sign(SECRET, "msg_1", datetime.now(UTC), data)
    both = {"webhook-signature": f"{one.signatures} v2,x {two.signatures}"}
    assert send_signed(webhook, data, one, **both).status_code == 200


@pytest.mark.parametrize(("minutes", "status"), [(-6, 401), (-4, 200), (4, 200), (6, 401)])
def test_a_message_is_taken_five_minutes_long(webhook, minutes, status):
    data = json.dumps(reading()).encode()
    envelope = sign(SECRET, "a", datetime.now(UTC) + timedelta(minutes=minutes), data)
    assert send_signed(webhook, data, envelope).status_code == status


def test_ids_are_remembered_for_as_long_as_a_message_could_be_sent_again(webhook):
    """Signed ahead of time it is taken for ten minutes: the ID is kept for longer."""
    data = json.dumps(reading()).encode()
    now = datetime.now(UTC)
    envelope = sign(SECRET, "a", now + timedelta(minutes=4.9), data)
    assert send_signed(webhook, data, envelope).status_code == 200
    with time_machine.travel(now + timedelta(minutes=9.8)):
        other = sign(SECRET, "b", now + timedelta(minutes=9.8), data)
        assert send_signed(webhook, data, other).status_code == 200
        assert send_signed(webhook, data, envelope).status_code == 409


def test_ids_are_forgotten_later(webhook):
    send_signed(webhook, reading())
    send_signed(webhook, {"readings": []})
    assert SignedMessage.objects.count() == 2
    with time_machine.travel(datetime.now(UTC) + signed_messages.KEPT_FOR + timedelta(seconds=1)):
        prune.prune()
    assert not SignedMessage.objects.exists()


def test_a_signed_body_that_is_no_message_is_refused(webhook):
    for body in (b"", b"{", b"\xff"):
        expect_problem(send_signed(webhook, body), 400)
    for body in (b"[]", b'{"readings": 1}'):
        expect_problem(send_signed(webhook, body), 422)


# Hostile

words = st.sampled_from(
    ["cellar", "temperature", "\x00", "\ud800", "a\nb", "<b>", "9" * 300, "NaN", "°C", "number", ""]
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | words
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
fields = st.sampled_from(
    ["device", "attribute", "value", "time", "unit", "kind", "minimum", "maximum", "choices"]
    + ["interval_seconds", "name", "model", "x"]
)
hostile_readings = st.one_of(
    anything,
    st.dictionaries(fields, anything, max_size=8),
    st.dictionaries(fields, anything, max_size=3).map(lambda wrong: reading(unit="°C") | wrong),
)


def written(readings):
    """As JSON, with NaN and infinity as they come, and each field twice."""
    return json.dumps({"readings": readings}).replace('"value":', '"value": 1, "value":').encode()


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(hostile=st.lists(hostile_readings, max_size=6), number=st.integers(0, 10**6))
def test_whatever_is_sent_costs_no_good_reading(webhook, pusher, hostile, number):
    good = {"device": "good", "attribute": "count", "value": 1, "time": 1.7e9 + number}
    before = Observation.objects.filter(attribute__name="count").count()
    parts = [good, *hostile, {**good, "time": 1.7e9 + number + 0.5}]
    response = pusher._client.post(
        f"{HERE}/readings/", written(parts), content_type="application/json"
    )
    if response.status_code == 400:  # NaN, an infinity, or what no float can hold: no JSON at all
        assert Observation.objects.filter(attribute__name="count").count() == before
        return
    assert response.status_code in (200, 207), response.content
    body = response.json()
    counted = body["stored"] + body["duplicates"] + body["without_value"] + len(body["refused"])
    assert counted == len(parts)
    assert not {0, len(parts) - 1} & {one["index"] for one in body["refused"]}


@settings(max_examples=200, deadline=None, derandomize=True, database=None,
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(body=st.binary(max_size=60) | anything.map(lambda said: json.dumps(said).encode()))
def test_no_body_is_a_server_error(webhook, pusher, body):
    for response in (
        pusher._client.post(f"{HERE}/readings/", body, content_type="application/json"),
        send_signed(webhook, body),
    ):
        assert response.status_code < 500, response.content
