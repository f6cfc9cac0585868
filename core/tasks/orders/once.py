"""Orders that may be sent again: one key, one device command, and the first answer each time.

As in https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-idempotency-key-header: a key used
for something else is refused, and so is one whose first request is still being answered. An order
that was refused leaves no key behind.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError
from django.utils import timezone

from core.models import DeviceCommand, IdempotencyKey
from core.tasks.events.outbox import publishing

KEPT_FOR = timedelta(hours=24)
ANSWERED_WITHIN = timedelta(seconds=60)
"""Longer than any request waits. Whoever asks later is not told to wait for a process that died."""

Json = dict[str, Any]


class KeyReused(ValueError):
    """Says that this key was given to another order before."""

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request. Use a new one.")


class StillInProgress(Exception):
    """Says that the first request with this key has no answer yet."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is not answered yet.")


class Ordered(NamedTuple):
    """A device command, new or from before. `answer` is the first one, None while there is none."""

    command_pk: int
    is_new: bool
    answer: Json | None = None


def order_once(owner: str, key: str, asked: Json, commit: Callable[[], DeviceCommand]) -> Ordered:
    """Commit an order unless the key was used before. `asked` is all that the request asks for.

    `commit` is called inside the transaction; what it raises is raised. Raises KeyReused,
    StillInProgress.
    """
    fingerprint = _fingerprint(asked)
    # Mostly the key is there or nobody else has it: a replay takes no lock.
    if before := _before(owner, key, fingerprint):
        return before
    try:
        with publishing():
            # Last: of two that come here at once, the second fails, and its command with it.
            used = IdempotencyKey(owner=owner, key=key, fingerprint=fingerprint)
            used.command = commit()
            used.save(force_insert=True)
    except IntegrityError:
        before = _before(owner, key, fingerprint)
        if before is None:
            raise
        return before
    return Ordered(used.command_id, is_new=True)


def answered(owner: str, key: str, answer: Json) -> None:
    """Keep the first answer: every later request with this key gets it."""
    IdempotencyKey.objects.filter(owner=owner, key=key, answer__isnull=True).update(answer=answer)


def _before(owner: str, key: str, fingerprint: str) -> Ordered | None:
    now = timezone.now()
    used = IdempotencyKey.objects.filter(owner=owner, key=key).first()
    if used is None:
        return None
    # One of the future is of a clock that ran ahead: whoever made it is not at work any more.
    age = abs(now - used.created_at)
    if age > KEPT_FOR:
        used.delete()
        return None
    if used.fingerprint != fingerprint:
        raise KeyReused
    if used.answer is None and age < ANSWERED_WITHIN:
        raise StillInProgress
    return Ordered(used.command_id, is_new=False, answer=used.answer)


def _fingerprint(asked: Json) -> str:
    written = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
