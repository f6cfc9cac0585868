"""Two people who do the same at once: both are told what came of it, and nothing is there twice."""

import json
import threading
import time

import pytest
from django.db import connection

from core.models import Device, Gateway
from core.tasks import discovery, gateways
from core.tasks.events.outbox import publishing
from tests.core.raw_server import Request, answer, serving
from tests.core.tasks.homes import make_gateway

pytestmark = pytest.mark.django_db(transaction=True)

PLUG = {"id": "shellyplus1-aabbccddeeff", "mac": "AABBCCDDEEFF", "gen": 2, "auth_en": False}
STATUS = {"sys": {"mac": "AABBCCDDEEFF"}, "switch:0": {"output": True}}


class Theirs:
    """Somebody else's transaction: it is open when our plug answers, and commits while ours, which
    stores the same, waits for it."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.address = ""

    def run(self) -> None:
        try:
            with publishing():
                self.store()
                self.is_open.set()
                wait_until_somebody_waits()
        finally:
            connection.close()

    def store(self) -> None:
        gateway, _ = Gateway.objects.get_or_create(
            vendor="shelly", address=self.address, defaults={"name": "Theirs"}
        )
        Gateway.objects.select_for_update(no_key=True).get(pk=gateway.pk)  # as discovery does
        Device.objects.create(gateway=gateway, vendor_id=PLUG["id"], name="Plug")

    def reply(self, request: Request) -> bytes:
        if "GetStatus" not in request.target:
            return answer(json.dumps(PLUG).encode())
        if not self.thread.ident:
            self.thread.start()
            assert self.is_open.wait(10)
        return answer(json.dumps(STATUS).encode())


def wait_until_somebody_waits() -> None:
    """SQLite cannot tell: ours waits there as soon as it begins, and then finds everything."""
    for _ in range(1000 if connection.vendor == "postgresql" else 0):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
        time.sleep(0.01)


@pytest.fixture
def theirs():
    theirs = Theirs()
    with serving(theirs.reply) as server:
        theirs.address = server.address
        yield theirs
    theirs.thread.join()


def test_of_two_who_add_one_gateway_at_once_one_is_told_it_is_there(theirs):
    with pytest.raises(gateways.AlreadyThere, match="This is Theirs, already stored"):
        gateways.add("shelly", theirs.address)
    assert (Gateway.objects.count(), Device.objects.count()) == (1, 1)


def test_of_two_who_discover_at_once_each_finds_the_devices(theirs):
    gateway = make_gateway(address=theirs.address)
    Gateway.objects.filter(pk=gateway.pk).update(key=PLUG["id"])
    found = discovery.discover(gateway.pk)
    assert (len(found.new), len(found.known)) == (0, 1)
