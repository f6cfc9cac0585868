"""One execution of a task, and the lease that keeps executions of one task apart."""

import os
import socket
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models.evented import Evented


class Outcome(StrEnum):
    RUNNING = "running"
    DONE = "done"
    """It went to its end; `failed` may count gateways that did not answer."""
    BROKEN = "broken"
    """It stopped on an error or a signal."""
    VANISHED = "vanished"
    """Its process was killed. The next run of the task finds out."""


class RunQuerySet(models.QuerySet["Run"]):
    def of(self, task: str) -> Self:
        return self.filter(task=task)

    def until(self, now: datetime) -> Self:
        """Without those of the future, logged while the clock was wrong."""
        return self.filter(started_at__lte=now)

    def completed(self) -> Self:
        return self.filter(outcome=Outcome.DONE)


class Run(Evented):
    """One execution of a task: when, how it went, what it did."""

    task = models.CharField(max_length=40)
    outcome = models.CharField(
        max_length=10,
        choices=[(outcome.value, outcome.value) for outcome in Outcome],
        default=Outcome.RUNNING,
    )
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict, help_text="What it did, by the task's own words")
    error = models.TextField(blank=True, help_text="What failed and why, a line each")
    waiting_for = models.JSONField(
        default=list, help_text="Numbers of its batches that workers have yet to do"
    )
    slowest = models.JSONField(
        default=list, help_text="[gateway, seconds] of those that took longest to ask"
    )

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = (
            # The latest runs of a task; the slots of a day that nothing ran in.
            models.Index(fields=["task", "-started_at"], name="run_by_task"),
        )

    def __str__(self) -> str:
        return f"{self.task} at {self.started_at:%Y-%m-%d %H:%M:%S}: {self.outcome}"

    @property
    def seconds(self) -> float | None:
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None


def lease_is_free(longest: timedelta) -> Q:
    """Match a lease that nobody holds; `longest` is what one lasts.

    One that ends later than any can was written while the database's clock ran ahead.
    """
    return Q(holder="") | Q(expires_at__lte=Now()) | Q(expires_at__gt=Now() + 2 * longest)


def this_process() -> str:
    """Return the name under which this process holds a lease."""
    return f"{socket.gethostname()} process {os.getpid()}"


class Lease(models.Model):
    """Who may run a task now.

    `token` grows with each holder: a process that lost the lease notices at its next write.
    """

    task = models.CharField(max_length=40, primary_key=True)
    token = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=200, blank=True)
    expires_at = models.DateTimeField(help_text="On the database's clock")
    slot = models.DateTimeField(null=True, help_text="The newest slot that a run was begun for")

    def __str__(self) -> str:
        return f"{self.task}, number {self.token}, until {self.expires_at}"
