"""An attribute of a device: what it is, and its latest value."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from django.db import models
from django.utils import timezone

from core.models.device import Device
from core.models.freshness import Freshness, freshness
from core.readings import AttributeSpec, Kind, Value, clean_value, rounded

MOVES_DAILY = frozenset({"temperature", "humidity", "pressure", "illuminance"})
"""Names of attributes that change within any day. If a hub repeats the same measurement of one, the
sensor is dead; a door, a power of 0 W or a gas meter may rightly stay the same for months."""
SLIDERS = frozenset({"brightness", "position", "color_temperature", "white"})

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
ROLL_UP_EVERY = timedelta(days=1)
"""How often an attribute is summed up: it costs much the same for one hour as for a day."""


def first_turn() -> datetime:
    """Return when a new attribute is summed up: there is nothing yet."""
    return timezone.now() + ROLL_UP_EVERY


class AttributeQuerySet(models.QuerySet["Attribute"]):
    def present(self) -> Self:
        """Those of devices that were not removed."""
        return self.filter(device__removed_at=None, device__gateway__removed_at=None)


class Attribute(models.Model):
    """One thing a device reports or accepts, with its latest value."""

    device = models.ForeignKey(
        Device, on_delete=models.CASCADE, related_name="attributes", db_index=False
    )
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=10, choices=[(kind.value, kind.value) for kind in Kind])
    unit = models.CharField(max_length=20, blank=True)
    minimum = models.FloatField(null=True, blank=True)
    maximum = models.FloatField(null=True, blank=True)
    step = models.FloatField(null=True, blank=True, help_text="Orders are rounded to it")
    tolerance = models.FloatField(
        null=True, blank=True, help_text="The device may round what is ordered by so much"
    )
    choices = models.JSONField(default=list, blank=True)
    writable = models.BooleanField(default=False)

    # The latest by observed_at, not the last that arrived. Written by record() alone. One of number
    # and text is null, here and below (hence DJ001).
    number = models.FloatField(null=True, blank=True, editable=False)
    text = models.CharField(max_length=255, null=True, blank=True, editable=False)  # noqa: DJ001
    observed_at = models.DateTimeField(null=True, blank=True, editable=False)
    changed_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it was first seen with this value"
    )
    cause = models.CharField(
        max_length=10,
        blank=True,
        editable=False,
        help_text="Who changed it last, where the vendor tells",
    )
    heard_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the vendor last answered with a value",
    )
    available = models.BooleanField(
        default=True, editable=False, help_text="Whether the vendor's last answer held a value"
    )

    # What our last command set it to. Another value is a person's: core/tasks/orders/holds.py.
    expected_number = models.FloatField(null=True, blank=True, editable=False)
    expected_text = models.CharField(max_length=255, null=True, blank=True, editable=False)  # noqa: DJ001
    expected_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When it was heard to be so"
    )
    expected_after = models.BigIntegerField(
        null=True, blank=True, editable=False, help_text="The newest command sent before"
    )

    rolled_until = models.DateTimeField(
        null=True, editable=False, help_text="Until then its hours are summed up"
    )
    pruned_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Before it hours are kept, and observations may be gone",
    )
    roll_up_at = models.DateTimeField(
        default=first_turn,
        db_default=AT_ONCE,
        editable=False,
        help_text="When its hours are summed up next, and what is too old is deleted",
    )

    objects = AttributeQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        indexes = (
            # Those whose turn it is to be summed up.
            models.Index(fields=["roll_up_at"], name="attribute_roll_up_at"),
        )
        constraints = (
            models.UniqueConstraint(fields=["device", "name"], name="one_attribute_per_name"),
        )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def of(cls, device: Device, spec: AttributeSpec) -> Self:
        """Make one, not stored yet, as its vendor describes it."""
        return cls(
            device=device,
            name=spec.name,
            kind=spec.kind,
            unit=spec.unit,
            minimum=spec.minimum,
            maximum=spec.maximum,
            step=spec.step,
            tolerance=spec.tolerance,
            choices=list(spec.choices),
            writable=spec.writable,
        )

    @property
    def value(self) -> Value | None:
        return as_value(self.kind, self.number, self.text)

    @property
    def has_chart(self) -> bool:
        return Kind(self.kind).is_number

    @property
    def is_measured(self) -> bool:
        """Whether it is the number of a sensor, which moves by itself, as a set point does not."""
        return self.kind == Kind.NUMBER and not self.writable

    @property
    def is_slider(self) -> bool:
        """Whether people set it by about how much, from one end to the other."""
        has_ends = self.minimum is not None and self.maximum is not None
        return self.writable and self.kind == Kind.NUMBER and has_ends and self.name in SLIDERS

    @property
    def is_switch(self) -> bool:
        return self.writable and self.kind == Kind.BOOLEAN

    def ordered_value(self, value: object) -> float | str:
        """Return a value as it is ordered: clean, and rounded to the step. Raises Unacceptable."""
        clean = clean_value(
            value,
            Kind(self.kind),
            minimum=self.minimum,
            maximum=self.maximum,
            choices=self.choices,
        )
        if isinstance(clean, str):
            return clean
        return rounded(clean, self.step, self.minimum, self.maximum)

    def freshness(self, now: datetime) -> Freshness:
        if self.device.is_paused:
            return Freshness.PAUSED
        measured_at = self.observed_at if moves_daily(self.name, self.writable) else None
        return freshness(
            self.heard_at,
            measured_at,
            self.available,
            self.device.gateway.failures,
            now,
            self.device.due_at,
        )


def as_value(kind: str, number: float | None, text: str | None) -> Value | None:
    """Make the value from the two columns that hold it."""
    if kind == Kind.BOOLEAN:
        return None if number is None else bool(number)
    return number if kind == Kind.NUMBER else text


def moves_daily(name: str, writable: bool) -> bool:
    """Whether an attribute of this name (temperature, temperature_2) changes within any day."""
    return not writable and name.rstrip("_0123456789") in MOVES_DAILY


def main_switch(attributes: Sequence[Attribute]) -> Attribute | None:
    """Find the attribute that a rule and an on/off control switch: the first writable boolean."""
    return next((attribute for attribute in attributes if attribute.is_switch), None)
