"""Values summed up by the hour. They stay when the observations they were made of are pruned."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import models
from django.db.models import OuterRef, Q, Subquery

from core.models.attribute import Attribute

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = 1_000_000
"""In microseconds."""


def hour_of(time: datetime) -> datetime:
    """Return when the hour of a time began, in UTC."""
    return time - (time - EPOCH) % HOUR


def end_of_hour(time: datetime) -> datetime:
    """Return when the hour of a time ends: the time itself, where an hour begins."""
    return time + (EPOCH - time) % HOUR


class Summary(NamedTuple):
    """A time with what is known of it. `minimum`, `maximum` and `mean` are None if nothing is.

    `on_seconds`: so long it is known not to have been 0.
    """

    starts_at: datetime
    ends_at: datetime
    known_seconds: float
    minimum: float | None
    maximum: float | None
    mean: float | None
    on_seconds: float
    observation_count: int


class HourlyStatisticsQuerySet(models.QuerySet["HourlyStatistics"]):
    def summaries(self, attribute: Attribute, start: datetime, end: datetime) -> Iterator[Summary]:
        """Read what is known between two times, in order of time. Hours at the ends are whole."""
        # Plain values: rows of the model take longer to make than all the rest.
        rows = (
            self.filter(attribute=attribute)
            .order_by("starts_at")
            .values_list(*_HourColumns._fields)
        )
        # The hours after it that have no row of their own are as its end.
        earlier = rows.filter(starts_at__lte=start - HOUR).reverse()
        before = next(map(_HourColumns._make, earlier[:1]), None)
        within = rows.filter(starts_at__gt=start - HOUR, starts_at__lt=end)
        for row in map(_HourColumns._make, within.iterator()):
            ends_at = row.starts_at + HOUR
            yield from _lasting(before, start, row.starts_at)
            known_seconds = row.known_microseconds / SECOND
            values = (row.minimum, row.maximum, row.mean_over_time)
            on_seconds = row.on_microseconds / SECOND
            count = row.observation_count
            yield Summary(row.starts_at, ends_at, known_seconds, *values, on_seconds, count)
            before = row
        yield from _lasting(before, start, end)

    def numbers_at(
        self, attribute_pks: Collection[int], times: Sequence[datetime]
    ) -> dict[int, list[float | None]]:
        """Read each attribute's number at these times, which are in order; None in a silence.

        Within an hour it is the number at its start. Two queries give all the answers.
        """
        rows: dict[int, list[_Edge]] = {pk: [] for pk in attribute_pks}
        if not rows or not times:
            return {pk: [] for pk in rows}
        first, last = times[0] - HOUR, times[-1]
        earlier = self.filter(attribute=OuterRef("pk"), starts_at__lte=first)
        latest = Subquery(earlier.order_by("-starts_at").values("pk")[:1])
        attributes = Attribute.objects.filter(pk__in=rows).order_by()
        before = list(attributes.annotate(latest=latest).values_list("latest", flat=True))
        within = Q(attribute__in=rows, starts_at__gt=first, starts_at__lte=last)
        found = self.filter(Q(pk__in=before) | within).order_by("attribute", "starts_at")
        columns = ("attribute", "starts_at", "first_number", "is_known_at_end", "last_number")
        for pk, starts_at, number, is_known, last_number in found.values_list(*columns):
            # Without one its start is as the end of the hour before.
            if number is not None:
                rows[pk].append(_Edge(starts_at, number))
            rows[pk].append(_Edge(starts_at + HOUR, last_number if is_known else None))
        return {pk: _numbers_at(edges, times) for pk, edges in rows.items()}


class _Edge(NamedTuple):
    """What an attribute was at an edge of an hour, and until the next edge; None if not known."""

    at: datetime
    number: float | None


def _numbers_at(edges: Sequence[_Edge], times: Sequence[datetime]) -> list[float | None]:
    found, number, place = list[float | None](), None, 0
    for time in times:
        while place < len(edges) and edges[place].at <= time:
            number = edges[place].number
            place += 1
        found.append(number)
    return found


class _HourColumns(NamedTuple):
    """The columns of an hour that summaries need."""

    starts_at: datetime
    observation_count: int
    known_microseconds: int
    on_microseconds: int
    minimum: float | None
    maximum: float | None
    mean_over_time: float | None
    last_number: float | None
    is_known_at_end: bool


def _lasting(row: _HourColumns | None, start: datetime, end: datetime) -> Iterator[Summary]:
    """Yield the hours without a row of their own: the value at the end of the last one held on."""
    if row is None or not row.is_known_at_end:
        return
    start = max(start, row.starts_at + HOUR)
    if start < end:
        value, seconds = row.last_number, (end - start).total_seconds()
        on_seconds = seconds if value else 0.0
        yield Summary(start, end, seconds, value, value, value, on_seconds, 0)


class HourlyStatistics(models.Model):
    """What a numeric attribute was in one hour, in UTC.

    An hour without observations that is as the end of the one before, all of it, has no row: a door
    that does not move for a year costs nothing. `minimum`, `maximum` and `mean_over_time` are of
    the time that is known, so they include the value carried in.
    """

    attribute = models.ForeignKey(
        Attribute, on_delete=models.CASCADE, related_name="hours", db_index=False
    )
    starts_at = models.DateTimeField()
    observation_count = models.PositiveIntegerField(help_text="From its start up to its end")
    known_microseconds = models.BigIntegerField()
    on_microseconds = models.BigIntegerField(help_text="Known not to be 0")
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    mean = models.FloatField(null=True, help_text="Of its observations, however long they held")
    mean_over_time = models.FloatField(null=True)
    first_number = models.FloatField(null=True, help_text="At its start, where that is known")
    last_number = models.FloatField(null=True, help_text="The latest by its end")
    is_known_at_end = models.BooleanField()
    # Of counters of energy alone. Together they are all that was counted, whatever began anew.
    counted_kwh = models.FloatField(
        null=True, help_text="By a counter of energy, after its start, before its end"
    )
    counted_before_kwh = models.FloatField(
        null=True,
        help_text="What its first observation tells of the time before: at its start, or after a "
        "silence",
    )

    objects = HourlyStatisticsQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "hourly statistics"
        constraints = (
            # Also the index for: the hours of one attribute between two times.
            models.UniqueConstraint(fields=["attribute", "starts_at"], name="one_row_per_hour"),
        )

    def __str__(self) -> str:
        return f"{self.mean_over_time} from {self.starts_at:%Y-%m-%d %H:%M}"
