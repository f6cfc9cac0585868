"""Proof: gateways that hang, drip or fail cost their own deadline, and nobody else anything."""

from dataclasses import dataclass
from time import monotonic

from core.models import Attribute, Gateway, Observation, Run
from core.simulator import Fault, Simulator
from core.tasks import gateways
from tests.soak.kills import start

SHARES = (
    (Fault("hang"), 0.1),
    (Fault("drip_headers", 0.2), 0.05),
    (Fault("drip_body", 0.2), 0.05),
    (Fault("500"), 0.03),
    (Fault("garbage"), 0.03),
    (Fault("unreachable"), 0.02),
    (Fault("nan"), 0.02),
)
"""30% in all."""


@dataclass(frozen=True)
class Outage:
    """What a poll made of it.

    `seconds` are those of the run, `process_seconds` include the start of the process.
    """

    gateways: int
    faulty: int
    code: int
    seconds: float
    process_seconds: float
    deadline_seconds: float
    failed: int
    named: int
    stored: int
    healthy_unstored: int
    faulty_stored: int

    def __str__(self) -> str:
        return (
            f"outage: {self.faulty} of {self.gateways} gateways hang, drip or fail: "
            f"exit {self.code}, {self.failed} failed, {self.named} of them named; "
            f"{self.stored} observations of the others, "
            f"{self.healthy_unstored} of them not stored, "
            f"{self.faulty_stored} stored of those that failed; {self.seconds:.1f} s "
            f"({self.process_seconds:.1f} s with the start of the process) "
            f"at a deadline of {self.deadline_seconds:g} s"
        )


def poll_through_an_outage(number: int, database_url: str, deadline_seconds: float) -> Outage:
    with Simulator(devices=number) as simulator:
        for device in simulator.devices:
            gateways.add(
                "shelly", simulator.address(device.number), name=f"Gateway {device.number:03}."
            )
        simulator.spread(SHARES)
        faulty = {device.number for device in simulator.devices if device.faults}
        began_at = monotonic()
        process = start(
            ("manage.py", "poll_devices"),
            database_url,
            GATEWAY_TIMEOUT_SECONDS=str(deadline_seconds),
        )
        said, _ = process.communicate(timeout=10 * deadline_seconds)
        process_seconds = monotonic() - began_at
    return _judged(number, faulty, process.returncode, said, process_seconds, deadline_seconds)


def _judged(
    number: int,
    faulty: set[int],
    code: int,
    said: str,
    process_seconds: float,
    deadline_seconds: float,
) -> Outage:
    names = {f"Gateway {device:03}." for device in faulty}
    stored = set(Observation.objects.values_list("attribute__device__gateway__name", flat=True))
    run = Run.objects.get()
    return Outage(
        gateways=number,
        faulty=len(faulty),
        code=code,
        seconds=run.seconds or 0,
        process_seconds=process_seconds,
        deadline_seconds=deadline_seconds,
        failed=Gateway.objects.filter(failures=1).count(),
        named=sum(f"\n  {name}: " in said for name in names),
        stored=Observation.objects.count(),
        healthy_unstored=Attribute.objects.exclude(device__gateway__name__in=names)
        .filter(observed_at=None)
        .count(),
        faulty_stored=len(names & stored),
    )
