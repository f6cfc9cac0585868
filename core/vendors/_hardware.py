"""What hubs know as one piece of hardware, of which each part is a device here."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from core.readings import DeviceSpec


def shared(devices: Iterable[DeviceSpec]) -> list[DeviceSpec]:
    """Keep the hardware of those that share it: one that is all of its hardware has none."""
    found = list(devices)
    counts = Counter(device.hardware for device in found)
    return [
        device if counts[device.hardware] > 1 else replace(device, hardware="", hardware_name="")
        for device in found
    ]
