"""Hand work to a worker at once, where a broker is configured. Nothing waits for a broker."""

import logging
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 1.0
AWAY_SECONDS = 10.0
"""A broker that did not answer is not tried again for so long."""

# A broker that hangs holds up this thread, and no request.
_publisher = ThreadPoolExecutor(1, "publisher")
_away_until = 0.0


def hand_over(job: str, *given: Any) -> bool:
    """Send a message to the workers. Return whether the broker has it, after a second at most.

    Call it after the commit. A message that is late may be handled too: work is safe to repeat.
    """
    global _away_until
    if not settings.CELERY_BROKER_URL or monotonic() < _away_until:
        return False
    sending = _publisher.submit(_send, job, given)
    try:
        sending.result(LONGEST_SECONDS)
    except Exception as error:  # whatever a transport raises
        sending.cancel()
        _away_until = monotonic() + AWAY_SECONDS
        logger.warning("The broker does not answer (%s): %s", type(error).__name__, error)
        return False
    return True


def _send(job: str, given: tuple[Any, ...]) -> None:
    # Its import takes longer than a request should where there is no broker.
    import_string(settings.CELERY_APP).send_task(job, given, retry=False)
