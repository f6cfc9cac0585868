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

ORDERS_AT_ONCE = 2
"""An order waits up to 10 s for its vendor and holds a connection meanwhile: with two, pages keep half of the pool."""

database = ThreadPoolExecutor(1, "live")
orders = ThreadPoolExecutor(ORDERS_AT_ONCE, "live-orders")


async def in_database_thread(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """For what takes milliseconds."""
    return await asyncio.get_running_loop().run_in_executor(database, lambda: _giving_back(function, *given, **named))


async def in_order_thread(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    """For what waits for a vendor. Whoever stops waiting does not stop it, unless it has not begun."""
    return await asyncio.get_running_loop().run_in_executor(orders, lambda: _giving_back(function, *given, **named))


def _giving_back(function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
    try:
        return function(*given, **named)
    finally:
        connections.close_all()
