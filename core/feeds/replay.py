"""Real outside data, played again and again: for a first evening without any account or network.

**Carbon intensity** of Great Britain, a fortnight of 2023 (replay.csv). A time is answered with the
same weekday and time of day of an even or odd week, so day and night, working day and weekend look
as they did.

**Lightning** near Show Low, Arizona, five days of August 2026 (replay_lightning.csv), a storm each
afternoon, which is the evening and night of UTC. A time is answered with the same time of day (UTC)
of one of the five; the fifth is followed by the first. A satellite's camera was looked at for two
or three minutes at a time, half an hour to two and a half hours apart.

- A measurement is what one look saw within 50 km, as a rate, and stands for the half-hour in which
  the middle of the look lies. Half-hours without a look have none: nothing is filled in.
- The forecast is ours, by persistence, for two hours from each half-hour: the flashes within 150 km
  in the newest look that was over by then, spread evenly over that circle. No look in three hours,
  no forecast. In these five days it foresaw 93% of the half-hours with lightning in its first
  half-hour and 75% in its last; 35% and 46% of its warnings were false.

Sources and licences stand in the files.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from core import feeds
from core.feeds import Signal, Slot

STARTS_AT = datetime(2023, 4, 17, tzinfo=UTC)  # a Monday
HALF_HOUR = timedelta(minutes=30)
FORTNIGHT = timedelta(days=14)

STORMS_START_AT = datetime(2026, 8, 8, tzinfo=UTC)
STORMS = timedelta(days=5)
NEAR, AROUND = 50, 150  # km
FORESEEN = timedelta(hours=2)
OLDEST_LOOK = timedelta(hours=3)


class Look(NamedTuple):
    """What the camera saw in one go: flashes near the place and around it. `begins` counts from
    STORMS_START_AT."""

    begins: timedelta
    lasts: timedelta
    near: int
    around: int

    @property
    def half_hour(self) -> int:
        return (self.begins + self.lasts / 2) % STORMS // HALF_HOUR

    def rate(self, flashes: float) -> float:
        return round(flashes * (timedelta(hours=1) / self.lasts), 1)


class Feed(feeds.Feed):
    label = "Replay: the grid of Great Britain, the storms of Arizona"
    signals = (Signal.CARBON_INTENSITY, Signal.LIGHTNING)
    is_replayed = True

    def fetch(self, region: str, since: datetime, until: datetime) -> Iterator[Slot]:
        """Measurements of the half-hours that are over, forecasts of the others, issued at the last
        full or half hour.

        The region is not used: there is one."""
        yield from slots_as_of(_now(), since, until)


def _now() -> datetime:
    return datetime.now(UTC)


def slots_as_of(now: datetime, since: datetime, until: datetime) -> Iterator[Slot]:
    """Yield what `fetch` answers at a time."""
    yield from _carbon(now, since, until)
    yield from _lightning(now, since, until)


def _carbon(now: datetime, since: datetime, until: datetime) -> Iterator[Slot]:
    unit, issued_at = Signal.CARBON_INTENSITY.unit, _half_hour(now)
    for starts_at, ends_at in _half_hours(since, until):
        forecast, actual = _intensities()[(starts_at - STARTS_AT) % FORTNIGHT // HALF_HOUR]
        is_over = ends_at <= now
        yield Slot(
            starts_at,
            ends_at,
            actual if is_over else forecast,
            unit,
            None if is_over else issued_at,
        )


def _lightning(now: datetime, since: datetime, until: datetime) -> Iterator[Slot]:
    unit, signal, issued_at = Signal.LIGHTNING.unit, Signal.LIGHTNING, _half_hour(now)
    looks, expected = {look.half_hour: look for look in _looks()}, _expected(issued_at)
    for starts_at, ends_at in _half_hours(since, until):
        look = looks.get((starts_at - STORMS_START_AT) % STORMS // HALF_HOUR)
        if ends_at <= now and look:
            yield Slot(starts_at, ends_at, look.rate(look.near), unit, signal=signal)
        elif ends_at > now and expected is not None and starts_at < issued_at + FORESEEN:
            yield Slot(starts_at, ends_at, expected, unit, issued_at, signal)


def _expected(issued_at: datetime) -> float | None:
    """Flashes an hour near the place, by the newest look that was over; None if that is too long
    ago."""

    def age(look: Look) -> timedelta:
        return (issued_at - STORMS_START_AT - look.begins - look.lasts) % STORMS

    # The days go round: before the first look comes the last.
    newest = min(_looks(), key=age)
    return newest.rate(newest.around * (NEAR / AROUND) ** 2) if age(newest) <= OLDEST_LOOK else None


def _half_hour(time: datetime) -> datetime:
    return time - (time - STARTS_AT) % HALF_HOUR


def _half_hours(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    starts_at = _half_hour(since)
    while max(starts_at, since) < until:
        yield starts_at, starts_at + HALF_HOUR
        starts_at += HALF_HOUR


@lru_cache(maxsize=1)
def _intensities() -> list[tuple[float, float]]:
    """Forecast and measurement of each half-hour."""
    return [(float(forecast), float(actual)) for forecast, actual in _rows("replay.csv")]


@lru_cache(maxsize=1)
def _looks() -> list[Look]:
    return [
        Look(
            datetime.fromisoformat(begins).replace(tzinfo=UTC) - STORMS_START_AT,
            timedelta(seconds=int(seconds)),
            int(near),
            int(around),
        )
        for begins, seconds, near, around in _rows("replay_lightning.csv")
    ]


def _rows(name: str) -> list[list[str]]:
    lines = (Path(__file__).parent / name).read_text().splitlines()
    return [line.split(",") for line in lines if not line.startswith("#")]
