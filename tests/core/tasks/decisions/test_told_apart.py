"""Who sees a device, and not the other one that its rule looks at, reads nothing of the other."""

import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from core.models import Attribute, DeviceCommand, Event, Membership, Receipt, Right, Role, User
from core.readings import Kind
from core.tasks import gateways, tokens
from core.tasks.explain import explain
from tests.core.tasks.decisions.test_others import decided, tell
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
SECRET = "Owners Cellar"
NEUTRAL = "on, because of what another device tells"


@pytest.fixture
def sensor():
    sensor = make_device(make_gateway("Cellar", "http://127.0.0.1:2"), SECRET.lower())
    Attribute.objects.create(device=sensor, name="temperature", kind=Kind.NUMBER, unit="°C")
    return sensor


@pytest.fixture
def fan(sensor):
    fan = make_device(make_gateway("Flat", "http://127.0.0.1:1"), "fan")
    gateways.set_rule(fan.pk, "when", {"device": str(sensor.pk)})
    tell(fan, on=False)
    tell(sensor, temperature=26.375)
    return fan


@pytest.fixture
def tenant(fan):
    return person("tenant", fan.gateway)


def person(name, *limits):
    user = User.objects.create(username=name)
    membership = Membership.objects.create(user=user, role=Role.OPERATOR, everywhere=not limits)
    membership.gateways.set(limits)
    return user


def browser(user):
    client = Client()
    client.force_login(user)
    return client


def tells_of_it(text):
    # Not the 26th second of a time: 12:00:26.312, or 1795852826.3.
    return SECRET in text or bool(re.search(r"(?<!\d)(?<!:\d\d:)26\.3", text))


def test_no_page_no_answer_and_no_event_tells_of_the_other_device(fan, tenant):
    assert decided(fan).sentence.startswith(NEUTRAL)
    client, receipt = browser(tenant), Receipt.objects.get()
    assert DeviceCommand.objects.get().reason == "of what another device tells"
    paths = ["/", f"/devices/{fan.pk}/"]
    paths += [f"/api/v1/{name}/" for name in ("devices", "decisions", "commands", "events")]
    for path in [*paths, f"/api/v1/decisions/{receipt.pk}/"]:
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert not tells_of_it(answer.content.decode()), path
    bodies = Event.objects.filter(device=fan.pk).values_list("body", flat=True)
    assert not tells_of_it(json.dumps(list(bodies)))


def test_the_receipt_has_it_for_those_who_may_see_both(fan, tenant):
    decided(fan)
    receipt = Receipt.objects.get()
    words = explain(receipt.pk)
    assert words.agrees
    assert tells_of_it(words.in_words())
    owner = browser(person("owner")).get(f"/api/v1/decisions/{receipt.pk}/")
    assert tells_of_it(owner.content.decode())


def test_while_nobody_is_limited_the_sentence_says_it(fan):
    person("owner")
    assert tells_of_it(decided(fan).sentence)


def test_who_sees_both_or_none_changes_nothing(fan, sensor):
    person("family", fan.gateway, sensor.gateway)
    person("neighbour", sensor.gateway)
    assert tells_of_it(decided(fan).sentence)


def test_a_token_that_is_limited_to_the_device_counts_too(fan):
    owner = person("owner")
    tokens.issue(owner, "panel", [Right.READ], devices=[fan])
    assert decided(fan).sentence.startswith(NEUTRAL)


def test_why_there_is_no_decision_is_not_told_either(fan, sensor, tenant):
    tell(fan, on=False)
    Attribute.objects.filter(device=sensor).update(
        heard_at=timezone.now() - timedelta(days=1), observed_at=timezone.now() - timedelta(days=1)
    )
    sentence = decided(fan).sentence
    assert sentence == "no decision: it looks at another device; explain says why"
    client = browser(tenant)
    told = client.get(f"/api/v1/decisions/{Receipt.objects.get().pk}/").json()
    assert not tells_of_it(json.dumps(told))


def test_what_was_decided_before_somebody_was_limited_is_not_explained_to_them(fan):
    assert tells_of_it(decided(fan).sentence)
    client = browser(person("tenant", fan.gateway))
    answer = client.get(f"/api/v1/decisions/{Receipt.objects.get().pk}/")
    told = answer.json()
    assert not tells_of_it(told["sentence"] + told["problem"] + json.dumps(told["inputs"]))
