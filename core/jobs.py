"""Celery's tasks: each calls one function of core/tasks. Messages carry keys only.

Any may run twice, or at two places at once: claims and leases in the database decide, as they do
between commands. Only workers import this.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from celery import shared_task
from celery.exceptions import Reject
from django.db import InterfaceError, OperationalError

from core.models import HalfASite
from core.models.connections import release_connection
from core.models.device_command import OPEN
from core.models.site_import import whole
from core.net import logs
from core.tasks import decide, poll
from core.tasks import send_alerts as alerts
from core.tasks.orders import send
from core.tasks.polling import batches
from core.tasks.react import react as react_to
from core.tasks.runs import (
    AlreadyRunning,
    ClockNotSet,
    LeaseLost,
    Terminated,
    Ticket,
    sigterm_as_exit,
)

logger = logging.getLogger(__name__)

LONGEST_SECONDS = 900
"""A batch that waited so long is of a run that is over."""
RETRY_SECONDS = 5
MOST_RETRIES = 60


def job(function: Callable[..., None]) -> Any:
    """Make a task that hands itself back when its worker is told to stop.

    While the database is away it is tried again.
    """

    @wraps(function)
    def run(self: Any, *given: Any) -> None:
        try:
            with logs.about({"task_id": self.request.id}), sigterm_as_exit():
                if refusal := whole.refusal():
                    raise HalfASite(refusal)
                function(self, *given)
        except Terminated:
            raise Reject("its worker was told to stop", requeue=True) from None
        except HalfASite as refused:
            logger.warning("%s: %s", function.__name__, refused)
        except (AlreadyRunning, ClockNotSet, LeaseLost) as nothing_to_do:
            logger.info("%s: %s", function.__name__, nothing_to_do)
        except (InterfaceError, OperationalError) as error:
            raise self.retry(
                exc=error, countdown=RETRY_SECONDS, max_retries=MOST_RETRIES
            ) from error
        finally:
            release_connection()

    return shared_task(bind=True, name=function.__name__)(run)


@job
def poll_devices(self: Any, slot: float) -> None:
    """Begin the run of a slot, and hand out its batches."""
    parts = poll.begin_shared(_ticket(self, slot))
    for keys in parts:
        poll_batch.apply_async(list(keys), expires=LONGEST_SECONDS)
    if not parts:  # it has ended
        send_alerts.delay()


@job
def poll_batch(self: Any, run: int, token: int, number: int, gateways: list[int]) -> None:
    if batches.poll_part(batches.BatchKeys(run, token, number, gateways)):
        end_poll.apply_async([run, token], expires=LONGEST_SECONDS)


@job
def end_poll(self: Any, run: int, token: int) -> None:
    poll.end_shared(run, token)
    send_alerts.delay()


@job
def do_something_awesome(self: Any, slot: float) -> None:
    decide.decide(ticket=_ticket(self, slot))
    send_alerts.delay()


@job
def send_alerts(self: Any) -> None:
    alerts.after_a_run()


@job
def send_commands(self: Any, commands: list[int]) -> None:
    """Send what was ordered, and look once more soon at what came of it."""
    if any(command.state in OPEN for command in send.send(commands)):
        carry_on.apply_async(countdown=send.CLAIM.total_seconds())


@job
def carry_on(self: Any) -> None:
    send.carry_on()


@job
def react(self: Any, devices: list[int]) -> None:
    react_to(devices)


def _ticket(self: Any, slot: float) -> Ticket:
    return Ticket(f"message {self.request.id}", datetime.fromtimestamp(slot, UTC))
