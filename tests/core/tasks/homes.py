"""Rows for the tests of tasks: a gateway with devices, as discovery would have stored them."""

import os
import signal
import threading
import time

from core.models import Attribute, Device, Gateway, Secret
from core.readings import Kind
from core.simulator.devices import SimulatedDevice
from core.tasks.events.outbox import publishing


def make_gateway(
    name: str = "Hub",
    address: str = "http://127.0.0.1:1",
    vendor: str = "shelly",
    credential: str = "",
) -> Gateway:
    gateway = Gateway(vendor=vendor, name=name, address=address)
    gateway.credential = Secret.seal(credential)
    with publishing():
        gateway.save()
    return gateway


def make_device(gateway: Gateway, vendor_id: str = "plug", **fields: object) -> Device:
    """A plug: a switch it can be ordered, and the power it measures."""
    with publishing():
        device = Device.objects.create(
            gateway=gateway, vendor_id=vendor_id, name=vendor_id.title(), **fields
        )
    Attribute.objects.create(device=device, name="on", kind=Kind.BOOLEAN, writable=True)
    Attribute.objects.create(
        device=device, name="power", kind=Kind.NUMBER, unit="W", minimum=-10_000, maximum=100_000
    )
    return device


def sigterm_when_asked(device: SimulatedDevice) -> None:
    """Send this process SIGTERM as soon as the simulated device is asked for anything again."""
    before = device.requests

    def wait() -> None:
        until = time.monotonic() + 30
        while device.requests == before and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
