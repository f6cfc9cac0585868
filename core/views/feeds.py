"""The page of feeds: how each is, what it expects, and how right it was."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from core import feeds
from core.models import FeedSource, Right, Series, access_of
from core.models.forecast import OF_A_DEVICE
from core.planning.accuracy import LeadScore
from core.tasks.forecasts.as_of import AsOf
from core.tasks.forecasts.regions import Region
from core.tasks.score_feeds import FeedScore, score_feeds
from core.tasks.scorecard import warned_words
from core.views.access import permitted
from core.views.forecasts import SignalForecast, signal_forecast, with_newest

DAYS = 7
"""So far back feeds are scored here: a month of forecasts takes seconds to read."""
MOST_SOURCES = 50


@dataclass(frozen=True)
class ShownSignal:
    """What a source expects of a signal. `score` None: it foretold nothing in these days."""

    forecast: SignalForecast
    score: FeedScore | None

    @property
    def leads(self) -> list[LeadScore]:
        return [lead for lead in self.score.leads if lead.count] if self.score else []

    @property
    def warned(self) -> str:
        """How right it was about events, in words; empty if it tells of none."""
        return warned_words(self.score.warned) if self.score and self.score.warned else ""


@dataclass(frozen=True)
class ShownSource:
    """`problem` is empty where nothing is wrong."""

    source: FeedSource
    name: Region
    label: str
    problem: str
    signals: list[ShownSignal]


@require_safe
@permitted(Right.READ)
def feed_list(request: HttpRequest) -> HttpResponse:
    """Show each source. Those of devices only to people who see all of them."""
    now, found = timezone.now(), FeedSource.objects.order_by("feed", "region")
    if access_of(request.user).is_limited:
        found = found.exclude(region__startswith=OF_A_DEVICE)
    sources = {Region(source.feed, source.region): source for source in found[:MOST_SOURCES]}
    forecasts = _forecasts(sources.values(), now)
    scores = {(score.region, score.signal): score for score in score_feeds(now, DAYS)}
    known, shown = AsOf(now), []
    for region, source in sources.items():
        label, problem = _state(region, known)
        signals = [
            ShownSignal(forecast, scores.get((region, forecast.outlook.signal)))
            for forecast in forecasts.get(source.pk, [])
        ]
        shown.append(ShownSource(source, region, label, problem, signals))
    context = {"sources": shown, "days": DAYS, "now": now}
    return render(request, "core/feeds.html", context)


def _forecasts(sources: Collection[FeedSource], now: datetime) -> dict[int, list[SignalForecast]]:
    """Return the newest forecasts by source, as the status page shows them."""
    found: dict[int, list[SignalForecast]] = {}
    for series in with_newest(Series.objects.filter(source__in=sources).order_by("signal"), now):
        try:
            found.setdefault(series.source_id, []).append(signal_forecast(series, now))
        except feeds.UnknownFeed:  # its file is gone or broken: the page says so
            continue
    return found


def _state(region: Region, known: AsOf) -> tuple[str, str]:
    """Return the label of a feed, and what is wrong with it."""
    try:
        return feeds.load(region.feed).label, known.error(region)
    except feeds.UnknownFeed as error:
        return region.feed, str(error)
