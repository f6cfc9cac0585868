"""Strikes of lightning that programs told of."""

from django.db import models
from django.db.models import Q


class LightningStrike(models.Model):
    """When and where lightning struck. Without a place: somebody watched until then.

    Kept for two hours, for core/feeds/lightning_nowcast.py.
    """

    struck_at = models.DateTimeField()
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)

    class Meta:
        constraints = (
            # Also the index for: those of the last hour and a half; those that are too old.
            models.UniqueConstraint(
                fields=["struck_at", "latitude", "longitude"], name="one_strike_at_a_time_and_place"
            ),
            models.CheckConstraint(
                # A comparison with NULL is no refusal, so that both are there is said too.
                condition=Q(latitude=None, longitude=None)
                | Q(
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__gte=-90,
                    latitude__lte=90,
                    longitude__gte=-180,
                    longitude__lte=180,
                ),
                name="strike_is_on_earth",
            ),
        )

    def __str__(self) -> str:
        return f"{self.struck_at:%Y-%m-%d %H:%M:%S} at {self.latitude}, {self.longitude}"
