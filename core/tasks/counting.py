"""What counters of energy counted in each hour, by the hours that are summed up and observations.

A counter is read at the edges of hours. Between two of them it counted the difference. Where that
is negative, or more than can be, it began anew or is another one: all it said then is added up.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from core.models import Attribute, HourlyStatistics, Observation
from core.models.hourly import hour_of
from core.planning.metering import counted, used, uses
from core.planning.timeline import Piece
from core.tasks.observations import pieces, summed_up_until
from core.tasks.polling.units import converted

MOST_POINTS = 400
"""Times in one query: two parameters each, of the 999 that old versions of SQLite allow."""
METERS_AT_ONCE = 50
HOUR = timedelta(hours=1)

Readings = Sequence[float | None]
"""In kWh, one for each time; None where it is not known."""


class Counted(NamedTuple):
    """The kWh of each hour, and since when the counter is known: None if it never was."""

    hourly: list[float]
    known_since: datetime | None


def counted_by_hour(
    meters: Sequence[Attribute], times: Sequence[datetime], now: datetime
) -> dict[int, Counted]:
    """Return what each counter counted from each time to the next; none of it after `now`."""
    found = {}
    for start in range(0, len(meters), METERS_AT_ONCE):
        some = meters[start : start + METERS_AT_ONCE]
        numbers = _numbers(some, [min(at, now) for at in times])
        for meter in some:
            readings = _in_kwh(meter, numbers[meter.pk], times)
            found[meter.pk] = _Counter(meter, times, readings).counted()
    return found


def _numbers(meters: Sequence[Attribute], times: Sequence[datetime]) -> dict[int, Readings]:
    """Read counters at these times: of hours that are summed up, then of observations."""
    places = {meter.pk: bisect_left(times, summed_up_until(meter, times)) for meter in meters}
    found = HourlyStatistics.objects.numbers_at(places, times[: max(places.values(), default=0)])
    for pk, place in places.items():
        # From there on the observations tell.
        del found[pk][place:]
    for start in range(min(places.values(), default=0), len(times), MOST_POINTS):
        part = times[start : start + MOST_POINTS]
        wanted = [
            meter.pk
            for meter in meters
            if len(found[meter.pk]) < start + len(part) and _was_heard(meter, part[0])
        ]
        sampled = Observation.objects.all().sample(wanted, part)
        for pk, numbers in found.items():
            more = sampled.get(pk, [None] * len(part))
            numbers += more[max(0, len(numbers) - start) :]
    return dict(found)


def _was_heard(meter: Attribute, at: datetime) -> bool:
    """Whether anybody heard it since: else what it said last may have changed."""
    return meter.heard_at is not None and at - HOUR < meter.heard_at


def _in_kwh(meter: Attribute, numbers: Readings, times: Sequence[datetime]) -> Readings:
    readings: list[float | None] = []
    for number, at in zip(numbers, times, strict=True):
        is_known = number is not None and _was_heard(meter, at)
        readings.append(converted(number or 0, meter.unit, "kWh") if is_known else None)
    return readings


class _HourTold(NamedTuple):
    """The columns of an hour that tell what was counted."""

    counted: float | None
    counted_before: float | None
    maximum: float | None


@dataclass(frozen=True)
class _Counter:
    meter: Attribute
    times: Sequence[datetime]
    readings: Readings

    def counted(self) -> Counted:
        hourly = [0.0] * (len(self.times) - 1)
        known = [place for place, number in enumerate(self.readings) if number is not None]
        if not known:
            return Counted(hourly, None)
        begins = known[0]
        if begins > 0:
            # It was heard for the first time within an hour.
            begins -= 1
            hourly[begins] = self._since_first_heard(self.times[begins], self.times[begins + 1])
        for first, last in pairwise(known):
            kwh = self._between(first, last)
            for place in range(first, last):
                hourly[place] += kwh / (last - first)
        return Counted(hourly, self.times[begins])

    def _between(self, first: int, last: int) -> float:
        start, end = self.times[first], self.times[last]
        before, after = self.readings[first] or 0.0, self.readings[last] or 0.0
        kwh = used(before, after, end - start)
        # It only grew: nothing more has to be read.
        if kwh == after - before:
            return kwh
        cut = min(self._summed_up, end)
        hours = self._told_in(hour_of(start), hour_of(cut))
        is_told = all(hour.counted is not None for hour in hours)
        if self._are_all_there(start) and not (is_told and cut == end):
            return counted(self._pieces(start, end))
        if not is_told:
            return self._by_the_most(hours, (start, before), (end, after))
        kwh = sum(hour.counted or 0.0 for hour in hours)
        # An hour later: `counted_before` is of the time before its hour.
        following = self._told_in(hour_of(start) + HOUR, hour_of(cut) + HOUR)
        kwh += sum(hour.counted_before or 0.0 for hour in following)
        if cut < end:
            kwh += counted([*self._last_before(cut), *self._pieces(cut, end)])
        return kwh

    def _since_first_heard(self, start: datetime, end: datetime) -> float:
        if self._are_all_there(start):
            return counted(self._pieces(start, end))
        first, following = self._hours.get(hour_of(start)), self._hours.get(hour_of(end))
        kwh = (first.counted or 0.0) if first else 0.0
        return kwh + ((following.counted_before or 0.0) if following else 0.0)

    def _are_all_there(self, start: datetime) -> bool:
        """Whether the observations since then are all kept."""
        return self.meter.pruned_until is None or start >= self.meter.pruned_until

    @cached_property
    def _summed_up(self) -> datetime:
        return summed_up_until(self.meter, self.times)

    @cached_property
    def _hours(self) -> Mapping[datetime, _HourTold]:
        """Read all hours once: some counters begin anew each day."""
        within = HourlyStatistics.objects.filter(
            attribute=self.meter,
            starts_at__gte=hour_of(self.times[0]),
            starts_at__lte=min(self._summed_up, self.times[-1]),
        )
        columns = ("starts_at", "counted_kwh", "counted_before_kwh", "maximum")
        return {at: _HourTold(*told) for at, *told in within.values_list(*columns)}

    def _told_in(self, at: datetime, until: datetime) -> list[_HourTold]:
        found = []
        while at < until:
            if hour := self._hours.get(at):
                found.append(hour)
            at += HOUR
        return found

    def _by_the_most(
        self, hours: Sequence[_HourTold], start: tuple[datetime, float], end: tuple[datetime, float]
    ) -> float:
        """Tell what was counted in hours that were summed up by an earlier version."""
        tops = [hour.maximum for hour in hours if hour.maximum is not None]
        most = [converted(max(tops), self.meter.unit, "kWh")] if tops else []
        middle = start[0] + (end[0] - start[0]) / 2
        return sum(use.kwh for use in uses([start, *((middle, top) for top in most), end]))

    def _pieces(self, start: datetime, end: datetime) -> Iterator[Piece]:
        for piece in pieces(self.meter, start, end):
            yield replace(piece, value=converted(piece.value, self.meter.unit, "kWh"))

    def _last_before(self, at: datetime) -> Iterator[Piece]:
        stored = Observation.objects.filter(attribute=self.meter, number__isnull=False)
        last = stored.filter(observed_at__lt=at).order_by("-observed_at").first()
        if last:
            kwh = converted(last.number or 0, self.meter.unit, "kWh")
            yield Piece(last.observed_at, last.observed_at, kwh)
