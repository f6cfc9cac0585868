"""Compare the alerts of the proof of workers with what docs/alerts.md says.

Nothing fails in it but what runs the polls: so they may be late, or pause, and nothing else is told
of. All by the log of runs, and what arrived.
"""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from django.db.models import F
from django.utils import timezone

from core.models import Alert, AlertMessage, Run
from core.models.alert import CLAIM, Fate, Phase
from core.tasks import runs
from core.tasks.alerts.deliver import MOST_UNCLEAR
from core.tasks.alerts.site import POLL
from core.tasks.poll import poll_devices
from core.tasks.send_alerts import send_alerts

if TYPE_CHECKING:
    from tests.soak.workers import Torment

PAUSE = "pause:"
LATE_AFTER = 2
"""Intervals without a completed poll."""
PAUSE_AFTER = 3.5
"""And those that are told of afterwards, where ALERT_AFTER_FAILURES is 3."""


def check_alerts(torment: "Torment", arrived: Callable[[], Counter[str]]) -> None:
    """Poll and look once more, then compare. `arrived` gives how often each message did, by its ID.

    A killed sender keeps others off its message for two minutes: they have passed.
    """
    poll_devices()
    claimed = AlertMessage.objects.exclude(claimed_until=None)
    claimed.update(claimed_until=F("claimed_until") - CLAIM)
    send_alerts()
    opened = list(Alert.objects.exclude(opened_at=None).order_by("opened_at"))
    torment.alerts = dict(Counter(alert.key.partition(":")[0] for alert in opened))
    faults = torment.faults
    # Histories are asked for after a poll, which may take more than two slots.
    polls_are_late = not runs.health(timezone.now()).ok
    for alert in opened:
        if alert.ended_at is None and not (alert.key == POLL and polls_are_late):
            faults.append(f"still open: {alert}")
    others = [alert for alert in opened if alert.key != POLL and not alert.key.startswith(PAUSE)]
    faults += [f"nothing of it was wrong: {alert} {alert.detail}" for alert in others]
    _check_causes(opened, faults)
    _check_late(opened, faults)
    _check_pauses(opened, faults)
    _check_messages(torment, arrived())


def _check_causes(opened: list[Alert], faults: list[str]) -> None:
    """Of one cause an alert begins after the one before has ended."""
    by_key: dict[str, list[Alert]] = {}
    for alert in opened:
        by_key.setdefault(alert.key, []).append(alert)
    for key, alerts in by_key.items():
        for before, after in pairwise(alerts):
            assert after.opened_at
            if before.ended_at is None or before.ended_at > after.first_seen_at:
                faults.append(f"two alerts of {key} at once")


def _check_late(opened: list[Alert], faults: list[str]) -> None:
    every = runs.interval(runs.POLL)
    for alert in opened:
        if alert.key != POLL:
            continue
        assert alert.opened_at
        since = alert.opened_at - LATE_AFTER * every
        done = Run.objects.of(runs.POLL).completed()
        if done.filter(finished_at__range=(since, alert.first_seen_at)).exists():
            faults.append(f"polls were not late at {alert.opened_at}")


def _check_pauses(opened: list[Alert], faults: list[str]) -> None:
    """Each is between two completed polls that lie so far apart."""
    longest = PAUSE_AFTER * runs.interval(runs.POLL)
    completed = list(Run.objects.of(runs.POLL).completed().order_by("started_at"))
    pauses = {
        f"{PAUSE}{after.pk}": after.started_at - before.finished_at
        for before, after in pairwise(completed)
        if before.finished_at
    }
    for alert in opened:
        if alert.key.startswith(PAUSE) and pauses.get(alert.key, timedelta()) <= longest:
            faults.append(f"there was no pause: {alert}")


def _check_messages(torment: "Torment", arrived: Counter[str]) -> None:
    """Each arrives once, or again where its sender was killed before it could note that."""
    messages = {one.message_id: one for one in AlertMessage.objects.select_related("alert")}
    torment.messages, torment.twice = len(arrived), arrived.total() - len(arrived)
    for message_id, times in arrived.items():
        message = messages.get(message_id)
        if message is None or times > 1 + message.unclear:
            torment.faults.append(f"{message} arrived {times} times")
    for message_id, message in messages.items():
        if message.fate == Fate.SENT and message_id not in arrived:
            torment.faults.append(f"never arrived: {message}")
        was_unlucky = message.fate == Fate.GIVEN_UP and message.unclear > MOST_UNCLEAR
        if message.fate in (Fate.WAITING, Fate.GIVEN_UP) and not was_unlucky:
            torment.faults.append(f"not sent: {message} {message.error}")
    ended = Alert.objects.exclude(opened_at=None).exclude(key__startswith=PAUSE)
    for alert in ended:
        phases = set(alert.messages.values_list("phase", flat=True))
        wanted = {Phase.OPENED, Phase.ENDED} if alert.ended_at else {Phase.OPENED}
        if phases != wanted:
            torment.faults.append(f"{alert} was told of by {phases}")
