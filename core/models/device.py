"""A device behind a gateway, and how fresh what we know of it is."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Count, Q, When
from django.db.models import Value as Constant

from core.models.evented import Evented
from core.models.gateway import Gateway


def rule_choices() -> list[tuple[str, str]]:
    from core import rules

    return rules.choices()


def guard_choices() -> list[tuple[str, str]]:
    from core import rules

    return rules.guard_choices()


def check_zone(value: str) -> None:
    if value and value not in available_timezones():
        raise ValidationError(f"{value!r} is no time zone. Example: Europe/London")


class Freshness(StrEnum):
    """How much the latest value can be trusted. Worst first: pages list them in this order."""

    UNREACHABLE = "unreachable"
    """The gateway failed when asked, or says that it cannot reach the device."""
    STALE = "stale"
    """The gateway answers, but the device's own measurement is older than a day: a dead sensor behind a live hub."""
    LATE = "late"
    """Nobody asked for more than two intervals: the scheduler, not the device."""
    NEVER = "never"
    """Not heard yet."""
    FRESH = "fresh"
    PAUSED = "paused"
    """A person disabled the device or its gateway: nobody asks, and nothing is wrong."""


STALE_AFTER = timedelta(days=1)


def late_after() -> timedelta:
    """One missed poll is no news; two are."""
    return settings.POLL_INTERVAL * 2.5


class FailSafe(StrEnum):
    """What a device goes to when nobody can decide for it any more."""

    OFF = "off"
    ON = "on"
    KEEP = "keep"
    """It stays as it is."""


class DeviceQuerySet(models.QuerySet["Device"]):
    def present(self) -> Self:
        return self.filter(removed_at=None, gateway__removed_at=None)

    def active(self) -> Self:
        """Those that are polled and decided for."""
        return self.present().filter(enabled=True, gateway__enabled=True)

    def ruled(self) -> Self:
        """Those that something decides for."""
        return self.active().exclude(rule="", guard="")

    def held(self, now: datetime) -> Self:
        return self.exclude(held_at=None).filter(Q(held_until=None) | Q(held_until__gt=now))

    def worst_first(self, now: datetime) -> Self:
        return self.order_by(freshness_rank(now).asc(), "name", "pk")

    def in_state(self, freshness: Freshness, now: datetime) -> Self:
        return self.alias(rank=freshness_rank(now)).filter(Q(rank=FRESHNESS_RANKS.index(freshness)))

    def matching(self, words: str) -> Self:
        """Those in which each word occurs somewhere: name, place, model, vendor's id, gateway."""
        found = self
        for word in words.split():
            found = found.filter(
                Q(name__icontains=word)
                | Q(place__icontains=word)
                | Q(model__icontains=word)
                | Q(vendor_id__icontains=word)
                | Q(gateway__name__icontains=word)
            )
        return found

    def count_by_freshness(self, now: datetime) -> dict[Freshness, int]:
        """How many are in each state, worst first, in one query."""
        rows = dict(self.order_by().values_list(freshness_rank(now)).annotate(Count("pk")))
        return {freshness: rows.get(rank, 0) for rank, freshness in enumerate(FRESHNESS_RANKS)}


class Device(Evented):
    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="devices")
    vendor_id = models.CharField(
        max_length=200, help_text="The vendor's own id, unique in the gateway"
    )
    name = models.CharField(max_length=120)
    model = models.CharField(max_length=120, blank=True)
    place = models.CharField(max_length=120, blank=True)
    latitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-90), MaxValueValidator(90)]
    )
    longitude = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(-180), MaxValueValidator(180)]
    )
    zone = models.CharField(
        max_length=60,
        blank=True,
        validators=[check_zone],
        help_text="Time zone, such as Europe/London",
    )
    rule = models.CharField(
        max_length=40,
        blank=True,
        choices=rule_choices,
        help_text="Decides for this device; empty: nobody does",
    )
    options = models.JSONField(
        default=dict, blank=True, editable=False, help_text="Of the rule, by name"
    )
    guard = models.CharField(
        max_length=40,
        blank=True,
        choices=guard_choices,
        help_text="Goes before the rule to avert harm; empty: nothing does",
    )
    guard_options = models.JSONField(default=dict, blank=True, editable=False)
    region = models.CharField(
        max_length=60,
        blank=True,
        help_text="Where feeds look for it; empty: at its latitude and longitude, or as FEEDS says",
    )
    enabled = models.BooleanField(default=True)
    version = models.PositiveIntegerField(
        default=0, editable=False, help_text="Grows with each change by a person"
    )
    removed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Kept so that discovery does not bring it back",
    )

    # What a rule may do to it. A hold, a fail-safe and a guard do not wait for the two minima.
    min_on_minutes = models.PositiveSmallIntegerField(
        default=0, help_text="Once on, a rule leaves it on so long"
    )
    min_off_minutes = models.PositiveSmallIntegerField(
        default=0, help_text="Once off, a rule leaves it off so long"
    )
    most_switches_an_hour = models.PositiveSmallIntegerField(
        default=12, help_text="By a rule; 0: no limit"
    )
    fail_safe = models.CharField(
        max_length=4,
        choices=[(one.value, one.value) for one in FailSafe],
        default=FailSafe.OFF,
        help_text="Where it goes when no decision was possible for too long, and by its own timer if all of this is dead",
    )
    fail_safe_minutes = models.PositiveSmallIntegerField(
        default=60, help_text="How long is too long"
    )
    hold_minutes = models.PositiveSmallIntegerField(
        default=120, help_text="How long a change by a person keeps rules away"
    )

    # The latest decision, in a sentence.
    decision = models.CharField(max_length=500, blank=True, editable=False)
    decided_at = models.DateTimeField(null=True, blank=True, editable=False)
    undecided_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="No decision was possible since"
    )

    # A hold: a person's word, which no rule touches. Without an end it lasts until it is released.
    held_at = models.DateTimeField(null=True, blank=True, editable=False)
    held_until = models.DateTimeField(null=True, blank=True, editable=False)
    hold_reason = models.CharField(max_length=200, blank=True, editable=False)

    # Over all its attributes, so that a page of devices is sorted by what is wrong without reading their attributes.
    heard_at = models.DateTimeField(null=True, blank=True, editable=False)
    measured_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Newest measurement of what moves daily"
    )
    available = models.BooleanField(default=True, editable=False)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=["gateway", "vendor_id"], name="one_device_per_vendor_id"
            ),
            models.CheckConstraint(
                condition=Q(latitude=None) | Q(latitude__gte=-90, latitude__lte=90),
                name="device_latitude_in_range",
            ),
            models.CheckConstraint(
                condition=Q(longitude=None) | Q(longitude__gte=-180, longitude__lte=180),
                name="device_longitude_in_range",
            ),
        )

    def __str__(self) -> str:
        return self.name or self.vendor_id

    @property
    def has_decider(self) -> bool:
        return bool(self.rule or self.guard)

    def is_held(self, now: datetime) -> bool:
        return self.held_at is not None and (self.held_until is None or self.held_until > now)

    @property
    def is_paused(self) -> bool:
        return not (self.enabled and self.gateway.enabled)

    def freshness(self, now: datetime) -> Freshness:
        if self.is_paused:
            return Freshness.PAUSED
        return freshness(
            self.heard_at, self.measured_at, self.available, self.gateway.failures, now
        )


FRESHNESS_RANKS = tuple(Freshness)


def freshness(
    heard_at: datetime | None,
    measured_at: datetime | None,
    available: bool,
    failures: int,
    now: datetime,
) -> Freshness:
    if heard_at is None:
        return Freshness.UNREACHABLE if failures else Freshness.NEVER
    if not available:
        return Freshness.UNREACHABLE
    if now - heard_at > late_after():
        return Freshness.UNREACHABLE if failures else Freshness.LATE
    if measured_at is not None and now - measured_at > STALE_AFTER:
        return Freshness.STALE
    return Freshness.FRESH


def freshness_rank(now: datetime) -> Case:
    """The same as Device.freshness(), for the database. A test holds that the two agree."""
    is_late = Q(heard_at__lt=now - late_after())
    is_failing = Q(gateway__failures__gt=0)
    rows = (
        (Q(enabled=False) | Q(gateway__enabled=False), Freshness.PAUSED),
        (Q(heard_at=None) & is_failing, Freshness.UNREACHABLE),
        (Q(heard_at=None), Freshness.NEVER),
        (Q(available=False), Freshness.UNREACHABLE),
        (is_late & is_failing, Freshness.UNREACHABLE),
        (is_late, Freshness.LATE),
        (Q(measured_at__lt=now - STALE_AFTER), Freshness.STALE),
    )
    return Case(
        *(
            When(condition, then=Constant(FRESHNESS_RANKS.index(freshness)))
            for condition, freshness in rows
        ),
        default=Constant(FRESHNESS_RANKS.index(Freshness.FRESH)),
        output_field=models.SmallIntegerField(),
    )
