"""Device commands: what we order a device to do, and what becomes of it.

TRANSITIONS is the specification: a row for each state, a column for each event. An event without an
entry leaves the state as it is. tests/core/test_device_command.py runs every cell.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models.attribute import Attribute, as_value
from core.models.evented import Evented
from core.models.observation import exactly_one_value
from core.readings import Kind, Source, Value


class State(StrEnum):
    REQUESTED = "requested"
    """Committed, not sent."""
    SENDING = "sending"
    """A process has claimed it and may have written to the vendor. If it died, a read tells."""
    ACCEPTED = "accepted"
    """The vendor accepted it. Not seen in effect yet."""
    CONFIRMED = "confirmed"
    """Seen in effect: read back after the vendor had settled."""
    FAILED = "failed"
    """Refused, or sent and never in effect."""
    SUPERSEDED = "superseded"
    """A newer order for the same attribute took its place."""
    EXPIRED = "expired"
    """Too old to be sent, and never sent."""
    UNCONFIRMED = "unconfirmed"
    """Accepted, and never seen in effect."""


class CommandEvent(StrEnum):
    CLAIM = "claim"
    """A process is about to write it."""
    ACCEPT = "accept"
    """The vendor accepted it."""
    REFUSE = "refuse"
    """The vendor, or our own rules, said no for good."""
    SEEN = "seen"
    """A read begun after the write had settled shows the value."""
    NOT_SEEN = "not seen"
    """A read begun after the write had settled shows another value."""
    SUPERSEDE = "supersede"
    """A newer order for the same attribute was committed."""
    EXPIRE = "expire"
    """Its time is over."""


MOST_STEPS = 30
CONFIRM_WITHIN = timedelta(minutes=2)
"""How long after settling a device may show the old value before its command is unconfirmed."""

OPEN = (State.REQUESTED, State.SENDING, State.ACCEPTED)
FINAL = tuple(state for state in State if state not in OPEN)

TRANSITIONS: dict[State, dict[CommandEvent, State]] = {
    State.REQUESTED: {
        CommandEvent.CLAIM: State.SENDING,
        CommandEvent.REFUSE: State.FAILED,
        CommandEvent.SUPERSEDE: State.SUPERSEDED,
        CommandEvent.EXPIRE: State.EXPIRED,
    },
    # SENDING is left by its own process, or by others after its claim has lapsed. Nothing
    # supersedes it: a newer command waits in REQUESTED until it is clear what became of this one.
    State.SENDING: {
        CommandEvent.ACCEPT: State.ACCEPTED,
        CommandEvent.REFUSE: State.FAILED,
        CommandEvent.SEEN: State.CONFIRMED,
        CommandEvent.NOT_SEEN: State.REQUESTED,
        CommandEvent.EXPIRE: State.FAILED,
    },
    # NOT_SEEN leaves ACCEPTED as it is: slow devices get until `confirm_by`, then comes EXPIRE.
    State.ACCEPTED: {
        CommandEvent.SEEN: State.CONFIRMED,
        CommandEvent.SUPERSEDE: State.SUPERSEDED,
        CommandEvent.EXPIRE: State.UNCONFIRMED,
    },
    **{state: {} for state in FINAL},
}


def after(state: str, event: CommandEvent) -> State:
    """Look up the state that follows; without an entry in the table, the same state."""
    return TRANSITIONS[State(state)].get(event, State(state))


LONGEST_CLAIM = timedelta(minutes=1)


class DeviceCommandQuerySet(models.QuerySet["DeviceCommand"]):
    def open(self) -> Self:
        return self.filter(state__in=OPEN)

    def waiting(self) -> Self:
        return self.filter(state=State.REQUESTED)

    def unclear(self, now: datetime) -> Self:
        """Those that may have been written and have settled: a read tells.

        Not those being written now. A claim that ends later than any can is void: the database's
        clock ran ahead.
        """
        lapsed = Q(claimed_until=None) | Q(claimed_until__lte=Now())
        lapsed |= Q(claimed_until__gt=Now() + LONGEST_CLAIM)
        return self.filter(lapsed, state__in=[State.SENDING, State.ACCEPTED], settles_at__lte=now)


class DeviceCommand(Evented):
    """An order for one attribute of a device, from its request to its end."""

    attribute = models.ForeignKey(
        Attribute, on_delete=models.CASCADE, related_name="commands", db_index=False
    )
    number = models.FloatField(null=True)
    text = models.CharField(max_length=255, null=True)  # noqa: DJ001 (null: the value is a number)
    source = models.CharField(
        max_length=10, choices=[(source.value, source.value) for source in Source]
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    reason = models.CharField(max_length=500)

    state = models.CharField(
        max_length=12,
        choices=[(state.value, state.value) for state in State],
        default=State.REQUESTED,
    )
    requested_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="Not sent after this")
    claimed_until = models.DateTimeField(
        null=True, help_text="On the database's clock; until then its process owns it"
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True, help_text="When the latest attempt to write began")
    accepted_at = models.DateTimeField(null=True)
    settles_at = models.DateTimeField(
        null=True, help_text="A read begun after this tells what became of it"
    )
    confirm_by = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    steps = models.JSONField(
        default=list,
        help_text="[time, state, error] of each step, the latest of them",
    )

    # The attribute's value when this was sent. A write of unknown outcome is sent again only if it
    # still is.
    before_number = models.FloatField(null=True)
    before_text = models.CharField(max_length=255, null=True)  # noqa: DJ001 (null: a number)

    # The device's own timer, where the vendor has one.
    revert_after = models.DurationField(null=True)
    reverts_at = models.DateTimeField(null=True, help_text="When the device goes back by itself")

    objects = DeviceCommandQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=["attribute"], condition=Q(state="sending"), name="one_sending_per_attribute"
            ),
            exactly_one_value("device_command"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("requested_at")), name="expires_after_it_is_requested"
            ),
        )
        indexes = (
            # The latest commands of a device's attributes.
            models.Index(fields=["attribute", "-requested_at"], name="command_by_attribute"),
            # What a run has to carry on with; a handful of rows whatever the history.
            models.Index(
                fields=["state"],
                condition=Q(state__in=["requested", "sending", "accepted"]),
                name="command_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.attribute} to {self.value}: {self.state}"

    @property
    def value(self) -> Value | None:
        return as_value(self.attribute.kind, self.number, self.text)

    @property
    def is_open(self) -> bool:
        return self.state in OPEN

    def matches(self, number: float | None, text: str | None) -> bool:
        """Whether these two columns hold the ordered value, as far as the device rounds it."""
        tolerance = self.attribute.tolerance or 0
        return is_same((self.number, self.text), (number, text), tolerance)

    def is_as_before(self, number: float | None, text: str | None) -> bool:
        """Whether these two columns may hold the value from before it was sent.

        A boolean always may: the value we had stored can be older than a change that nobody has
        read yet.
        """
        before = (self.before_number, self.before_text)
        return (
            before == (None, None)
            or self.attribute.kind == Kind.BOOLEAN
            or is_same(before, (number, text))
        )

    def move(self, event: CommandEvent, now: datetime, error: str = "") -> bool:
        """Apply an event to this instance; the caller saves it.

        Returns whether the state changed.
        """
        before, self.state = self.state, after(self.state, event)
        if error:
            self.error = error[:500]
        if self.state in FINAL and self.finished_at is None:
            self.finished_at = now
        if self.state != before:
            self.steps = with_step(self.steps, now, self.state, error)
        return self.state != before


def is_same(
    one: tuple[float | None, str | None],
    other: tuple[float | None, str | None],
    tolerance: float = 0,
) -> bool:
    """Whether two values (number, text) are the same.

    Vendors round: numbers may differ by 0.5 %, at least by 0.2, or by what is known of the device.
    """
    (number, text), (other_number, other_text) = one, other
    if number is None or other_number is None:
        return text == other_text and number == other_number
    return abs(number - other_number) <= max(0.2, abs(number) * 0.005, tolerance)


def with_step(steps: list[Any], now: datetime, state: str, error: str = "") -> list[Any]:
    """Add a step, and keep the latest MOST_STEPS."""
    step = [now.isoformat(timespec="milliseconds"), str(state), error[:500]]
    return [*steps, step][-MOST_STEPS:]
