"""Data of feeds: forecasts by the time they were issued, and measurements.

`known_at` says when each arrived here, so that any decision can be made again from what was stored
by then.
"""

from datetime import UTC, datetime
from typing import Any, Self

from django.db import models
from django.db.models import F, Q

from core import feeds
from core.feeds import Slot
from core.models.observation import LARGEST_FLOAT

DEVICE = "device"
"""In place of a feed: what a model learns from is measured by a device of ours."""
OF_A_DEVICE = f"{DEVICE}:"
"""A region that begins so is of a device: not for people who are limited to some."""


class FeedSource(models.Model):
    """One region of one feed, and how fetching it went lately."""

    feed = models.CharField(max_length=40)
    region = models.CharField(max_length=60, blank=True)
    asked_at = models.DateTimeField(null=True, help_text="When it last failed to answer")
    fetched_at = models.DateTimeField(null=True, help_text="When it last answered")
    failures = models.PositiveIntegerField(default=0, help_text="In a row, since it last answered")
    error = models.CharField(max_length=500, blank=True)
    refused = models.BooleanField(default=False, help_text="A person must act")
    retry_at = models.DateTimeField(null=True, help_text="Not asked before")
    history_version = models.BigIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Grows with each change of its forecasts or measurements",
    )

    class Meta:
        ordering = ("feed", "region")
        constraints = (
            models.UniqueConstraint(fields=["feed", "region"], name="one_source_per_region"),
        )

    def __str__(self) -> str:
        return f"{self.feed} {self.region}".strip()


class Series(models.Model):
    """One signal of a source."""

    source = models.ForeignKey(
        FeedSource, on_delete=models.CASCADE, related_name="series", db_index=False
    )
    signal = models.CharField(max_length=40)
    unit = models.CharField(max_length=20)

    class Meta:
        ordering = ("source", "signal")
        verbose_name_plural = "series"
        constraints = (
            models.UniqueConstraint(fields=["source", "signal"], name="one_series_per_signal"),
        )

    def __str__(self) -> str:
        return f"{self.signal} of {self.source}"

    @property
    def is_replayed(self) -> bool:
        return feeds.is_replayed(self.source.feed)


class ForecastQuerySet(models.QuerySet["Forecast"]):
    def as_known_at(self, time: datetime) -> Self:
        """Those that had arrived by then, newest first."""
        return self.filter(known_at__lte=time).order_by("-issued_at")


class Forecast(models.Model):
    """A forecast with all its slots. One row, because it is written, read and pruned as one."""

    series = models.ForeignKey(
        Series, on_delete=models.CASCADE, related_name="forecasts", db_index=False
    )
    issued_at = models.DateTimeField(
        help_text="By the source; when it was fetched, where the source does not say"
    )
    known_at = models.DateTimeField(help_text="When it was first fetched")
    ends_at = models.DateTimeField(help_text="The end of its last slot")
    slots = models.JSONField(
        help_text="[start, end, value] of each, in order, times in seconds since 1970"
    )

    objects = ForecastQuerySet.as_manager()

    class Meta:
        ordering = ("series", "-issued_at")
        constraints = (
            # Also the index for: the newest issue of a series before a time.
            models.UniqueConstraint(fields=["series", "issued_at"], name="one_forecast_per_issue"),
        )

    def __str__(self) -> str:
        return f"{self.series}, issued {self.issued_at:%Y-%m-%d %H:%M}"

    def as_slots(self) -> list[Slot]:
        signal, unit = feeds.signal(self.series.signal), self.series.unit
        return [
            Slot(
                datetime.fromtimestamp(start, UTC),
                datetime.fromtimestamp(end, UTC),
                value,
                unit,
                self.issued_at,
                signal,
            )
            for start, end, value in self.slots
        ]

    @staticmethod
    def packed(slots: list[Slot]) -> list[list[Any]]:
        """Make the content of the column `slots`."""
        return [
            [slot.starts_at.timestamp(), slot.ends_at.timestamp(), slot.value] for slot in slots
        ]


class Measurement(models.Model):
    """What was measured.

    Sources revise values: the new one is another row, known later; the older one stays.
    """

    series = models.ForeignKey(
        Series, on_delete=models.CASCADE, related_name="measurements", db_index=False
    )
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    value = models.FloatField()
    known_at = models.DateTimeField()

    class Meta:
        ordering = ("series", "starts_at", "known_at")
        constraints = (
            # Also the index for: a range of times of one series.
            models.UniqueConstraint(
                fields=["series", "starts_at", "known_at"], name="one_measurement_per_time"
            ),
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="measurement_ends_after_its_start"
            ),
            models.CheckConstraint(
                condition=Q(value__gte=-LARGEST_FLOAT, value__lte=LARGEST_FLOAT),
                name="measurement_is_finite",
            ),
        )

    def __str__(self) -> str:
        return f"{self.value:g} at {self.starts_at:%Y-%m-%d %H:%M}"
