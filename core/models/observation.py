"""The time series: a value of an attribute at a time, and the times when nobody heard anything."""

from django.db import models
from django.db.models import Q

from core.models.device import Attribute

LARGEST_FLOAT = 1.7976931348623157e308  # PostgreSQL sorts NaN above it, so a CHECK against it keeps NaN and infinity out


def exactly_one_value(prefix: str) -> models.CheckConstraint:
    """Exactly one of number and text is set, and the number is finite."""
    return models.CheckConstraint(
        condition=(
            Q(number__isnull=False, text=None, number__gte=-LARGEST_FLOAT, number__lte=LARGEST_FLOAT)
            | Q(number=None, text__isnull=False)
        ),
        name=f"{prefix}_has_one_finite_value",
    )


class Observation(models.Model):
    """Stored once, never changed. `record()` is the only way in."""

    attribute = models.ForeignKey(Attribute, on_delete=models.CASCADE, related_name="observations", db_index=False)
    observed_at = models.DateTimeField()
    number = models.FloatField(null=True)
    text = models.CharField(max_length=255, null=True)  # noqa: DJ001 (null: the value is a number)

    class Meta:
        constraints = (
            # Also the index for: the latest before a time, a range of times, of one attribute.
            models.UniqueConstraint(fields=["attribute", "observed_at"], name="one_observation_per_time"),
            exactly_one_value("observation"),
        )

    def __str__(self) -> str:
        return f"{self.number if self.text is None else self.text} at {self.observed_at:%Y-%m-%d %H:%M:%S}"


class Silence(models.Model):
    """Between these times nobody heard this attribute, so a chart leaves a gap. The same value told again is no silence."""

    attribute = models.ForeignKey(Attribute, on_delete=models.CASCADE, related_name="silences", db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        constraints = (
            # Also the index for: silences of one attribute that begin before a time.
            models.UniqueConstraint(fields=["attribute", "starts_at"], name="one_silence_per_start"),
            models.CheckConstraint(condition=Q(starts_at__lt=models.F("ends_at")), name="silence_ends_after_its_start"),
        )

    def __str__(self) -> str:
        return f"silent from {self.starts_at} to {self.ends_at}"
