"""The simulator as a process of its own, as `manage.py simulate_devices` runs it."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.readings import DeviceSpec
from core.simulator.devices import KINDS, Device
from core.vendors.shelly import parts


@contextmanager
def simulator(devices: int, latency: float, port: int = 0) -> Iterator[str]:
    """Serves until the end of the block; gives the address under which device K has the path /K."""
    command = [sys.executable, "manage.py", "simulate_devices", "--port", str(port)]
    command += ["--devices", str(devices), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()
            address = re.search(r"http://[^/]+", said)
            assert address, f"simulate_devices said {said!r}"
            yield address[0]
        finally:
            process.terminate()


def device_specs(count: int) -> list[DeviceSpec]:
    """What discovery would find, without asking ten thousand times."""
    now = time.time()
    devices = [Device(number, now) for number in range(count)]
    kinds = [tuple(part.spec for part in parts(json.loads(device.status(now)))) for device in devices[: len(KINDS)]]
    return [DeviceSpec(device.id, device.name, kinds[device.number % len(KINDS)], device.kind.app) for device in devices]
