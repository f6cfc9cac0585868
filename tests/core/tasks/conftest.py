"""A simulated home behind real HTTP for the tests of tasks."""

import json
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from types import SimpleNamespace

import pytest

from core import feeds as plug_ins
from core.models import Device
from core.simulator import Simulator
from core.tasks import gateways
from tests.core.raw_server import answer, serving
from tests.core.tasks.local_feed import FEED


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(devices=4) as running:
        yield running


@pytest.fixture
def heater(db: None, simulator: Simulator) -> Device:
    """The first simulated device, stored: a plug with a switch."""
    [pk] = gateways.add("shelly", simulator.address(0)).new
    return Device.objects.select_related("gateway").get(pk=pk)


@pytest.fixture
def source(tmp_path, monkeypatch, settings):
    """The feed `local`: `answers` are slots by region, or what is to be sent as it is."""
    (tmp_path / "local.py").write_text(FEED)
    monkeypatch.setattr(plug_ins, "__path__", [*plug_ins.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "core.feeds.local", raising=False)
    settings.GATEWAY_NETWORKS = (ip_network("127.0.0.0/8"),)
    answers = {}

    def reply(request):
        said = answers[request.target.rpartition("/")[2]]
        return answer(json.dumps(said).encode()) if isinstance(said, list) else said

    with serving(reply) as server:
        feed = plug_ins.load("local")
        feed.address = server.address
        yield SimpleNamespace(answers=answers, asked=feed.asked, server=server, feed=feed)
    sys.modules.pop("core.feeds.local", None)
