"""Prove that a site lives a month as it is meant to, whatever happens in it.

Gateways are away, sensors die, clocks are put forward and back and jump, feeds fail, schedulers
pause, orders come to nothing, processes are killed and the disk is full: tests/soak/month/script.py
says when, and what is told of it. What is older than two days, or five where it is summed up by the
hour, is deleted all the while.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from django.conf import settings
from django.db import connection

from tests.soak.month.judge import Month
from tests.soak.month.script import ZONE
from tests.soak.month.small_disk import small_disk
from tests.soak.servers import OwnPostgreSQL


def live_a_month(season: str, days: int) -> Month:
    """Live so many days in a process of its own, on a database like that of the tests. Raises
    Missing."""
    with (
        TemporaryDirectory() as name,
        _database(Path(name)) as (database_url, folder, has_disk),
    ):
        environment = os.environ | {
            "ALLOWED_HOSTS": "localhost",
            "DATABASE_URL": database_url,
            "DEBUG": "0",
            "DJANGO_SETTINGS_MODULE": "iotapp.settings",
            "GATEWAY_NETWORKS": "loopback",
            "KEEP_DAYS": "2",
            "KEEP_HOURLY_DAYS": "5",
            "LOG_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
            "SCHEDULE": "do_something_awesome=2-59/10 * * * *",
            "SECRET_KEY": settings.SECRET_KEY,
            "TIME_ZONE": ZONE.key,
        }
        words = (season, str(days), str(folder), str(has_disk))
        ended = subprocess.run(
            [sys.executable, "-m", "tests.soak.month", *words],
            cwd=settings.BASE_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    _, _, result = ended.stdout.rpartition("result ")
    return Month(**json.loads(result))


@contextmanager
def _database(folder: Path) -> Iterator[tuple[str, Path, bool]]:
    """Make a new one. Return its address, a folder to use, and whether that is a small disk.

    PostgreSQL has none: whether a full one refuses a row depends on what deleted rows have left.
    """
    own = folder / "disk"
    if connection.vendor == "sqlite":
        with small_disk(own) as disk:
            yield f"sqlite:///{own / 'db.sqlite3'}", own, disk is not None
        return
    with OwnPostgreSQL(folder) as server:
        own.mkdir()
        yield server.url, own, False
