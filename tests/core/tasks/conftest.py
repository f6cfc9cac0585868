"""A simulated home behind real HTTP for the tests of tasks."""

from collections.abc import Iterator

import pytest

from core.models import Device
from core.simulator import Simulator
from core.tasks import gateways


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=4) as running:
        yield running


@pytest.fixture
def heater(db: None, simulator: Simulator) -> Device:
    """The first simulated device, stored: a plug with a switch."""
    [pk] = gateways.add("shelly", simulator.address(0)).new
    return Device.objects.select_related("gateway").get(pk=pk)
