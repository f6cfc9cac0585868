"""Stored forecasts, the newest as of each EVERY: to learn from, and to compare a new one with."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime

from core.feeds import Slot
from core.models import Forecast, Series
from core.planning.calibration import EARLIER_FROM, EARLIER_UNTIL, EVERY, on_grid

ISSUES_A_READ = 50


class StoredIssues:
    """Forecasts of a series that were known from `since` to `until`. Asked in order of time."""

    def __init__(self, series: Series, since: datetime, until: datetime) -> None:
        self._series = series
        self._chosen = list(_newest_at_each(series, since, until))
        self._read: dict[int, Sequence[Slot]] = {}

    def at(self, now: datetime) -> tuple[object, Sequence[Slot]]:
        """Return the key and the slots of the newest forecast, both of nothing if there is none."""
        place = bisect_right(self._chosen, now, key=lambda one: one[0])
        if not place:
            return None, ()
        pk = self._chosen[place - 1][1]
        if pk not in self._read:
            self._read_from(place - 1)
        return pk, self._read[pk]

    def all(self) -> list[Sequence[Slot]]:
        return [self.at(at)[1] for at, _ in self._chosen]

    def _read_from(self, place: int) -> None:
        some = [pk for _, pk in self._chosen[place : place + ISSUES_A_READ]]
        rows = Forecast.objects.in_bulk(some)
        # Another process may prune one meanwhile: of that one nothing is known.
        self._read = dict.fromkeys(some, ())
        for pk, issue in rows.items():
            issue.series = self._series
            self._read[pk] = issue.as_slots()


def earlier(series: Series, now: datetime) -> list[Sequence[Slot]]:
    """Return the forecasts of the last hours that one of now is compared with."""
    first, last = on_grid(now - EARLIER_UNTIL), on_grid(now - EARLIER_FROM)
    return StoredIssues(series, first, last).all()


def _newest_at_each(
    series: Series, since: datetime, until: datetime
) -> Iterator[tuple[datetime, int]]:
    """Yield the times of the grid at which another forecast was the newest, and which."""
    rows = Forecast.objects.filter(series=series, known_at__gt=since, known_at__lte=until)
    known = list(rows.order_by("known_at", "issued_at").values_list("known_at", "issued_at", "pk"))
    times = [known_at for known_at, _, _ in known]
    newest: tuple[datetime, int] | None = None
    seen, at = 0, on_grid(since) + EVERY
    while at <= until:
        place = bisect_right(times, at)
        for _, issued_at, pk in known[seen:place]:
            newest = max(newest, (issued_at, pk)) if newest else (issued_at, pk)
        if newest and place > seen:
            yield at, newest[1]
        seen = place
        at += EVERY
