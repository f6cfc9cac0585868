"""Forecasts and measurements as of a time: for a decision now, or to explain an earlier one."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import OuterRef, Subquery

from core import feeds
from core.feeds import LONGEST_SLOT, Signal, Slot, clean_slots
from core.models import Calibration as Fitted
from core.models import FeedSource, Forecast, Measurement, Series
from core.planning.calibration import Calibration
from core.planning.forecast import LIVE_FOR, TYPICAL_OF, Outlook, layered, outlook
from core.tasks.forecasts.issues import earlier
from core.tasks.forecasts.regions import Region

OLDEST_ISSUE = timedelta(days=7)
"""No forecast reaches further ahead."""
MOST_ISSUES = 10


class AsOf:
    """What had been fetched at a time; later fetches, and later revisions, are not seen.

    Each signal of a region is read from the database once: make it after fetching, use it for one
    run, throw it away.
    """

    def __init__(self, at: datetime) -> None:
        self.at = at
        self._forecasts: dict[int, list[Slot]] = {}
        self._before: dict[int, list[Sequence[Slot]]] = {}
        self._measured: dict[int, tuple[datetime, list[Slot]]] = {}
        self._outlooks: dict[tuple[Region, Signal, datetime], Outlook] = {}

    def outlook(self, region: Region, signal: Signal, until: datetime) -> Outlook:
        """Return what to expect from the slot that holds `at` up to `until`.

        By the ladder of forecasts (core/planning/forecast.py). Raises feeds.UnknownFeed.
        """
        key = (region, signal, until)
        if key not in self._outlooks:
            self._outlooks[key] = self._outlook(region, signal, until)
        return self._outlooks[key]

    def measurements(
        self, region: Region, signal: Signal, since: datetime, until: datetime
    ) -> list[Slot]:
        """Return clean slots of what was measured in this time, by the latest revisions."""
        series = self._series.get((*region, signal))
        if series is None:
            return []
        slots = self._measurements_since(series, since)
        first = bisect_right(slots, since, key=lambda slot: slot.ends_at)
        return slots[first : bisect_left(slots, until, lo=first, key=lambda slot: slot.starts_at)]

    def error(self, region: Region) -> str:
        """Return why a region is not fresh, "" if nothing is wrong."""
        source = self._sources.get(region)
        if source is None or source.fetched_at is None and not source.error:
            return f"{region} was not asked yet. Run: python manage.py fetch_forecasts"
        if source.error:
            return source.error
        every = feeds.load(region.feed).every
        if source.fetched_at and self.at - source.fetched_at > LIVE_FOR * every:
            last = f"{source.fetched_at:%Y-%m-%d %H:%M} UTC"
            return f"{region} was last asked at {last}. Does the scheduler run?"
        return ""

    def _outlook(self, region: Region, signal: Signal, until: datetime) -> Outlook:
        feed = feeds.load(region.feed)
        series = self._series.get((*region, signal))
        if series is None:
            return Outlook(signal)
        forecast = self._forecast(series)
        reaches = bool(forecast) and forecast[-1].ends_at >= until
        weeks = [] if reaches else self._measurements_since(series, self.at - TYPICAL_OF)
        calibration = self._calibration(series) if forecast else None
        return outlook(
            signal,
            self.at,
            until,
            forecast,
            weeks,
            feed.every,
            is_replayed=feed.is_replayed,
            calibration=calibration,
            earlier=self._earlier(series) if calibration else (),
        )

    def _calibration(self, series: Series) -> Calibration | None:
        """Return the newest that was fitted by then. It was read with the series."""
        learnt: dict[str, object] | None = getattr(series, "learnt")  # noqa: B009 (an annotation)
        return Calibration.from_json(learnt) if learnt else None

    def _earlier(self, series: Series) -> list[Sequence[Slot]]:
        if series.pk not in self._before:
            self._before[series.pk] = earlier(series, self.at)
        return self._before[series.pk]

    def _forecast(self, series: Series) -> list[Slot]:
        if series.pk not in self._forecasts:
            self._forecasts[series.pk] = layered(self._issues(series))
        return self._forecasts[series.pk]

    def _issues(self, series: Series) -> list[list[Slot]]:
        """Return the newest issue, and each before it that reaches further ahead."""
        known = Forecast.objects.filter(series=series).as_known_at(self.at)
        issue, issues = known.first(), list[list[Slot]]()
        reach, has_now = self.at, False
        while issue and len(issues) < MOST_ISSUES:
            issue.series = series
            # Clean as it was stored: an issue only grows beyond its end.
            slots = issue.as_slots()
            issues.append(slots)
            reach = max(reach, issue.ends_at)
            has_now = has_now or any(slot.starts_at <= self.at < slot.ends_at for slot in slots)
            earlier = known.filter(
                issued_at__lt=issue.issued_at, issued_at__gt=self.at - OLDEST_ISSUE
            )
            # One that begins only later leaves open what holds now.
            issue = earlier.filter(ends_at__gt=reach if has_now else self.at).first()
        return issues

    def _measurements_since(self, series: Series, since: datetime) -> list[Slot]:
        """Return all that overlap the time since then, or an earlier one that was read before."""
        read = self._measured.get(series.pk)
        if read is None or since < read[0]:
            since = min(since, self.at - TYPICAL_OF)
            read = self._measured[series.pk] = (since, self._read(series, since))
        return read[1]

    def _read(self, series: Series, since: datetime) -> list[Slot]:
        rows = (
            Measurement.objects.filter(
                series=series,
                known_at__lte=self.at,
                # Implied by the next line, but the index is on `starts_at`.
                starts_at__gt=since - LONGEST_SLOT,
                ends_at__gt=since,
            )
            .order_by("starts_at", "known_at")
            .values_list("starts_at", "ends_at", "value")
        )
        signal, unit = feeds.signal(series.signal), series.unit
        latest: dict[datetime, Slot] = {}
        for start, end, value in rows.iterator():
            # By `known_at`: a later revision takes the place of an earlier one.
            latest[start] = Slot(start, end, value, unit, signal=signal)
        return clean_slots(latest.values())

    @cached_property
    def _series(self) -> dict[tuple[str, str, str], Series]:
        fitted = Fitted.objects.as_fitted_at(self.at).filter(series=OuterRef("pk"))
        found = Series.objects.select_related("source")
        return {
            (series.source.feed, series.source.region, series.signal): series
            for series in found.annotate(learnt=Subquery(fitted.values("learnt")[:1]))
        }

    @cached_property
    def _sources(self) -> dict[Region, FeedSource]:
        return {Region(source.feed, source.region): source for source in FeedSource.objects.all()}
