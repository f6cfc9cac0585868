"""What is done once at the start of every process, and at its end."""

import atexit
import logging
import os
import sys
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.backends.signals import connection_created

logger = logging.getLogger(__name__)

SENTRY_HINT = "Run: pip install -r requirements-sentry.txt, or unset SENTRY_DSN."


class CoreConfig(AppConfig):
    name = "core"
    verbose_name = "Devices"

    def ready(self) -> None:
        from django.conf import settings

        from core import checks
        from core.models.journal import choose_journal
        from core.net import logs

        checks.register_all()
        if settings.LOG_FORMAT == "JSON" or settings.SENTRY_DSN:
            logs.log_the_uncaught()
        if settings.SENTRY_DSN:
            tell_sentry()
        connection_created.connect(choose_journal)
        atexit.register(close_pools)
        connection_created.connect(keep_to_owner)


def tell_sentry() -> None:
    from django.conf import settings

    from core.net import sentry

    try:
        sentry.start(
            settings.SENTRY_DSN,
            "development" if settings.DEBUG else "production",
            [settings.SECRET_KEY, *settings.FIELD_KEYS],
        )
    except ModuleNotFoundError as missing:
        # The checks say so too, which a scheduled command does not run.
        logger.warning("Errors are not told to Sentry: %s. %s", missing, SENTRY_HINT)


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


def keep_to_owner(connection: Any, **_: Any) -> None:
    """Make the files of a SQLite database readable for their owner only.

    They hold sessions and what people do at home. SQLite gives new neighbours the file's own mode.
    """
    if connection.vendor != "sqlite" or connection.is_in_memory_db():
        return
    for ending in ("", "-wal", "-shm", "-journal"):
        path = Path(f"{connection.settings_dict['NAME']}{ending}")
        try:
            status = path.stat()
            # Who does not own the file cannot change it.
            if status.st_mode & 0o077 and status.st_uid == os.geteuid():
                path.chmod(0o600)
        # Another process ended, and SQLite removed its neighbours, or the disk is read-only.
        except OSError:
            continue
