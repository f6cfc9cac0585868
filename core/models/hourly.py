"""Values summed up by the hour. They stay when the observations they were made of are pruned."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import models

from core.models.attribute import Attribute

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = 1_000_000
"""In microseconds."""


def hour_of(time: datetime) -> datetime:
    """Return when the hour of a time began, in UTC."""
    return time - (time - EPOCH) % HOUR


class Stretch(NamedTuple):
    """A time with what is known of it. `minimum`, `maximum` and `mean` are None if nothing is."""

    starts_at: datetime
    ends_at: datetime
    known_seconds: float
    minimum: float | None
    maximum: float | None
    mean: float | None


class HourlyStatisticsQuerySet(models.QuerySet["HourlyStatistics"]):
    def stretches(self, attribute: Attribute, start: datetime, end: datetime) -> Iterator[Stretch]:
        """Read what is known between two times, in order of time. Hours at the ends are whole."""
        rows = self.filter(attribute=attribute).order_by("starts_at")
        before = rows.filter(starts_at__lte=start - HOUR).last()
        for row in rows.filter(starts_at__gt=start - HOUR, starts_at__lt=end).iterator():
            yield from _lasting(before, start, row.starts_at)
            yield Stretch(
                row.starts_at,
                row.starts_at + HOUR,
                row.known_microseconds / SECOND,
                row.minimum,
                row.maximum,
                row.mean_over_time,
            )
            before = row
        yield from _lasting(before, start, end)


def _lasting(row: "HourlyStatistics | None", start: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield the hours without a row of their own: the value at the end of the last one held on."""
    if row is None or not row.is_known_at_end:
        return
    start = max(start, row.starts_at + HOUR)
    if start < end:
        value = row.last_number
        yield Stretch(start, end, (end - start).total_seconds(), value, value, value)


class HourlyStatistics(models.Model):
    """What a numeric attribute was in one hour, in UTC.

    An hour without observations that is as the end of the one before, all of it, has no row: a door
    that does not move for a year costs nothing. `minimum`, `maximum` and `mean_over_time` are of
    the time that is known, so they include the value carried in.
    """

    attribute = models.ForeignKey(
        Attribute, on_delete=models.CASCADE, related_name="hours", db_index=False
    )
    starts_at = models.DateTimeField()
    observation_count = models.PositiveIntegerField(help_text="From its start up to its end")
    known_microseconds = models.BigIntegerField()
    on_microseconds = models.BigIntegerField(help_text="Known not to be 0")
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    mean = models.FloatField(null=True, help_text="Of its observations, however long they held")
    mean_over_time = models.FloatField(null=True)
    last_number = models.FloatField(null=True, help_text="The latest by its end")
    is_known_at_end = models.BooleanField()

    objects = HourlyStatisticsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "hourly statistics"
        constraints = (
            # Also the index for: the hours of one attribute between two times.
            models.UniqueConstraint(fields=["attribute", "starts_at"], name="one_row_per_hour"),
        )

    def __str__(self) -> str:
        return f"{self.mean_over_time} from {self.starts_at:%Y-%m-%d %H:%M}"
