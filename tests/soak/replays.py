"""Prove that an order is made once, however many send it again at once."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import uuid4

import requests

from core.models import Device, DeviceCommand, Right, User
from core.simulator import Simulator
from core.tasks import gateways, tokens
from tests.core.live.web_server import Web

AT_ONCE = 50
ROUND = 1000
"""Requests with one key."""


@dataclass
class Replays:
    """What came of it: `faults` must be empty."""

    answers: Counter[int] = field(default_factory=Counter)
    """Requests by the status of their answer."""
    keys: int = 0
    commands: int = 0
    writes: int = 0
    """Orders that reached the device."""
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = ", ".join(f"{count:,} times {status}" for status, count in self.answers.items())
        return (
            f"{self.answers.total():,} requests with {self.keys} keys, {AT_ONCE} at once: "
            f"{statuses}; {self.commands} commands, {self.writes} orders at the device; "
            f"{len(self.faults)} faults"
        )


def replay(keys: int, database_url: str) -> Replays:
    """Send an order a thousand times for each key, to two web processes, and another in between.

    Half of the rounds wait for the outcome, which takes the device a while.
    """
    user = User.objects.create(username="anna", is_superuser=True)
    headers = {"Authorization": f"Bearer {tokens.issue(user, 'a program', list(Right)).text}"}
    web, found = Web(database_url, WEB_CONCURRENCY="2", API_REQUESTS_A_MINUTE="1000000"), Replays()
    with Simulator(devices=1) as home:
        [pk] = gateways.add("shelly", home.address(0)).new
        web.start()
        try:
            for number in range(keys):
                _round(web, headers, Device.objects.get(pk=pk), number, found)
        finally:
            web.end()
        found.writes = home.devices[0].writes
    found.keys, found.commands = keys, DeviceCommand.objects.count()
    if found.commands != keys:
        found.faults.append(f"{found.commands} commands of {keys} keys")
    if found.writes > keys:
        found.faults.append(f"{found.writes} orders reached the device")
    return found


def _round(web: Web, headers: dict[str, str], device: Device, number: int, found: Replays) -> None:
    headers = headers | {"Idempotency-Key": str(uuid4())}
    url = f"{web.site}/api/v1/commands/?wait={5 * (number % 2)}"
    order = {"device": device.pk, "attribute": "on", "value": number % 2 == 0}
    bodies = set()

    def send(place: int) -> None:
        wrong = place % 100 == 99  # the same key for another order, once the first is stored
        body = order | {"value": not order["value"]} if wrong else order
        answer = requests.post(url, json=body, headers=headers, timeout=60)
        found.answers[answer.status_code] += 1
        if answer.status_code == 201:
            # PostgreSQL keeps the members of an object in an order of its own.
            bodies.add(json.dumps(answer.json(), sort_keys=True))
        if answer.status_code not in ((422,) if wrong else (201, 409)):
            found.faults.append(f"{answer.status_code}: {answer.text[:200]}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, range(ROUND)))
    if len(bodies) != 1:
        found.faults.append(f"{len(bodies)} different answers to one key")
