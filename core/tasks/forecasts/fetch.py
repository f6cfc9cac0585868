"""Ask feeds for what is due, in threads, and store what they say in this one.

`Region` and `region_for` say where a device's signal comes from, `Known` what was known of it at a time.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db.models import Q
from django.utils import timezone

from core import feeds
from core.feeds import Feed
from core.models import Device, FeedSource
from core.net.errors import ApiRefused
from core.planning.forecast import TYPICAL_OF
from core.tasks import runs
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.ask import FeedCall, results
from core.tasks.forecasts.regions import (
    LONGEST_REGION,
    Region,
    region_for,
    regions_for,
    regions_without_device,
    signals_for,
)
from core.tasks.forecasts.store import FeedAnswer, store
from core.tasks.polling.backoff import complaint, health_after
from core.tasks.polling.clock import LONGEST_WAIT

__all__ = ["Fetched", "AsOf", "Region", "fetch", "fetch_for_devices", "region_for", "signals_for"]

BEGIN_WITHIN_SECONDS = 120
"""A fetch does not hold up decisions for longer: sources that nobody has come to by then wait for the next one."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class Fetched:
    """What came of it. `forecasts` and `measurements` are new rows; `left_out` slots that make no sense; `failed` holds
    (source, why), `resting` (source, until when it is left alone after failures); `fresh` those that were not due."""

    asked: int = 0
    forecasts: int = 0
    measurements: int = 0
    left_out: int = 0
    fresh: int = 0
    postponed: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    resting: list[tuple[str, datetime]] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {
            "asked": self.asked,
            "new forecasts": self.forecasts,
            "new measurements": self.measurements,
            "left out": self.left_out,
            "not due": self.fresh,
            "postponed": self.postponed,
            "failed": len(self.failed),
            "resting": len(self.resting),
        }

    def as_json(self) -> dict[str, Any]:
        return {
            **{name.replace(" ", "_"): count for name, count in self.counts().items()},
            "failures": [{"source": name, "error": why} for name, why in self.failed],
        }

    def in_words(self) -> str:
        """The counts that are not zero, then who is left alone, a line each."""
        if not any(self.counts().values()):
            return "Nothing to fetch: no feed in FEEDS offers what rules look at."
        counts = ", ".join(
            f"{count:,} {what}"
            for what, count in self.counts().items()
            if count and what != "asked"
        )
        lines = [f"Asked {self.asked:,} sources: {counts or 'nothing new'}."]
        return "\n".join(
            lines
            + [
                f"  resting until {until:%Y-%m-%d %H:%M} UTC: {name}"
                for name, until in self.resting[:20]
            ]
        )


def fetch(
    regions: Collection[Region], *, force: bool = False, tick: Callable[[], None] | None = None
) -> Fetched:
    """Ask what is due and not resting after a failure, with `force` all of it, and store it. One never stops another.

    Safe when two processes do it at once. `tick` is called at least every second while threads wait; what it raises ends it.
    Not to be called in a transaction.
    """
    fetched = Fetched()
    for job, result in results(list(_due(regions, force, fetched)), tick):
        if result is None:
            fetched.postponed += 1
        else:
            fetched.asked += 1
            _keep(job, result, fetched)
    return fetched


def fetch_for_devices(*, force: bool = False) -> Fetched:
    """Fetch what the devices with a rule or a guard look at; if there is none, what FEEDS names."""
    regions, problems = regions_for(Device.objects.ruled())
    fetched = fetch(regions or regions_without_device(), force=force)
    fetched.failed += problems
    return fetched


def _due(regions: Collection[Region], force: bool, fetched: Fetched) -> Iterator[FeedCall]:
    """What to ask, the longest waiting first. A fetch that comes a little early finds it due."""
    now, begins_by = timezone.now(), monotonic() + BEGIN_WITHIN_SECONDS
    soon = now + runs.interval(runs.DECIDE) / 10
    for source, feed in sorted(
        _sources(regions, fetched), key=lambda pair: pair[0].fetched_at or NEVER
    ):
        if not force and source.retry_at and soon < source.retry_at < now + LONGEST_WAIT:
            fetched.resting.append((str(Region(source.feed, source.region)), source.retry_at))
        elif not force and source.fetched_at and soon - feed.every < source.fetched_at <= now:
            fetched.fresh += 1
        else:
            yield FeedCall(
                source, feed, now - _look_back(source, feed, now), now + feed.ahead, begins_by
            )


def _look_back(source: FeedSource, feed: type[Feed], now: datetime) -> timedelta:
    """As far as measurements may be missing or revised: since it last answered, and four weeks the first time, which a
    typical day is made of. That may be what fails, so after two failures every second try asks for no more than usual."""
    if source.failures and source.failures % 2 == 0:
        return feed.behind
    away = now - source.fetched_at if source.fetched_at else TYPICAL_OF
    return max(feed.behind, min(feed.behind + away, TYPICAL_OF))


def _sources(regions: Collection[Region], fetched: Fetched) -> list[tuple[FeedSource, type[Feed]]]:
    """Each region's row and feed, made where it is new. What cannot be asked at all is among the failed."""
    able: dict[Region, type[Feed]] = {}
    for region in dict.fromkeys(regions):
        try:
            if len(region.region) > LONGEST_REGION:
                raise ApiRefused(f"The region has more than {LONGEST_REGION} characters.")
            able[region] = feeds.load(region.feed)
        except Exception as error:  # a plug-in file may fail in any way
            fetched.failed.append((str(region), _complaint(error, region.feed)))
    rows = _rows(able)
    if new := [
        FeedSource(feed=name, region=region) for name, region in able if (name, region) not in rows
    ]:
        FeedSource.objects.bulk_create(
            new, update_conflicts=True, unique_fields=["feed", "region"], update_fields=["region"]
        )  # another process may have made it meanwhile
        rows = _rows(able)
    return [(rows[region], feed) for region, feed in able.items()]


def _rows(regions: Collection[Region]) -> dict[tuple[str, str], FeedSource]:
    named = FeedSource.objects.filter(feed__in={region.feed for region in regions})
    return {(source.feed, source.region): source for source in named}


def _keep(job: FeedCall, result: FeedAnswer | Exception, fetched: Fetched) -> None:
    """Store an answer, or how it failed."""
    if isinstance(result, Exception):
        _keep_failure(job, result, fetched)
        return
    try:
        forecasts, measurements = store(job.source.pk, result)
    except ApiRefused as error:
        _keep_failure(job, error, fetched)
        return
    fetched.forecasts += forecasts
    fetched.measurements += measurements
    fetched.left_out += result.left_out


def _keep_failure(job: FeedCall, error: Exception, fetched: Fetched) -> None:
    why = _complaint(error, job.source.feed)
    fetched.failed.append((str(Region(job.source.feed, job.source.region)), why))
    health = health_after(job.asked_at, error, job.source.failures)
    answered_since = Q(fetched_at__gt=job.asked_at)  # another process had more luck
    FeedSource.objects.filter(pk=job.source.pk).exclude(answered_since).update(
        failures=health.failures, error=why, refused=health.refused, retry_at=health.retry_at
    )


def _complaint(error: Exception, feed: str) -> str:
    if isinstance(error, feeds.UnknownFeed):
        return str(error)
    return complaint(error).replace("the vendor's client", f"core/feeds/{feed}.py")
