"""Where sockets use the database and vendors: threads of their own, never the one that all of an ASGI server's calls share.

Each call gives its database connection back when it ends, and while it waits for a vendor (see
core/models/connections.py).
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from core.models.connections import release_connection

Given = ParamSpec("Given")
Result = TypeVar("Result")

WRITERS = 32
"""An order to a gateway that hangs keeps its thread for half a minute, and must not keep others waiting."""

reader = ThreadPoolExecutor(1, "live-reader")
registrar = ThreadPoolExecutor(1, "live-registrar")
writers = ThreadPoolExecutor(WRITERS, "live-writer")


async def reading(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """What takes milliseconds and waits for nobody: one after the other."""
    return await asyncio.get_running_loop().run_in_executor(
        reader, lambda: _giving_back(function, *given, **named)
    )


async def registering(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """Who is where: one after the other, and nobody else waits when the database is locked."""
    return await asyncio.get_running_loop().run_in_executor(
        registrar, lambda: _giving_back(function, *given, **named)
    )


async def writing(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    """What may have to wait, for another writer or for a vendor. Whoever stops waiting does not stop it, unless it has not
    begun."""
    return await asyncio.get_running_loop().run_in_executor(
        writers, lambda: _giving_back(function, *given, **named)
    )


def _giving_back(
    function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
) -> Result:
    try:
        return function(*given, **named)
    finally:
        release_connection()
