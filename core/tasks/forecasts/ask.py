"""Ask feeds, in threads: from here on to the network, and nothing of the database."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from time import monotonic

from django.conf import settings
from django.utils import timezone

from core.feeds import Feed
from core.models import FeedSource
from core.net.errors import ApiError, ApiRefused
from core.net.threads import in_threads
from core.tasks.forecasts.store import FeedAnswer, looked_through
from core.tasks.polling.ask import GRACE_SECONDS

DEADLINE_SECONDS = 30
"""Of one source: history comes in several calls, and slower than what a device says of itself."""
WORKERS = 16
AT_ONCE = 4 * WORKERS
"""Answers of four weeks are large: so many at most wait to be stored."""
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
    asked_at: datetime = field(default_factory=timezone.now)

    def ask(self) -> FeedAnswer | None:
        """Runs in a worker thread. Raises what the feed raises; None: it was too late to begin."""
        if monotonic() > self.begins_by:
            return None
        slots = list(
            islice(self._client().fetch(self.source.region, self.since, self.until), MOST_SLOTS + 1)
        )
        if len(slots) > MOST_SLOTS:
            raise ApiRefused(f"It answered with more than {MOST_SLOTS:,} slots.")
        answer = looked_through(slots, self.since, self.until, timezone.now())
        if not answer.units:
            raise ApiError(
                f"It answered with nothing for {self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC."
            )
        return answer

    def _client(self) -> Feed:
        if not self.feed.address:
            return self.feed()
        from core.net.http import Http  # loads requests, which who asks nobody should not pay for

        credential = settings.FEED_CREDENTIALS.get(self.source.feed, "")
        networks = settings.GATEWAY_NETWORKS
        return self.feed(
            Http(
                self.feed.address,
                credential=credential,
                networks=networks,
                timeout_seconds=DEADLINE_SECONDS,
            )
        )


def results(
    jobs: Sequence[FeedCall], tick: Callable[[], None] | None
) -> Iterator[tuple[FeedCall, FeedAnswer | Exception | None]]:
    """Each job with its answer, in the order they end; None if it was too late to begin."""
    longest = DEADLINE_SECONDS + GRACE_SECONDS
    for start in range(0, len(jobs), AT_ONCE):
        yield from in_threads(
            FeedCall.ask,
            jobs[start : start + AT_ONCE],
            workers=WORKERS,
            deadline_seconds=longest,
            tick=tick,
        )
