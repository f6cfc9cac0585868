"""How far the events were sent to the hosted relay, and which process sends them."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

THE_ONLY = 1


class RelayQuerySet(models.QuerySet["Relay"]):
    def held_by(self, token: int) -> Self:
        """Return the row if nobody has taken it over since it was taken with this token."""
        return self.filter(pk=THE_ONLY, token=token)

    def running(self) -> Self:
        """Return the row if a process holds its lease."""
        return self.exclude(holder="").filter(expires_at__gt=Now())


class Relay(models.Model):
    """The one row about the hosted relay. `token` grows with each process that takes it over."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONLY, editable=False)
    last_event = models.BigIntegerField(help_text="All events up to this one were sent")
    sent_at = models.DateTimeField(null=True)
    token = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=200, blank=True)
    expires_at = models.DateTimeField(help_text="Of the lease, on the database's clock")
    failing_since = models.DateTimeField(null=True)
    refused = models.BooleanField(default=False, help_text="A person must act")
    error = models.CharField(max_length=500, blank=True)

    objects = RelayQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "relay"
        constraints = (models.CheckConstraint(condition=Q(id=THE_ONLY), name="one_relay"),)

    def __str__(self) -> str:
        return f"sent up to event {self.last_event}"
