"""Who is at a device's page: leases that sockets renew; without renewal they end after `LASTS`.

Each change of a device's list is one event that holds the whole list, in the same transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.db.models.functions import Now

from core.models import Device, Presence, User
from core.models.presence import LASTS
from core.tasks.events.outbox import publishing


class Viewer(NamedTuple):
    """One socket and where it is. Who has no log-in changes nothing."""

    key: str
    device: int
    user: int | None = None
    is_changing: bool = False


def move(entering: Collection[Viewer], leaving: Collection[str]) -> None:
    """Both in one transaction."""
    with publishing():
        if leaving:
            leave(leaving)
        if entering:
            enter(entering)


def enter(here: Collection[Viewer]) -> None:
    """Store that they are at those pages now, and no other. Devices that are gone are skipped."""
    with publishing() as outbox:
        there = set(
            Device.objects.present()
            .filter(pk__in={one.device for one in here})
            .values_list("pk", flat=True)
        )
        names = {
            user.pk: user.get_username()
            for user in User.objects.filter(pk__in={one.user for one in here if one.user})
        }
        before = Presence.objects.here().order_by().in_bulk([one.key for one in here])
        rows = [
            _row(one, names.get(one.user or 0, ""))
            for one in sorted(here, key=lambda one: one.device)
            if one.device in there
        ]
        Presence.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["key"],
            update_fields=["device", "name", "is_changing", "expires_at"],
        )
        outbox.present(_moved(before, rows))
        if gone := before.keys() - {row.key for row in rows}:
            leave(gone)


def _row(here: Viewer, name: str) -> Presence:
    is_changing = here.is_changing and bool(name)
    return Presence(
        key=here.key,
        device_id=here.device,
        name=name,
        is_changing=is_changing,
        expires_at=Now() + LASTS,
    )


def _moved(before: dict[str, Presence], rows: Sequence[Presence]) -> set[int]:
    """The devices whose lists are others now."""
    devices = set()
    for row in rows:
        old = before.get(row.key)
        if old is None or (old.device_id, old.name, old.is_changing) != (
            row.device_id,
            row.name,
            row.is_changing,
        ):
            devices |= {row.device_id} | ({old.device_id} if old else set())
    return devices


def leave(keys: Iterable[str]) -> None:
    with publishing() as outbox:
        leaving = Presence.objects.filter(pk__in=list(keys)).order_by()
        outbox.present(set(leaving.values_list("device", flat=True)))
        leaving.delete()


def renew(keys: Collection[str]) -> set[str]:
    """Renew leases in one statement; return the keys that had expired and must enter again."""
    mine = Presence.objects.here().filter(pk__in=keys).order_by()
    if mine.update(expires_at=Now() + LASTS) == len(keys):
        return set()
    return set(keys) - set(mine.values_list("pk", flat=True))


def forget() -> int:
    """Delete all expired leases; return how many. Rows locked by another process are skipped."""
    if not Presence.objects.over().exists():
        return 0
    with publishing() as outbox:
        over = dict(
            Presence.objects.over()
            .order_by()
            .select_for_update(skip_locked=True)
            .values_list("pk", "device")
        )
        Presence.objects.filter(pk__in=over).delete()
        outbox.present(set(over.values()))
    return len(over)
