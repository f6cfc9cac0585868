"""Publish changes: `publishing()` around a change writes its events in the same transaction.

Events become visible in the order of their keys, so whoever reads `Event.objects.after(last)`
misses nothing. On PostgreSQL that takes one lock for all writers, held from the last statements of
a transaction to its commit. Nobody waits while another works, and as no row is locked after it, it
takes part in no deadlock. SQLite has one writer at a time anyway.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from django.db import connection, models, transaction

from core.models.event import EventKind
from core.models.evented import opened, outbox_here
from core.tasks.events.rows import Changed, NewEvent, events_of, kind_of, source_of, store

CHANNEL = "iotapp_events"
"""What PostgreSQL notifies at the commit: LISTEN to it, then read."""
LOCK = 4_711_000_001
"""Any number that no other advisory lock in this database has."""


class Outbox:
    """The changes of one transaction, of which events are made at its end.

    An object is read again then and has one event, however often it changed. For one that is no
    longer there, or has `removed_at`, that event says that it was removed.
    """

    def __init__(self) -> None:
        self._changed: list[Changed] = []
        self._readings: list[NewEvent] = []

    def readings(self, device_pk: int, gateway_pk: int, body: dict[str, Any]) -> None:
        """Add what a device reported at one poll. The caller has locked the device's row, so that
        events of two polls stand in the order of the polls."""
        self._readings.append(NewEvent(EventKind.READINGS, device_pk, gateway_pk, body))

    def changed(self, instance: models.Model) -> None:
        """Add a stored Device, Gateway, DeviceCommand, Run or Plan that was added or changed, or is
        about to be deleted. A gateway's devices go with it, without events of their own."""
        kind = kind_of(type(instance))
        self._changed.append(Changed(kind, instance.pk, *source_of(instance)))

    def changed_pks(self, model: type[models.Model], pks: Iterable[int]) -> None:
        """Add rows that were changed in bulk."""
        kind = kind_of(model)
        self._changed += [Changed(kind, pk) for pk in pks]

    def present(self, device_pks: Iterable[int]) -> None:
        """Add devices at whose pages other people are than before."""
        self._changed += [Changed(EventKind.PRESENCE, pk) for pk in device_pks]

    def flush(self) -> None:
        """Store the events: the last statements of the transaction."""
        # What is marked to be rolled back has no events either, and takes no lock.
        if not (self._changed or self._readings) or connection.get_rollback():
            return
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_advisory_xact_lock(%s), pg_notify(%s, '')", [LOCK, CHANNEL]
                )
        # Changed rows are read under the lock: whatever an earlier event shows was committed before
        # it, so a later event never shows something older.
        store([*events_of(self._changed), *self._readings])

    def _mark(self) -> tuple[int, int]:
        return len(self._changed), len(self._readings)

    def _drop_since(self, mark: tuple[int, int]) -> None:
        del self._changed[mark[0] :]
        del self._readings[mark[1] :]


@contextmanager
def publishing() -> Iterator[Outbox]:
    """Open a transaction in which devices, gateways, device commands, runs or plans may change.

    Use it in place of `transaction.atomic()`. The inner of two joins the outer, and its changes are
    dropped if it is rolled back. The outermost is the transaction itself: within a bare `atomic()`
    it raises RuntimeError, because the lock would then be held while others work on.
    """
    outer = cast(Outbox | None, outbox_here())
    if outer is None:
        # `durable` raises where another atomic() is open.
        with transaction.atomic(durable=True), opened(Outbox()) as outbox:
            yield outbox
            outbox.flush()
    else:
        with _joined(outer):
            yield outer


def is_publishing() -> bool:
    """Return whether this thread is inside `publishing()`."""
    return outbox_here() is not None


@contextmanager
def _joined(outbox: Outbox) -> Iterator[None]:
    mark, is_kept = outbox._mark(), False
    try:
        with transaction.atomic():
            yield
            # A block can also be rolled back without an exception, by set_rollback(True).
            is_kept = not connection.get_rollback()
    finally:
        if not is_kept:
            outbox._drop_since(mark)
