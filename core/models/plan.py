"""Plans: when a device is to run, and how it came out."""

from typing import Self

from django.db import models
from django.db.models import F, Q

from core import feeds
from core.models.device import Device
from core.models.evented import Evented


class PlanQuerySet(models.QuerySet["Plan"]):
    def unsettled(self) -> Self:
        return self.filter(settled_at=None)


class Plan(Evented):
    """When a device is to run its job: so many minutes before a deadline. Settled by measurements
    after it.

    Costs are in `unit` (gCO2, GBP). `windows` is [start, end] of each, in seconds since 1970.
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

    # Expected costs when it was first made: of the plan, and of switching on at once.
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

    @property
    def is_replayed(self) -> bool:
        return feeds.is_replayed(self.region.partition(":")[0])

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
