"""A device behind a gateway: its rule, limits, latest decision and hold."""

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Case, Count, Q, When

from core.models.evented import Evented
from core.models.freshness import FRESHNESS_RANKS, Freshness, freshness, freshness_rank
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


class FailSafe(StrEnum):
    """The state that a device goes to when no decision was possible for too long."""

    OFF = "off"
    ON = "on"
    KEEP = "keep"
    """It stays as it is."""


# The reason a person gave for a hold, and what an error quotes. In a time no blank follows the ":".
PRIVATE = re.compile(r"(^held .*?|\b(?:failed|refused))(?:: |, ).*", re.DOTALL)


BROKEN_FILE = re.compile(r"core/(\w+)s/\w+\.py is broken.*", re.DOTALL)


def public_sentence(sentence: str) -> str:
    """Return a decision's sentence without what only people with a log-in may see."""
    return BROKEN_FILE.sub(r"its \1 is broken", PRIVATE.sub(r"\1", sentence))


class DeviceQuerySet(models.QuerySet["Device"]):
    def present(self) -> Self:
        return self.filter(removed_at=None, gateway__removed_at=None)

    def active(self) -> Self:
        """Those that are polled and decided for."""
        return self.present().filter(enabled=True, gateway__enabled=True)

    def ruled(self) -> Self:
        """Those with a rule or a guard."""
        return self.active().exclude(rule="", guard="")

    def worst_first(self, now: datetime) -> Self:
        """Sort them by state, then by name. Those of one hardware stand together, under its
        name."""
        shown = Case(When(hardware="", then="name"), default="hardware_name")
        together = (shown, "hardware", "gateway_id", "pk")
        return self.order_by(freshness_rank(now).asc(), *together)

    def beside(self, device: "Device") -> Self:
        """All of the same hardware, itself among them; none if it is all of it."""
        if not device.hardware:
            return self.none()
        return self.filter(gateway=device.gateway_id, hardware=device.hardware).order_by("pk")

    def in_state(self, freshness: Freshness, now: datetime) -> Self:
        rank = FRESHNESS_RANKS.index(freshness)
        return self.alias(rank=freshness_rank(now)).filter(Q(rank=rank))

    def matching(self, words: str) -> Self:
        """Those in which each word occurs in a name of theirs, place, model or vendor's id."""
        found = self
        for word in words.split():
            found = found.filter(
                Q(name__icontains=word)
                | Q(hardware_name__icontains=word)
                | Q(place__icontains=word)
                | Q(model__icontains=word)
                | Q(vendor_id__icontains=word)
                | Q(gateway__name__icontains=word)
            )
        return found

    def count_by_freshness(self, now: datetime) -> dict[Freshness, int]:
        """Count the devices in each state, worst first, in one query."""
        # An order that the caller gave would take part in the grouping.
        counts = dict(self.order_by().values_list(freshness_rank(now)).annotate(Count("pk")))
        return {freshness: counts.get(rank, 0) for rank, freshness in enumerate(FRESHNESS_RANKS)}


class Device(Evented):
    """One thing behind a gateway, known by the vendor's own id.

    A person gives it name, place, rule and limits.
    """

    gateway = models.ForeignKey(Gateway, on_delete=models.CASCADE, related_name="devices")
    vendor_id = models.CharField(
        max_length=200, help_text="The vendor's own id, unique in the gateway"
    )
    name = models.CharField(max_length=120)
    model = models.CharField(max_length=120, blank=True)
    hardware = models.CharField(
        max_length=200,
        blank=True,
        editable=False,
        help_text="The same for devices of the gateway that are one thing, such as its channels",
    )
    hardware_name = models.CharField(max_length=120, blank=True, editable=False)
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

    # Limits for its rule. A person, the fail-safe and a guard do not wait for the minimum times.
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
        choices=[(state.value, state.value) for state in FailSafe],
        default=FailSafe.OFF,
        help_text=(
            "Where it goes when no decision was possible for too long, "
            "and by its own timer if all of this is dead"
        ),
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
    undecided_seconds = models.FloatField(
        default=0, editable=False, help_text="Of these, those in which rounds ran"
    )

    # A hold by a person: no rule changes the device. Without an end it lasts until it is released.
    held_at = models.DateTimeField(null=True, blank=True, editable=False)
    held_until = models.DateTimeField(null=True, blank=True, editable=False)
    hold_reason = models.CharField(max_length=200, blank=True, editable=False)

    # Over all its attributes: a page of devices is sorted by freshness without reading those.
    heard_at = models.DateTimeField(null=True, blank=True, editable=False)
    measured_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Newest measurement of what moves daily"
    )
    available = models.BooleanField(default=True, editable=False)

    # What is reckoned from its history may be kept as long as this is the same: core/api/cache.py.
    history_version = models.BigIntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Grows with each change of its observations or silences",
    )

    # Only of a device that pushes. Written with its readings: core/tasks/receive_readings.py.
    pushed_at = models.DateTimeField(
        null=True, editable=False, help_text="Its newest measurement, by its own clock"
    )
    pushes_every = models.DurationField(
        null=True, editable=False, help_text="As it states, or as it was measured"
    )
    states_interval = models.BooleanField(default=False, editable=False)
    due_at = models.DateTimeField(
        null=True, editable=False, help_text="Silent until then, it is stale"
    )

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
    def housing(self) -> tuple[int, str]:
        """What it shares with the other devices of its hardware."""
        return self.gateway_id, self.hardware

    @property
    def public_decision(self) -> str:
        """The decision as readers without a log-in see it."""
        return public_sentence(self.decision)

    @property
    def has_decider(self) -> bool:
        return bool(self.rule or self.guard)

    def is_held(self, now: datetime) -> bool:
        return self.held_at is not None and (self.held_until is None or self.held_until > now)

    def undecided_for(self, now: datetime) -> timedelta:
        """Return for how long no decision was possible, counting time in which rounds ran.

        Neither a jump of the clock nor a scheduler that stood still makes a long time: more than
        two intervals of do_something_awesome between rounds count as one.
        """
        if self.undecided_since is None or self.decided_at is None:
            return timedelta()
        between = max(now - self.decided_at, timedelta())
        usual: timedelta = settings.SCHEDULE["do_something_awesome"].usual_gap
        if between > 2 * usual:
            between = usual
        return timedelta(seconds=self.undecided_seconds) + between

    @property
    def is_paused(self) -> bool:
        return not (self.enabled and self.gateway.enabled)

    def freshness(self, now: datetime) -> Freshness:
        if self.is_paused:
            return Freshness.PAUSED
        return freshness(
            self.heard_at,
            self.measured_at,
            self.available,
            self.gateway.failures,
            now,
            self.due_at,
        )
