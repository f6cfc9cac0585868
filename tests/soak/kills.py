"""Processes that are killed at random moments: kill -9, which no process can prepare for."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from django.conf import settings
from django.db.models import F

from core.models import Attribute, Device, DeviceCommand, Gateway, Lease

BEFORE_THE_FIRST_REQUEST = 0.2
"""The share of kills that fall into the start of a process: its imports, its lease, its claims."""
LONGEST_SECONDS = 60


@dataclass(frozen=True)
class Ended:
    """How a process ended: `code` is negative if it was killed."""

    code: int
    said: str

    @property
    def was_killed(self) -> bool:
        return self.code < 0


@dataclass
class Assassin:
    """Starts a command again and again and kills it at random moments: some within `until_request`
    seconds of its start, most within `after_request` seconds of its first request to a vendor,
    which is where it asks, writes and stores."""

    command: Sequence[str]
    database_url: str
    asked: threading.Event
    dice: random.Random
    until_request: float = 1.0
    after_request: float = 1.0
    early: float = 1.0
    """Above 1, moments soon after the first request are more likely."""

    def watch(self) -> Ended:
        """Let it run to its end once, and take the measure of it."""
        started_at = monotonic()
        process = self._start()
        self.asked.wait(LONGEST_SECONDS)
        self.until_request = monotonic() - started_at
        ended = self._end(process, LONGEST_SECONDS)
        self.after_request = monotonic() - started_at - self.until_request
        return ended

    def watch_briefly(self) -> Ended:
        """Let it run to its end, which is near: it has nothing to ask."""
        return self._end(self._start(), LONGEST_SECONDS)

    def strike(self) -> Ended:
        """Kill it at a random moment.

        It may have come to its end before: then that is how long it takes.
        """
        process = self._start()
        if self.dice.random() < BEFORE_THE_FIRST_REQUEST:
            return self._end(process, self.dice.uniform(0, self.until_request))
        self.asked.wait(3 * self.until_request)
        asked_at = monotonic()
        ended = self._end(process, self.after_request * self.dice.random() ** self.early)
        if not ended.was_killed:
            self.after_request = min(self.after_request, monotonic() - asked_at)
        return ended

    def _start(self) -> subprocess.Popen[str]:
        self.asked.clear()
        return start(self.command, self.database_url)

    def _end(self, process: subprocess.Popen[str], seconds: float) -> Ended:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        return Ended(process.returncode, said)


def start(command: Sequence[str], database_url: str, **environment: str) -> subprocess.Popen[str]:
    """Start our Python on a test's database: `manage.py poll_devices`, or `-m MODULE`."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env=os.environ
        | {"DATABASE_URL": database_url, "DEBUG": "1", "SECRET_KEY": settings.SECRET_KEY}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


MOMENTS = {
    Lease: ("expires_at",),
    Gateway: ("claimed_until", "asked_at", "answered_at", "retry_at"),
    Device: ("heard_at", "measured_at"),
    Attribute: ("heard_at",),
}
COMMAND_MOMENTS = (
    *("requested_at", "expires_at", "claimed_until", "retry_at"),
    *("sent_at", "accepted_at", "settles_at", "confirm_by"),
)


def let_time_pass(span: timedelta) -> None:
    """As if all that was done so far had been done earlier.

    What vendors measured, and what has ended, keeps its time.
    """
    for model, names in MOMENTS.items():
        model.objects.update(**{name: F(name) - span for name in names})
    DeviceCommand.objects.open().update(**{name: F(name) - span for name in COMMAND_MOMENTS})


ON_THE_DATABASES_CLOCK = (
    (Lease, "expires_at"),
    (Gateway, "claimed_until"),
    (DeviceCommand, "claimed_until"),
)


def let_clock_of_the_database_pass(span: timedelta) -> None:
    """For a proof that moves Python's own clock: the database's has no idea of it."""
    for model, name in ON_THE_DATABASES_CLOCK:
        model.objects.exclude(**{name: None}).update(**{name: F(name) - span})
