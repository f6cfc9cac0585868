"""What was decided and why, so that anybody can ask later; and plans, with what became of them."""

from typing import Self

from django.db import models
from django.db.models import F, Q

from core.models.device import Device
from core.models.device_command import DeviceCommand
from core.models.evented import Evented
from core.planning.precedence import Source


class PlanQuerySet(models.QuerySet["Plan"]):
    def unsettled(self) -> Self:
        return self.filter(settled_at=None)


class Plan(Evented):
    """One job of a device: so many minutes before a deadline. Planned, perhaps anew, then settled by measurements.

    Costs are in `unit` (gCO2, GBP). `windows` is [start, end] of each, times in seconds since 1970.
    """

    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="plans", db_index=False
    )
    rule = models.CharField(max_length=40)
    signal = models.CharField(max_length=40)
    region = models.CharField(
        max_length=110, help_text="Feed and region whose measurements settle it"
    )
    opens_at = models.DateTimeField()
    deadline = models.DateTimeField()
    job = models.JSONField(help_text="Minutes, watts and the other terms of the job")
    windows = models.JSONField()
    unit = models.CharField(max_length=20)
    made_at = models.DateTimeField()
    changed_at = models.DateTimeField(
        null=True, help_text="When it was last planned anew, and differently"
    )
    changes = models.PositiveIntegerField(default=0)

    # What it was expected to cost when it was first made, and what switching on at once was expected to.
    predicted = models.FloatField(null=True)
    predicted_at_once = models.FloatField(null=True)

    # Minutes seen running since it opened, counted up to a time.
    delivered = models.FloatField(default=0)
    counted_until = models.DateTimeField()

    # From measurements, after the deadline.
    settled_at = models.DateTimeField(null=True)
    actual = models.FloatField(null=True)
    at_once = models.FloatField(null=True)
    ideal = models.FloatField(null=True)
    note = models.CharField(
        max_length=200, blank=True, help_text="Why it could not be settled in full"
    )

    objects = PlanQuerySet.as_manager()

    class Meta:
        ordering = ("-deadline", "-pk")
        constraints = (
            # Also the index for: the plans of a device, newest first.
            models.UniqueConstraint(fields=["device", "deadline"], name="one_plan_per_deadline"),
            models.CheckConstraint(
                condition=Q(opens_at__lt=F("deadline")), name="plan_opens_before_its_deadline"
            ),
        )
        indexes = (
            models.Index(fields=["deadline"], condition=Q(settled_at=None), name="plan_unsettled"),
        )

    def __str__(self) -> str:
        return f"{self.device} before {self.deadline:%Y-%m-%d %H:%M}"


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def current(self) -> Self:
        return self.filter(ended_at=None)


class Receipt(models.Model):
    """One decision for a device, with all that it was made from. The same decision made again only counts here."""

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
    inputs = models.JSONField(
        help_text="What it was made from; see core/tasks/decisions/situations.py"
    )
    choice = models.JSONField(
        null=True,
        help_text="The plan it follows, as it was then; see core/tasks/decisions/plans.py",
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
