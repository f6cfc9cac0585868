"""A sensor that rules of other devices look at."""

import pytest

from core.models import Attribute
from core.readings import Kind
from tests.core.tasks.homes import make_device, make_gateway


@pytest.fixture
def hub():
    return make_gateway()


@pytest.fixture
def sensor(hub):
    sensor = make_device(hub, "sensor")
    Attribute.objects.create(device=sensor, name="temperature", kind=Kind.NUMBER, unit="°C")
    return sensor
