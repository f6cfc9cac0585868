"""Which task is expected how often. The scheduler outside (cron, Heroku Scheduler) does it; this says what was missed."""

from datetime import timedelta

from django.conf import settings

POLL = "poll"
DECIDE = "decide"


def interval(task: str) -> timedelta:
    return {POLL: settings.POLL_INTERVAL, DECIDE: settings.POLL_INTERVAL}[task]
