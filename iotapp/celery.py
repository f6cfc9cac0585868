"""The Celery application, for workers and beat: `celery -A iotapp worker`, `celery -A iotapp beat`.

Only they import it, and a web process at its first message. docs/production.md says how to run it.
"""

import logging
import os
import signal
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Timer
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")

from celery import Celery, signals  # noqa: E402 (Django's settings must be named before)
from celery.beat import BeatLazyFunc  # noqa: E402
from celery.schedules import BaseSchedule, schedstate  # noqa: E402
from celery.worker import state  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.exceptions import ImproperlyConfigured  # noqa: E402
from kombu import Queue  # noqa: E402

from core.schedule import EPOCH, Schedule  # noqa: E402

if not settings.CELERY_BROKER_URL:
    raise ImproperlyConfigured(
        "CELERY_BROKER_URL is not set. Example: amqp://user:password@host:5672/vhost, or "
        "redis://host:6379/0. Without a broker, cron runs the commands."
    )

SOFT_LIMIT_SECONDS, LIMIT_SECONDS = 600, 660
"""No task is meant to take so long: a batch takes seconds, a round of decisions minutes."""
VISIBILITY_SECONDS = 900
"""Redis gives a message to another worker after this, so no task may take as long."""
GRACE_SECONDS = 4
"""For tasks to end by themselves when a worker is told to stop; then they hand back."""
CHILD_KILOBYTES = 400_000
CHILD_TASKS = 500
NOW_QUEUE = f"{settings.CELERY_QUEUE}-now"
"""For what a person or a device waits for. A worker may be for it alone: `-Q iotapp-now`."""


class Slots(BaseSchedule):  # type: ignore[misc]  # its base is untyped
    """Tells beat the slots of one of our schedules.

    At its start beat sends the newest slot at once, as it may have been away: the database knows
    whether that was begun.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule

    def is_due(self, last_run_at: datetime) -> schedstate:
        now = self.now()
        is_due = self.schedule.previous(now) > last_run_at
        return schedstate(is_due, (self.schedule.next(now) - now).total_seconds())

    def newest(self) -> float:
        """Return the newest slot, in seconds since 1970."""
        return self.schedule.previous(self.now()).timestamp()


def entry(task: str, schedule: Schedule) -> dict[str, Any]:
    slots = Slots(schedule)
    # What waited for longer than to the next slot is of no use.
    expires = max(60, min(schedule.usual_gap, timedelta(hours=1)).total_seconds())
    return {
        "task": task,
        "schedule": slots,
        "last_run_at": EPOCH,
        "args": [BeatLazyFunc(slots.newest)],
        "options": {"expires": expires},
    }


app = Celery("iotapp")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options=(
        {"visibility_timeout": VISIBILITY_SECONDS, "queue_order_strategy": "priority"}
        if settings.CELERY_BROKER_URL.startswith(("redis", "rediss"))
        else {}
    ),
    include=["core.jobs"],
    task_queues=[Queue(name, routing_key=name) for name in (NOW_QUEUE, settings.CELERY_QUEUE)],
    task_default_queue=settings.CELERY_QUEUE,
    task_routes={task: {"queue": NOW_QUEUE} for task in ("send_commands", "carry_on", "react")},
    # The rows are the results.
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # It would come again, and run twice at once: claims allow that, and it ends what it began.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_soft_time_limit=SOFT_LIMIT_SECONDS,
    task_time_limit=LIMIT_SECONDS,
    worker_prefetch_multiplier=1,
    worker_max_tasks_per_child=CHILD_TASKS,
    worker_max_memory_per_child=CHILD_KILOBYTES,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    # Without a file: it would be lost with a container, and the database knows the slots.
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=5,
    beat_schedule={task: entry(task, schedule) for task, schedule in settings.SCHEDULE.items()},
    timezone=settings.TIME_ZONE,
)


def keep_our_logs(loglevel: int, **about: Any) -> None:
    """Keep Celery from setting up logs of its own. Only its level, `-l`, is taken."""
    logging.getLogger("celery").setLevel(loglevel)


if settings.LOG_FORMAT == "JSON":
    signals.setup_logging.connect(keep_our_logs)


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def tell_children(**about: Any) -> None:
    """Let tasks hand back what they have not ended soon after the worker was told to stop."""

    def tell() -> None:
        for request in list(state.active_requests):
            if request.worker_pid:
                with suppress(ProcessLookupError):
                    os.kill(request.worker_pid, signal.SIGTERM)

    timer = Timer(GRACE_SECONDS, tell)
    timer.daemon = True
    timer.start()
