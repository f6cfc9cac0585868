"""The outside signals now and ahead, from what is stored: no page asks a feed. One query for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import FilteredRelation, OuterRef, Q, Subquery

from core import charts, feeds, formatting
from core.feeds import Signal, Slot
from core.models import Forecast, Series
from core.planning.forecast import Outlook, Rung, outlook
from core.tasks.forecasts.regions import Region, configured
from core.views.sparklines import Spark

AHEAD = timedelta(hours=48)
MINUTE = timedelta(minutes=1)
HALF_HOUR = timedelta(minutes=30)
SOON = timedelta(hours=2)
SPARK_POINTS = 97
MOST_SERIES = 12

CLEAN = (Signal.CARBON_INTENSITY, Signal.MARGINAL_INTENSITY, Signal.PRICE)
"""Of these the least ahead matters, of the others the most."""
STORM = (Signal.LIGHTNING, Signal.LIGHTNING_POTENTIAL, Signal.CAPE)
SIGNALS = CLEAN + STORM


@dataclass(frozen=True)
class SignalForecast:
    """One signal as the status page shows it. `extreme` is the best slot ahead of a price or an intensity, the worst one of a
    danger; None where it stays the same."""

    outlook: Outlook
    region: str
    now: Slot | None
    extreme: Slot | None
    trend: str
    reach: str
    spark: Spark
    source: str

    @property
    def label(self) -> str:
        return formatting.SIGNAL_WORDS[self.outlook.signal]

    @property
    def is_danger(self) -> bool:
        return self.outlook.signal in STORM


def forecasts_shown(now: datetime) -> list[SignalForecast]:
    """The first configured signal that tells when to run, and the first that tells of danger; nothing where none is stored."""
    stored = _stored(now)
    chosen = [
        next((series for series in stored if series.signal in kind), None)
        for kind in (CLEAN, STORM)
    ]
    return [_signal_forecast(series, now) for series in chosen if series]


def _stored(now: datetime) -> list[Series]:
    """Series of the configured feeds that have a forecast, `newest`; as FEEDS names them, then as the feed does."""
    regions = [region for region in configured() if region.feed in feeds.names()]
    if not regions:
        return []
    known = Forecast.objects.as_known_at(now).filter(series=OuterRef("pk")).values("pk")[:1]
    found = Series.objects.filter(_any(regions), signal__in=SIGNALS).annotate(
        newest=FilteredRelation("forecasts", condition=Q(forecasts__pk=Subquery(known)))
    )
    rows = found.select_related("source", "newest").order_by("pk")[:MOST_SERIES]  # type: ignore[misc]  # stubs miss it
    places = {region.feed: place for place, region in reversed(list(enumerate(regions)))}
    told = [series for series in rows if getattr(series, "newest", None)]
    return sorted(
        told, key=lambda one: (places[one.source.feed], SIGNALS.index(Signal(one.signal)), one.pk)
    )


def _any(regions: Sequence[Region]) -> Q:
    """Without a region of its own, whatever region of the feed was asked first."""
    wanted = Q()
    for feed, region in regions:
        wanted |= Q(source__feed=feed, source__region=region) if region else Q(source__feed=feed)
    return wanted


def _signal_forecast(series: Series, now: datetime) -> SignalForecast:
    forecast: Forecast = series.newest  # type: ignore[attr-defined]  # by FilteredRelation
    forecast.series = series
    every = feeds.load(series.source.feed).every
    told = outlook(Signal(series.signal), now, now + AHEAD, forecast.as_slots(), (), every)
    return SignalForecast(
        outlook=told,
        region=series.source.region,
        now=told.at(now),
        extreme=_extreme(told),
        trend=_trend(told, now),
        reach=formatting.span_text(_reach(told, now) / MINUTE),
        spark=_spark(told, now),
        source="" if told.rung is Rung.LIVE else told.source(now),
    )


def _extreme(told: Outlook) -> Slot | None:
    """The first of the best, or of the worst."""
    if len({slot.value for slot in told.slots}) < 2:
        return None
    sign = 1 if told.signal in CLEAN else -1
    return min(told.slots, key=lambda slot: (sign * slot.value, slot.starts_at))


def _trend(told: Outlook, now: datetime) -> str:
    here, soon = told.at(now), told.at(now + SOON)
    if here is None or soon is None:
        return ""
    if abs(soon.value - here.value) <= abs(here.value) * 0.05:
        return "steady"
    return "rising" if soon.value > here.value else "falling"


def _reach(told: Outlook, now: datetime) -> timedelta:
    """Up to when something is known, in whole half-hours."""
    end = max((slot.ends_at for slot in told.slots), default=now)
    return round((end - now) / HALF_HOUR) * HALF_HOUR


def _spark(told: Outlook, now: datetime) -> Spark:
    span = _reach(told, now)
    label = formatting.SIGNAL_WORDS[told.signal].capitalize()
    if not span:
        return Spark("", f"{label}: no data")
    slots = [told.at(now + span * place / SPARK_POINTS) for place in range(SPARK_POINTS)]
    values = [slot.value for slot in told.slots]
    low, high = (formatting.number_text(value) for value in (min(values), max(values)))
    said = (
        f"{label}, next {formatting.span_text(span / MINUTE)}: {low} to {high} {told.slots[0].unit}"
    )
    return Spark(charts.sparkline([slot.value if slot else None for slot in slots]), said)
