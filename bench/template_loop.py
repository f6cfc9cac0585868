"""A poll as the original template did it: device after device, two calls, value after value.

Fills the database first. Prints the seconds of the loop.

    python -m bench.template_loop ADDRESS GATEWAYS DEVICES_ASKED
"""

import json
import os
import sys
import time

import django
import requests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.utils import timezone

from bench import home
from core.models import Attribute, Device, Gateway, Observation
from core.readings import DeviceSpec
from core.simulator.devices import KINDS
from core.simulator.devices import SimulatedDevice as Simulated
from core.vendors.shelly import parts


def main(address: str, gateways: str, asked: str) -> None:
    home.gateways(
        [(f"{address}/{number}", [spec]) for number, spec in enumerate(device_specs(int(gateways)))]
    )
    began = time.perf_counter()
    for gateway in Gateway.objects.order_by("pk")[: int(asked)]:
        poll(gateway)
    print(time.perf_counter() - began)


def poll(gateway: Gateway) -> None:
    info = requests.get(f"{gateway.address}/rpc/Shelly.GetDeviceInfo", timeout=10).json()
    status = requests.get(f"{gateway.address}/rpc/Shelly.GetStatus", timeout=10).json()
    device = Device.objects.get(gateway=gateway, vendor_id=info["id"])
    for part in parts(status):
        attribute = Attribute.objects.get(device=device, name=part.name)
        Observation.objects.create(
            attribute=attribute, observed_at=timezone.now(), number=float(part.reported)
        )


def device_specs(count: int) -> list[DeviceSpec]:
    """What discovery would find, without asking ten thousand times."""
    now = time.time()
    devices = [Simulated(number, now) for number in range(count)]
    kinds = [
        tuple(part.spec for part in parts(json.loads(device.status(now))))
        for device in devices[: len(KINDS)]
    ]
    return [
        DeviceSpec(device.id, device.name, kinds[device.number % len(KINDS)], device.kind.app)
        for device in devices
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
