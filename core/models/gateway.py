"""A gateway: one endpoint of a vendor's API, such as a cloud account, a hub, a single plug.

The unit of polling.
"""

from datetime import datetime, timedelta
from typing import Self

from django.db import models
from django.db.models import Case, F, Max, Q, When
from django.db.models.functions import Now
from django.utils import timezone

from core.models.evented import Evented
from core.models.secret import SecretField

LONGEST_NOTE = timedelta(minutes=10)
"""A note that ends later is of a clock that was wrong: nobody listens by it."""


def is_listened_to() -> Q:
    """Match the gateways that listen_devices holds a connection to, by the database's clock."""
    return Q(listened_until__gt=Now(), listened_until__lte=Now() + LONGEST_NOTE)


def vendor_choices() -> list[tuple[str, str]]:
    from core import vendors  # imports requests, which a start-up should not pay for

    return vendors.choices()


class GatewayQuerySet(models.QuerySet["Gateway"]):
    def present(self) -> Self:
        return self.filter(removed_at=None)

    def active(self) -> Self:
        return self.present().filter(enabled=True)

    def with_hearing(self) -> Self:
        """Add when a device of it was heard last, and since when it is listened to, if it is."""
        newest = Max("devices__heard_at", filter=Q(devices__removed_at=None))
        since = Case(When(is_listened_to(), then=F("listened_since")))
        return self.annotate(heard_at=newest, listening_since=since)


class Gateway(Evented):
    vendor = models.CharField(max_length=40, choices=vendor_choices)
    name = models.CharField(max_length=120)
    address = models.CharField(
        max_length=500, help_text="The base URL, such as http://192.168.1.20"
    )
    key = models.CharField(
        max_length=200, blank=True, help_text="What the gateway calls itself, whatever its address"
    )
    credential = SecretField()
    wakes_every = models.DurationField(
        null=True, editable=False, help_text="All it has sleeps on battery, and wakes so often"
    )
    enabled = models.BooleanField(default=True)
    allow_new = models.BooleanField(
        default=False, help_text="Devices that push are added by their first message"
    )
    version = models.PositiveIntegerField(
        default=0, editable=False, help_text="Grows with each change by a person"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    removed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="prune deletes what is left of it"
    )

    # How it went lately. Written by record() alone.
    asked_at = models.DateTimeField(null=True, blank=True, editable=False)
    answered_at = models.DateTimeField(null=True, blank=True, editable=False)
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="In a row, since it last answered"
    )
    error = models.CharField(max_length=500, blank=True, editable=False)
    refused = models.BooleanField(default=False, editable=False, help_text="A person must act")
    retry_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Not asked before"
    )
    claimed_until = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Somebody is asking it now"
    )
    claimed_by = models.CharField(
        max_length=60, blank=True, editable=False, help_text="The batch that claimed it last"
    )

    listened_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Until then, on the database's clock, listen_devices holds a connection to it",
    )
    listened_since = models.DateTimeField(null=True, blank=True, editable=False)

    # The vendor's rate limit, on the database's clock. Reads leave a share of it to commands.
    next_call_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Before it the vendor wants no call"
    )
    next_read_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Before it no read is made"
    )

    # with_hearing() sets these two.
    heard_at: datetime | None
    listening_since: datetime | None

    objects = GatewayQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=["vendor", "address"],
                condition=Q(removed_at=None),
                name="one_gateway_per_address",
            ),
        )

    def __str__(self) -> str:
        return self.name or self.address

    @property
    def public_name(self) -> str:
        """Its name where its address is not shown."""
        return self.name or f"{self.vendor} no. {self.pk}"
