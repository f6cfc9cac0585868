"""What may be wrong with the site: late tasks, a full disk, old forecasts, the hosted relay."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Max

from core import feeds
from core.models import FeedSource, Forecast, Gateway, Run
from core.models.run import Outcome
from core.planning.forecast import LIVE_FOR
from core.tasks import relay, runs
from core.tasks.alerts.finding import Finding
from core.tasks.alerts.gateways import INTERNET, Networks
from core.tasks.forecasts.regions import Region, configured
from core.tasks.runs import Health

POLL = "task:poll"
TASK_LOOKS = 2
"""A run that is late may be about to begin, or the clock was just put right."""
LEAST_FREE_BYTES, LEAST_FREE = 200e6, 0.05
"""The disk is nearly full below the larger of these: bytes, and a share of the disk."""
ENOUGH = 1.5
"""It has room again at so many times that: else an alert would come and go."""
OLD_FORECAST = timedelta(days=1)
"""Some are issued once a day."""


def late_tasks(now: datetime, health: Health) -> Iterator[Finding]:
    """Yield the tasks that are late. Deciding is late too where nothing runs at all."""
    # A poll that takes long is at work, not late.
    is_late = not health.ok and not _is_at_work(now) and Gateway.objects.active().exists()
    if is_late:
        detail = _newest_error(runs.POLL, now) or health.reason
        yield Finding(POLL, "Polls are late", detail, urgent=True, looks=TASK_LOOKS)
    if problem := runs.deciding_problem(now):
        yield Finding(
            "task:decide",
            "Decisions are late",
            _newest_error(runs.DECIDE, now) or problem,
            urgent=True,
            explained=is_late,
            looks=TASK_LOOKS,
        )


def _is_at_work(now: datetime) -> bool:
    newest = Run.objects.of(runs.POLL).until(now).order_by("-started_at").first()
    since = now - 2 * runs.interval(runs.POLL)
    return newest is not None and newest.outcome == Outcome.RUNNING and newest.started_at > since


def _newest_error(task: str, now: datetime) -> str:
    """Return why the newest run of a task broke, or nothing."""
    newest = Run.objects.of(task).until(now).order_by("-started_at").first()
    if newest is None or newest.outcome not in (Outcome.BROKEN, Outcome.VANISHED):
        return ""
    return f"The run of {newest.started_at:%Y-%m-%d %H:%M} UTC: {newest.error[-500:]}"


def pause(now: datetime) -> tuple[int, datetime, datetime] | None:
    """Return the run before which nothing ran for long, and from when to when; None if it did.

    It is found afterwards: while nothing runs, nothing finds out.
    """
    completed = Run.objects.of(runs.POLL).completed().until(now).order_by("-started_at")
    newest = list(completed.only("started_at", "finished_at")[:2])
    if len(newest) < 2:
        return None
    last, before = newest
    since = before.finished_at or before.started_at
    schedule = runs.schedule(runs.POLL)
    longest = schedule.late_after(last.started_at)  # two were missed
    longest += max(settings.ALERT_AFTER_FAILURES - 2, 0) * schedule.usual_gap
    if last.started_at - since <= longest:
        return None
    return last.pk, since, last.started_at


@dataclass(frozen=True)
class Disk:
    """The disk that holds the database, or on which this runs; in bytes."""

    folder: Path
    free: int
    total: int

    @property
    def least(self) -> float:
        return max(LEAST_FREE_BYTES, LEAST_FREE * self.total)

    @property
    def is_nearly_full(self) -> bool:
        return self.free < self.least


def disk() -> Disk:
    folder: Path = settings.BASE_DIR
    name = settings.DATABASES["default"]["NAME"]
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3") and Path(name).parent.is_dir():
        folder = Path(name).parent
    usage = shutil.disk_usage(folder)
    return Disk(folder, usage.free, usage.total)


def full_disk(open_keys: Collection[str]) -> Iterator[Finding]:
    found = disk()
    if found.free < found.least * (ENOUGH if "disk" in open_keys else 1):
        free, total = found.free / 1e9, found.total / 1e9
        detail = f"{free:.1f} of {total:.1f} GB are free at {found.folder}. Make room there."
        yield Finding("disk", "The disk is nearly full", detail, urgent=True)


def failing_relay() -> Iterator[Finding]:
    if relay.lasting_problem():
        yield Finding("relay", "The hosted relay does not work", relay.problem())


def feed_sources() -> list[FeedSource]:
    """Return the sources of feeds that are in use: of those taken out of FEEDS, rows stay."""
    names = {region.feed for region in configured()}
    return list(FeedSource.objects.filter(feed__in=names).order_by("pk")) if names else []


def bad_feeds(
    sources: Sequence[FeedSource], now: datetime, networks: Networks
) -> Iterator[Finding]:
    for source in sources:
        name = Region(source.feed, source.region)
        # One that has answered since it failed does not rest.
        rests_since = source.asked_at if source.failures else None
        is_offline = networks.explain(INTERNET, rests_since)
        if source.failures >= settings.ALERT_AFTER_FAILURES or source.refused:
            title = f"The feed {name} fails"
            explained = is_offline and not source.refused
            yield Finding(f"feed:{source.pk}", title, source.error, explained=explained)
        elif issued_at := _old_forecast(source, now):
            detail = f"The newest was issued at {issued_at:%Y-%m-%d %H:%M} UTC."
            title = f"The forecast of {name} is old"
            yield Finding(f"forecast:{source.pk}", title, detail, explained=is_offline)


def _old_forecast(source: FeedSource, now: datetime) -> datetime | None:
    """Return when the newest forecast was issued, if that is long ago."""
    try:
        if feeds.is_replayed(source.feed):
            return None
        longest = max(OLD_FORECAST, LIVE_FOR * feeds.load(source.feed).every)
    except feeds.UnknownFeed:  # manage.py check tells of it, and so does its failure
        return None
    forecasts = Forecast.objects.filter(series__source=source)
    newest: datetime | None = forecasts.aggregate(newest=Max("issued_at"))["newest"]
    return newest if newest is not None and now - newest > longest else None
