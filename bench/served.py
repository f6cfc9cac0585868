"""The application that bench/live.py serves: ours, a socket of the group, and two counters."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"
django.setup()

from bench.group_send import Group
from bench.urls import counts
from core.live import subscriber
from core.live.log import EventRow, PostgresLog, SqliteLog
from iotapp.asgi import SOCKETS, application

__all__ = ["application"]
SOCKETS["/ws/group/"] = Group.as_asgi()


def counting_reads(
    read: Callable[..., Awaitable[list[EventRow]]],
) -> Callable[..., Awaitable[list[EventRow]]]:
    """Those that find something: when nothing happens, the log is looked at each second."""

    async def counted(*given: Any) -> list[EventRow]:
        rows = await read(*given)
        counts["queries"] += bool(rows)
        return rows

    return counted


def counting_texts(as_text: Callable[[EventRow], str]) -> Callable[[EventRow], str]:
    def counted(row: EventRow) -> str:
        counts["texts"] += 1
        return as_text(row)

    return counted


for log in (PostgresLog, SqliteLog):
    log.read = counting_reads(log.read)
subscriber._as_text = counting_texts(subscriber._as_text)
