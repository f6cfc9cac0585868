"""What makes alerts, as rows: a test says how the home is, and looks."""

from datetime import datetime, timedelta

from core.models import Device, Gateway, Run
from core.models.run import Outcome
from core.tasks.events.outbox import publishing
from core.tasks.send_alerts import AlertSummary, send_alerts
from tests.core.tasks.homes import make_device, make_gateway

MINUTE = timedelta(minutes=1)


def polled(at: datetime, outcome: Outcome = Outcome.DONE) -> None:
    with publishing():
        Run.objects.create(task="poll", outcome=outcome, started_at=at, finished_at=at)


def is_as(row: Gateway | Device, **fields: object) -> None:
    type(row).objects.filter(pk=row.pk).update(**fields)


def add_gateway(name: str, at: datetime, address: str = "") -> Gateway:
    gateway = make_gateway(name, address or f"http://192.168.1.{Gateway.objects.count() + 1}")
    is_as(gateway, asked_at=at, answered_at=at)
    return gateway


def add_device(gateway: Gateway, name: str, at: datetime) -> Device:
    device = make_device(gateway, name)
    is_as(device, heard_at=at, measured_at=at, available=True)
    return device


def look(clock, at: datetime, poll: bool = True) -> AlertSummary:
    """Poll, if wanted, and look for what is wrong, at this time."""
    clock.move_to(at)
    if poll:
        polled(at)
    return send_alerts()
