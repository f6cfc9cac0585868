"""Fetch outside data: ask feeds for what is due, in threads, and store the answers in this one."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from django.db.models import Q
from django.utils import timezone

from core import feeds
from core.feeds import Feed, Model
from core.models import Device, FeedSource, Site
from core.models.forecast import DEVICE
from core.net.errors import ApiError, ApiRefused
from core.planning.forecast import TYPICAL_OF
from core.tasks import runs
from core.tasks.forecasts.ask import FeedCall, ask_feeds
from core.tasks.forecasts.calibrate import calibrate
from core.tasks.forecasts.frames import configured_models, frame_for, is_model, source_of
from core.tasks.forecasts.regions import (
    LONGEST_REGION,
    Region,
    regions_for,
    regions_without_device,
)
from core.tasks.forecasts.store import FeedAnswer, store_answer
from core.tasks.forecasts.strikes import pushed_strikes
from core.tasks.polling.backoff import complaint, health_after
from core.tasks.polling.clock import AHEAD, LONGEST_WAIT

BEGIN_WITHIN_SECONDS = 120
"""A fetch holds up decisions no longer: sources not asked by then wait for the next one."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class FetchResult:
    """What a fetch did.

    `forecasts` and `measurements` are new rows, `left_out` slots that were not valid, `fresh`
    sources that were not due, `postponed` those it had no time for. `failed` holds (source, why),
    `resting` (source, until when it is left alone after failures).
    """

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
        """Return the counts that are not zero, then the sources left alone, a line each."""
        counts = self.counts()
        if not any(counts.values()):
            return "Nothing to fetch: no feed in FEEDS offers what rules look at."
        del counts["asked"]
        parts = [f"{count:,} {what}" for what, count in counts.items() if count]
        lines = [f"Asked {self.asked:,} sources: {', '.join(parts) or 'nothing new'}."]
        for name, until in self.resting[:20]:
            lines.append(f"  resting until {until:%Y-%m-%d %H:%M} UTC: {name}")
        return "\n".join(lines)


def fetch_regions(
    regions: Collection[Region], *, force: bool = False, tick: Callable[[], None] | None = None
) -> FetchResult:
    """Ask what is due and not resting after a failure, with `force` all of it, and store it.

    One source never stops another. Safe when two processes do it at once. `tick` is called at least
    every second while threads wait; what it raises ends the fetch. Not to be called in a
    transaction.
    """
    result = FetchResult()
    models = [region for region in dict.fromkeys(regions) if is_model(region.feed)]
    others = [region for region in regions if region not in models]
    # What models learn from is fetched and stored before they are asked.
    for wave in ([*others, *_sources_of(models)], models):
        for call, answer in ask_feeds(list(_due(wave, force, result)), tick):
            if answer is None:
                result.postponed += 1
            else:
                result.asked += 1
                _store(call, answer, result)
    if tick:
        tick()
    calibrate(regions)
    return result


def _sources_of(models: Collection[Region]) -> Iterator[Region]:
    for region in models:
        try:
            source = source_of(region)
        except ApiRefused:  # the model itself says so when it is asked
            continue
        if source.feed != DEVICE:  # its values come by polls
            yield source


def fetch_forecasts(*, force: bool = False) -> FetchResult:
    """Fetch what the devices with a rule or a guard look at; if there is none, what FEEDS names."""
    regions, problems = regions_for(Device.objects.ruled())
    wanted = [*(regions or regions_without_device()), *configured_models()]
    result = fetch_regions(wanted, force=force)
    result.failed += problems
    return result


def _due(regions: Collection[Region], force: bool, result: FetchResult) -> Iterator[FeedCall]:
    """Yield the sources to ask, the longest waiting first."""
    now, begins_by = timezone.now(), monotonic() + BEGIN_WITHIN_SECONDS
    # A scheduler is never quite on time: what is due a little later counts as due.
    soon = now + runs.interval(runs.DECIDE) / 10
    sources, zone = _sources(regions, result), Site.home().clock
    for source, feed in sorted(sources, key=lambda pair: pair[0].fetched_at or NEVER):
        # Both times are bounded on both sides: a clock that was set back must not silence a source.
        if not force and source.retry_at and soon < source.retry_at and _is_rest(source, now):
            result.resting.append((str(Region(source.feed, source.region)), source.retry_at))
        elif not force and source.fetched_at and soon - feed.every < source.fetched_at <= now:
            result.fresh += 1
        else:
            since = now - _look_back(source, feed, now)
            strikes = pushed_strikes(now) if feed.uses_strikes else ()
            until = now + feed.ahead
            call = FeedCall(source, feed, since, until, begins_by, zone=zone, strikes=strikes)
            if not issubclass(feed, Model):
                yield call
                continue
            try:
                region = Region(source.feed, source.region)
                yield replace(call, frame=frame_for(region, feed, now))
            except (ApiError, ApiRefused) as error:
                result.asked += 1
                _store(call, error, result)


def _is_rest(source: FeedSource, now: datetime) -> bool:
    """Return whether it rests by this clock: not by one that ran ahead when it failed."""
    was_ahead = source.asked_at is not None and source.asked_at > now + AHEAD
    longest = now + LONGEST_WAIT
    return not was_ahead and source.retry_at is not None and source.retry_at < longest


def _look_back(source: FeedSource, feed: type[Feed], now: datetime) -> timedelta:
    """Return how far back measurements may be missing or revised.

    Since the source last answered, and four weeks the first time, which a typical day is made of.
    """
    # So long a time may be what fails: after two failures every second try asks for the least.
    if source.failures and source.failures % 2 == 0:
        return feed.behind
    away = now - source.fetched_at if source.fetched_at else TYPICAL_OF
    return max(feed.behind, min(feed.behind + away, TYPICAL_OF))


def _sources(
    regions: Collection[Region], result: FetchResult
) -> list[tuple[FeedSource, type[Feed]]]:
    """Return each region's row and feed; new rows are made. What cannot be asked is a failure."""
    able: dict[Region, type[Feed]] = {}
    for region in dict.fromkeys(regions):
        try:
            if len(region.region) > LONGEST_REGION:
                raise ApiRefused(f"The region has more than {LONGEST_REGION} characters.")
            able[region] = feeds.load(region.feed)
        except Exception as error:  # a plug-in file may fail in any way
            result.failed.append((str(region), _complaint(error, region.feed)))
    rows = _rows(able)
    missing = [region for region in able if region not in rows]
    new = [FeedSource(feed=region.feed, region=region.region) for region in missing]
    if new:
        # Another process may make the same rows now: a conflict is no error.
        FeedSource.objects.bulk_create(
            new, update_conflicts=True, unique_fields=["feed", "region"], update_fields=["region"]
        )
        rows = _rows(able)
    return [(rows[region], feed) for region, feed in able.items()]


def _rows(regions: Collection[Region]) -> dict[tuple[str, str], FeedSource]:
    sources = FeedSource.objects.filter(feed__in={region.feed for region in regions})
    return {(source.feed, source.region): source for source in sources}


def _store(call: FeedCall, answer: FeedAnswer | Exception, result: FetchResult) -> None:
    """Store an answer, or how it failed."""
    if isinstance(answer, Exception):
        _store_failure(call, answer, result)
        return
    try:
        forecasts, measurements = store_answer(call.source.pk, answer)
    except ApiRefused as error:
        _store_failure(call, error, result)
        return
    result.forecasts += forecasts
    result.measurements += measurements
    result.left_out += answer.left_out


def _store_failure(call: FeedCall, error: Exception, result: FetchResult) -> None:
    why = _complaint(error, call.source.feed)
    result.failed.append((str(Region(call.source.feed, call.source.region)), why))
    health = health_after(call.asked_at, error, call.source.failures)
    # A row that another process has got an answer for since then is left as it is.
    answered_since = Q(fetched_at__gt=call.asked_at, fetched_at__lte=timezone.now())
    FeedSource.objects.filter(pk=call.source.pk).exclude(answered_since).update(
        asked_at=call.asked_at,
        failures=health.failures,
        error=why,
        refused=health.refused,
        retry_at=health.retry_at if call.feed.rests else None,
    )


def _complaint(error: Exception, feed: str) -> str:
    if isinstance(error, feeds.UnknownFeed):
        return str(error)
    return complaint(error).replace("the vendor's client", f"core/feeds/{feed}.py")
