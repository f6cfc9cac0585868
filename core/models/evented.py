"""Models whose every change is told in the event log: they can only be saved and deleted where somebody tells it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from typing import Any, Protocol, TypeVar

from django.db import models


class OpenOutbox(Protocol):
    """What core/tasks/events/outbox.py opens around changes."""

    def changed(self, instance: models.Model) -> None: ...


class NotPublishing(RuntimeError):
    """A change that no live page would hear of."""

    def __init__(self, instance: models.Model) -> None:
        super().__init__(
            f"{instance._meta.object_name} {instance.pk} changes outside publishing(), so no open page would hear of it. "
            "Put `with publishing():` of core/tasks/events/outbox.py in place of the `with transaction.atomic():` around the change."
        )


Opened = TypeVar("Opened", bound=OpenOutbox)
_open: ContextVar[tuple[int, OpenOutbox] | None] = ContextVar("open", default=None)


@contextmanager
def opened(telling: Opened) -> Iterator[Opened]:
    before = _open.set((get_ident(), telling))
    try:
        yield telling
    finally:
        _open.reset(before)


def outbox_here() -> OpenOutbox | None:
    """What is open in this context and thread. A thread that was given a copy of the context has a transaction of its own."""
    found = _open.get()
    return found[1] if found and found[0] == get_ident() else None


class Evented(models.Model):
    """Raises NotPublishing where nothing is open; else tells by itself. `update()`, `bulk_create()` and `delete()` of a
    query set pass this by: whoever calls them tells with Outbox.changed_pks()."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **named: Any) -> None:
        telling = self._telling()
        super().save(*args, **named)
        telling.changed(self)

    def delete(self, *args: Any, **named: Any) -> tuple[int, dict[str, int]]:
        self._telling().changed(
            self
        )  # before, for afterwards it has no key; that it is gone is found out at the end
        return super().delete(*args, **named)

    def _telling(self) -> OpenOutbox:
        if (telling := outbox_here()) is None:
            raise NotPublishing(self)
        return telling
