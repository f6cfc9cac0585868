"""Forecasts on the status page, from the database: no page fetches a feed. One query."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import FilteredRelation, OuterRef, Q, QuerySet, Subquery

from core import charts, feeds, formatting
from core.feeds import Slot
from core.models import Forecast, Series
from core.planning.forecast import Outlook, outlook
from core.tasks.forecasts.regions import Region, configured
from core.views.sparklines import Spark

AHEAD = timedelta(hours=48)
MINUTE = timedelta(minutes=1)
HALF_HOUR = timedelta(minutes=30)
SOON = timedelta(hours=2)
SPARK_POINTS = 97
MOST_SERIES = 12


@dataclass(frozen=True)
class SignalForecast:
    """One signal as the status page shows it.

    `extreme` is the lowest slot ahead of a price or an intensity, the highest of a danger;
    None where all are equal.
    """

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
        return self.outlook.signal.meaning

    @property
    def is_danger(self) -> bool:
        return self.outlook.signal.is_danger


def forecasts_shown(now: datetime) -> list[SignalForecast]:
    """Return the first configured price or intensity and the first danger that are stored."""
    stored = _stored(now)
    costs = [series for series in stored if feeds.signal(series.signal).is_cost]
    dangers = [series for series in stored if feeds.signal(series.signal).is_danger]
    return [signal_forecast(series, now) for series in (*costs[:1], *dangers[:1])]


def _stored(now: datetime) -> list[Series]:
    """Return series with a forecast (`newest`), in the order of FEEDS, then of signals.

    Of costs and dangers: what a device of ours measures stands on its own page.
    """
    regions = [region for region in configured() if region.feed in feeds.names()]
    if not regions:
        return []
    known = feeds.signals()
    shown = [signal for signal in known if signal.is_cost or signal.is_danger]
    found = Series.objects.filter(_any(regions), signal__in=shown).order_by("pk")
    places = {region.feed: place for place, region in reversed(list(enumerate(regions)))}
    return sorted(
        with_newest(found[:MOST_SERIES], now),
        key=lambda one: (places[one.source.feed], known.index(feeds.signal(one.signal)), one.pk),
    )


def with_newest(found: QuerySet[Series], now: datetime) -> list[Series]:
    """Return those that have a forecast, with the newest one (`newest`) and the source."""
    known = Forecast.objects.as_known_at(now).filter(series=OuterRef("pk")).values("pk")[:1]
    annotated = found.annotate(
        newest=FilteredRelation("forecasts", condition=Q(forecasts__pk=Subquery(known)))
    )
    related = annotated.select_related("source", "newest")  # type: ignore[misc]  # stubs miss it
    return [series for series in related if getattr(series, "newest", None)]


def _any(regions: Sequence[Region]) -> Q:
    """Match the configured regions; a feed without one matches all its regions."""
    wanted = Q()
    for feed, region in regions:
        wanted |= Q(source__feed=feed, source__region=region) if region else Q(source__feed=feed)
    return wanted


def signal_forecast(series: Series, now: datetime) -> SignalForecast:
    """Show one of with_newest(). Raises feeds.UnknownFeed."""
    forecast: Forecast = series.newest  # type: ignore[attr-defined]  # by FilteredRelation
    forecast.series = series
    feed = feeds.load(series.source.feed)
    ahead = outlook(
        feeds.signal(series.signal),
        now,
        now + AHEAD,
        forecast.as_slots(),
        (),
        feed.every,
        is_replayed=feed.is_replayed,
    )
    return SignalForecast(
        outlook=ahead,
        region=series.source.region,
        now=ahead.at(now),
        extreme=_extreme(ahead),
        trend=_trend(ahead, now),
        reach=formatting.span_text(_reach(ahead, now) / MINUTE),
        spark=_spark(ahead, now),
        source=ahead.origin(now),
    )


def _extreme(ahead: Outlook) -> Slot | None:
    """Return the first lowest slot, or the first highest of a danger."""
    if len({slot.value for slot in ahead.slots}) < 2:
        return None
    sign = 1 if ahead.signal.is_cost else -1
    return min(ahead.slots, key=lambda slot: (sign * slot.value, slot.starts_at))


def _trend(ahead: Outlook, now: datetime) -> str:
    here, soon = ahead.at(now), ahead.at(now + SOON)
    if here is None or soon is None:
        return ""
    if abs(soon.value - here.value) <= abs(here.value) * 0.05:
        return "steady"
    return "rising" if soon.value > here.value else "falling"


def _reach(ahead: Outlook, now: datetime) -> timedelta:
    """Return how far ahead the forecast goes, in whole half-hours."""
    end = max((slot.ends_at for slot in ahead.slots), default=now)
    return round((end - now) / HALF_HOUR) * HALF_HOUR


def _spark(ahead: Outlook, now: datetime) -> Spark:
    span = _reach(ahead, now)
    label = ahead.signal.meaning.capitalize()
    if not span:
        return Spark("", f"{label}: no data")
    slots = [ahead.at(now + span * place / SPARK_POINTS) for place in range(SPARK_POINTS)]
    values = [slot.value for slot in ahead.slots]
    low, high = (formatting.number_text(value) for value in (min(values), max(values)))
    extent = f"{low} to {high} {ahead.slots[0].unit}"
    said = f"{label}, next {formatting.span_text(span / MINUTE)}: {extent}"
    return Spark(charts.sparkline([slot.value if slot else None for slot in slots]), said)
