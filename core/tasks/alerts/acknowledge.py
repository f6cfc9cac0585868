"""Acknowledge an alert: somebody knows of it, and messages that wait are not sent any more."""

from django.db import transaction
from django.utils import timezone

from core.models import Alert, AlertMessage, User
from core.models.alert import Fate, Phase


def acknowledge(alert: Alert, user: User) -> bool:
    """Return whether this was the first time: who did it before stays the one who did."""
    with transaction.atomic():
        first = Alert.objects.open().filter(pk=alert.pk, acknowledged_at=None)
        if not first.update(acknowledged_by=user, acknowledged_at=timezone.now()):
            return False
        waiting = AlertMessage.objects.waiting().free()
        waiting.filter(alert=alert.pk, phase=Phase.OPENED).update(fate=Fate.DROPPED)
    return True
