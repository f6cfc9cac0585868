"""Keeps heavy answers that many ask for: in this process's memory, or in Redis for all processes.

A key holds the versions of all that an answer is made from, which are read from the database for
each request. So an entry is never wrong, and none has to be taken out: after a change the key is
another. Whether somebody may see it was checked before, and what differs by person is in the key.
"""

import logging
from collections.abc import Callable
from hashlib import sha256
from time import monotonic
from typing import Any

from django.core.cache import cache

from core.api.rendering import JsonRenderer, Rendered

logger = logging.getLogger(__name__)

LARGEST = 1_000_000
"""Bytes of an answer that is kept."""
REST_SECONDS = 10.0
"""How long nothing is asked of a cache that failed: answers without it take less than waiting."""


class Bytes:
    """What Redis stores are bytes: Django would make pickles of them, which can run code."""

    def dumps(self, value: bytes) -> bytes:
        return value

    def loads(self, value: bytes) -> bytes:
        return value


class _Resting:
    until = 0.0


def kept(made_from: object, make: Callable[[], Any]) -> Rendered:
    """Return the JSON of what `make` returns, or that of before if it is made from the same.

    `made_from` is all that the answer depends on; its `repr` tells every difference.
    """
    key = sha256(repr(made_from).encode()).hexdigest()
    found = _ask(lambda: cache.get(key))
    if found is None:
        found = JsonRenderer().render(make())
        if len(found) <= LARGEST:
            _ask(lambda: cache.set(key, found))
    return Rendered(found)


def _ask(call: Callable[[], Any]) -> Any:
    """Return what the cache answers, None if it does not."""
    if monotonic() < _Resting.until:
        return None
    try:
        return call()
    except Exception as error:  # such as a Redis that is away: answers are made without it
        _Resting.until = monotonic() + REST_SECONDS
        logger.warning("The cache does not answer (%s: %s)", type(error).__name__, error)
        return None
