"""What readers without a log-in see where PUBLIC_STATUS is on: devices and their values."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core.live.log import EventRow
from core.live.snapshots import snapshot
from core.live.subscriber import SerializedEvent
from core.models import Device, DeviceCommand, Event, Receipt, User
from core.models.device import public_sentence
from core.models.device_command import State
from core.tasks.events.outbox import publishing
from tests.core.tasks.homes import make_device, make_gateway

pytestmark = pytest.mark.django_db
ADDRESS, ANSWER, PERSON, ID = "10.77.0.5", "teapot in the answer", "Annabella", "aabbccddee77"
SECRETS = [ADDRESS, ANSWER, PERSON, ID]
ERROR = f"http://{ADDRESS} answered {ANSWER!r}"


@pytest.fixture
def device(settings: Settings) -> Device:
    """A held device of a failing gateway without a name, after a command that failed."""
    settings.PUBLIC_STATUS = True
    now = timezone.now()
    with publishing():
        gateway = make_gateway("", address=f"http://{ADDRESS}")
        gateway.error, gateway.failures = ERROR, 3
        gateway.save()
        device = make_device(
            gateway,
            ID,
            place="Hall",
            rule="awesome",
            heard_at=now,
            held_at=now,
            held_until=now + timedelta(hours=1),
            hold_reason=f"Pressed by {PERSON}",
            decision=f"held until 12:00: Pressed by {PERSON}",
            decided_at=now,
        )
        device.name = "Heater"
        device.save()
        DeviceCommand.objects.create(
            attribute=device.attributes.get(name="on"),
            number=1.0,
            source="human",
            user=User.objects.create(username=PERSON),
            reason=f"Pressed by {PERSON}",
            error=ERROR,
            state=State.FAILED,
            requested_at=now,
            expires_at=now + timedelta(minutes=5),
            finished_at=now,
        )
    for sentence in (device.decision, f"the rule awesome failed: {ERROR}"):
        Receipt.objects.create(
            device=device, decided_at=now, repeated_at=now, voice="human", sentence=sentence,
            inputs={},
        )  # fmt: skip
    return device


def seen(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("path", ["/", "/devices/{pk}/", "/gateways/", "/healthz"])
def test_no_page_shows_anybody_an_address_an_answer_or_a_name(device: Device, path: str) -> None:
    answer = Client().get(path.format(pk=device.pk))
    assert answer.status_code in (200, 503)
    assert seen(answer.content.decode()) == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/", [ADDRESS, ANSWER, PERSON]),
        ("/devices/{pk}/", SECRETS),
        ("/gateways/", [ADDRESS, ANSWER]),
    ],
)
def test_who_is_logged_in_sees_them(
    device: Device, reader: Client, path: str, shown: list[str]
) -> None:
    assert seen(reader.get(path.format(pk=device.pk)).content.decode()) == shown


def test_a_page_still_says_what_is_wrong(device: Device) -> None:
    page = Client().get("/").content.decode()
    assert "did not answer" in page
    assert "Heater" in page
    with publishing():
        device.held_at = None
        device.save()
    assert "held until 12:00 <span" in Client().get("/").content.decode()


def test_no_event_tells_anybody_an_address_an_answer_or_a_name(device: Device) -> None:
    rows = Event.objects.values_list("id", "kind", "device", "gateway", "body")
    events = [
        SerializedEvent.of(EventRow(id, kind, of, gateway, json.dumps(body)))
        for id, kind, of, gateway, body in rows
    ]
    assert {"device", "gateway", "command"} <= {kind for _, kind, *_ in rows}
    assert seen("".join(event.public for event in events)) == []
    assert seen("".join(event.text for event in events)) == SECRETS
    assert all(json.loads(event.public)["body"]["id"] for event in events)


def test_no_snapshot_tells_anybody_an_address_an_answer_or_a_name(device: Device) -> None:
    [[anonymous]], [[known]] = snapshot(True), snapshot(True, has_log_in=True)
    assert seen(anonymous) == []
    assert json.loads(anonymous)["hold"]["held_until"]
    assert seen(known) == [PERSON, ID]


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("held until it is released: Guests", "held until it is released"),
        ("held until 12:00 (Berlin): Guests; x warns on", "held until 12:00 (Berlin)"),
        ("held since a moment ago: Pressed by Anna", "held since a moment ago"),
        ("the rule x failed: KeyError: 'Anna'", "the rule x failed"),
        ("on, because: cheap at 12:00", "on, because: cheap at 12:00"),
        (
            "no decision: core/rules/own.py is broken, line 2: NameError: name 'x' is not defined",
            "no decision: its rule is broken",
        ),
        ("", ""),
    ],
)
def test_a_sentence_keeps_its_reason_unless_a_person_or_an_answer_gave_it(
    sentence: str, shown: str
) -> None:
    assert public_sentence(sentence) == shown
