"""People and simulated devices for the tests of pages."""

from collections.abc import Iterator

import pytest
from django.test import Client

from core.models import Device, Membership, Role, User
from core.simulator import Simulator
from core.tasks import gateways


def log_in(role: Role | None = None) -> Client:
    # no password: hashing one takes half a second
    user = User.objects.create(username=f"user-{role or 'viewer'}")
    if role is not None:
        Membership.objects.create(user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner(db: None) -> Client:
    """A browser of somebody who may do everything."""
    return log_in(Role.ADMINISTRATOR)


@pytest.fixture
def reader(db: None) -> Client:
    """A browser of somebody who is logged in and may do nothing."""
    return log_in()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=2) as running:
        yield running


@pytest.fixture
def heater(db: None, simulator: Simulator) -> Device:
    """A simulated plug, stored and not asked yet."""
    [pk] = gateways.add("shelly", simulator.address(0)).new
    return Device.objects.select_related("gateway").get(pk=pk)
