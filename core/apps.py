"""What is done once at the start of every process, and at its end."""

import atexit
import sys

from django.apps import AppConfig
from django.db import connections
from django.db.backends.signals import connection_created


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Devices"

    def ready(self) -> None:
        from core import checks
        from core.models.journal import choose_journal

        checks.register_all()
        connection_created.connect(choose_journal)
        atexit.register(close_pools)


def close_pools() -> None:
    """Close the connection pools of psycopg, if there are any.

    Without it a process takes 20 s to end from Python 3.13 on: by then a pool's threads cannot be
    joined.
    """
    if "psycopg_pool" not in sys.modules:
        return
    from django.db.backends.postgresql.base import DatabaseWrapper

    for connection in connections.all():
        if isinstance(connection, DatabaseWrapper):
            connection.close()
            connection.close_pool()
