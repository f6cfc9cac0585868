"""`manage.py poll_devices` against 10,000 simulated devices, each a gateway of its own."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import django
import requests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
django.setup()

from django.conf import settings  # noqa: E402 (needs django.setup)
from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from bench import home  # noqa: E402
from bench.simulated import device_specs, simulator  # noqa: E402
from bench.table import Row, is_quick, show  # noqa: E402
from core.models import Attribute, Device, Gateway, Observation  # noqa: E402

LATENCY = 0.15
FEW_THREADS = 16


@dataclass(frozen=True)
class Poll:
    seconds: float
    megabytes: float
    stored: int


def main() -> None:
    count, sample, rounds = (2000, 15, 1) if is_quick() else (10_000, 30, 2)
    specs = device_specs(count)
    with simulator(count, LATENCY) as address:
        home.gateways([(f"{address}/{number}", [spec]) for number, spec in enumerate(specs)])
        template = sequential(sample) / sample
        slow = poll(count)
    fast, bare = [], []
    with simulator(count, 0.0, int(address.rpartition(":")[2])):
        for _ in range(rounds):
            bare += [bare_requests(address, count, threads) for threads in (FEW_THREADS, settings.POLL_WORKERS)]
            fast.append(poll(count))
    show(f"Polling, {home.database()}, {count:,} gateways", rows(count, sample, template, slow, fast, bare))


def rows(count: int, sample: int, template: float, slow: Poll, fast: list[Poll], bare: list[float]) -> list[Row]:
    times = template * count / slow.seconds
    ours, theirs = min(one.seconds for one in fast), min(bare)
    most = max(one.megabytes for one in (slow, *fast))
    return [
        Row(f"150 ms: the template's loop, {sample} devices", f"{1 / template:,.1f} devices/s"),
        Row("150 ms: `poll_devices`", f"{count / slow.seconds:,.0f} devices/s", f"{times:,.0f} x", ">= 300 x", times >= 300),
        Row("0 ms: bare requests, nothing stored", f"{count / theirs:,.0f} devices/s"),
        Row(
            f"0 ms: `poll_devices`, {fast[0].stored:,} values stored",
            f"{count / ours:,.0f} devices/s",
            f"{100 * theirs / ours:.0f}% of bare",
            ">= 60%",
            theirs / ours >= 0.6,
        ),
        Row("peak memory of `poll_devices`", f"{most:.0f} MB", target="< 200 MB", met=most < 200),
    ]


def sequential(sample: int) -> float:
    """As beginners write it, and as the template did: one device after the other, no session, who are you and how are you,
    each value saved by itself. Returns seconds."""
    began = time.perf_counter()
    for gateway in Gateway.objects.order_by("pk")[:sample]:
        info = requests.get(f"{gateway.address}/rpc/Shelly.GetDeviceInfo", timeout=10).json()
        status = requests.get(f"{gateway.address}/rpc/Shelly.GetStatus", timeout=10).json()
        device = Device.objects.get(gateway=gateway, vendor_id=info["id"])
        for attribute in Attribute.objects.filter(device=device):
            now = timezone.now()
            Observation.objects.create(attribute=attribute, observed_at=now, number=float(status["sys"]["uptime"]))
            attribute.number, attribute.observed_at, attribute.heard_at = 0.0, now, now
            attribute.save()
    return time.perf_counter() - began


def poll(count: int) -> Poll:
    """The whole process, from start to end."""
    connection.close()
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "manage.py", "poll_devices", "--json"], stdout=subprocess.PIPE)
    assert process.stdout
    with process.stdout as told:
        summary = json.load(told)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0 and summary["gateways"] == count and not summary["failed"], summary
    megabytes = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)  # bytes there, kilobytes elsewhere
    return Poll(seconds, megabytes, summary["stored"])


def bare_requests(address: str, count: int, threads: int) -> float:
    command = [sys.executable, "-m", "bench.bare_requests", address, str(count), str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
