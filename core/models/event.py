"""The change log that live pages and API clients follow: a row for each change, in the transaction that makes the change."""

from enum import StrEnum
from typing import Self

from django.db import models
from django.utils import timezone


class EventKind(StrEnum):
    """What an event tells of. Its body is as core/serializers.py writes that."""

    READINGS = "readings"
    """What one device told at one poll."""
    DEVICE = "device"
    """A device was added or changed: name, rule, hold, decision."""
    DEVICE_REMOVED = "device removed"
    GATEWAY = "gateway"
    GATEWAY_REMOVED = "gateway removed"
    COMMAND = "command"
    """A device command took a step."""
    RUN = "run"
    """A run started or ended."""
    PRESENCE = "presence"
    """Who is at a device's page now: all of them."""
    PLAN = "plan"
    """A plan was made or changed."""


class EventQuerySet(models.QuerySet["Event"]):
    def after(self, pk: int) -> Self:
        return self.filter(pk__gt=pk).order_by("pk")


class Event(models.Model):
    """Rows become visible in the order of their keys, so whoever has seen all up to a key has missed nothing: see
    core/tasks/events/outbox.py. No foreign keys: an event may tell of what is gone."""

    happened_at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=20, choices=[(kind.value, kind.value) for kind in EventKind])
    device = models.BigIntegerField(null=True)
    gateway = models.BigIntegerField(null=True)
    body = models.JSONField()

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.pk}: {self.kind}"
