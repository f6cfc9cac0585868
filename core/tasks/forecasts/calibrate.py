"""Learn once a day how each signal's forecasts are to be corrected, from what is stored."""

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.utils import timezone

from core import feeds
from core.feeds import Slot
from core.models import Calibration, FeedSource, Forecast, Measurement, Series
from core.planning.calibration import CALIBRATED_EVERY, may_be_calibrated
from core.planning.learner import EVERY, LEARNS_FOR, Learner
from core.tasks.forecasts.regions import Region
from core.tasks.polling.clock import AHEAD

SERIES_A_FETCH = 1
"""Learning takes a second or more, and decisions wait for it: the others follow one by one."""
READS = 2 * LEARNS_FOR
"""What is learnt from the last weeks starts from typical values of the weeks before."""
ISSUES_A_READ = 50


def calibrate(regions: Collection[Region]) -> int:
    """Learn anew of the series that waits longest, if one is due; return how many were."""
    now = timezone.now()
    due = list(_due(regions, now))[:SERIES_A_FETCH]
    for series in due:
        learner = Learner()
        _replay(learner, series, now)
        found = learner.calibration(now)
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


def _replay(learner: Learner, series: Series, now: datetime) -> None:
    """Tell what was stored, in the order in which it became known."""
    measured = _measurements(series, now)
    place = 0
    for at, slots in _forecasts(series, now):
        while place < len(measured) and measured[place][0] <= at:
            learner.measured(measured[place][1])
            place += 1
        learner.forecast(slots, at)
    for _, slot in measured[place:]:
        learner.measured(slot)


def _measurements(series: Series, now: datetime) -> list[tuple[datetime, Slot]]:
    """Return what was measured by now, with when it became known, in that order."""
    rows = (
        Measurement.objects.filter(series=series, known_at__lte=now, ends_at__lte=now)
        .filter(starts_at__gt=now - READS)
        .values_list("known_at", "starts_at", "ends_at", "value")
    )
    signal = feeds.signal(series.signal)
    found = [
        (max(known_at, end), Slot(start, end, value, series.unit, signal=signal))
        for known_at, start, end, value in rows.iterator()
    ]
    return sorted(found, key=lambda one: (one[0], one[1].starts_at))


def _forecasts(series: Series, now: datetime) -> Iterator[tuple[datetime, Sequence[Slot]]]:
    """Yield the newest issue as of each EVERY, and when that was."""
    chosen = list(_chosen(series, now))
    for first in range(0, len(chosen), ISSUES_A_READ):
        some = chosen[first : first + ISSUES_A_READ]
        rows = Forecast.objects.in_bulk([pk for _, pk in some])
        for at, pk in some:
            # Another process may prune it meanwhile.
            if issue := rows.get(pk):
                issue.series = series
                yield at, issue.as_slots()


def _chosen(series: Series, now: datetime) -> Iterator[tuple[datetime, int]]:
    rows = Forecast.objects.filter(series=series, known_at__gt=now - READS, known_at__lte=now)
    known = list(rows.order_by("known_at", "issued_at").values_list("known_at", "issued_at", "pk"))
    times = [known_at for known_at, _, _ in known]
    newest: tuple[datetime, int] | None = None
    seen = 0
    at = now - READS
    while at <= now:
        until = bisect_right(times, at)
        for _, issued_at, pk in known[seen:until]:
            newest = max(newest, (issued_at, pk)) if newest else (issued_at, pk)
        # Without a new one since then there is nothing more to learn.
        if newest and until > seen:
            yield at, newest[1]
        seen = until
        at += EVERY


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
