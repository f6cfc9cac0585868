"""What runs: scheduled tasks, the processes that stay, and alerts that are open."""

import shlex
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from core.formatting import ago, counted
from core.models import Alert, AlertMessage, Device, Gateway, Lease, Run
from core.models.alert import Fate
from core.models.run import Outcome
from core.schedule import crontab_fields
from core.tasks import relay, runs
from core.tasks.doctor.line import Line, error, ok, warning

TITLES_SHOWN = 5
TOLD_FOR = timedelta(days=1)


def schedule_lines() -> Iterator[Line]:
    """Yield of each task whether it runs when it is to, and of processes whether they live."""
    now = timezone.now()
    needed = {
        runs.POLL: Gateway.objects.active().exists(),
        runs.DECIDE: Device.objects.ruled().exists(),
    }
    for task, is_needed in needed.items():
        yield from _task_lines(task, is_needed, now)
    yield from _listener_lines()
    if problem := relay.problem():
        yield error("schedule", problem, "docs/relay.md says how it works.")


def _task_lines(task: str, is_needed: bool, now: datetime) -> Iterator[Line]:
    command = runs.COMMANDS[task]
    newest = Run.objects.of(task).until(now).order_by("-started_at").first()
    if newest is None:
        text = f"{command} has never run."
        if is_needed:
            yield error("schedule", text, how_to_run(command))
        else:
            yield ok("schedule", f"{text} There is nothing for it to do yet.")
        return
    if is_needed and (problem := _lateness(task, now)):
        yield error("schedule", f"{command}: {problem}", how_to_run(command))
    elif missed := runs.missed_of_a_day(task, now):
        text = f"{command}: {counted(missed, 'run')} of the last day did not happen."
        yield warning("schedule", text, how_to_run(command))
    else:
        yield ok("schedule", f"{command} ran {ago(newest.started_at, now)}.")
    if newest.outcome in (Outcome.BROKEN, Outcome.VANISHED):
        lines = newest.error.strip().splitlines() or ["nobody knows why"]
        text = f"{command}: the newest run is {newest.outcome}: {lines[-1]}"
        yield warning("schedule", text, f"Run it by hand: python manage.py {command}")


def _lateness(task: str, now: datetime) -> str:
    if task == runs.DECIDE:
        return runs.deciding_problem(now)
    health = runs.health(now)
    return "" if health.ok else health.reason


def how_to_run(command: str) -> str:
    """Say what makes a task run when it is to, as this site is run."""
    if settings.CELERY_BROKER_URL:
        return "Is beat there, and a worker? celery -A iotapp beat; celery -A iotapp worker"
    if settings.ON_DYNO:
        return f"heroku addons:open scheduler, and add the job: python manage.py {command}"
    fields = crontab_fields(settings.SCHEDULE[command])
    folder, python = (shlex.quote(str(path)) for path in (settings.BASE_DIR, sys.executable))
    line = f"{fields}  cd {folder} && {python} manage.py {command} >/dev/null"
    return f"Add this line with crontab -e:\n{line}"


def _listener_lines() -> Iterator[Line]:
    """Yield whether listen_devices lives, where it was ever started."""
    newest = Run.objects.of(runs.LISTEN).order_by("-pk").first()
    if newest is None or newest.outcome == Outcome.DONE:
        return
    if Lease.objects.filter(task=runs.LISTEN, expires_at__gt=Now()).exclude(holder="").exists():
        yield ok("schedule", "listen_devices is at work.")
    else:
        text = "listen_devices was killed, and not started again."
        advice = "Start it, or end it with Ctrl-C the next time: python manage.py listen_devices"
        yield warning("schedule", text, advice)


def alert_lines() -> Iterator[Line]:
    """Yield the alerts that are open, and messages about them that could not be sent."""
    found = list(Alert.objects.open().order_by("-urgent", "-pk")[: TITLES_SHOWN + 1])
    titles = "; ".join(alert.title for alert in found[:TITLES_SHOWN])
    if found:
        count = Alert.objects.open().count()
        others = " and others" if len(found) > TITLES_SHOWN else ""
        text = f"{counted(count, 'alert')} open: {titles}{others}."
        yield warning("alerts", text, "The page Alerts has all, and send_alerts looks anew.")
    else:
        yield ok("alerts", "None is open.")
    lost = AlertMessage.objects.filter(fate=Fate.GIVEN_UP, due_at__gt=timezone.now() - TOLD_FOR)
    newest = lost.order_by("-pk").first()
    if newest:
        text = f"{counted(lost.count(), 'message')} of the last day could not be sent, "
        text += f"the newest to {newest.channel_name}: {newest.error}"
        yield error("alerts", text, "Is that address of ALERTS right? docs/alerts.md")
