"""Receipts: what was decided, and all that it was decided from."""

from typing import Self

from django.db import models
from django.db.models import Q

from core.models.device import Device, public_sentence
from core.models.device_command import DeviceCommand
from core.models.plan import Plan
from core.readings import Source


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def current(self) -> Self:
        return self.filter(ended_at=None)


class Receipt(models.Model):
    """One decision for a device, with all that it was made from.

    The same decision made again raises `times`.
    """

    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="receipts", db_index=False
    )
    decided_at = models.DateTimeField()
    repeated_at = models.DateTimeField(help_text="When the same was last decided")
    times = models.PositiveIntegerField(default=1)
    ended_at = models.DateTimeField(null=True, help_text="When something else was decided")

    voice = models.CharField(
        max_length=10,
        choices=[(source.value, source.value) for source in Source],
        help_text="Who won",
    )
    rule = models.CharField(max_length=40, blank=True)
    version = models.CharField(max_length=12, blank=True, help_text="Of the rule's file")
    attribute = models.CharField(max_length=120, blank=True)
    value = models.JSONField(
        null=True, help_text="What it should be set to; null: left alone, or no decision"
    )
    until = models.DateTimeField(
        null=True, help_text="How long it was expected to hold, when it was last decided"
    )
    sentence = models.CharField(max_length=500)
    problem = models.BooleanField(default=False, help_text="No decision could be made")
    # As core/tasks/decisions/inputs.py writes it.
    inputs = models.JSONField(help_text="What it was made from")
    # As core/tasks/decisions/plans.py writes it.
    choice = models.JSONField(
        null=True,
        help_text="The plan it follows, as it was then",
    )

    plan = models.ForeignKey(
        Plan, null=True, blank=True, on_delete=models.SET_NULL, related_name="receipts"
    )
    command = models.ForeignKey(
        DeviceCommand, null=True, blank=True, on_delete=models.SET_NULL, related_name="receipts"
    )

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = (
            # The decisions of a device, newest first.
            models.Index(fields=["device", "-decided_at"], name="receipt_by_device"),
            models.Index(fields=["device"], condition=Q(ended_at=None), name="receipt_current"),
        )

    def __str__(self) -> str:
        return f"{self.device}: {self.sentence}"

    @property
    def public_sentence(self) -> str:
        """The sentence as readers without a log-in see it."""
        return public_sentence(self.sentence)
