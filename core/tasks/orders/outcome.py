"""Wait for what becomes of a device command, without holding a database connection."""

import time
from threading import BoundedSemaphore

from core.models import DeviceCommand
from core.models.connections import release_connection
from core.models.device_command import OPEN

LONGEST_WAIT_SECONDS = 25
"""Heroku's router hangs up after 30."""
MOST_WAITING = 50
"""Threads of this process that may wait at one time; others get what is known at once."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.5

_places = BoundedSemaphore(MOST_WAITING)


def wait_for_outcome(command_pk: int, seconds: float) -> None:
    """Return when the command is finished or gone, or after so many seconds."""
    if seconds <= 0 or not _places.acquire(blocking=False):
        return
    try:
        until, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
        while _is_open(command_pk) and (left := until - time.monotonic()) > 0:
            release_connection()
            time.sleep(min(pause, left))
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    finally:
        _places.release()


def _is_open(command_pk: int) -> bool:
    return DeviceCommand.objects.filter(pk=command_pk, state__in=OPEN).exists()
