"""Pings for a service that notices when nothing runs any more, by addresses that healthchecks has.

https://healthchecks.io/docs/http_api/: the address itself for success, /start, /fail, and `rid`,
which tells the runs of a task apart. A ping that fails changes nothing but a line in the log.
"""

import logging
from enum import StrEnum
from threading import Thread
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from django.conf import settings

from core.net.addresses import HOME_NETWORKS
from core.net.errors import ApiError, ApiRefused

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 3.0
"""A run waits no longer at its end, twice: for the ping of its start and for that of its end."""


class Ping(StrEnum):
    """What is told, by the end of the address."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


_starting: dict[int, Thread] = {}
"""Pings of runs that have begun, which may still be on their way, by the run."""


def ping(task: str, what: Ping, run: int) -> None:
    """Ping the address of a task, if it has one. That of a start is not waited for."""
    url = settings.PINGS.get(task)
    if not url:
        return
    # Loads requests, which nobody without PINGS pays for. Not in a thread: imports wait for others.
    import core.net.http  # noqa: F401

    # A thread: no deadline covers looking up a name.
    thread = Thread(target=_send, args=(task, url, what, run), daemon=True)
    if what == Ping.START:
        # A run that workers share may be ended by another process: its thread stays here.
        _starting.clear()
        _starting[run] = thread
        thread.start()
        return
    if started := _starting.pop(run, None):
        started.join(TIMEOUT_SECONDS)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    if thread.is_alive():
        logger.warning("The ping of %s did not arrive in %g s.", task, TIMEOUT_SECONDS)


def _send(task: str, url: str, what: Ping, run: int) -> None:
    from core.net.http import Http

    parts = urlsplit(url)
    try:
        http = Http(
            f"{parts.scheme}://{parts.netloc}",
            # Who sets PINGS runs this machine, so that a server in the house may be meant.
            networks=HOME_NETWORKS,
            timeout_seconds=TIMEOUT_SECONDS + 1,  # by then it is told of
        )
        http.fetch("GET", f"{parts.path}{what}", params={"rid": str(run_id(run))})
    except (ApiError, ApiRefused) as error:
        # The path is a secret, and an answer may repeat it.
        why = f"It answered {error.status}." if error.status else str(error)
        logger.warning("The ping of %s did not arrive: %s", task, why)
    except Exception as error:
        logger.warning("The ping of %s did not arrive: %s", task, type(error).__name__)


def run_id(run: int) -> object:
    """Return the UUID of a run: the process that ends it may be another than began it."""
    return uuid5(NAMESPACE_URL, f"{settings.SITE_URL} run {run}")
