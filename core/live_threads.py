"""Where sockets use the database and vendors: threads of their own, never the one that all of an ASGI server's calls share.

Each call gives its database connection back when it ends.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connections

Given = ParamSpec("Given")
Result = TypeVar("Result")

_database = ThreadPoolExecutor(1, "live")
_orders = ThreadPoolExecutor(2, "live-orders")
"""An order waits up to 10 s for its vendor and holds a connection meanwhile: with two, pages keep half of the pool."""


async def in_database_thread(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """For what takes milliseconds."""
    return await asyncio.get_running_loop().run_in_executor(_database, lambda: _giving_back(function, *given, **named))


async def in_order_thread(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """For what waits for a vendor. Whoever stops waiting does not stop it, unless it has not begun."""
    return await asyncio.get_running_loop().run_in_executor(_orders, lambda: _giving_back(function, *given, **named))


def _giving_back(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    try:
        return function(*given, **named)
    finally:
        connections.close_all()
