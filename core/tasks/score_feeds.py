"""Score each feed by what was measured later: its forecasts by lead time, its warnings as events.

For the command, and for the API: `[score.as_json() for score in score_feeds(now)]`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core import feeds, formatting, rules
from core.feeds import Signal, Slot
from core.models import Forecast, Series
from core.planning import accuracy
from core.planning.accuracy import KnownForecast, LeadScore, Reliability
from core.planning.forecast import LIVE_FOR, REPLAYED
from core.planning.score import WarningScore
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region
from core.tasks.scorecard import score_guard, warned_json, warned_words

GUARD = "lightning_guard"
"""Of the signals it looks at an event counts: a value from its usual threshold on."""
FORECASTS_AT_ONCE = 50


@dataclass(frozen=True)
class FeedScore:
    """One signal of a region. `warned` None: it tells of no events, or nothing was measured."""

    region: Region
    signal: Signal
    unit: str
    leads: list[LeadScore]
    threshold: float | None = None
    warned: WarningScore | None = None
    is_replayed: bool = False
    reliability: Reliability | None = None
    """Of chances."""

    def as_json(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        if self.warned:
            event = {"events": {"threshold": self.threshold, **warned_json(self.warned)}}
        return {
            "feed": self.region.feed,
            "region": self.region.region,
            "signal": self.signal,
            "unit": self.unit,
            "is_replayed": self.is_replayed,
            "leads": [lead.as_json() for lead in self.leads],
            **event,
            **({"reliability": self.reliability.as_json()} if self.reliability else {}),
        }

    def in_words(self) -> str:
        name = f"{self.region}: {self.signal.meaning}, {self.unit}"
        lines = [f"{name} ({REPLAYED})" if self.is_replayed else name]
        known = [lead for lead in self.leads if lead.count]
        if known:
            rows = [("ahead", "MAE", "bias", "slots"), *(_lead_row(lead) for lead in known)]
            lines += [f"    {line}" for line in formatting.table(rows)]
        else:
            lines.append("    nothing was measured yet of what it foretold")
        if self.warned:
            event = event_words(self.threshold, self.unit)
            lines.append(f"    {event}: {warned_words(self.warned)}")
        if self.reliability:
            lines += [f"    {line}" for line in _reliability_words(self.reliability)]
        return "\n".join(lines)


def score_feeds(now: datetime, days: int = 30) -> list[FeedScore]:
    """Score every series that has a forecast of these days, by the latest measurements.

    Only what was known before it came counts: a slot that had begun when it was fetched does not.
    """
    since, known = now - timedelta(days=days), AsOf(now)
    issued = Forecast.objects.filter(known_at__gt=since, known_at__lte=now)
    series = Series.objects.filter(pk__in=issued.values("series")).select_related("source")
    return [_scored(one, known, since) for one in series.order_by("source", "signal")]


def _scored(series: Series, known: AsOf, since: datetime) -> FeedScore:
    region, signal = Region(series.source.feed, series.source.region), feeds.signal(series.signal)
    measured = known.measurements(region, signal, since, known.at)
    every, ahead = _timing(region.feed)
    leads = accuracy.by_lead(_known_forecasts(series, since, known.at, ahead), measured)
    threshold = event_threshold(signal) if measured else None
    warned = None
    if threshold is not None:
        forecasts = list(_known_forecasts(series, since, known.at, ahead))
        warned = score_events(forecasts, measured, threshold, every, known.at)
    chances = None
    if signal.is_chance:
        forecasts = list(_known_forecasts(series, since, known.at, ahead))
        chances = accuracy.reliability(forecasts, measured)
    replayed = feeds.is_replayed(region.feed)
    return FeedScore(region, signal, series.unit, leads, threshold, warned, replayed, chances)


def score_events(
    forecasts: Sequence[KnownForecast],
    measured: Sequence[Slot],
    threshold: float,
    every: timedelta,
    now: datetime,
) -> WarningScore | None:
    """Score forecasts, of which there is a new one `every`, as warnings of the guard.

    None where nothing was measured since the first of them: of what was before, nobody could warn.
    """
    since = [slot for slot in measured if forecasts and slot.starts_at >= forecasts[0].known_at]
    if not since:
        return None
    lead = timedelta(minutes=rules.load(GUARD).read({}).lead_minutes)
    windows = accuracy.warnings(forecasts, threshold, lead, LIVE_FOR * every, now)
    return score_guard(list(windows), since, threshold)


def _known_forecasts(
    series: Series, since: datetime, now: datetime, ahead: timedelta
) -> Iterator[KnownForecast]:
    """Yield the forecasts in the order in which they became known.

    What lies further ahead than the feed looks was added by a later fetch, perhaps when it had
    begun, and is left out.
    """
    rows = Forecast.objects.filter(series=series, known_at__gt=since, known_at__lte=now)
    for row in rows.order_by("known_at", "issued_at").iterator(FORECASTS_AT_ONCE):
        row.series = series
        known_at = max(row.known_at, row.issued_at)
        reach = row.known_at + ahead
        yield KnownForecast(known_at, [slot for slot in row.as_slots() if slot.starts_at < reach])


def _timing(name: str) -> tuple[timedelta, timedelta]:
    """Return how often a feed has something new, and how far it looks ahead."""
    try:
        feed = feeds.load(name)
    except feeds.UnknownFeed:  # its file is gone or broken: what it foretold stays
        return feeds.Feed.every, feeds.Feed.ahead
    return feed.every, feed.ahead


def event_words(threshold: float | None, unit: str) -> str:
    return f"events, {threshold:g} {unit} or more"


def event_threshold(signal: Signal) -> float | None:
    """Return from which value on a signal is an event; None of one that tells of no events."""
    guard = rules.load(GUARD)
    if signal not in guard.signals_of:
        return None
    return float(guard.read({}).limit(signal))


def _reliability_words(found: Reliability) -> list[str]:
    rows = [("foretold, %", "happened, %", "slots")]
    rows += [(f"{row.foretold:.1f}", f"{row.seen:.1f}", f"{row.count:,}") for row in found.rows]
    brier = f"Brier score {found.brier:.4f}; {found.no_skill:.4f} without skill"
    return [*formatting.table(rows), brier]


def _lead_row(lead: LeadScore) -> tuple[str, str, str, str]:
    return (lead.hours, f"{lead.mae:.3g}", f"{lead.bias:+.3g}", f"{lead.count:,}")
