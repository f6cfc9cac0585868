"""The hosted relay's cursor in the event log, and the lease of the process that moves it."""

from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from core.models import Event, Relay
from core.models.run import lease_is_free, this_process

LEASE = timedelta(seconds=30)
"""Longer than a call to the service may take. How long a killed process keeps others out."""
PATIENCE = timedelta(minutes=2)
"""For an outage of the service, or of the process, before a monitor is told."""


class Held(NamedTuple):
    """The lease of this process, and up to which event all were sent when it was taken."""

    token: int
    last: int


def take() -> Held | None:
    """Take the lease; None while another process has it. The first one begins at the newest."""
    with transaction.atomic():
        relay, _ = Relay.objects.select_for_update().get_or_create(
            defaults={"last_event": newest() or 0, "expires_at": Now()}
        )
        free = Relay.objects.held_by(relay.token).filter(lease_is_free(LEASE))
        token = relay.token + 1
        if not free.update(token=token, holder=this_process(), expires_at=Now() + LEASE):
            return None
        return Held(token, relay.last_event)


def renew(token: int) -> bool:
    """Return whether the lease is still ours."""
    return bool(Relay.objects.held_by(token).update(expires_at=Now() + LEASE))


def advance(token: int, last: int) -> bool:
    """Store that all events up to this one were sent. Return whether the lease is still ours."""
    sent = Relay.objects.held_by(token).update(
        last_event=last,
        sent_at=timezone.now(),
        expires_at=Now() + LEASE,
        failing_since=None,
        refused=False,
        error="",
    )
    return bool(sent)


def fail(token: int, error: str, *, refused: bool) -> bool:
    """Store why nothing can be sent. Return whether the lease is still ours."""
    relay = Relay.objects.held_by(token)
    relay.filter(failing_since=None).update(failing_since=Now())
    return bool(relay.update(error=error[:500], refused=refused, expires_at=Now() + LEASE))


def give_back(token: int) -> None:
    """Let the next process take over at once."""
    Relay.objects.held_by(token).update(holder="", expires_at=Now())


def newest() -> int | None:
    return Event.objects.order_by("-pk").values_list("pk", flat=True).first()


def is_pruned_past(last: int) -> bool:
    """Return whether events after that one are not stored any more."""
    oldest = Event.objects.order_by("pk").values_list("pk", flat=True).first()
    return oldest is not None and oldest > last + 1


def problem() -> str:
    """Say why open pages do not hear of changes through the relay, or nothing."""
    if settings.RELAY is None:
        return ""
    relay = Relay.objects.first()
    if relay is None or not Relay.objects.running().exists():
        return "RELAY_URL is set, and nothing sends to it. Run: python manage.py relay_events"
    if relay.refused:
        return f"The relay refuses events: {relay.error} Look at RELAY_URL."
    if relay.failing_since:
        since = f"{relay.failing_since:%Y-%m-%d %H:%M} UTC"
        return f"The relay fails since {since}, and is tried again: {relay.error}"
    return ""


def lasting_problem() -> str:
    """Say that pages have not heard of changes for some minutes, in words that anybody may read."""
    if settings.RELAY is None:
        return ""
    failing = Q(failing_since__lte=Now() - PATIENCE)
    sends = Relay.objects.filter(~failing, expires_at__gt=Now() - PATIENCE, refused=False)
    if sends.exists():
        return ""
    return "Open pages do not hear of changes through the hosted relay. status says why."
