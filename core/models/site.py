"""The home: its name, its time zone and where it is. Devices inherit zone and place from it."""

from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from core.models.device import Device, check_zone

THE_ONLY = 1


class Site(models.Model):
    """The one row about the home. What is not set is left to the settings, or not known."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONLY, editable=False)
    name = models.CharField(max_length=120, blank=True)
    zone = models.CharField(max_length=60, blank=True, validators=[check_zone])
    place = models.CharField(max_length=120, blank=True)
    latitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-90), MaxValueValidator(90)]
    )
    longitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-180), MaxValueValidator(180)]
    )

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(id=THE_ONLY), name="one_site"),
            models.CheckConstraint(
                condition=Q(latitude=None) | Q(latitude__gte=-90, latitude__lte=90),
                name="site_latitude_in_range",
            ),
            models.CheckConstraint(
                condition=Q(longitude=None) | Q(longitude__gte=-180, longitude__lte=180),
                name="site_longitude_in_range",
            ),
        )

    def __str__(self) -> str:
        return self.name or self.place or "Home"

    def clean(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            missing = "longitude" if self.longitude is None else "latitude"
            raise ValidationError({missing: "Latitude and longitude go together: set both."})

    @classmethod
    def home(cls) -> "Site":
        """Return what is stored about the home, or an empty one."""
        return cls.objects.first() or cls()

    @property
    def clock(self) -> ZoneInfo:
        """The zone of the home's clock; that of the settings while none is set."""
        return ZoneInfo(self.zone or settings.TIME_ZONE)

    # Of one of its devices

    def clock_of(self, device: Device) -> ZoneInfo:
        return ZoneInfo(device.zone) if device.zone else self.clock

    def place_of(self, device: Device) -> str:
        return device.place or self.place

    def position_of(self, device: Device) -> tuple[float | None, float | None]:
        """Return the latitude and longitude of a device, both its own or both the home's."""
        if device.latitude is None or device.longitude is None:
            return self.latitude, self.longitude
        return device.latitude, device.longitude
