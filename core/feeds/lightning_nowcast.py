"""Lightning before it strikes: the chance of a strike within 15 km in the next minutes.

From strikes that programs push to /api/v1/strikes/ (docs/push.md), or from a file of a network of
sensors, a CSV with the columns time_utc, lat, lon: a path, or a URL. A row without a place says
that somebody watched until then: without any row for a quarter of an hour nothing is foretold.

- Forecast: how likely, in percent, a strike comes in the next 15 minutes, from then to 25, and to
  60 (core/feeds/_nowcast.py). Strikes of the last ten minutes, as a rate, hold for ten more.
- Measured, in spans of ten minutes that were watched: 100 if there was a strike, else 0; and their
  rate.

How right it is stands in bench/README.md.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import hypot
from operator import attrgetter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from core import feeds
from core.feeds import Signal, Slot, option, place
from core.feeds._cells import offset
from core.feeds._nowcast import NEAR_KM, WINDOWS_MINUTES, chances
from core.feeds._strikes import KEPT_SECONDS, Place, Strike, looks, read_strikes
from core.net.errors import ApiError, ApiRefused

SPAN = timedelta(minutes=10)
SILENT_FOR = timedelta(minutes=15)
LARGEST_FILE = 20_000_000
"""Bytes."""


@dataclass(frozen=True)
class Options:
    file: str = option("", "A CSV of strikes, a path or a URL; empty: they are pushed to the API")

    def __post_init__(self) -> None:
        parts = urlsplit(self.file)
        if parts.scheme and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"file: {self.file!r} is neither a path nor a URL.")


class Feed(feeds.Feed):
    label = "Nowcast of lightning"
    signals = (Signal.LIGHTNING_CHANCE, Signal.LIGHTNING)
    every = timedelta(minutes=5)
    ahead = timedelta(minutes=60)
    behind = timedelta(seconds=KEPT_SECONDS)
    region_hint = "a place, such as 51.50,-0.12"
    rests = False  # a storm may follow any silence, and is not to be waited for
    by_place = True
    uses_strikes = True
    Options = Options

    @classmethod
    def address_by(cls, options: Any) -> str:
        parts = urlsplit(options.file)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme else ""

    def fetch(self, region: str, since: datetime, until: datetime) -> Iterator[Slot]:
        where = place(region)
        if where is None:
            raise ApiRefused(f"{region[:60]!r} is no place. It is {self.region_hint}.")
        if since >= until:
            return
        now = datetime.now(UTC)
        strikes = self._strikes(now)
        if not strikes or strikes[-1].at < (now - SILENT_FOR).timestamp():
            raise ApiError(_silence(strikes))
        times = [strike.at for strike in strikes]
        for slot in _slots(Place(*where), strikes, times, now):
            if slot.starts_at < until and slot.ends_at > since:
                yield slot

    def _strikes(self, now: datetime) -> Sequence[Strike]:
        """Return those that are not too old, in order of time, none of the future."""
        if not self.options.file:
            return self.strikes
        try:
            read = list(read_strikes(self._text().splitlines()))
        except ValueError as error:
            raise ApiError(f"{self.options.file}: {error}.") from error
        oldest = now.timestamp() - KEPT_SECONDS
        kept = [one for one in read if oldest <= one.at <= now.timestamp()]
        # By time only: a row of who watched has no place to compare.
        return sorted(kept, key=attrgetter("at"))

    def _text(self) -> str:
        if self.address_by(self.options):
            parts = urlsplit(self.options.file)
            query: dict[str, str | int] = dict(parse_qsl(parts.query))
            content = self.http.fetch("GET", parts.path or "/", params=query or None)
        else:
            content = _content(Path(self.options.file))
        return content.decode("utf-8-sig", errors="replace")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # A byte more than may be shows that there are more.
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ApiRefused(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > LARGEST_FILE:
        raise ApiRefused(f"{path} has more than {LARGEST_FILE:,} bytes. Leave out what is old.")
    return content


def _silence(strikes: Sequence[Strike]) -> str:
    last = f"since {_time(strikes[-1].at):%H:%M} UTC" if strikes else "in the last hour"
    return (
        f"Nobody told of strikes {last}, nor that there are none. "
        "Is the file written, or are strikes pushed to /api/v1/strikes/?"
    )


def _slots(
    where: Place, strikes: Sequence[Strike], times: Sequence[float], now: datetime
) -> Iterator[Slot]:
    first = int((now - timedelta(seconds=KEPT_SECONDS)).timestamp() / SPAN.total_seconds()) + 1
    starts_at = _time(first * SPAN.total_seconds())
    while starts_at + SPAN <= now:
        seen = _between(strikes, times, starts_at)
        if seen:  # else nobody watched
            near = _near(where, seen)
            yield _chance(starts_at, starts_at + SPAN, 1.0 if near else 0.0)
            yield _rate(starts_at, near)
        starts_at += SPAN
    yield _rate(now, _near(where, _between(strikes, times, now - SPAN)), now)
    newest, before = looks(strikes, now.timestamp())
    if newest is None:
        return
    [told] = chances([where], newest, before, now.timestamp())
    for (begin, end), chance in zip(WINDOWS_MINUTES, told, strict=True):
        yield _chance(
            now + timedelta(minutes=begin), now + timedelta(minutes=end), chance, issued_at=now
        )


def _between(
    strikes: Sequence[Strike], times: Sequence[float], starts_at: datetime
) -> Sequence[Strike]:
    start = starts_at.timestamp()
    return strikes[bisect_left(times, start) : bisect_left(times, start + SPAN.total_seconds())]


def _near(where: Place, strikes: Sequence[Strike]) -> int:
    """Return how many of them struck near the place."""
    count = 0
    for _, latitude, longitude in strikes:
        if latitude is not None and longitude is not None:
            count += hypot(*offset(where, Place(latitude, longitude))) < NEAR_KM
    return count


def _chance(
    starts_at: datetime, ends_at: datetime, chance: float, issued_at: datetime | None = None
) -> Slot:
    signal = Signal.LIGHTNING_CHANCE
    return Slot(starts_at, ends_at, round(100 * chance, 1), signal.unit, issued_at, signal)


def _rate(starts_at: datetime, strikes: int, issued_at: datetime | None = None) -> Slot:
    signal, per_hour = Signal.LIGHTNING, timedelta(hours=1) / SPAN
    ends_at = starts_at + SPAN
    return Slot(starts_at, ends_at, strikes * per_hour, signal.unit, issued_at, signal)


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
