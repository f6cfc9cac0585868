"""Models whose changes are all in the event log: saved and deleted only inside publishing()."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol, TypeVar

from django.db import models


class OpenOutbox(Protocol):
    """What publishing() of core/tasks/events/outbox.py opens around changes."""

    def changed(self, instance: models.Model) -> None: ...


class NotPublishing(RuntimeError):
    """Says that a change was made outside publishing(), where no event would be written."""

    def __init__(self, instance: models.Model) -> None:
        super().__init__(
            f"{instance._meta.object_name} {instance.pk} changes outside publishing(), "
            "so no open page would hear of it. Put `with publishing():` of "
            "core/tasks/events/outbox.py in place of the `with transaction.atomic():` around it."
        )


Opened = TypeVar("Opened", bound=OpenOutbox)
_open: ContextVar[tuple[int, OpenOutbox] | None] = ContextVar("open", default=None)


@contextmanager
def opened(outbox: Opened) -> Iterator[Opened]:
    """Open an outbox for this context and thread."""
    before = _open.set((get_ident(), outbox))
    try:
        yield outbox
    finally:
        _open.reset(before)


def outbox_here() -> OpenOutbox | None:
    """Find the outbox that is open in this context and thread."""
    # A thread in a copy of the context has a transaction of its own, and needs its own outbox.
    found = _open.get()
    return found[1] if found and found[0] == get_ident() else None


class Evented(models.Model):
    """A model that adds each save and delete to the open outbox, or raises NotPublishing.

    `update()`, `bulk_create()` and `delete()` of a query set do not come here: call
    Outbox.changed_pks() with them.
    """

    class Meta:
        abstract = True

    def save(self, *args: Any, **named: Any) -> None:
        outbox = self._outbox()
        super().save(*args, **named)
        outbox.changed(self)

    def delete(self, *args: Any, **named: Any) -> tuple[int, dict[str, int]]:
        # Before, as it has no key afterwards. The outbox finds out at its end that the row is gone.
        self._outbox().changed(self)
        return super().delete(*args, **named)

    def _outbox(self) -> OpenOutbox:
        outbox = outbox_here()
        if outbox is None:
            raise NotPublishing(self)
        return outbox
