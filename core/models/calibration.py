"""What was learnt of a feed's errors: how its next forecasts are corrected."""

from datetime import datetime
from typing import Self

from django.db import models

from core.models.forecast import Series


class CalibrationQuerySet(models.QuerySet["Calibration"]):
    def as_fitted_at(self, time: datetime) -> Self:
        """Those that were fitted by then, newest first."""
        return self.filter(fitted_at__lte=time).order_by("-fitted_at")


class Calibration(models.Model):
    """A correction of one signal's forecasts, for decisions from `fitted_at` on."""

    series = models.ForeignKey(
        Series, on_delete=models.CASCADE, related_name="calibrations", db_index=False
    )
    fitted_at = models.DateTimeField()
    learnt = models.JSONField(
        help_text="Weights and the day's profile; empty where too little was learnt to correct"
    )

    objects = CalibrationQuerySet.as_manager()

    class Meta:
        ordering = ("series", "-fitted_at")
        constraints = (
            # Also the index for: the newest of a series before a time.
            models.UniqueConstraint(
                fields=["series", "fitted_at"], name="one_calibration_per_time"
            ),
        )

    def __str__(self) -> str:
        return f"{self.series}, fitted {self.fitted_at:%Y-%m-%d %H:%M}"
