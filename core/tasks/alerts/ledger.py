"""The ledger: what is found opens alerts, what is not found any more ends them.

One process at a time looks. With each change it commits the messages that are to tell of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from core import alerts
from core.models import Alert, AlertMessage, Lease, Site
from core.models.alert import Fate, Phase
from core.net.addresses import HOME_NETWORKS
from core.readings import printable
from core.tasks import runs
from core.tasks.alerts import site
from core.tasks.alerts.find import find
from core.tasks.alerts.finding import Finding
from core.tasks.alerts.quiet import QuietHours

LOCK = "alerts"


@dataclass(frozen=True)
class Address:
    """One address of ALERTS."""

    text: str

    @property
    def digest(self) -> str:
        """Return what stands for it in the database: the address itself is a secret."""
        return salted_hmac("core.alerts", self.text, algorithm="sha256").hexdigest()

    def channel(self) -> alerts.Channel:
        """Return what sends to it. Raises UnknownChannel, ValueError."""
        # Who sets ALERTS runs this machine, so that a server in the house may be meant.
        return alerts.channel_for(self.text, HOME_NETWORKS)


def addresses() -> list[Address]:
    return [Address(text) for text in settings.ALERTS]


@dataclass
class Look:
    """What came of a look: alerts opened and ended, and all that are open now."""

    opened: list[Alert]
    ended: list[Alert]
    open: list[Alert]


def look(now: datetime) -> Look:
    """Bring the ledger up to date, and commit what is to be sent."""
    with transaction.atomic():
        # A row to lock, no lease: a second look waits here, and then finds what this one opened.
        Lease.objects.select_for_update().get_or_create(task=LOCK, defaults={"expires_at": Now()})
        known = {alert.key: alert for alert in Alert.objects.unended()}
        done = Look([], [], [])
        seen = []
        for finding in find(now, known.keys()):
            alert = known.pop(finding.key, None) or _first_seen(finding, now)
            seen.append(alert.pk)
            if _see(alert, finding, now):
                done.opened.append(alert)
            if alert.opened_at is not None:
                done.open.append(alert)
        Alert.objects.filter(pk__in=seen).update(last_seen_at=now)
        for alert in known.values():
            if alert.opened_at is None:
                # It was never told of: what passes before it is seen often enough leaves no trace.
                alert.delete()
            else:
                alert.ended_at = now
                alert.save(update_fields=["ended_at"])
                done.ended.append(alert)
        if paused := _pause(now):
            done.ended.append(paused)
        _tell(done, now)
    return done


def _first_seen(finding: Finding, now: datetime) -> Alert:
    return Alert.objects.create(
        key=finding.key,
        gateway=finding.gateway,
        device=finding.device,
        title=printable(finding.title)[:200],
        urgent=finding.urgent,
        first_seen_at=now,
        last_seen_at=now,
        counted_at=now,
        looks=0,
    )


def _see(alert: Alert, finding: Finding, now: datetime) -> bool:
    """Note that a cause is still there. Return whether its alert opens with that."""
    alert.detail = detail = printable(finding.detail)[:1000]
    alert.last_seen_at = now
    if alert.opened_at is not None or finding.explained:
        # Written only where it differs: most looks find the same again.
        Alert.objects.filter(pk=alert.pk).exclude(detail=detail).update(detail=detail)
        return False
    seen_at = finding.seen_at or now
    # Looks that follow each other closely have seen the same. Clocks jump both ways.
    if alert.looks == 0 or abs(seen_at - alert.counted_at) >= runs.interval(runs.POLL) / 2:
        alert.looks, alert.counted_at = alert.looks + 1, seen_at
    if alert.looks >= finding.looks:
        alert.opened_at = now
    alert.save()
    return alert.opened_at is not None


def _pause(now: datetime) -> Alert | None:
    """Note a time in which nothing ran, unless an alert was open about that."""
    found = site.pause(now)
    if found is None:
        return None
    run, since, until = found
    was_told = Alert.objects.filter(key=site.POLL, opened_at__range=(since, now))
    key = f"pause:{run}"
    if was_told.exists() or Alert.objects.filter(key=key).exists():
        return None
    title = f"Nothing was polled for {_span(until - since)}"
    detail = (
        f"From {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC. Was this machine off, "
        "its scheduler, or its clock wrong?"
    )
    times = {"first_seen_at": since, "last_seen_at": until, "counted_at": now}
    return Alert.objects.create(
        key=key, title=title, detail=detail, opened_at=now, ended_at=now, **times
    )


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _tell(done: Look, now: datetime) -> None:
    """Commit the messages of a look, for each address.

    What is over before anybody was told is told in one message, if it waited for a channel that
    failed; if it waited for the end of quiet hours, in none.
    """
    targets = addresses()
    quiet_until = quiet(now)
    waiting = AlertMessage.objects.waiting().free()
    unsent = waiting.filter(alert__in=done.ended, phase=Phase.OPENED)
    kept_quiet = set(unsent.filter(due_at__gt=now).values_list("alert", "channel"))
    unsent.update(fate=Fate.DROPPED)
    new: list[AlertMessage] = []
    for phase, changed in ((Phase.OPENED, done.opened), (Phase.ENDED, done.ended)):
        for alert in changed:
            due_at = now if alert.urgent or quiet_until is None else quiet_until
            for target in targets:
                if phase == Phase.OPENED or (alert.pk, target.digest) not in kept_quiet:
                    new.append(_message(alert, phase, target, due_at))
    AlertMessage.objects.bulk_create(new)


def _message(alert: Alert, phase: Phase, target: Address, due_at: datetime) -> AlertMessage:
    try:
        name = target.channel().name
    except (LookupError, ValueError) as error:  # doctor and the delivery tell of it
        name = str(error)
    return AlertMessage(
        alert=alert,
        phase=phase,
        channel=target.digest,
        channel_name=name[:200],
        due_at=due_at,
    )


def quiet(now: datetime) -> datetime | None:
    """Return when the quiet hours of this moment end; None outside of them."""
    if settings.ALERT_QUIET_HOURS is None:
        return None
    return QuietHours(*settings.ALERT_QUIET_HOURS).until(now, Site.home().clock)
