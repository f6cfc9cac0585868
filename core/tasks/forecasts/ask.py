"""Ask feeds, in threads: the network side of a fetch, which touches no database."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from core import feeds
from core.feeds import Feed, Frame, Model
from core.feeds._strikes import Strike
from core.models import FeedSource
from core.net.errors import ApiError, ApiRefused
from core.net.threads import in_threads
from core.tasks.forecasts.store import FeedAnswer, checked_answer
from core.tasks.polling.ask import GRACE_SECONDS

if TYPE_CHECKING:
    from core.net.http import Http

DEADLINE_SECONDS = 30
"""Of one source: history comes in several calls, and slower than a device answers."""
WORKERS = 16
AT_ONCE = 4 * WORKERS
"""Answers of four weeks are large: at most so many wait to be stored."""
MOST_SLOTS = 50_000
"""Of one source in one fetch: four weeks of five-minute slots, twice over, are 16,000."""


@dataclass(frozen=True, eq=False)
class FeedCall:
    """One source to ask, before `begins_by` on the monotonic clock."""

    source: FeedSource
    feed: type[Feed]
    since: datetime
    until: datetime
    begins_by: float
    frame: Frame | None = None
    """Of a model: made where the database may be read."""
    zone: tzinfo = UTC
    strikes: Sequence[Strike] = ()
    """Of a feed that uses them."""
    asked_at: datetime = field(default_factory=timezone.now)

    def ask(self) -> FeedAnswer | None:
        """Return the checked answer; None if it was too late to begin. Runs in a worker thread.

        Raises what the feed raises, ApiError, ApiRefused.
        """
        if monotonic() > self.begins_by:
            return None
        offered = self._client().fetch(self.source.region, self.since, self.until)
        slots = list(islice(offered, MOST_SLOTS + 1))
        if len(slots) > MOST_SLOTS:
            raise ApiRefused(f"It answered with more than {MOST_SLOTS:,} slots.")
        answer = checked_answer(slots, self.since, self.until, timezone.now())
        if not answer.units:
            span = f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"
            raise ApiError(f"It answered with nothing for {span}.")
        return answer

    def _client(self) -> Feed:
        name = self.source.feed
        if issubclass(self.feed, Model):
            return self.feed(frame=self.frame)
        try:
            options = feeds.read_options(name, settings.FEED_OPTIONS.get(name, ""))
        except ValueError as error:
            raise ApiRefused(f"{name.upper()}_OPTIONS: {error}") from error
        client = self.feed(self._http(options), options, self.zone)
        client.strikes = self.strikes
        return client

    def _http(self, options: Any) -> "Http | None":
        name, address = self.source.feed, self.feed.address_by(options)
        if not address:
            return None
        # Imported here because it loads requests, which a fetch of the replay feed does not need.
        from core.net.http import Http

        return Http(
            address,
            credential=settings.FEED_CREDENTIALS.get(name, ""),
            networks=settings.GATEWAY_NETWORKS,
            timeout_seconds=DEADLINE_SECONDS,
            max_bytes=settings.LARGEST_ANSWER_BYTES,
        )


def ask_feeds(
    calls: Sequence[FeedCall], tick: Callable[[], None] | None
) -> Iterator[tuple[FeedCall, FeedAnswer | Exception | None]]:
    """Yield each call with its answer, in the order they end; None if it was too late to begin.

    `tick` is called at least every second while threads wait.
    """
    longest = DEADLINE_SECONDS + GRACE_SECONDS
    for start in range(0, len(calls), AT_ONCE):
        yield from in_threads(
            FeedCall.ask,
            calls[start : start + AT_ONCE],
            workers=WORKERS,
            deadline_seconds=longest,
            tick=tick,
        )
