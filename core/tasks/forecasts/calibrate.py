"""Learn once a day how each signal's forecasts are to be corrected, from what is stored."""

from collections.abc import Collection, Iterator
from datetime import datetime

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from core import feeds
from core.feeds import Slot
from core.models import Calibration, FeedSource, Measurement, Series
from core.planning.calibration import CALIBRATED_EVERY, may_be_calibrated
from core.planning.learner import READS, Lessons, Measured
from core.tasks.forecasts.issues import StoredIssues
from core.tasks.forecasts.regions import Region
from core.tasks.polling.clock import AHEAD

SERIES_A_FETCH = 1
"""Learning takes a second or more, and decisions wait for it: the others follow one by one."""


def calibrate(regions: Collection[Region]) -> int:
    """Learn anew of the series that waits longest, if one is due; return how many were."""
    now = timezone.now()
    due = list(_due(regions, now))[:SERIES_A_FETCH]
    for series in due:
        since, measured = now - READS, iter(_measurements(series, now))
        lessons = Lessons(since, StoredIssues(series, since, now), measured)
        found = lessons.until(now).calibration(now)
        _store(series, now, found.as_json() if found else {})
    return len(due)


def _due(regions: Collection[Region], now: datetime) -> Iterator[Series]:
    """Yield the series that were not learnt of for a day, those never learnt of first."""
    wanted = Q(pk__in=[])
    for region in regions:
        wanted |= Q(source__feed=region.feed, source__region=region.region)
    # One of the future, by a clock that ran ahead, must not put learning off.
    newest = Calibration.objects.as_fitted_at(now).filter(series=OuterRef("pk"))
    found = Series.objects.filter(wanted).select_related("source")
    found = found.annotate(fitted_at=Subquery(newest.values("fitted_at")[:1]))
    for series in found.order_by(F("fitted_at").asc(nulls_first=True), "pk"):
        at = getattr(series, "fitted_at")  # noqa: B009 (an annotation)
        is_old = at is None or now - at >= CALIBRATED_EVERY
        if is_old and not series.is_replayed and may_be_calibrated(feeds.signal(series.signal)):
            yield series


def _measurements(series: Series, now: datetime) -> list[Measured]:
    """Return what was measured by now, in the order in which it became known."""
    rows = (
        Measurement.objects.filter(series=series, known_at__lte=now, ends_at__lte=now)
        .filter(starts_at__gt=now - READS)
        .values_list("known_at", "starts_at", "ends_at", "value")
    )
    signal = feeds.signal(series.signal)
    found = [
        Measured(max(known_at, end), Slot(start, end, value, series.unit, signal=signal))
        for known_at, start, end, value in rows.iterator()
    ]
    return sorted(found, key=lambda one: (one.known_at, one.slot.starts_at))


def _store(series: Series, now: datetime, learnt: dict[str, object]) -> None:
    with transaction.atomic():
        # The lock that fetches of this source take: the rows of one series come one by one.
        FeedSource.objects.select_for_update().get(pk=series.source_id)
        since = now - CALIBRATED_EVERY
        if Calibration.objects.filter(series=series, fitted_at__gt=since, fitted_at__lte=now):
            return
        # What a clock that ran ahead made would take the place of this one when its time comes.
        Calibration.objects.filter(series=series, fitted_at__gt=now + AHEAD).delete()
        Calibration.objects.create(series=series, fitted_at=now, learnt=learnt)
        FeedSource.objects.filter(pk=series.source_id).update(
            history_version=F("history_version") + 1
        )
