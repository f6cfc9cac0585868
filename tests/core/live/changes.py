"""Events for tests, as publishing() writes them."""

from django.db import connection, transaction

from core.models import Event, Membership, Role, User
from core.models.event import EventKind
from core.tasks.events.outbox import CHANNEL, LOCK


def write_events(count=1, kind=EventKind.RUN, device=None, gateway=None, **body):
    """So many events in one transaction. Returns their keys."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(%s), pg_notify(%s, '')", [LOCK, CHANNEL]
                )
        events = [
            Event(kind=kind, device=device, gateway=gateway, body=body or {"number": n})
            for n in range(count)
        ]
        for event in events:
            event.save()
    return [event.pk for event in events]


def log_in(client, role=Role.VIEWER, username="anna"):
    """The cookie of somebody who may do that."""
    user, _ = User.objects.get_or_create(username=username)
    Membership.objects.update_or_create(user=user, defaults={"role": role})
    client.force_login(user)
    return client.cookies["sessionid"].value
