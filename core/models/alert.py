"""Alerts: what was wrong, from when to when, who acknowledged it, and what was sent about it."""

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from core.models.access import Access

CLAIM = timedelta(minutes=2)
"""How long a process that sends a message keeps others off it. Longer than any sending takes."""


class AlertQuerySet(models.QuerySet["Alert"]):
    def unended(self) -> Self:
        """Those whose cause is still there, also those not seen often enough to be opened."""
        return self.filter(ended_at=None)

    def open(self) -> Self:
        return self.unended().exclude(opened_at=None)

    def ended(self) -> Self:
        return self.exclude(ended_at=None)

    def seen_by(self, access: "Access") -> Self:
        """Leave out alerts of gateways that may not be seen.

        Those about the whole site are for people who are not limited to some gateways.
        """
        from core.models.access import Right

        if Right.READ not in access.rights or access.devices is not None:
            return self.none()
        if access.gateways is None:
            return self
        return self.filter(gateway__in=access.gateways)


class Alert(models.Model):
    """One root cause, from when it was first seen to its end.

    Gateway and device are numbers, without foreign keys: either may be deleted before this is.
    """

    key = models.CharField(max_length=120, help_text="The root cause, such as gateway:12")
    gateway = models.BigIntegerField(null=True)
    device = models.BigIntegerField(null=True)
    title = models.CharField(max_length=200)
    detail = models.CharField(
        max_length=1000, blank=True, help_text="Errors and addresses: for administrators"
    )
    urgent = models.BooleanField(default=False, help_text="Sent in quiet hours too")

    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    looks = models.PositiveIntegerField(default=1, help_text="In a row that saw it, not opened")
    counted_at = models.DateTimeField(help_text="When the newest of these was")
    opened_at = models.DateTimeField(null=True, help_text="None: not seen often enough yet")
    ended_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            # Also the index for: all that has not ended.
            models.UniqueConstraint(
                fields=["key"], condition=Q(ended_at=None), name="one_open_alert_per_cause"
            ),
        )
        indexes = (
            # When the network last came back; whether a pause was told of.
            models.Index(fields=["key", "-id"], name="alert_by_cause"),
        )

    def __str__(self) -> str:
        return self.title


class Phase(StrEnum):
    OPENED = "opened"
    ENDED = "ended"


class Fate(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"
    """Refused or failed too often."""
    DROPPED = "dropped"
    """What it would have told was over, or acknowledged, before it could be sent."""


class AlertMessageQuerySet(models.QuerySet["AlertMessage"]):
    def waiting(self) -> Self:
        return self.filter(fate=Fate.WAITING)

    def free(self) -> Self:
        """Those that no process is sending now. A claim further ahead than any is void."""
        lapsed = Q(claimed_until=None) | Q(claimed_until__lte=Now())
        return self.filter(lapsed | Q(claimed_until__gt=Now() + 2 * CLAIM))


class AlertMessage(models.Model):
    """One message about an alert over one channel. It is claimed before it is sent.

    A process that is killed between sending it and noting that leaves the claim: then nobody knows
    whether it arrived, and it is sent once more, with the same ID.
    """

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="messages")
    phase = models.CharField(max_length=6, choices=[(one.value, one.value) for one in Phase])
    channel = models.CharField(max_length=64, help_text="A digest of its address, a secret")
    channel_name = models.CharField(max_length=200, help_text="Without what is secret in it")
    fate = models.CharField(
        max_length=8, choices=[(one.value, one.value) for one in Fate], default=Fate.WAITING
    )
    due_at = models.DateTimeField(help_text="Later than now in quiet hours")
    sent_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    unclear = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts whose process was killed: it may have arrived"
    )
    retry_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True, help_text="On the database's clock")
    error = models.CharField(max_length=300, blank=True)

    objects = AlertMessageQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(
                fields=["alert", "phase", "channel"], name="one_message_per_alert_and_channel"
            ),
        )
        indexes = (
            # What is to be sent; a handful of rows whatever the history.
            models.Index(
                fields=["due_at"], condition=Q(fate="waiting"), name="alert_message_waiting"
            ),
        )

    def __str__(self) -> str:
        return f"{self.alert}: {self.phase}, {self.fate}"

    @property
    def message_id(self) -> str:
        """The same whenever it is sent again; other sites have other ones."""
        return f"{self.phase}-{self.alert_id}-{self.channel[:12]}-{self.due_at:%Y%m%d%H%M%S}"
