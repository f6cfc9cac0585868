"""Measure what wrong tokens cost the API, next to a right one that reads a single device."""

import logging
import os
import time
from collections.abc import Callable
from statistics import mean
from typing import NamedTuple

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings

from bench import home
from bench.table import Row, is_quick, show
from core.api import limits
from core.models import Device, User
from core.models.access import Right
from core.models.token import new_text
from core.readings import AttributeSpec, DeviceSpec, Kind
from core.tasks import tokens, usage

SPEC = DeviceSpec("d1", "Device", (AttributeSpec("on", Kind.BOOLEAN, writable=True),))


class Asked(NamedTuple):
    """One way to ask: which token, what is answered, and whether the address is new to us."""

    what: str
    text: Callable[[], str]
    status: int
    is_new: bool = True


# With DEBUG each query is kept, which would make the right token dearer than it is.
@override_settings(
    DEBUG=False, MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Static" not in name]
)
def main() -> None:
    rounds = 50 if is_quick() else 500
    logging.disable()  # a line a refusal is the terminal's cost
    home.gateways([("http://127.0.0.1/d1", [SPEC])])
    path = f"/api/v1/devices/{Device.objects.get().pk}/"
    right = tokens.issue(User.objects.create(username="bench"), "bench", [Right.READ]).text
    ways = [
        Asked("a right token", lambda: right, 200, is_new=False),
        Asked("one that fails its checksum", lambda: "iot_" + 49 * "a", 401),
        Asked("one that is well formed, and unknown", new_text, 401),
        Asked("the 20th wrong one and later", new_text, 429, is_new=False),
    ]
    spent: list[list[float]] = [[] for _ in ways]
    queries = [0 for _ in ways]
    for _ in range(rounds + 1):
        for place, way in enumerate(ways):
            seconds, asked = once(path, way)
            spent[place].append(seconds)
            queries[place] = asked
    usage.forget()
    costs = [mean(each[1:]) for each in spent]  # the first imports
    rows = []
    for way, cost, asked in zip(ways, costs, queries, strict=True):
        measured = f"{1000 * cost:.2f} ms, {asked} queries"
        ratio = cost / costs[0]
        if way is ways[0]:
            rows.append(Row(way.what, measured))
        else:
            rows.append(Row(way.what, measured, f"{ratio:.2f}", "< 1", ratio < 1))
    show(f"Wrong tokens, {home.database()}: processor time, {rounds} each", rows)


def once(path: str, way: Asked) -> tuple[float, int]:
    """Return the processor seconds of a request, and its queries."""
    if way.is_new:
        limits.wrong.forget()
    elif way.status == 429:
        for number in range(limits.WRONG_TOKENS):
            if not limits.wrong.begin("127.0.0.1", str(number)):
                limits.wrong.end("127.0.0.1", str(number), failed=True)
    for rate in limits.rates.values():
        rate.forget()
    client = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {way.text()}"})
    began = time.process_time()
    response = client.get(path)
    seconds = time.process_time() - began
    assert response.status_code == way.status, response.content
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    return seconds, len(captured)


if __name__ == "__main__":
    main()
