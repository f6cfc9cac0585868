"""The event log that live pages and API clients follow: a row for each change."""

from enum import StrEnum
from typing import Self

from django.db import models
from django.utils import timezone


class EventKind(StrEnum):
    """What an event is about. core/serializers.py makes its body."""

    READINGS = "readings"
    """The values of one device at one poll."""
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
    """Everybody who is at a device's page now."""
    PLAN = "plan"
    """A plan was made or changed."""


class EventQuerySet(models.QuerySet["Event"]):
    def after(self, pk: int) -> Self:
        return self.filter(pk__gt=pk).order_by("pk")


class Event(models.Model):
    """One change, stored in the transaction that makes it.

    Whoever has read all events up to a key has missed none: core/tasks/events/outbox.py.

    Without foreign keys: an event may be about something that was deleted.
    """

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
