"""Who is looking at a device's page now, and who is about to change it."""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from core.models.device import Device

LASTS = timedelta(seconds=45)
"""Renewed at each heartbeat of a socket; if its process is killed, the presence ends after this."""


class PresenceQuerySet(models.QuerySet["Presence"]):
    def here(self) -> Self:
        return self.filter(expires_at__gt=Now(), expires_at__lte=Now() + 2 * LASTS)

    def over(self) -> Self:
        """Those that ended, or end later than any can: the database's clock ran ahead."""
        return self.filter(Q(expires_at__lte=Now()) | Q(expires_at__gt=Now() + 2 * LASTS))


class Presence(models.Model):
    """A socket that has a device's page open.

    A lease: it ends by itself, on the database's clock.
    """

    key = models.CharField(
        max_length=32, primary_key=True, help_text="Made by the socket's consumer"
    )
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="present")
    name = models.CharField(
        max_length=150, help_text="Of the user; empty: somebody without a log-in"
    )
    is_changing = models.BooleanField(default=False)
    expires_at = models.DateTimeField()

    objects = PresenceQuerySet.as_manager()

    class Meta:
        ordering = ("device", "name", "key")

    def __str__(self) -> str:
        does = "changes" if self.is_changing else "looks at"
        return f"{self.name or 'somebody'} {does} {self.device}"
