"""Threads in which sockets use the database and vendors.

They are not the one thread that all synchronous calls of an ASGI server share. Each call gives its
database connection back when it ends, and while it waits for a vendor (core/models/connections.py).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from core.models.connections import release_connection

logger = logging.getLogger(__name__)

Given = ParamSpec("Given")
Result = TypeVar("Result")

WRITERS = 32
"""An order to a gateway that hangs keeps its thread for half a minute; others must not wait."""

# Each thread holds a database connection while it works, so there are few.
reader = ThreadPoolExecutor(1, "live-reader")
registrar = ThreadPoolExecutor(1, "live-registrar")
writers = ThreadPoolExecutor(WRITERS, "live-writer")


async def reading(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Run a query of milliseconds that waits for no lock; one call at a time."""
    # run_in_executor passes no named arguments, hence the lambda.
    return await asyncio.get_running_loop().run_in_executor(
        reader, lambda: _giving_back(function, *given, **named)
    )


async def registering(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Run a write of presence; one call at a time. A locked database delays nothing else."""
    return await asyncio.get_running_loop().run_in_executor(
        registrar, lambda: _giving_back(function, *given, **named)
    )


async def writing(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Run what may wait for another writer or for a vendor.

    Cancelling the caller does not stop a call that has begun.
    """
    return await asyncio.get_running_loop().run_in_executor(
        writers, lambda: _giving_back(function, *given, **named)
    )


def in_background(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> None:
    """Begin what may wait for a vendor, for a caller that does not wait for it."""
    begun = writers.submit(lambda: _giving_back(function, *given, **named))
    begun.add_done_callback(_log_failure)


def _log_failure(done: Future[Any]) -> None:
    if error := done.exception():
        # Such as a database that is away. The next run sends what was committed.
        logger.error("What was begun in the background failed", exc_info=error)


def _giving_back(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    try:
        return function(*given, **named)
    finally:
        # Django does this at the end of a request, and here there is none.
        release_connection()
