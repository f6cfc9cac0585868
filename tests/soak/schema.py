"""Proof: whoever asks whatever for minutes gets no answer that the schema does not describe."""

import re
import time
from dataclasses import dataclass, field

from core.models.access import Right
from core.simulator import Simulator
from core.tasks import decide, gateways, poll
from core.tasks.forecasts.fetch import fetch_regions
from core.tasks.forecasts.regions import Region
from tests.core.api.test_schemathesis import ask
from tests.core.live.web_server import Web

AUDIENCES = [None, *Right]


@dataclass
class Asked:
    """What came of it: `faults` must be empty, each with what was asked and how to ask it again."""

    minutes: float = 0.0
    cases: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        each = ", ".join(f"{audience} {count:,}" for audience, count in self.cases.items())
        return (
            f"schema: requests in {self.minutes:.1f} min by audience: {each}; "
            f"{len(self.faults)} audiences with faults"
        )


def ask_for(minutes: float, database_url: str) -> Asked:
    """Let Schemathesis ask a home of two devices, as each audience for as long."""
    asked, began = Asked(), time.monotonic()
    with Simulator(devices=2) as simulator:
        _plan(simulator)
        for audience in AUDIENCES:
            # One each: wrong tokens, which Schemathesis tries too, would shut the others out.
            web = Web(
                database_url, PUBLIC_STATUS="1", FEEDS="replay", API_REQUESTS_A_MINUTE="1000000"
            )
            web.start()
            try:
                _ask(web, audience, 60 * minutes / len(AUDIENCES), asked)
            finally:
                web.end()
    asked.minutes = (time.monotonic() - began) / 60
    return asked


def _plan(simulator: Simulator) -> None:
    """With decisions, plans, commands and forecasts to ask for."""
    fetch_regions([Region("replay", "")])
    for place in range(2):
        [pk] = gateways.add("shelly", simulator.address(place)).new
        gateways.set_rule(pk, "cleanest_hours", {"minutes": 180, "before": "07:00"})
    poll.poll_devices(force=True)
    decide.decide()


def _ask(web: Web, audience: Right | None, seconds: float, asked: Asked) -> None:
    told = ask(web, audience, "--max-time", str(max(1, round(seconds))), "--workers", "2")
    name, words = audience or "nobody", told.stdout + told.stderr
    found = re.search(r"Test cases:\s*\n?\s*([\d,]+)|([\d,]+) generated", words)
    asked.cases[name] = int((found[1] or found[2]).replace(",", "")) if found else 0
    if told.returncode or "Traceback" in web.log():
        asked.faults.append(f"{name}:\n{words[-20_000:]}\n{web.log()[-5000:]}")
